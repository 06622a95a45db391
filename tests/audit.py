"""Who looks over the worker's shoulder: what was put in, what came out, what was committed, and whether it adds up.

Knows nothing of the worker. The invariants: every acknowledged input has an outcome (I1), no outcome is without an input (I2),
all decisions for one comment are the same (I3), no commit ever passed an input without an outcome (I4), nothing is left at the
end (I5).
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from tests.topics import Topics
from worker.demo.broker import Broker, Kind

Place = tuple[int, int]
"""Partition and offset of an input."""
Input = tuple[bytes | None, bytes | None]
"""Key and value."""

PATIENCE_S: Final = 150.0
_SAMPLE_EVERY_S: Final = 0.1
_CHANGES: Final = ("source", "decided_at")
"""What may differ between two decisions for the same comment: when, and from which copy of it."""


class Audit:
    """Puts records in and reads what comes out, beside the worker."""

    def __init__(self, broker: Broker, topics: Topics) -> None:
        self.inputs: dict[Place, Input] = {}
        self.outcomes: defaultdict[Place, list[ConsumerRecord]] = defaultdict(list)
        self._topics = topics
        self._broker = broker
        self._outputs = [
            TopicPartition(topic, partition)
            for topic in (topics.decisions, topics.dead_letters)
            for partition in range(topics.partitions)
        ]
        self._samples: list[tuple[dict[int, int], dict[TopicPartition, int]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        options = {"bootstrap_servers": self._broker.bootstrap}
        self._reader = AIOKafkaConsumer(**options, auto_offset_reset="earliest")
        # In the worker's group only to see its commits: it never joins.
        self._commits = AIOKafkaConsumer(**options, group_id=self._topics.comments, enable_auto_commit=False)
        await self._reader.start()
        await self._commits.start()
        self._reader.assign(self._outputs)
        self._tasks = [asyncio.create_task(self._read())]
        # The embedded broker's end offsets read low, so they prove nothing there.
        if self._broker.kind is Kind.KAFKA:
            self._tasks.append(asyncio.create_task(self._sample()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reader.stop()
        await self._commits.stop()

    async def produce(self, records: Iterable[Input], *, headers: list[tuple[str, bytes]] | None = None) -> None:
        """Put records in; what the broker acknowledges counts."""
        async with AIOKafkaProducer(bootstrap_servers=self._broker.bootstrap, linger_ms=5) as producer:
            sent = [
                (record, await producer.send(self._topics.comments, key=record[0], value=record[1], headers=headers))
                for record in records
            ]
            for record, acknowledged in sent:
                metadata = await acknowledged
                self.inputs[metadata.partition, metadata.offset] = record

    @property
    def missing(self) -> set[Place]:
        """Inputs without an outcome; a tombstone needs none."""
        return {place for place, (_, value) in self.inputs.items() if value is not None} - self.outcomes.keys()

    @property
    def repeats(self) -> int:
        """Outcomes past the first of each input."""
        return sum(len(outcomes) - 1 for outcomes in self.outcomes.values())

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """In the order of the input; those of repeats too."""
        return [json.loads(record.value) for record in self._of(self._topics.decisions)]

    @property
    def dead_letters(self) -> list[ConsumerRecord]:
        return self._of(self._topics.dead_letters)

    async def until(self, met: Callable[[], bool], what: str) -> None:
        """Wait for outcomes until it is so."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not met():
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"never came: {what}; {len(self.missing)} of {len(self.inputs)} missing") from None

    async def until_complete(self) -> None:
        """Wait until every input has an outcome (I1)."""
        await self.until(lambda: not self.missing, "an outcome for every input")

    async def until_committed(self) -> None:
        """Wait until every input is committed (I5)."""
        ends: dict[int, int] = defaultdict(int)
        for partition, offset in self.inputs:
            ends[partition] = max(ends[partition], offset + 1)
        async with asyncio.timeout(PATIENCE_S):
            while await self.committed() != ends:  # noqa: ASYNC110  only asking tells
                await asyncio.sleep(_SAMPLE_EVERY_S)

    async def committed(self) -> dict[int, int]:
        """The group's offset of each partition that has one."""
        commits = {
            partition: await self._commits.committed(TopicPartition(self._topics.comments, partition))
            for partition in range(self._topics.partitions)
        }
        return {partition: offset for partition, offset in commits.items() if offset}

    def check(self) -> None:
        """I1 to I4."""
        assert self.missing == set()
        assert self.outcomes.keys() <= self.inputs.keys()
        assert self.conflicts() == []
        assert self.overtakings() == []

    def conflicts(self) -> list[str]:
        """Comments with two different verdicts."""
        verdicts: defaultdict[str, set[str]] = defaultdict(set)
        for decision in self.decisions:
            kept = {name: value for name, value in decision.items() if name not in _CHANGES}
            verdicts[decision["decision_id"]].add(json.dumps(kept, sort_keys=True))
        by_source: defaultdict[str, set[str]] = defaultdict(set)
        for decision in self.decisions:
            by_source[json.dumps(decision["source"])].add(decision["decision_id"])
        return [name for name, kinds in (verdicts | by_source).items() if len(kinds) > 1]

    def overtakings(self) -> list[tuple[Place, int]]:
        """Inputs without an outcome at a time when a commit had passed them, with that commit."""
        first: dict[Place, tuple[TopicPartition, int]] = {}
        for place, records in self.outcomes.items():
            first[place] = min(
                ((TopicPartition(record.topic, record.partition), record.offset) for record in records),
                key=lambda at: at[1],
            )
        found = []
        for committed, ends in self._samples:
            for (partition, offset), (_, value) in self.inputs.items():
                if value is None or offset >= committed.get(partition, 0):
                    continue
                written = first.get((partition, offset))
                if written is None or written[1] >= ends[written[0]]:
                    found.append(((partition, offset), committed[partition]))
        return found

    def _of(self, topic: str) -> list[ConsumerRecord]:
        return [record for place in sorted(self.outcomes) for record in self.outcomes[place] if record.topic == topic]

    async def _read(self) -> None:
        while True:
            for records in (await self._reader.getmany(timeout_ms=200)).values():
                for record in records:
                    self.outcomes[self._place(record)].append(record)
            self._arrived.set()

    def _place(self, record: ConsumerRecord) -> Place:
        if record.topic == self._topics.decisions:
            source = json.loads(record.value)["source"]
            return source["partition"], source["offset"]
        headers = dict(record.headers)
        return int(headers["screener-original-partition"]), int(headers["screener-original-offset"])

    async def _sample(self) -> None:
        """Commits first, ends of the outputs after: an outcome written in between is counted in the worker's favour."""
        while True:
            try:
                committed = await self.committed()
                ends = await self._commits.end_offsets(self._outputs)
            except KafkaError:
                # The broker is down, on purpose.
                await asyncio.sleep(1)
                continue
            self._samples.append((committed, ends))
            await asyncio.sleep(_SAMPLE_EVERY_S)
