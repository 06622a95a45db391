"""How far behind the worker is, asked of the broker itself.

A client of its own: Faust's consumer knows the end of a partition only while it fetches, and the one time that matters is when
it has stopped fetching.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

_LOOK_S: Final = 2.0
_ASK_MS: Final = 200


class Unstable(NamedTuple):
    """What transactions that are still open keep back of a partition: nobody who reads what is committed gets it."""

    messages: int
    """Offsets between the last stable one and the end of the log."""
    seconds: float
    """For how long the last stable offset was seen not to move meanwhile; 0 where nothing is kept back."""


class LagMeter:
    """Compares the worker's positions with the partitions' ends.

    Args:
        options: connection (`worker.connection.client_options`).
        topic: the comments topic.
        group_id: whose commits stand in for a position where nothing was read yet.
        clock: monotonic seconds.
    """

    def __init__(
        self, options: dict[str, Any], *, topic: str, group_id: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._topic = topic
        self._clock = clock
        # As the worker reads: a transaction that is still open is no lag, it is nothing yet.
        self._options = options | {"isolation_level": "read_committed"}
        # In the group only to read its commits: it subscribes to nothing, so it never joins.
        self._consumer = AIOKafkaConsumer(**self._options, group_id=group_id, enable_auto_commit=False)
        # But one that is never ended keeps back all that comes behind it, and to who reads like that the partition has no more.
        self._log = AIOKafkaConsumer(**options, isolation_level="read_uncommitted")
        self.beginnings: dict[int, int] = {}
        """The first offset that each partition still had when it was last measured."""
        self.gone: dict[int, tuple[int, int]] = {}
        """From which offset to which each partition was found to have been deleted unread when it was last measured."""
        self.unstable: dict[int, Unstable] = {}
        """What was kept back of each partition when it was last measured."""
        self._stands: dict[int, tuple[int, float]] = {}
        """The last stable offset of each partition of which something is kept back, and since when it was seen there."""
        self._told: dict[int, int] = {}
        """Up to where that was told before."""
        self._seen: dict[int, tuple[int, int]] = {}
        """Position and end when it was last measured."""
        self._empty: dict[int, tuple[int, int]] = {}
        """Position and end between which there is no record."""

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        await self._consumer.start()
        await self._log.start()

    async def stop(self) -> None:
        # Side by side: each may wait for brokers that are away, and somebody waits for both.
        await asyncio.gather(self._consumer.stop(), self._log.stop())

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

        What lies behind a transaction that is still open is no lag, and is told beside it (`unstable`).

        Who has no partitions asks all the same, for a commit: in a worker that waits for its turn nothing else would notice that
        it is cut off, and it waits for the group, not for the leader of this partition or that.

        Args:
            partitions: which to measure.
            positions: the next offset to be finished.
            at_work: partitions of which records are held; these need no look.
        """
        self.gone = {}
        if not partitions:
            await self._consumer.committed(TopicPartition(self._topic, 0))
            return {}
        topic_partitions = [TopicPartition(self._topic, partition) for partition in sorted(partitions)]
        # Before the stable ends: what is written and committed in between is not kept back by anybody.
        log_ends = await self._log.end_offsets(topic_partitions)
        ends = await self._consumer.end_offsets(topic_partitions)
        beginnings = await self._consumer.beginning_offsets(topic_partitions)
        self._note_unstable(ends, log_ends)
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

    def _note_unstable(self, stable: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> None:
        now, before = self._clock(), self._stands
        self._stands, self.unstable = {}, {}
        for tp, offset in stable.items():
            messages = max(0, ends[tp] - offset)
            at, since = before.get(tp.partition, (offset, now))
            if not messages or at != offset:
                since = now
            if messages:
                self._stands[tp.partition] = offset, since
            self.unstable[tp.partition] = Unstable(messages, now - since)

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
