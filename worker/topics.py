"""The topics that the worker needs: what they are like, which there are.

Topics are provisioned, never conjured: the worker itself has no right to create one. What is created or changed, and what is
left alone, is decided in `worker.provisioning`; this is Kafka's side of it.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String
from msgspec import Struct

from worker.errors import FatalError, StartupError
from worker.settings import Settings

FOREVER_MS: Final = -1
"""As a retention: nothing is ever deleted for its age."""

_NO_ERROR: Final = 0
_SET: Final = 0
_WEEK_MS: Final = 7 * 24 * 3600 * 1000
# Kafka's own default, said aloud: what a broker has been told instead is then seen as a difference.
_LARGEST_RECORD: Final = 1_048_588
_LARGEST_DEAD_LETTER: Final = 4 * 2**20
_CLEAN: Final = {"unclean.leader.election.enable": "false"}
"""Else a replica that is behind may become leader, and what was confirmed is gone."""


class Topic(Struct, frozen=True):
    """One topic to be there."""

    name: str
    partitions: int
    replication: int = 1
    config: Mapping[str, str] = {}
    expected: Mapping[str, str] = {}
    """What brokers do by themselves, or were told not to: compared where they tell, and not said when it is created, since many
    a cluster refuses a topic that speaks of it."""


class Existing(Struct, frozen=True):
    """One topic as it is."""

    partitions: int
    replication: int
    """Copies of the partition that has the fewest."""
    config: Mapping[str, str] = {}
    """Of the settings that were asked for."""


def worker_topics(
    settings: Settings,
    partitions: int,
    replication: int,
    *,
    comments_retention_ms: int = _WEEK_MS,
    dead_letters_retention_ms: int = FOREVER_MS,
    min_insync_replicas: int | None = None,
) -> list[Topic]:
    """The three topics of one worker.

    Decisions are compacted: one comment, one decision, the newest, and within a week: who is to be forgotten need not wait for
    a segment to fill. As long can consumers be away and still learn that one was erased. A dead letter holds the original record
    and our headers, so its topic takes larger records than the comments topic, and keeps them for as long as somebody needs to
    look at them. It is never compacted: that would forget which letters were handled.

    Args:
        settings: what they are called.
        partitions: of each.
        replication: copies of each partition.
        comments_retention_ms, dead_letters_retention_ms: for how long they are kept; -1: for ever.
        min_insync_replicas: copies that have to confirm what is written. None: all but one, so that one broker may be down.
    """
    confirming = max(1, replication - 1) if min_insync_replicas is None else min_insync_replicas

    def topic(name: str, policy: str, largest: int, retention_ms: int | None = None, **more: str) -> Topic:
        config = {
            "cleanup.policy": policy,
            "max.message.bytes": str(largest),
            "min.insync.replicas": str(confirming),
            **({} if retention_ms is None else {"retention.ms": str(retention_ms)}),
            **more,
        }
        return Topic(name, partitions, replication, config, _CLEAN)

    # Kept from when they were written: a letter carries its comment's time, which may be long past.
    kept = {} if dead_letters_retention_ms == FOREVER_MS else {"message.timestamp.type": "LogAppendTime"}
    erased = {"max.compaction.lag.ms": str(_WEEK_MS), "delete.retention.ms": str(_WEEK_MS)}
    return [
        topic(settings.comments_topic, "delete", _LARGEST_RECORD, comments_retention_ms),
        topic(settings.decisions_topic, "compact", _LARGEST_RECORD, None, **erased),
        topic(settings.dead_letters_topic, "delete", _LARGEST_DEAD_LETTER, dead_letters_retention_ms, **kept),
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
    async with open_topics(**options) as kafka:
        return [topic.name for topic in topics if await kafka.create(topic)]


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


class KafkaTopics:
    """The topics of a Kafka, to be looked at, created and changed.

    Args:
        admin: started by whoever made it.
    """

    def __init__(self, admin: "_Admin") -> None:
        self._admin = admin

    async def find(self, names: Mapping[str, Collection[str]]) -> dict[str, Existing]:
        """Those that are there.

        Args:
            names: of topics, each with the settings to be looked up.

        Raises:
            StartupError: the settings of one cannot be seen.
        """
        # All are asked for: naming one that is not there creates it, where a broker does so by itself.
        described = {topic["topic"]: topic["partitions"] for topic in await self._admin.describe_topics()}
        return {
            name: Existing(
                len(described[name]),
                min(len(partition["replicas"]) for partition in described[name]),
                await self._settings(name, wanted) if wanted else {},
            )
            for name, wanted in names.items()
            if name in described
        }

    async def create(self, topic: Topic, *, dry_run: bool = False) -> bool:
        """Create one; False: it is there. With `dry_run` the broker only says whether it would.

        Raises:
            FatalError: it refuses, and why.
        """
        new = NewTopic(topic.name, topic.partitions, topic.replication, topic_configs=dict(topic.config))
        response = await self._admin.create_topics([new], validate_only=dry_run)
        [(_, code, *message)] = response.topic_errors
        if code == TopicAlreadyExistsError.errno:
            return False
        _check(code, f"cannot create {topic.name}", *message)
        return True

    async def alter(self, name: str, config: Mapping[str, str], *, dry_run: bool = False) -> None:
        """Set these settings, and leave all others as they are. Errors as above."""
        resource = (ConfigResourceType.TOPIC, name, [(key, _SET, value) for key, value in config.items()])
        response = await self._admin.alter_some_configs([resource], validate_only=dry_run)
        [(code, message, *_)] = response.resources
        _check(code, f"cannot change {name}", message)

    async def grow(self, name: str, partitions: int, *, dry_run: bool = False) -> None:
        """Add partitions until there are so many. Errors as above."""
        try:
            await self._admin.create_partitions({name: NewPartitions(partitions)}, validate_only=dry_run)
        except KafkaError as error:
            raise FatalError(f"cannot add partitions to {name}: {error}") from error

    async def _settings(self, name: str, wanted: Collection[str]) -> dict[str, str]:
        asked = ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(wanted))
        try:
            [response] = await self._admin.describe_configs([asked])
        except KafkaError as error:
            # The embedded broker hangs up.
            raise StartupError(f"cannot see the settings of {name}: {type(error).__name__}") from error
        [(code, _, _, _, entries)] = response.resources
        if code != _NO_ERROR:
            raise StartupError(
                f"cannot see the settings of {name}: {for_code(code).__name__}: grant DescribeConfigs on it"
            )
        return {key: value for key, value, *_ in entries if key in wanted}


@asynccontextmanager
async def open_topics(**options: Any) -> AsyncIterator[KafkaTopics]:
    """Connect.

    Args:
        options: connection (`worker.connection.client_options`).

    Raises:
        StartupError: no answer from the broker, at the start or later.
    """
    admin = _Admin(**options)
    try:
        await admin.start()
        yield KafkaTopics(admin)
    except (KafkaError, TimeoutError) as error:
        raise StartupError(f"no answer from Kafka at {options['bootstrap_servers']}: {error}") from error
    finally:
        await admin.close()


def _check(code: int, what: str, message: str | None = None) -> None:
    if code != _NO_ERROR:
        raise FatalError(f"{what}: {for_code(code).__name__} {message or ''}".strip())


# aiokafka knows AlterConfigs alone, which puts every setting that it does not name back to its default.
class _AlterSomeConfigsResponse(Response):  # type: ignore[misc]  # aiokafka is untyped
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _AlterSomeConfigsRequestV0(RequestStruct):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _AlterSomeConfigsResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("configs", Array(("name", String("utf-8")), ("operation", Int8), ("value", String("utf-8")))),
            ),
        ),
        ("validate_only", Boolean),
    )


_Built: TypeAlias = _AlterSomeConfigsRequestV0


class _AlterSomeConfigs(Request[_Built]):  # type: ignore[misc]
    API_KEY = 44

    def __init__(self, resources: list[Any], *, validate_only: bool) -> None:
        self._resources = resources
        self._validate_only = validate_only

    def build(self, request_struct_class: type[_Built]) -> _Built:
        return request_struct_class(self._resources, self._validate_only)


class _Admin(AIOKafkaAdminClient):  # type: ignore[misc]
    async def alter_some_configs(self, resources: list[Any], *, validate_only: bool) -> Any:
        return await self._send_request(_AlterSomeConfigs(resources, validate_only=validate_only))
