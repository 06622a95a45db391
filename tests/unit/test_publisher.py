"""The publisher over a producer that fails as aiokafka's does: at the send, at the confirmation, once, for ever."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)
from aiokafka.partitioner import DefaultPartitioner

from worker.errors import FatalError
from worker.publisher import Message, Publisher, _pack, in_order

A, B, C = (Message("decisions", name, name + b" value") for name in (b"a", b"b", b"c"))

Answer = Callable[[bytes, int], KafkaError | None]
"""What becomes of a message, by its key and how often it was sent before."""


class FakeBatch:
    """A batch that holds so many records, and one of any size."""

    def __init__(self, holds: int) -> None:
        self.records: list[dict[str, Any]] = []
        self.closed = False
        self._holds = holds

    def append(self, **fields: Any) -> object | None:
        assert isinstance(fields["headers"], list), "aiokafka's own is in C and takes nothing else"
        if self.closed or len(self.records) == self._holds:
            return None
        self.records.append(fields)
        return object()

    def close(self) -> None:
        self.closed = True


class FakeProducer:
    """Answers each batch with a future, as aiokafka's producer does: what is wrong with one of its records is so with all."""

    def __init__(self, partitions: int = 1000, batch_holds: int = 100) -> None:
        self.batches: list[FakeBatch] = []
        self._partitions = partitions
        self._batch_holds = batch_holds
        self.options: dict[str, Any] = {}
        self.at_send: Answer = lambda *_: None
        self.at_confirmation: Answer = lambda *_: None
        self.cannot_start: KafkaError | None = None
        self.unknown: dict[str, KafkaError] = {}
        self.sent: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        """Cleared: nothing is confirmed."""
        self.open.set()
        self.running = False
        self.stopped = 0
        self._tasks: list[asyncio.Task[None]] = []

    def create(self, **options: Any) -> "FakeProducer":
        self.options = options
        return self

    async def start(self) -> None:
        if self.cannot_start:
            raise self.cannot_start
        self.running = True

    async def stop(self) -> None:
        self.running = False
        self.stopped += 1

    async def partitions_for(self, topic: str) -> set[int]:
        if error := self.unknown.get(topic):
            raise error
        return set(range(self._partitions))

    def create_batch(self) -> FakeBatch:
        return FakeBatch(self._batch_holds)

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Task[None]:
        assert self.running
        assert batch.closed, "it would linger"
        before = {record["key"]: self.keys.count(record["key"]) for record in batch.records}
        self.batches.append(batch)
        self.sent += [{"topic": topic, "partition": partition} | record for record in batch.records]
        for key, times in before.items():
            if error := self.at_send(key, times):
                raise error
        self._tasks.append(asyncio.create_task(self._confirm(before)))
        return self._tasks[-1]

    async def _confirm(self, before: dict[bytes, int]) -> None:
        await self.open.wait()
        for key, times in before.items():
            if error := self.at_confirmation(key, times):
                raise error

    @property
    def keys(self) -> list[bytes]:
        return [sent["key"] for sent in self.sent]


class Bench:
    """A publisher with a producer that is told how to fail. Each message has a partition to itself, unless there is but one."""

    def __init__(self, timeout_s: float = 5.0, **producer: int) -> None:
        self.producer = FakeProducer(**producer)
        self.retried: list[int] = []
        self.publisher = Publisher(
            {"bootstrap_servers": "kafka:9092"},
            compression="lz4",
            timeout_s=timeout_s,
            retried=self.retried.append,
            create_producer=self.producer.create,
            jitter=lambda: 1.0,
        )

    async def publish(self, *messages: Message) -> list[int]:
        await self.publisher.start()
        return await self.publisher.publish(messages)


def failing(error: KafkaError, keys: Sequence[bytes] = (b"b",), times: int = 10**6) -> Answer:
    return lambda key, before: error if key in keys and before < times else None


async def test_everything_is_sent_as_it_is_in_order() -> None:
    bench = Bench()
    letter = Message("dead-letters", None, b"\xff", [("h", b"\x00"), ("h", None)], 1_795_000_000_123, 3)

    assert await bench.publish(A, letter) == []
    assert bench.producer.sent == [
        {
            "topic": "decisions",
            "key": b"a",
            "value": b"a value",
            "headers": [],
            "timestamp": None,
            "partition": DefaultPartitioner()(b"a", range(1000), range(1000)),
        },
        {
            "topic": "dead-letters",
            "key": None,
            "value": b"\xff",
            "headers": [("h", b"\x00"), ("h", None)],
            "timestamp": 1_795_000_000_123,
            "partition": 3,
        },
    ]


async def test_what_goes_to_one_partition_goes_together() -> None:
    bench = Bench(partitions=1)

    assert await bench.publish(A, B, C) == []
    assert [[record["key"] for record in batch.records] for batch in bench.producer.batches] == [[b"a", b"b", b"c"]]


async def test_as_far_as_it_fits_in_a_batch() -> None:
    bench = Bench(partitions=1, batch_holds=2)

    assert await bench.publish(A, B, C) == []
    assert [[record["key"] for record in batch.records] for batch in bench.producer.batches] == [[b"a", b"b"], [b"c"]]


async def test_a_batch_that_failed_is_sent_again_as_a_whole_and_no_other() -> None:
    bench = Bench(partitions=1, batch_holds=2)
    bench.producer.at_confirmation = failing(NotEnoughReplicasError(), [b"a"], times=1)

    assert await bench.publish(A, B, C) == []
    assert bench.producer.keys == [b"a", b"b", b"c", b"a", b"b"]
    assert bench.retried == [2]


@pytest.mark.parametrize("where", ["at_send", "at_confirmation"])
async def test_of_a_batch_that_is_too_large_only_what_is_too_large_alone_is_refused(where: str) -> None:
    bench = Bench(partitions=1)
    setattr(bench.producer, where, failing(MessageSizeTooLargeError()))

    assert await bench.publish(A, B, C) == [1]
    assert bench.producer.keys == [b"a", b"b", b"c", b"a", b"b", b"c"]
    assert bench.retried == []


async def test_of_a_batch_that_is_too_large_nothing_overtakes_the_last_word_on_a_comment() -> None:
    """A batch behind it had a place already when the broker judged it; that goes once more."""
    bench = Bench(partitions=1, batch_holds=2)

    async def judge_by_batch(before: dict[bytes, int]) -> None:
        if len(before) > 1:
            raise MessageSizeTooLargeError

    bench.producer._confirm = judge_by_batch  # type: ignore[method-assign]
    old, other, new = (
        Message("decisions", key, value) for key, value in ((b"c1", b"old"), (b"c2", b"x"), (b"c1", b"new"))
    )

    assert await bench.publish(old, other, new) == []
    sent = [record["value"] for record in bench.producer.sent]
    assert sent == [b"old", b"x", b"new", b"old", b"x", b"new"]


async def test_and_what_then_fails_for_another_reason_is_sent_again() -> None:
    bench = Bench(partitions=1)
    bench.producer.at_confirmation = lambda key, before: (
        MessageSizeTooLargeError() if key == b"a" else KafkaTimeoutError() if before == 1 else None
    )

    assert await bench.publish(A, B, C) == [0]
    assert bench.producer.keys == [b"a", b"b", b"c", b"a", b"b", b"c", b"b", b"c"]


async def test_a_topic_that_cannot_be_looked_up_keeps_no_other_from_being_written() -> None:
    bench = Bench(timeout_s=0.05)
    bench.producer.unknown = {"dead-letters": KafkaTimeoutError()}

    with pytest.raises(FatalError, match=r"^1 records not confirmed within 0.05 s: KafkaTimeoutError$"):
        await bench.publish(Message("dead-letters", b"l", b"letter"), A)
    assert bench.producer.keys == [b"a"]


async def test_aiokafkas_batches_take_a_record_of_any_size_and_no_other_beside_it() -> None:
    producer = AIOKafkaProducer(max_batch_size=1000)
    large = Message("decisions", b"large", b"x" * 5000, [("h", None)], 1_795_000_000_123)
    batches = _pack(producer, [A, large, B, C], range(4), [0])

    assert [batch.places for batch in batches] == [[0], [1], [2, 3]]
    assert all(batch.builder.closed() for batch in batches)
    await producer.stop()


async def test_it_returns_only_when_all_are_confirmed() -> None:
    bench = Bench()
    bench.producer.open.clear()
    publishing = asyncio.create_task(bench.publish(A, B))
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.producer.keys == [b"a", b"b"]
    assert not publishing.done()
    assert bench.publisher.waiting_s > 0.0

    bench.producer.open.set()
    assert await publishing == []
    assert bench.publisher.waiting_s == 0.0


async def test_nothing_to_publish() -> None:
    assert await Bench().publish() == []


@pytest.mark.parametrize("error", [KafkaTimeoutError(), NotEnoughReplicasError(), KafkaConnectionError()])
@pytest.mark.parametrize("where", ["at_send", "at_confirmation"])
async def test_only_what_failed_is_sent_again(error: KafkaError, where: str) -> None:
    bench = Bench()
    setattr(bench.producer, where, failing(error, [b"b", b"c"], times=1))

    assert await bench.publish(A, B, C) == []
    assert bench.producer.keys == [b"a", b"b", b"c", b"b", b"c"]
    assert bench.retried == [2]


async def test_of_each_key_the_last_message_is_the_last_one_written() -> None:
    bench = Bench(partitions=1, batch_holds=1)
    edited = [Message("decisions", key, value) for key, value in ((b"b", b"old"), (b"a", b"a"), (b"b", b"new"))]
    # The first batch fails, once; the other two are written.
    bench.producer.at_confirmation = failing(KafkaTimeoutError(), times=1)

    assert await bench.publish(*edited, Message("dead-letters", None, b"1"), Message("dead-letters", None, b"2")) == []
    assert [sent["value"] for sent in bench.producer.sent] == [b"old", b"a", b"new", b"1", b"2", b"old", b"new"]


async def test_without_keys_those_of_one_lane_stay_in_order_in_one_partition() -> None:
    bench = Bench(partitions=3, batch_holds=1)
    letters = [Message("dead-letters", None, f"{lane} {at}".encode(), lane=lane) for at in range(3) for lane in (4, 0)]
    # The first batch fails, once; what stands behind it goes again with it.
    bench.producer.at_confirmation = failing(KafkaTimeoutError(), keys=[None], times=1)  # type: ignore[list-item]

    assert await bench.publish(*letters) == []
    sent = [(sent["partition"], sent["value"]) for sent in bench.producer.sent]
    assert {partition for partition, value in sent if value.startswith(b"4")} == {1}
    assert {partition for partition, value in sent if value.startswith(b"0")} == {0}
    assert sent[6:] == [(1, b"4 0"), (1, b"4 1"), (1, b"4 2")]


async def test_a_copy_that_is_told_where_to_go_stays_in_order_with_those_beside_it() -> None:
    old, new = (Message("comments", None, value, partition=2) for value in (b"old", b"new"))

    assert in_order([0], [old, new], ()) == [0, 1]
    assert in_order([0], [old, Message("comments", None, b"new", partition=1)], ()) == [0]
    assert in_order([0], [old, Message("comments", None, b"new")], ()) == [0]


async def test_only_what_a_topic_will_not_take_for_its_time_loses_it() -> None:
    """The broker refuses the batch as a whole, those whose time is fine among it."""
    bench = Bench(partitions=1)
    bench.producer.at_confirmation = failing(InvalidTimestampError(), times=2)
    letters = [
        Message("dead-letters", key, b"x", timestamp_ms=ms) for key, ms in ((b"a", 1_000), (b"b", 7), (b"c", 2_000))
    ]

    assert await bench.publish(*letters) == []
    last = {sent["key"]: sent["timestamp"] for sent in bench.producer.sent}
    assert last == {b"a": 1_000, b"b": None, b"c": 2_000}


@pytest.mark.parametrize("where", ["at_send", "at_confirmation"])
async def test_what_a_topic_will_not_take_for_its_time_is_written_without_it(where: str) -> None:
    bench = Bench()
    setattr(bench.producer, where, failing(InvalidTimestampError(), times=1))
    old = Message("dead-letters", b"b", b"\xff", [("screener-original-timestamp", b"7")], 7)

    assert await bench.publish(A, old) == []
    assert [(sent["key"], sent["timestamp"]) for sent in bench.producer.sent] == [(b"a", None), (b"b", 7), (b"b", None)]
    assert bench.producer.sent[2]["headers"] == old.headers


@pytest.mark.parametrize("where", ["at_send", "at_confirmation"])
async def test_what_is_not_confirmed_in_time_is_fatal(where: str) -> None:
    bench = Bench(timeout_s=0.05)
    setattr(bench.producer, where, failing(NotEnoughReplicasError()))

    with pytest.raises(FatalError, match=r"^1 records not confirmed within 0.05 s: NotEnoughReplicasError$"):
        await bench.publish(A, B)


async def test_a_broker_that_takes_it_and_never_answers_is_fatal_in_time_too() -> None:
    bench = Bench(timeout_s=0.05)
    bench.producer.open.clear()

    with pytest.raises(FatalError, match=r"^2 records not confirmed within 0.05 s: no answer$"):
        await bench.publish(A, B)


async def test_it_is_known_for_how_long_it_has_been_failing_and_when_it_no_longer_does() -> None:
    bench = Bench()
    bench.producer.at_confirmation = failing(NotEnoughReplicasError(), times=1)
    failing_s: list[float] = []
    bench.publisher._retried = lambda _: failing_s.append(bench.publisher.failing_s)
    assert bench.publisher.failing_s == 0.0

    await bench.publish(A, B)

    assert len(failing_s) == 1
    assert failing_s[0] > 0.0
    assert bench.publisher.failing_s == 0.0


async def test_it_tries_until_then() -> None:
    bench = Bench(timeout_s=1.4)
    bench.producer.at_confirmation = failing(KafkaTimeoutError())

    with pytest.raises(FatalError):
        await bench.publish(B)

    # After 0.1, 0.2 and 0.4 s more; 0.8 s more would be too late. A machine that loses half a second changes nothing.
    assert bench.producer.keys == [b"b"] * 4


@pytest.mark.parametrize("error", [MessageSizeTooLargeError(), RecordListTooLargeError()])
@pytest.mark.parametrize("where", ["at_send", "at_confirmation"])
async def test_what_is_too_large_is_refused_and_the_rest_written(error: KafkaError, where: str) -> None:
    bench = Bench()
    setattr(bench.producer, where, failing(error))

    assert await bench.publish(A, B, C) == [1]
    assert bench.producer.keys == [b"a", b"b", b"c"]


async def test_a_refusal_is_remembered_while_others_are_tried_again() -> None:
    bench = Bench()
    bench.producer.at_confirmation = lambda key, before: (
        MessageSizeTooLargeError() if key == b"a" else KafkaTimeoutError() if key == b"c" and not before else None
    )

    assert await bench.publish(A, B, C) == [0]
    assert bench.producer.keys == [b"a", b"b", b"c", b"c"]


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError(), ClusterAuthorizationFailedError()])
async def test_what_is_not_allowed_is_fatal_at_once(error: KafkaError) -> None:
    bench = Bench()
    bench.producer.at_confirmation = failing(error)

    with pytest.raises(FatalError, match=f"^not allowed to write to decisions: {type(error).__name__}$"):
        await bench.publish(A, B)
    assert bench.producer.keys == [b"a", b"b"]


async def test_the_producer_waits_for_all_replicas_and_compresses() -> None:
    bench = Bench()
    await bench.publisher.start()

    options = bench.producer.options
    assert (options["bootstrap_servers"], options["acks"], options["compression_type"]) == ("kafka:9092", "all", "lz4")
    assert not options.get("enable_idempotence")


async def test_stopping_disconnects() -> None:
    bench = Bench()
    await bench.publisher.stop()
    assert bench.producer.stopped == 0

    await bench.publisher.start()
    await bench.publisher.stop()
    assert bench.producer.stopped == 1


async def test_a_start_that_fails_leaves_nothing_open() -> None:
    bench = Bench()
    bench.producer.cannot_start = KafkaConnectionError()

    with pytest.raises(KafkaConnectionError):
        await bench.publisher.start()
    assert bench.producer.stopped == 1
