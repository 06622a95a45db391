"""The topics that the worker needs: what they are like, which there are.

Topics are provisioned, never conjured: the worker itself has no right to create one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from msgspec import Struct

from worker.errors import FatalError, StartupError
from worker.settings import Settings

_NO_ERROR: Final = 0
_LARGEST_DEAD_LETTER = 4 * 2**20


class Topic(Struct, frozen=True):
    """One topic to be there."""

    name: str
    partitions: int
    replication: int = 1
    config: Mapping[str, str] = {}


def worker_topics(settings: Settings, partitions: int, replication: int) -> list[Topic]:
    """The three topics of one worker.

    Decisions are compacted: one comment, one decision, the newest. A dead letter holds the original record and our headers, so
    its topic takes larger records than the comments topic, and keeps them for as long as somebody needs to look at them.
    """
    return [
        Topic(settings.comments_topic, partitions, replication),
        Topic(settings.decisions_topic, partitions, replication, {"cleanup.policy": "compact"}),
        Topic(
            settings.dead_letters_topic,
            partitions,
            replication,
            {"max.message.bytes": str(_LARGEST_DEAD_LETTER), "retention.ms": "-1"},
        ),
    ]


async def create_topics(topics: Sequence[Topic], **options: Any) -> list[str]:
    """Create those that are not there.

    Args:
        topics: what to create.
        options: connection (`worker.connection.client_options`).

    Returns:
        The names of those that were created; one that was there is left as it is.

    Raises:
        StartupError: no answer from the broker.
        FatalError: the broker refuses one, and why.
    """
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        wanted = [
            NewTopic(topic.name, topic.partitions, topic.replication, topic_configs=dict(topic.config))
            for topic in topics
        ]
        response = await admin.create_topics(wanted)
    except KafkaError as error:
        raise StartupError(f"no answer from Kafka at {options['bootstrap_servers']}: {error}") from error
    finally:
        await admin.close()
    created = []
    for name, code, *message in response.topic_errors:
        if code == _NO_ERROR:
            created.append(name)
        elif code != TopicAlreadyExistsError.errno:
            raise FatalError(f"cannot create {name}: {for_code(code).__name__} {message[0] if message else ''}".strip())
    return created


def check_topics_exist(topics: Iterable[str], described: Collection[str], servers: str) -> None:
    """Look for topics among those that a broker has.

    Raises:
        StartupError: some are not there, all of them named.
    """
    if missing := [topic for topic in topics if topic not in described]:
        raise StartupError(f"no topic {', '.join(missing)} on {servers}: comment-screener topics create")


async def describe_topics(**options: Any) -> dict[str, int]:
    """Every topic on the broker with its number of partitions. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        described = await admin.describe_topics()
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in described}
