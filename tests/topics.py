"""Topics of a test's own, on a broker that it may share with others."""

import asyncio
import uuid
from typing import Final, Protocol

from msgspec import Struct, structs

from worker.demo.broker import Kind
from worker.settings import Settings
from worker.topics import create_topics, describe_topics, worker_topics

PARTITIONS: Final = 4
_PATIENCE_S: Final = 20.0


class Topics(Struct, frozen=True):
    """The three topics of one test, empty."""

    comments: str
    decisions: str
    dead_letters: str
    partitions: int


class Kafka(Protocol):
    """What is used of a broker or of a cluster of them."""

    @property
    def bootstrap(self) -> str:
        """Its address, or several with commas."""

    @property
    def kind(self) -> Kind:
        """Which broker."""


async def fresh_topics(kafka: Kafka, partitions: int = PARTITIONS, *, replication: int = 1) -> Topics:
    """Create three topics under names that nobody has, as the worker wants them.

    With several replicas, all but one of them have to confirm what is written.
    """
    prefix = f"test-{uuid.uuid4().hex[:8]}."
    settings = Settings(
        kafka_bootstrap_servers=kafka.bootstrap,
        comments_topic=f"{prefix}comments",
        decisions_topic=f"{prefix}decisions",
        dead_letters_topic=f"{prefix}dead-letters",
    )
    confirming = {"min.insync.replicas": str(max(1, replication - 1))}
    wanted = [
        structs.replace(topic, config={**topic.config, **confirming})
        for topic in worker_topics(settings, partitions, replication)
    ]
    await create_topics(wanted, bootstrap_servers=kafka.bootstrap)
    # The controller has them a moment before every broker tells of them.
    async with asyncio.timeout(_PATIENCE_S):
        while not {topic.name for topic in wanted} <= set(await describe_topics(bootstrap_servers=kafka.bootstrap)):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.05)
    return Topics(settings.comments_topic, settings.decisions_topic, settings.dead_letters_topic, partitions)
