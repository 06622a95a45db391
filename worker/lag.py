"""How far behind the worker is, asked of the broker itself.

A client of its own: Faust's consumer knows the end of a partition only while it fetches, and the one time that matters is when
it has stopped fetching.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

_LOOK_S: Final = 5.0


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

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        await self._consumer.start()

    async def stop(self) -> None:
        await self._consumer.stop()

    async def measure(self, partitions: Collection[int], positions: Mapping[int, int]) -> dict[int, int]:
        """Messages between each partition's position and its end. Raises KafkaError where the broker does not answer.

        A position that is not known yet is the group's commit, or the partition's beginning.
        """
        if not partitions:
            return {}
        topic_partitions = [TopicPartition(self._topic, partition) for partition in sorted(partitions)]
        ends = await self._consumer.end_offsets(topic_partitions)
        beginnings = await self._consumer.beginning_offsets(topic_partitions)
        self.beginnings = {tp.partition: offset for tp, offset in beginnings.items()}
        lags = {}
        for tp in topic_partitions:
            position = positions.get(tp.partition)
            if position is None:
                position = await self._consumer.committed(tp)
            lags[tp.partition] = max(0, ends[tp] - max(position or 0, beginnings[tp]))
        return lags

    async def waiting(self, lags: Mapping[int, int], positions: Mapping[int, int]) -> bool:
        """Whether a record really lies ahead in any partition that lags.

        Offsets are not records: the end of a partition may be markers of transactions, or holes that compaction left.
        """
        for partition in (partition for partition, lag in lags.items() if lag):
            if await self._reads_a_record(TopicPartition(self._topic, partition), positions.get(partition)):
                return True
        return False

    async def _reads_a_record(self, tp: TopicPartition, position: int | None) -> bool:
        if position is None:
            position = await self._consumer.committed(tp)
        # A client for this one look: one that stays assigned goes on fetching what nobody wants.
        async with AIOKafkaConsumer(**self._options) as consumer:
            consumer.assign([tp])
            if position is None:
                await consumer.seek_to_beginning(tp)
            else:
                consumer.seek(tp, position)
            try:
                async with asyncio.timeout(_LOOK_S):
                    await consumer.getone(tp)
            except TimeoutError:
                return False
        return True
