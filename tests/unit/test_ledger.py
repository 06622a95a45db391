"""A partition's ledger: everything or nothing, once, whatever becomes of the answers."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    TransactionalIdAuthorizationFailed,
)

from worker.backoff import Backoff
from worker.errors import FatalError
from worker.ledger import Ledger, Ledgers, Lost, transactional_id
from worker.publisher import Message

TP = TopicPartition("comments", 0)
ONE, TWO = Message("decisions", b"1", b"one"), Message("decisions", b"2", b"two")


class Brokers:
    """What Kafka keeps of one transactional id: its epoch, what is committed, and the group's offset."""

    def __init__(self) -> None:
        self.epoch = 0
        self.offset: int | None = None
        self.written: list[bytes] = []
        self.faults: list[tuple[str, Callable[[], None]]] = []
        """Steps that go wrong when they are next taken, each once, and how."""
        self.forgotten: list[int | None] = []
        """Told instead of the group's offset, the last first: coordinators that have just come back."""
        self.silent = asyncio.Event()
        """Set: they confirm nothing that is sent. A producer that is discarded meanwhile says nothing either, as aiokafka's."""
        self.asked = asyncio.Event()
        self.oldest_ms = 0
        """They refuse a record whose time is before this."""

    def fail(self, step: str, error: BaseException) -> None:
        def fault() -> None:
            raise error

        self.faults.append((step, fault))

    def step(self, name: str) -> None:
        for at, (step, fault) in enumerate(self.faults):
            if step == name:
                del self.faults[at]
                fault()
                return


class FakeProducer:
    """aiokafka's transactional producer, as far as a ledger uses it."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._sender = SimpleNamespace(sender_task=None)
        self.client = SimpleNamespace(close=self._close)
        self.closed = False

    async def start(self) -> None:
        self._brokers.step("start")
        self._brokers.epoch += 1
        self._epoch = self._brokers.epoch

    async def begin_transaction(self) -> None:
        self._brokers.step("begin")
        self._values: list[bytes] = []
        self._offset = self._brokers.offset

    async def partitions_for(self, _: str) -> set[int]:
        return {0, 1}

    async def send(self, _: str, *, value: bytes, timestamp_ms: int | None, **__: Any) -> asyncio.Future[None]:
        self._values.append(value)
        confirmed = asyncio.get_running_loop().create_future()
        if self._brokers.silent.is_set():
            self._brokers.asked.set()
            return confirmed
        try:
            self._brokers.step("send")
            if timestamp_ms is not None and timestamp_ms < self._brokers.oldest_ms:
                raise InvalidTimestampError
            confirmed.set_result(None)
        except KafkaError as error:
            confirmed.set_exception(error)
        return confirmed

    async def send_offsets_to_transaction(self, offsets: dict[TopicPartition, int], group_id: str) -> None:
        assert group_id == "group"
        self._offset = offsets[TP]

    async def commit_transaction(self) -> None:
        self._brokers.step("before commit")
        if self._epoch != self._brokers.epoch:
            raise ProducerFenced
        self._brokers.written += self._values
        self._brokers.offset = self._offset
        self._brokers.step("after commit")

    async def _close(self) -> None:
        self.closed = True


class Bench:
    def __init__(self, *, timeout_s: float = 10.0) -> None:
        self.brokers = Brokers()
        self.producers: list[FakeProducer] = []
        self.owned = True
        self.timeout_s = timeout_s

    async def ledger(self) -> Ledger:
        ledger = Ledger(
            TP,
            "group",
            create_producer=self._create_producer,
            committed=self._committed,
            backoff=Backoff(0.001, 0.001),
            timeout_s=self.timeout_s,
            fence_wait_s=0.001,
            retried=lambda _: None,
        )
        await ledger.open()
        return ledger

    def owns(self) -> bool:
        return self.owned

    def _create_producer(self) -> FakeProducer:
        self.producers.append(FakeProducer(self.brokers))
        return self.producers[-1]

    async def _committed(self, tp: TopicPartition) -> int | None:
        assert tp == TP
        return self.brokers.forgotten.pop() if self.brokers.forgotten else self.brokers.offset


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_outcomes_and_offset_are_committed_together(bench: Bench) -> None:
    ledger = await bench.ledger()
    assert await ledger.commit([ONE, TWO], 2, bench.owns) == []
    assert (bench.brokers.written, bench.brokers.offset, ledger.position) == ([b"one", b"two"], 2, 2)


@pytest.mark.parametrize("step", ["start", "begin", "send", "before commit", "after commit"])
async def test_whichever_step_fails_or_loses_its_answer_all_is_written_once(bench: Bench, step: str) -> None:
    ledger = await bench.ledger()
    bench.brokers.fail("begin", KafkaConnectionError())
    bench.brokers.fail(step, KafkaConnectionError())
    assert await ledger.commit([ONE], 1, bench.owns) == []
    assert await ledger.commit([TWO], 2, bench.owns) == []
    assert (bench.brokers.written, bench.brokers.offset) == ([b"one", b"two"], 2)
    assert bench.brokers.faults == []


async def test_what_a_topic_will_not_take_for_its_time_is_written_without_it(bench: Bench) -> None:
    ledger = await bench.ledger()
    bench.brokers.oldest_ms = 1_000
    letters = [
        Message("dead-letters", None, value, timestamp_ms=ms) for value, ms in ((b"a", 7), (b"b", 8), (b"c", 2_000))
    ]

    assert await ledger.commit([*letters, ONE], 4, bench.owns) == []
    assert (bench.brokers.written, bench.brokers.offset) == ([b"a", b"b", b"c", b"one"], 4)
    assert len(bench.producers) == 2


async def test_a_producer_that_died_between_transactions_is_replaced(bench: Bench) -> None:
    ledger = await bench.ledger()
    bench.brokers.fail("begin", AssertionError("Invalid state transition"))
    assert await ledger.commit([ONE], 1, bench.owns) == []
    assert bench.brokers.written == [b"one"]
    assert [producer.closed for producer in bench.producers] == [True, False]


async def test_what_the_last_owner_commits_at_the_last_moment_is_not_done_again(bench: Bench) -> None:
    bench.brokers.faults.append(("start", lambda: setattr(bench.brokers, "offset", 7)))
    ledger = await bench.ledger()
    assert ledger.position == 7


async def test_fenced_by_an_heir_it_writes_nothing_and_leaves_the_heir_alone(bench: Bench) -> None:
    zombie, heir = await bench.ledger(), await bench.ledger()
    bench.owned = False
    for _ in range(2):
        with pytest.raises(Lost):
            await zombie.commit([ONE], 1, bench.owns)
    assert await heir.commit([ONE], 1, bench.owns) == []
    assert bench.brokers.written == [b"one"]


async def test_fenced_by_a_broker_that_waited_too_long_it_goes_on(bench: Bench) -> None:
    ledger = await bench.ledger()
    bench.brokers.epoch += 1
    assert await ledger.commit([ONE], 1, bench.owns) == []
    assert bench.brokers.written == [b"one"]


async def test_what_fails_while_the_partition_goes_elsewhere_is_not_tried_again(bench: Bench) -> None:
    """In a rebalance, or when it is asked to end: what was begun may be finished, and holds up nobody."""
    ledger = await bench.ledger()
    bench.owned = False
    assert await ledger.commit([ONE], 1, bench.owns) == []
    bench.brokers.fail("begin", KafkaConnectionError())
    with pytest.raises(Lost):
        await ledger.commit([TWO], 2, bench.owns)
    assert bench.brokers.written == [b"one"]


async def test_a_zombie_that_does_not_know_it_yet_repeats_nothing_of_its_heir(bench: Bench) -> None:
    zombie, heir = await bench.ledger(), await bench.ledger()
    assert await heir.commit([ONE], 1, bench.owns) == []
    with pytest.raises(Lost):
        await zombie.commit([ONE, TWO], 2, bench.owns)
    assert await heir.commit([TWO], 2, bench.owns) == []
    assert bench.brokers.written == [b"one", b"two"]


@pytest.mark.parametrize("known", [None, 1])
async def test_a_coordinator_that_knows_less_than_it_confirmed_is_asked_again(bench: Bench, known: int | None) -> None:
    ledger = await bench.ledger()
    assert await ledger.commit([ONE, TWO], 2, bench.owns) == []
    bench.brokers.fail("begin", KafkaConnectionError())
    bench.brokers.forgotten = [known, known]
    assert await ledger.commit([ONE], 3, bench.owns) == []
    assert (bench.brokers.forgotten, bench.brokers.written) == ([], [b"one", b"two", b"one"])


async def test_a_closed_ledger_opens_nothing_again(bench: Bench) -> None:
    ledger = await bench.ledger()
    await ledger.close()
    with pytest.raises(Lost):
        await ledger.commit([ONE], 1, bench.owns)
    assert len(bench.producers) == 1


async def test_what_a_ledger_is_closed_in_the_middle_of_is_lost_at_once(bench: Bench) -> None:
    ledger = await bench.ledger()
    bench.brokers.silent.set()
    async with asyncio.timeout(5):
        committing = asyncio.create_task(ledger.commit([ONE], 1, bench.owns))
        await bench.brokers.asked.wait()
        await ledger.close()
        with pytest.raises(Lost):
            await committing

    assert (bench.brokers.written, bench.brokers.offset) == ([], None)


async def test_what_is_too_large_is_named_and_nothing_written(bench: Bench) -> None:
    ledger = await bench.ledger()
    bench.brokers.fail("send", MessageSizeTooLargeError())
    assert await ledger.commit([ONE, TWO], 2, bench.owns) == [0]
    assert (bench.brokers.written, bench.brokers.offset) == ([], None)
    assert await ledger.commit([TWO], 2, bench.owns) == []
    assert bench.brokers.written == [b"two"]


async def test_who_may_not_use_the_transactional_id_is_told_so_at_once(bench: Bench) -> None:
    bench.brokers.fail("start", TransactionalIdAuthorizationFailed())
    with pytest.raises(FatalError, match="not allowed to commit as group: TransactionalIdAuthorizationFailed"):
        await bench.ledger()


async def test_brokers_that_never_answer_end_the_process() -> None:
    bench = Bench(timeout_s=0.05)
    ledger = await bench.ledger()
    for _ in range(1000):
        bench.brokers.fail("begin", KafkaConnectionError())
    with pytest.raises(FatalError, match="2 records not confirmed within"):
        await ledger.commit([ONE, TWO], 2, bench.owns)
    assert bench.brokers.written == []


async def test_ledgers_know_up_to_where_each_partition_is_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await bench.ledger()
    await ledger.commit([ONE], 7, bench.owns)
    monkeypatch.setattr("worker.ledger.AIOKafkaConsumer", lambda **_: None)
    ledgers = Ledgers(
        {}, topic="comments", group_id="group", compression=None, timeout_s=1, fence_wait_s=1, retried=lambda _: None
    )
    ledgers._open = {0: ledger}

    assert (ledgers.position(0), ledgers.position(1)) == (7, None)


def test_no_two_groups_write_under_one_id() -> None:
    """A broker lets the later of two go on, and takes nothing more of the other."""
    names = [
        ("screener", "eu.comments", 0),
        ("screener.eu", "comments", 0),
        ("screener", "comments.1", 0),
        ("screener", "comments", 10),
    ]
    ids = [transactional_id(*name) for name in names]

    assert len(set(ids)) == len(names)
    assert all(each.startswith(f"{group}.") for each, (group, _, _) in zip(ids, names, strict=True))
