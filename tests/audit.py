"""Who looks over the worker's shoulder: what was put in, what came out, what was committed, and whether it adds up.

Knows nothing of the worker. It reads all three topics from the start, only what is committed, and asks the admin interface all
the time for the group's offsets. The invariants: every acknowledged input has an outcome (I1), no outcome is without its input
(I2), all decisions for one comment are the same, and a dead letter beside one is another verdict (I3), no commit ever passed an
input without an outcome (I4), nothing is left at the end (I5). An outcome of a comment is a decision: one that is found among the
dead letters was lost, unless a test says that it is to be.

An input whose acknowledgement was lost with its broker is put in again, so the log may hold it twice. Each copy is a record
like any other: it stands in the log, and has an outcome of its own.
"""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import takewhile
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, KafkaTimeoutError
from msgspec import Struct

from tests.comments import Input, is_comment
from tests.topics import Kafka, Topics
from worker.demo.broker import Kind

Place = tuple[int, int]
"""Partition and offset of an input."""

PATIENCE_S: Final = 240.0
_SAMPLE_EVERY_S: Final = 0.1
_REQUEST_TIMEOUT_MS: Final = 10_000
_PRODUCE_AGAIN_S: Final = 0.2
_LARGEST_BATCH_BYTES: Final = 256 * 2**10
"""A burst into one partition is not to wait for hundreds of round trips."""
_LARGEST_REQUEST_BYTES: Final = 16 * 2**20
"""The broker is to say what is too large."""
_CHANGES: Final = ("source", "decided_at")
"""What may differ between two decisions for the same comment: when, and from which copy of it."""


class Counts(Struct, frozen=True):
    """What an audit has seen so far."""

    inputs: int
    """Acknowledged."""
    decisions: int
    dead_letters: int
    repeats: int
    """Outcomes past the first of each record."""
    missing: int
    samples: int
    """Of committed offsets."""


class Audit:
    """Puts records in and reads what comes out, beside the worker.

    Args:
        kafka: a broker or a cluster; it may go away and come back.
        topics: what the worker reads and writes.
        once: a repeat is an error too, whatever has happened.
    """

    def __init__(self, kafka: Kafka, topics: Topics, *, once: bool = False) -> None:
        self._once = once
        self.may_refuse = False
        """Comments may end as dead letters: a test that makes decisions too large says so."""
        self.inputs: dict[Place, Input] = {}
        """What was put in here and acknowledged."""
        self.log: dict[Place, Input] = {}
        """What stands in the comments topic."""
        self.outcomes: defaultdict[Place, list[ConsumerRecord]] = defaultdict(list)
        self.samples = 0
        self._topics = topics
        self._kafka = kafka
        self._comments, self._decisions, self._dead_letters = (
            [TopicPartition(topic, partition) for partition in range(topics.partitions)]
            for topic in (topics.comments, topics.decisions, topics.dead_letters)
        )
        self._outputs = [*self._decisions, *self._dead_letters]
        self._commits: list[tuple[dict[int, int], dict[TopicPartition, int]]] = []
        self._committed: dict[int, int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            self._reader, self._meter = (
                AIOKafkaConsumer(
                    bootstrap_servers=self._kafka.bootstrap,
                    auto_offset_reset="earliest",
                    isolation_level=isolation,
                    request_timeout_ms=_REQUEST_TIMEOUT_MS,
                    metadata_max_age_ms=10_000,
                )
                for isolation in ("read_committed", "read_uncommitted")
            )
            for client in (self._reader, self._meter):
                stack.push_async_callback(client.stop)
                await client.start()
            self._admin = AIOKafkaAdminClient(
                bootstrap_servers=self._kafka.bootstrap,
                request_timeout_ms=_REQUEST_TIMEOUT_MS,
                metadata_max_age_ms=10_000,
            )
            stack.push_async_callback(self._admin.close)
            await self._admin.start()
            self._reader.assign([*self._comments, *self._outputs])
            stack.push_async_callback(self._end_tasks)
            self._tasks = [asyncio.create_task(self._read())]
            # The embedded broker's end offsets read low, so they prove nothing there.
            if self._kafka.kind is Kind.KAFKA:
                self._tasks.append(asyncio.create_task(self._sample()))
            for task in self._tasks:
                task.add_done_callback(lambda _: self._arrived.set())
            self._leaving = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leaving.aclose()

    async def produce(self, records: Iterable[Input], *, headers: list[tuple[str, bytes]] | None = None) -> None:
        """Put records in, as fast as they are taken; return when all are acknowledged. What is acknowledged counts."""
        await self._produce(records, headers, rate=None)

    async def produce_at(
        self, rate: float, records: Iterable[Input], *, headers: list[tuple[str, bytes]] | None = None
    ) -> None:
        """`produce`, `rate` records a second: for a task beside the one that makes trouble. It outlasts an outage."""
        await self._produce(records, headers, rate)

    @contextlib.asynccontextmanager
    async def producing(self, rate: float, records: Iterable[Input]) -> AsyncIterator[None]:
        """Produce `rate` records a second for as long as the block takes; then wait until all are acknowledged."""
        over = asyncio.Event()
        task = asyncio.create_task(self.produce_at(rate, takewhile(lambda _: not over.is_set(), records)))
        try:
            yield
        except BaseException:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        over.set()
        await task

    @property
    def records(self) -> dict[Place, Input]:
        """Everything that has to be dealt with: what was acknowledged, and what stands in the topic all the same."""
        return self.log | self.inputs

    @property
    def missing(self) -> set[Place]:
        """Records without an outcome; a tombstone needs none."""
        return {place for place, (_, value) in self.records.items() if value is not None} - self.outcomes.keys()

    @property
    def repeats(self) -> int:
        """Outcomes past the first of each record."""
        return sum(len(outcomes) - 1 for outcomes in self.outcomes.values())

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """In the order of the input; those of repeats too."""
        return [json.loads(record.value) for record in self._of(self._topics.decisions)]

    @property
    def dead_letters(self) -> list[ConsumerRecord]:
        return self._of(self._topics.dead_letters)

    def counts(self) -> Counts:
        """What was seen so far."""
        return Counts(
            inputs=len(self.inputs),
            decisions=len(self._of(self._topics.decisions)),
            dead_letters=len(self.dead_letters),
            repeats=self.repeats,
            missing=len(self.missing),
            samples=self.samples,
        )

    async def until(self, met: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait for outcomes until it is so."""
        try:
            async with asyncio.timeout(patience_s):
                while not met():
                    self._raise_of_tasks()
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"never came: {what}; {len(self.missing)} of {len(self.inputs)} missing") from None

    async def until_more(self, outcomes: int) -> None:
        """Wait until so many more records have an outcome: something has to be going on."""
        before = len(self.outcomes)
        await self.until(lambda: len(self.outcomes) >= before + outcomes, f"{outcomes} more outcomes")

    async def until_complete(self) -> None:
        """Wait until every record has an outcome (I1)."""
        await self.until(lambda: not self.missing, "an outcome for every input")

    async def until_committed(self) -> None:
        """Wait until every record is committed, and everything that was written has been read (I5)."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (await self._has_read_all() and await self._is_committed()):  # noqa: ASYNC110  only asking tells
                    await asyncio.sleep(_SAMPLE_EVERY_S)
        except TimeoutError:
            self._raise_of_tasks()
            raise AssertionError(f"never committed: {self.lag()} records") from None

    async def until_rest(self) -> None:
        """Wait until nothing is left to do: every record has its outcome and is committed."""
        await self.until_complete()
        await self.until_committed()

    async def committed(self) -> dict[int, int]:
        """The group's offset of each partition that has one. Raises KafkaError."""
        offsets = await self._admin.list_consumer_group_offsets(self._topics.comments, partitions=self._comments)
        return {at.partition: found.offset for at, found in offsets.items() if found.offset > 0}

    def check(self) -> None:
        """I1 to I5, of what was read until now: `until_rest` comes first."""
        assert self.missing == set(), "I1: records without an outcome"
        assert self.may_refuse or self.refused() == [], "I1: comments among the dead letters"
        assert self.strangers() == [], "I2: outcomes that are not of the record that they name"
        assert self.conflicts() == [], "I3: comments with two verdicts"
        assert self.overtakings() == [], "I4: commits past records without an outcome"
        assert not (self._once and self.repeats), f"records that have more than one outcome: {self.repeats}"
        assert self.lag() == 0, (
            f"I5: records that are not committed: {self.lag()}; commits that went back: {self.regressions()}"
        )

    def strangers(self) -> list[Place]:
        """Outcomes of no record, or of another than the one that they say they are of."""
        known = self.records
        return [
            place
            for place, outcomes in self.outcomes.items()
            if place not in known or not all(self._is_outcome_of(outcome, known[place]) for outcome in outcomes)
        ]

    def refused(self) -> list[Place]:
        """Comments that could be screened, and are among the dead letters."""
        return [self._place(letter) for letter in self.dead_letters if is_comment(letter.value or b"")]

    def conflicts(self) -> list[str]:
        """Comments with two different verdicts, or with a verdict and a dead letter."""
        known = self.records
        verdicts: defaultdict[str, set[str]] = defaultdict(set)
        by_source: defaultdict[str, set[str]] = defaultdict(set)
        by_comment: defaultdict[str, set[str]] = defaultdict(set)
        for decision in self.decisions:
            kept = {name: value for name, value in decision.items() if name not in _CHANGES}
            verdicts[decision["decision_id"]].add(json.dumps(kept, sort_keys=True))
            source = decision["source"]
            by_source[json.dumps(source)].add(decision["decision_id"])
            # A comment that comes again with another text is other work.
            _, value = known.get((source["partition"], source["offset"]), (None, None))
            by_comment[f"{decision['comment_id']} {value!r}"].add(decision["decision_id"])
        both = [
            str(place) for place, outcomes in self.outcomes.items() if len({outcome.topic for outcome in outcomes}) > 1
        ]
        return both + [name for name, kinds in (verdicts | by_source | by_comment).items() if len(kinds) > 1]

    def overtakings(self) -> list[tuple[Place, int]]:
        """Records without an outcome at a time when a commit had passed them, with that commit."""
        first: dict[Place, tuple[TopicPartition, int]] = {}
        for place, records in self.outcomes.items():
            first[place] = min(
                ((TopicPartition(record.topic, record.partition), record.offset) for record in records),
                key=lambda at: at[1],
            )
        found = []
        known = self.records
        passed: defaultdict[int, int] = defaultdict(int)
        for committed, ends in self._commits:
            for partition, commit in committed.items():
                # Ends only grow: whoever had an outcome when a commit passed it first has one at each later commit.
                for offset in range(passed[partition], commit):
                    _, value = known.get((partition, offset), (None, None))
                    written = first.get((partition, offset))
                    if value is not None and (written is None or written[1] >= ends[written[0]]):
                        found.append(((partition, offset), commit))
                passed[partition] = max(passed[partition], commit)
        return found

    def regressions(self) -> list[tuple[int, int, int]]:
        """Commits that went back: partition, from, to. Somebody committed who no longer had the partition."""
        found = []
        newest: dict[int, int] = {}
        for committed, _ in self._commits:
            for partition, offset in committed.items():
                if offset < newest.get(partition, 0):
                    found.append((partition, newest[partition], offset))
                newest[partition] = offset
        return found

    def lag(self) -> int:
        """Records past the commit that was seen last."""
        return sum(offset >= self._committed.get(partition, 0) for partition, offset in self.records)

    async def _produce(
        self, records: Iterable[Input], headers: list[tuple[str, bytes]] | None, rate: float | None
    ) -> None:
        async with (
            AIOKafkaProducer(
                bootstrap_servers=self._kafka.bootstrap,
                acks="all",
                linger_ms=5,
                max_batch_size=_LARGEST_BATCH_BYTES,
                max_request_size=_LARGEST_REQUEST_BYTES,
                request_timeout_ms=_REQUEST_TIMEOUT_MS,
            ) as producer,
            asyncio.TaskGroup() as group,
        ):
            for record in records:
                group.create_task(self._put(producer, record, headers))
                if rate is not None:
                    await asyncio.sleep(1 / rate)

    async def _put(self, producer: AIOKafkaProducer, record: Input, headers: list[tuple[str, bytes]] | None) -> None:
        """Until it is acknowledged, as a service would that must not lose it."""
        key, value = record
        while True:
            try:
                metadata = await producer.send_and_wait(self._topics.comments, key=key, value=value, headers=headers)
            except KafkaError as error:
                # What expired in the producer's own queue is not called retriable.
                if not (error.retriable or isinstance(error, KafkaTimeoutError)):
                    raise
                await asyncio.sleep(_PRODUCE_AGAIN_S)
                continue
            self.inputs[metadata.partition, metadata.offset] = record
            return

    def _is_outcome_of(self, outcome: ConsumerRecord, record: Input) -> bool:
        key, value = record
        if outcome.topic == self._topics.dead_letters:
            return bool((outcome.key, outcome.value) == (key, value))
        comment_id = json.loads(outcome.value)["comment_id"]
        return bool(
            value is not None and outcome.key == comment_id.encode() and json.loads(value)["comment_id"] == comment_id
        )

    def _of(self, topic: str) -> list[ConsumerRecord]:
        return [record for place in sorted(self.outcomes) for record in self.outcomes[place] if record.topic == topic]

    async def _read(self) -> None:
        while True:
            for records in (await self._reader.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.topic == self._topics.comments:
                        self.log[record.partition, record.offset] = record.key, record.value
                    else:
                        self.outcomes[self._place(record)].append(record)
            self._arrived.set()

    def _place(self, record: ConsumerRecord) -> Place:
        if record.topic == self._topics.decisions:
            source = json.loads(record.value)["source"]
            return source["partition"], source["offset"]
        headers = dict(record.headers)
        return int(headers["screener-original-partition"]), int(headers["screener-original-offset"])

    async def _sample(self) -> None:
        """Commits first, ends of the outputs after: an outcome written in between is counted in the worker's favour.

        Ends with what is not yet committed: a transaction's end becomes visible in one partition before another, so in that of
        the offsets maybe first. That each outcome was committed in the end, its being read says.
        """
        while True:
            try:
                committed = await self.committed()
                # At once: ends may be long in coming, and others look as well meanwhile.
                self._committed.update(committed)
                # Of samples with the same commits the first says most: ends only grow.
                if not self._commits or committed != self._commits[-1][0]:
                    self._commits.append((committed, await self._meter.end_offsets(self._outputs)))
            except KafkaError:
                # The broker is down, on purpose.
                await asyncio.sleep(_SAMPLE_EVERY_S)
                continue
            self.samples += 1
            await asyncio.sleep(_SAMPLE_EVERY_S)

    async def _has_read_all(self) -> bool:
        if not self.inputs.keys() <= self.log.keys():
            return False
        if self._kafka.kind is not Kind.KAFKA:
            return True
        try:
            ends = await self._reader.end_offsets([*self._comments, *self._outputs])
        except KafkaError:
            return False
        positions = {at: await self._reader.position(at) for at in ends}
        return all(positions[at] >= end for at, end in ends.items())

    async def _is_committed(self) -> bool:
        try:
            self._committed.update(await self.committed())
        except KafkaError:
            return False
        return self.lag() == 0

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _raise_of_tasks(self) -> None:
        """What ended a reader too early is why nothing comes any more."""
        for task in self._tasks:
            if task.done():
                task.result()
