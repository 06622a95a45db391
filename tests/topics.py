"""Topics of a test's own, on a broker that it may share with others."""

import uuid
from typing import Final

from msgspec import Struct

from worker.demo.broker import Broker
from worker.settings import Settings
from worker.topics import create_topics, worker_topics

PARTITIONS: Final = 4


class Topics(Struct, frozen=True):
    """The three topics of one test, empty."""

    comments: str
    decisions: str
    dead_letters: str
    partitions: int


async def fresh_topics(broker: Broker, partitions: int = PARTITIONS) -> Topics:
    """Create three topics under names that nobody has, as the worker wants them."""
    prefix = f"test-{uuid.uuid4().hex[:8]}."
    settings = Settings(
        kafka_bootstrap_servers=broker.bootstrap,
        comments_topic=f"{prefix}comments",
        decisions_topic=f"{prefix}decisions",
        dead_letters_topic=f"{prefix}dead-letters",
    )
    await create_topics(worker_topics(settings, partitions, replication=1), bootstrap_servers=broker.bootstrap)
    return Topics(settings.comments_topic, settings.decisions_topic, settings.dead_letters_topic, partitions)
