"""A long run of few comments and some trouble: two workers on three nodes, one of them never ended.

Memory, lag and latency are sampled all the time, and the invariants are checked as it goes. All that it remembers of each record
is `tests.chaos.account`'s, so it may go on for days.
"""

import asyncio
import contextlib
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, KafkaTimeoutError
from msgspec import Struct

from tests.audit import Place
from tests.chaos.account import Account
from tests.chaos.cluster import Cluster
from tests.chaos.resident import resident_mib
from tests.chaos.trouble import Kind, Troublemaker, troubles
from tests.comments import is_comment
from tests.topics import Topics
from tests.workers import DELIVERY, WorkerProcess
from worker.demo.comments import demo_records

RATE: Final = 20.0
GROWTH_MIB: Final = 48.0
"""From the second quarter of a run to the last. A worker that is warm keeps what it has; the allocator's own ups and downs, and
what an outage lets it read ahead, are less than this."""
_DECK: Final = 500
_SAMPLES: Final = 400
_LOOK_S: Final = 1.0
_REST_S: Final = 300.0
_REQUEST_TIMEOUT_MS: Final = 10_000
_CHANGES: Final = ("source", "decided_at")


class Sample(Struct, frozen=True):
    """How it was at one time. `at_s`: since the start. Latencies are of what was decided since the sample before."""

    at_s: float
    rss_mib: dict[str, float]
    lag_messages: int
    lag_s: float
    p50_s: float | None
    p99_s: float | None


class Event(Struct, frozen=True):
    """One piece of trouble, from its start until everything was back."""

    at_s: float
    until_s: float
    kind: str


class Report(Struct):
    """All that a run has to say; `problems` is empty where all is well."""

    seed: int
    rate: float
    duration_s: float
    records: int = 0
    outcomes: int = 0
    repeats: int = 0
    growth_mib: float = 0.0
    samples: list[Sample] = []
    events: list[Event] = []
    problems: list[str] = []


class Soak:
    """One run.

    Args:
        cluster: whole.
        topics: empty.
        folder: for the workers' logs.
        seed: what chance starts from.
        duration_s: for how long comments come, and until there was trouble of each kind.
        rate: how many a second.
        mean_pause_s: between two pieces of trouble.
        tell: told of each sample and each event.
    """

    def __init__(
        self,
        cluster: Cluster,
        topics: Topics,
        folder: Path,
        *,
        seed: int,
        duration_s: float,
        rate: float = RATE,
        mean_pause_s: float,
        tell: Callable[[Report], None] = lambda _: None,
    ) -> None:
        self.report = Report(seed, rate, duration_s)
        self._cluster = cluster
        self._topics = topics
        self._chance = random.Random(seed)
        self._mean_pause_s = mean_pause_s
        self._tell = tell
        self._comments, self._decisions, self._dead_letters = (
            [TopicPartition(topic, partition) for partition in range(topics.partitions)]
            for topic in (topics.comments, topics.decisions, topics.dead_letters)
        )
        self._outputs = {at: index for index, at in enumerate([*self._decisions, *self._dead_letters])}
        self._account = Account(topics.partitions, len(self._outputs))
        # Nothing from memory: the model is to work for each comment.
        self._workers = {
            name: WorkerProcess(cluster, topics, folder, name=name, cache_entries=0) for name in ("steady", "victim")
        }
        self._started = time.monotonic()
        self._early = asyncio.Event()

    def end_early(self) -> None:
        """No more comments and no more trouble; what was begun is seen to its end."""
        self._early.set()

    async def run(self) -> None:
        """Fill in the report."""
        options = {"bootstrap_servers": self._cluster.bootstrap, "request_timeout_ms": _REQUEST_TIMEOUT_MS}
        async with AsyncExitStack() as stack:
            reader, meter = (
                AIOKafkaConsumer(
                    **options, auto_offset_reset="earliest", isolation_level=isolation, metadata_max_age_ms=10_000
                )
                for isolation in ("read_committed", "read_uncommitted")
            )
            for client in (reader, meter):
                await stack.enter_async_context(client)
            reader.assign([*self._comments, *self._outputs])
            admin = AIOKafkaAdminClient(**options, metadata_max_age_ms=10_000)
            stack.push_async_callback(admin.close)
            await admin.start()
            producer = await stack.enter_async_context(AIOKafkaProducer(**options, acks="all", linger_ms=5))
            for worker in self._workers.values():
                stack.callback(worker.kill)
                worker.start()
            for worker in self._workers.values():
                await worker.ready()
            self._started = time.monotonic()
            watching = await stack.enter_async_context(asyncio.TaskGroup())
            watchers = [
                watching.create_task(task) for task in (self._read(reader), self._look(meter, admin), self._sample())
            ]
            async with asyncio.TaskGroup() as group:
                group.create_task(self._produce(producer))
                group.create_task(self._make_trouble())
            await self._until_rest()
            for watcher in watchers:
                watcher.cancel()
            self._sum_up()
            for name, worker in self._workers.items():
                if (code := await worker.terminate()) != 0:
                    self.report.problems.append(f"{name} ended with {code} after SIGTERM")

    async def _produce(self, producer: AIOKafkaProducer) -> None:
        async with asyncio.TaskGroup() as group:
            for key, value in numbered_records(self.report.seed):
                if self._is_over():
                    return
                group.create_task(self._put(producer, key, value))
                await asyncio.sleep(1 / self.report.rate)

    async def _put(self, producer: AIOKafkaProducer, key: bytes, value: bytes) -> None:
        """Until it is acknowledged; it may then be there twice."""
        while True:
            try:
                metadata = await producer.send_and_wait(self._topics.comments, key=key, value=value)
            except KafkaError as error:
                if not (error.retriable or isinstance(error, KafkaTimeoutError)):
                    raise
                await asyncio.sleep(_LOOK_S)
                continue
            self._account.acknowledge((metadata.partition, metadata.offset), time.monotonic())
            return

    async def _make_trouble(self) -> None:
        maker = Troublemaker(self._cluster, self._workers["steady"], self._workers["victim"], self._chance)
        for pause_s, kind in troubles(self._chance, self._mean_pause_s):
            if self._is_over(pause_s):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._early.wait()
                    return
            started = self._now()
            await maker.make(kind)
            self.report.events.append(Event(started, self._now(), kind))
            self._tell(self.report)

    async def _read(self, reader: AIOKafkaConsumer) -> None:
        while True:
            for at, records in (await reader.getmany(timeout_ms=200)).items():
                for record in records:
                    if at.topic == self._topics.comments:
                        self._account.log((at.partition, record.offset), int(record.key))
                    else:
                        place, number, digest = _read_outcome(record)
                        if at.topic == self._topics.dead_letters and is_comment(record.value or b""):
                            self._account.refuse(place)
                        written = self._outputs[at], record.offset
                        self._account.decide(place, number, digest, written, time.monotonic())
            for at, output in self._outputs.items():
                self._account.read(output, await reader.position(at))
            self._account.check_commits()

    async def _look(self, meter: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> None:
        """What is committed, and then where the outputs end, with what is not committed yet."""
        while True:
            try:
                offsets = await admin.list_consumer_group_offsets(self._topics.comments, partitions=self._comments)
                ends = await meter.end_offsets(list(self._outputs))
            except KafkaError:
                # A broker is down, on purpose.
                await asyncio.sleep(_LOOK_S)
                continue
            committed = {at.partition: found.offset for at, found in offsets.items() if found.offset > 0}
            self._account.commit(committed, [ends[at] for at in self._outputs])
            await asyncio.sleep(_LOOK_S)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(max(_LOOK_S, self.report.duration_s / _SAMPLES))
            pids = {name: worker.process.pid for name, worker in self._workers.items()}
            rss = {name: resident_mib(pid) for name, pid in pids.items() if pid is not None}
            latencies_s = self._account.take_latencies_s()
            self.report.samples.append(
                Sample(
                    at_s=self._now(),
                    rss_mib={name: mib for name, mib in rss.items() if mib is not None},
                    lag_messages=self._account.lag,
                    lag_s=self._account.lag_s(time.monotonic()),
                    p50_s=_quantile(latencies_s, 0.5),
                    p99_s=_quantile(latencies_s, 0.99),
                )
            )
            self._count()
            self._tell(self.report)

    async def _until_rest(self) -> None:
        try:
            async with asyncio.timeout(_REST_S):
                while not self._account.is_at_rest():  # noqa: ASYNC110  three tasks tell it things
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            self.report.problems.append(f"not at rest {_REST_S:.0f} s after the last comment")

    def _sum_up(self) -> None:
        self._count()
        report = self.report
        report.problems += self._account.problems()
        if DELIVERY == "transactions" and report.repeats:
            report.problems.append(f"{report.repeats} records have more than one outcome")
        report.growth_mib = growth_mib(report.samples)
        if report.growth_mib > GROWTH_MIB:
            report.problems.append(f"memory has grown by {report.growth_mib:.0f} MiB, more than {GROWTH_MIB:.0f}")

    def _count(self) -> None:
        account = self._account
        self.report.records, self.report.outcomes = account.records, account.outcomes
        self.report.repeats = account.repeats

    def _is_over(self, in_s: float = 0.0) -> bool:
        """No shorter than one trouble of each kind, however slow the machine is."""
        has_had_all = {event.kind for event in self.report.events} == set(Kind)
        return self._early.is_set() or (has_had_all and self._now() + in_s > self.report.duration_s)

    def _now(self) -> float:
        return time.monotonic() - self._started


def growth_mib(samples: list[Sample]) -> float:
    """What the steady worker has more in the last quarter of a run than in the second; it warms up in the first."""
    rss = [sample.rss_mib["steady"] for sample in samples if "steady" in sample.rss_mib]
    quarter = len(rss) // 4
    if not quarter:
        return 0.0
    return statistics.median(rss[-quarter:]) - statistics.median(rss[quarter : 2 * quarter])


def numbered_records(seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Comments, and some that no worker could screen, for ever. The key is the number; so is the end of a comment's id."""
    numbers = count()
    for turn in count():
        for _, value in demo_records(seed + turn, _DECK):
            number = next(numbers)
            numbered = value
            if is_comment(value):
                numbered = json.dumps(json.loads(value) | {"comment_id": f"soak-{number}"}).encode()
            yield str(number).encode(), numbered


def _read_outcome(record: ConsumerRecord) -> tuple[Place, int, int]:
    """Which place and number it is of, and a digest of what has to be the same each time."""
    headers = dict(record.headers)
    if "screener-original-offset" in headers:
        place = int(headers["screener-original-partition"]), int(headers["screener-original-offset"])
        return place, int(record.key), _digest(record.value + headers["screener-reason"])
    decision: dict[str, Any] = json.loads(record.value)
    kept = {name: value for name, value in decision.items() if name not in _CHANGES}
    number = int(decision["comment_id"].removeprefix("soak-"))
    source = decision["source"]
    return (source["partition"], source["offset"]), number, _digest(json.dumps(kept, sort_keys=True).encode())


def _digest(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") or 1


def _quantile(ascending: list[float], share: float) -> float | None:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else None
