"""How far behind the worker is, asked of the broker itself.

A client of its own: Faust's consumer knows the end of a partition only while it fetches, and the one time that matters is when
it has stopped fetching.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

_LOOK_S: Final = 2.0
_ASK_MS: Final = 200


class LagMeter:
    """Compares the worker's positions with the partitions' ends.

    Args:
        options: connection (`worker.connection.client_options`).
        topic: the comments topic.
        group_id: whose commits stand in for a position where nothing was read yet.
    """

    def __init__(self, options: dict[str, Any], *, topic: str, group_id: str) -> None:
        self._topic = topic
        # As the worker reads: a transaction that is still open is no lag, it is nothing yet.
        self._options = options | {"isolation_level": "read_committed"}
        # In the group only to read its commits: it subscribes to nothing, so it never joins.
        self._consumer = AIOKafkaConsumer(**self._options, group_id=group_id, enable_auto_commit=False)
        self.beginnings: dict[int, int] = {}
        """The first offset that each partition still had when it was last measured."""
        self.gone: dict[int, tuple[int, int]] = {}
        """From which offset to which each partition was found to have been deleted unread when it was last measured."""
        self._told: dict[int, int] = {}
        """Up to where that was told before."""
        self._seen: dict[int, tuple[int, int]] = {}
        """Position and end when it was last measured."""
        self._empty: dict[int, tuple[int, int]] = {}
        """Position and end between which there is no record."""

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        await self._consumer.start()

    async def stop(self) -> None:
        await self._consumer.stop()

    async def measure(
        self, partitions: Collection[int], positions: Mapping[int, int], at_work: Collection[int]
    ) -> dict[int, int]:
        """Messages between each partition's position and its end. Raises KafkaError where the broker does not answer.

        A position that is not known yet is the group's commit, or the partition's beginning. Offsets are not records: the end of
        a partition may be markers of transactions, what an aborted one left, or holes of a compaction. So where neither
        position nor end has moved since the last time it is looked whether anything lies ahead, and where nothing does, there
        is no lag.

        What lies between a position and a beginning behind it was deleted unread (`gone`): at most that, since some of it may be
        at work, and the end of a partition may hold no records.

        Args:
            partitions: which to measure.
            positions: the next offset to be finished.
            at_work: partitions of which records are held; these need no look.
        """
        self.gone = {}
        if not partitions:
            return {}
        topic_partitions = [TopicPartition(self._topic, partition) for partition in sorted(partitions)]
        ends = await self._consumer.end_offsets(topic_partitions)
        beginnings = await self._consumer.beginning_offsets(topic_partitions)
        self.beginnings = {tp.partition: offset for tp, offset in beginnings.items()}
        reached = {
            tp: positions[tp.partition] if tp.partition in positions else await self._consumer.committed(tp)
            for tp in topic_partitions
        }
        before, self._seen = self._seen, {}
        lags = {}
        for tp in topic_partitions:
            position = max(reached[tp] or 0, beginnings[tp])
            self._seen[tp.partition] = position, ends[tp]
            lags[tp.partition] = max(0, ends[tp] - position)
        unmoved = [
            partition
            for partition, lag in lags.items()
            if lag
            and partition not in at_work
            and before.get(partition) == self._seen[partition] != self._empty.get(partition)
        ]
        empty = await self._read_to_the_end(unmoved)
        # Noted once nothing more can fail: it is told once, and to whoever gets no answer it is not told.
        for tp in topic_partitions:
            if (position := reached[tp]) is not None:
                self._note_gone(tp.partition, position, beginnings[tp])
        for partition in empty:
            self._empty[partition] = self._seen[partition]
        return {
            partition: 0 if self._empty.get(partition) == self._seen[partition] else lag
            for partition, lag in lags.items()
        }

    def _note_gone(self, partition: int, position: int, beginning: int) -> None:
        at, end = self._empty.get(partition, (position, position))
        first = max(end if at == position else position, self._told.get(partition, 0))
        if first < beginning:
            self.gone[partition] = first, beginning
            self._told[partition] = beginning

    async def _read_to_the_end(self, partitions: Collection[int]) -> list[int]:
        """Those of these partitions that can be read to their ends, from their positions on, and bring no record."""
        left = {partition: TopicPartition(self._topic, partition) for partition in partitions}
        if not left:
            return []
        empty = []
        # A client for this one look: one that stays assigned goes on fetching what nobody wants.
        async with AIOKafkaConsumer(**self._options) as consumer:
            consumer.assign(list(left.values()))
            for partition, tp in left.items():
                consumer.seek(tp, self._seen[partition][0])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    while left:
                        found = await consumer.getmany(*left.values(), timeout_ms=_ASK_MS, max_records=1)
                        for tp in found:
                            del left[tp.partition]
                        # Past what is no record its position goes as well.
                        passed = [
                            partition
                            for partition, tp in left.items()
                            if await consumer.position(tp) >= self._seen[partition][1]
                        ]
                        for partition in passed:
                            del left[partition]
                        empty += passed
        return empty
