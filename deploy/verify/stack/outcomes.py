"""Whether each comment on Kafka has its outcome: a decision, or a dead letter.

Reads all three topics whole, as anybody could who may read them. What is compared are places, a partition and an offset: a
decision names the one it was made for, a dead letter's headers as well.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from msgspec import Struct

from deploy.verify.stack.running import Failed
from worker.settings import Settings

Place = tuple[int, int]
"""Partition and offset of a comment."""

_SECONDS: Final = 60.0
_PARTITION: Final = "screener-original-partition"
_OFFSET: Final = "screener-original-offset"


class Outcomes(Struct, frozen=True):
    """What stands on Kafka."""

    comments: frozenset[Place]
    decided: frozenset[Place]
    dead: frozenset[Place]
    decisions: int
    """Records: with a comment that was decided twice, more than there are places."""

    @property
    def missing(self) -> frozenset[Place]:
        """Comments without an outcome."""
        return self.comments - self.decided - self.dead

    @property
    def invented(self) -> frozenset[Place]:
        """Outcomes without a comment."""
        return (self.decided | self.dead) - self.comments


def outcomes(
    comments: Iterable[Place], decisions: Sequence[bytes], dead_letters: Iterable[Mapping[str, bytes]]
) -> Outcomes:
    """Put together what was read: the comments' places, the decisions' values, the dead letters' headers."""
    sources = [json.loads(decision)["source"] for decision in decisions]
    return Outcomes(
        comments=frozenset(comments),
        decided=frozenset((source["partition"], source["offset"]) for source in sources),
        dead=frozenset((int(headers[_PARTITION]), int(headers[_OFFSET])) for headers in dead_letters),
        decisions=len(decisions),
    )


def read_outcomes(bootstrap: str) -> Outcomes:
    """Read the three topics of a worker with no settings of its own, up to where they end now. Blocks.

    Raises:
        Failed: Kafka does not answer.
    """
    settings = Settings(kafka_bootstrap_servers=bootstrap)

    async def read() -> Outcomes:
        comments, decisions, dead_letters = [
            await _whole(topic, bootstrap)
            for topic in (settings.comments_topic, settings.decisions_topic, settings.dead_letters_topic)
        ]
        return outcomes(
            # A comment that was taken back has a key and no value, and no outcome.
            [(record.partition, record.offset) for record in comments if record.value is not None],
            [record.value for record in decisions if record.value is not None],
            [dict(record.headers) for record in dead_letters if record.value is not None],
        )

    async def in_time() -> Outcomes:
        async with asyncio.timeout(_SECONDS):
            return await read()

    try:
        return asyncio.run(in_time())
    except (KafkaError, TimeoutError) as error:
        raise Failed(f"Kafka at {bootstrap}: {error}") from error


async def _whole(topic: str, bootstrap: str) -> list[ConsumerRecord]:
    records: list[ConsumerRecord] = []
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for of_partition in (await consumer.getmany(timeout_ms=500)).values():
                    records += of_partition
    return records
