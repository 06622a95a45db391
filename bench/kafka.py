"""One broker for the benchmark, and a reader that shares nothing with who is measured.

Topics keep the broker's own time (LogAppendTime), so both ends of every interval are told by the same clock, in milliseconds.
While somebody is measured only the ends of partitions are asked for: a reader of records would take its share of the same cores.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError
from msgspec import Struct

from tests.topics import Topics
from worker.publisher import producer_options
from worker.topics import Topic, create_topics

PARTITIONS: Final = 4
_LOOK_EVERY_S: Final = 0.2
"""Seldom: what is measured does not depend on it, and whoever is measured shares the cores."""
_IN_FLIGHT: Final = 2000
_LINGER_MS: Final = 20
"""Who produces is not what is measured: a request a comment would take a quarter of a core of those that everybody shares. No
interval is longer for it, since it begins when the broker writes."""
_CONFIG: Final = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"}
_NEW: Final = {"auto_offset_reset": "earliest", "enable_auto_commit": False}


class Drained(Struct, frozen=True):
    """How a backlog was worked off, by the broker's clock.

    Attributes:
        seconds: that were looked at.
        decisions: written in them.
    """

    seconds: float
    decisions: int

    @property
    def per_s(self) -> float:
        """Decisions a second."""
        return self.decisions / self.seconds if self.seconds else 0.0


class Place(Struct, frozen=True):
    """Where a comment lies, and when the broker wrote it there."""

    partition: int
    offset: int
    written_ms: int


async def fresh_topics(bootstrap: str, name: str, comments: str | None = None) -> Topics:
    """Topics of a round's own; `comments`: one that is there already, to be read once more from its start."""
    topics = Topics(comments or f"{name}.comments", f"{name}.decisions", f"{name}.dead-letters", PARTITIONS)
    wanted = [topics.decisions, topics.dead_letters] + ([] if comments else [topics.comments])
    await create_topics([Topic(topic, PARTITIONS, 1, _CONFIG) for topic in wanted], bootstrap_servers=bootstrap)
    return topics


async def delete_topics(bootstrap: str, *names: str) -> None:
    """Room on the disk for the next round's."""
    async with _started(AIOKafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        with contextlib.suppress(UnknownTopicOrPartitionError):
            await admin.delete_topics(list(names))


async def produce(bootstrap: str, topic: str, values: Iterable[bytes], *, per_s: float | None = None) -> list[Place]:
    """Put comments in, one partition after the other, at an even rate or as fast as they are taken.

    Returns:
        Where each lies, in order: all are acknowledged.
    """
    places: list[asyncio.Future[Any]] = []
    options = producer_options({"bootstrap_servers": bootstrap}, "zstd") | {"linger_ms": _LINGER_MS}
    async with _started(AIOKafkaProducer(**options)) as producer:
        started = time.monotonic()
        for number, value in enumerate(values):
            if per_s is not None and (ahead := started + number / per_s - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            places.append(await producer.send(topic, value=value, partition=number % PARTITIONS))
            if per_s is None and number % _IN_FLIGHT == _IN_FLIGHT - 1:
                await producer.flush()
        acknowledged = await asyncio.gather(*places)
    return [Place(at.partition, at.offset, at.timestamp) for at in acknowledged]


async def until_written(
    bootstrap: str, topics: Topics, count: int, *, check: Callable[[], None], patience_s: float
) -> int:
    """Wait for so many decisions, or until none has come for a while. Returns how many there are.

    Dead letters count: of these texts there should be none, and whoever waits for a decision would wait in vain.
    """
    async with _started(AIOKafkaConsumer(bootstrap_servers=bootstrap)) as consumer:
        there, news_at = 0, time.monotonic()
        while there < count and time.monotonic() < news_at + patience_s:
            check()
            ends = await _ends(consumer, topics)
            if ends > there:
                there, news_at = ends, time.monotonic()
            await asyncio.sleep(_LOOK_EVERY_S)
    return there


async def written(bootstrap: str, topics: Topics) -> int:
    """How many decisions and dead letters there are."""
    async with _started(AIOKafkaConsumer(bootstrap_servers=bootstrap)) as consumer:
        return await _ends(consumer, topics)


async def _ends(consumer: AIOKafkaConsumer, topics: Topics) -> int:
    partitions = [
        TopicPartition(topic, number)
        for topic in (topics.decisions, topics.dead_letters)
        for number in range(topics.partitions)
    ]
    return sum((await consumer.end_offsets(partitions)).values())


async def read(bootstrap: str, topic: str) -> AsyncIterator[ConsumerRecord]:
    """Every record that stands in a topic now."""
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    async with _started(AIOKafkaConsumer(bootstrap_servers=bootstrap, **_NEW)) as consumer:
        consumer.assign(partitions)
        left = {at: end for at, end in (await consumer.end_offsets(partitions)).items() if end}
        while left:
            for at, records in (await consumer.getmany(*left, timeout_ms=1000)).items():
                for record in records:
                    yield record
                if records and records[-1].offset >= left[at] - 1:
                    del left[at]


async def drained(bootstrap: str, topic: str, since_ms: int | None = None) -> Drained:
    """How fast the decisions of a topic were written.

    Args:
        bootstrap: the broker.
        topic: of decisions.
        since_ms: from when on the comments came to workers that were ready for them. None: they lay there before, so nobody
            can tell when work on the first of them began, and only the middle counts.
    """
    times = sorted([record.timestamp async for record in read(bootstrap, topic)])
    return in_the_middle(times) if since_ms is None else Drained((times[-1] - since_ms) / 1000, len(times))


def in_the_middle(times: Sequence[int]) -> Drained:
    """From the tenth part of the decisions to the last but that: on both ends as much is half done. `times`: ms, ascending."""
    first, last = times[len(times) // 10], times[-1 - len(times) // 10]
    return Drained((last - first) / 1000, sum(first < at <= last for at in times))


@asynccontextmanager
async def _started(client: Any) -> AsyncIterator[Any]:
    await client.start()
    try:
        yield client
    finally:
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
