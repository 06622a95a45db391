"""What the worker's consumer decides otherwise than Faust's. How it fares on a broker is for the tests with one."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest_v4
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from faust.types import TP
from structlog.testing import capture_logs

from tests.fakes import record
from worker.consumer import BUSY, IDLE, PACE_S, Consumer, Fetch
from worker.errors import FatalError
from worker.faust_app import create_faust_app
from worker.settings import Settings

PLACE = TP("comments", 0)
FOREVER_S = 1000.0


@pytest.fixture
async def consumer(tmp_path: Path) -> AsyncIterator[Any]:
    app = create_faust_app(Settings(kafka_bootstrap_servers="127.0.0.1:1"), tmp_path)
    consumer = app._new_consumer()
    yield consumer
    # Never started, so nobody else does.
    consumer._thread.thread_loop.close()


def committable(consumer: Any) -> dict[TP, int]:
    """What Faust would commit now."""
    offsets: dict[TP, int] = consumer._filter_committable_offsets(list(consumer._filter_tps_with_pending_acks()))
    return offsets


async def test_it_is_the_one_that_the_application_reads_with(consumer: Any) -> None:
    assert isinstance(consumer, Consumer)


async def test_no_position_told_commits_nothing(consumer: Any) -> None:
    assert committable(consumer) == {}


@pytest.mark.parametrize(
    ("committed", "told", "expected"),
    [
        (None, [1], 1),
        (None, [1, 9], 9),
        (1, [10], 10),
        (2585, [2586, 2590], 2590),
        (40, [42], 42),
    ],
    ids=["the first ever", "a hole behind offset 0", "and the commit that follows", "holes", "a marker before it"],
)
async def test_the_last_position_told_is_committed_whatever_is_missing_in_the_log(
    consumer: Any, committed: int | None, told: list[int], expected: int
) -> None:
    consumer._committed_offset[PLACE] = committed
    for position in told:
        consumer.advance(PLACE, position)

    assert committable(consumer) == {PLACE: expected}


class Coordinator:
    """The group's, as far as commits go. It answers when it is allowed to."""

    def __init__(self, consumer: Any) -> None:
        self.asked: list[dict[TP, int]] = []
        self.committed: dict[TP, int] = {}
        self.refuses = False
        self.was_asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()
        consumer._thread.assignment = lambda: {PLACE}
        consumer._thread.commit = self._commit

    async def _commit(self, offsets: dict[TP, int]) -> bool:
        self.asked.append(dict(offsets))
        self.was_asked.set()
        await self.may_answer.wait()
        if self.refuses:
            return False
        self.committed |= offsets
        return True


async def test_a_commit_that_failed_is_made_up_for_by_the_next(consumer: Any) -> None:
    coordinator, told = Coordinator(consumer), []
    consumer.app.on_committed = lambda: told.append("some")
    consumer.app.on_committing = lambda: lambda: told.append("all")
    consumer.advance(PLACE, 5)
    coordinator.refuses = True
    assert not await consumer.commit()
    assert told == []

    coordinator.refuses = False
    assert await consumer.commit()
    assert (coordinator.committed, told) == ({PLACE: 5}, ["some", "all"])
    assert not await consumer.commit()
    assert (len(coordinator.asked), told) == (2, ["some", "all", "all"])


async def test_what_is_somebody_elses_by_now_is_not_committed(consumer: Any) -> None:
    coordinator = Coordinator(consumer)
    consumer.advance(TP("comments", 7), 5)
    await consumer.commit()

    assert coordinator.asked == []


async def commit_under_way(consumer: Any, position: int) -> tuple[Coordinator, asyncio.Task[bool]]:
    """One that the coordinator was asked for, and does not answer yet."""
    coordinator = Coordinator(consumer)
    coordinator.may_answer.clear()
    consumer.advance(PLACE, position)
    commit = asyncio.create_task(consumer.commit())
    await coordinator.was_asked.wait()
    return coordinator, commit


async def test_whoever_waits_for_a_commit_can_be_told_to_stop_and_nobody_else_is(consumer: Any) -> None:
    """Else neither an error nor a signal would end a worker whose coordinator is silent."""
    coordinator, first = await commit_under_way(consumer, 5)
    others = [asyncio.create_task(consumer.commit()) for _ in range(2)]
    await asyncio.sleep(0)
    others[0].cancel()
    await asyncio.wait({others[0]}, timeout=10)

    assert others[0].cancelled()
    assert not others[1].done()
    assert len(coordinator.asked) == 1
    coordinator.may_answer.set()
    async with asyncio.timeout(10):
        assert [await first, await others[1]] == [True, False]


async def test_what_is_finished_last_is_committed_before_a_stop_though_a_commit_was_under_way(consumer: Any) -> None:
    coordinator, under_way = await commit_under_way(consumer, 15)
    consumer.advance(PLACE, 20)
    stopping = asyncio.create_task(consumer.wait_empty())
    await asyncio.sleep(0)
    coordinator.may_answer.set()
    async with asyncio.timeout(10):
        await asyncio.gather(under_way, stopping)

    assert coordinator.committed == {PLACE: 20}


async def test_holes_are_nobodys_account(consumer: Any) -> None:
    for offset in range(0, 1000, 10):
        await consumer._add_gap(PLACE, offset + 1, offset + 10)

    assert not consumer._gap[PLACE]


async def test_a_partition_without_a_commit_is_read_from_its_beginning_again(consumer: Any) -> None:
    """What was fetched of it in the middle of a rebalance was thrown away, and its position lies behind that."""
    new, old = TopicPartition("comments", 1), TopicPartition("comments", 2)
    sought = reading(consumer, {new: None, old: 7})

    assert await consumer._thread._seek() == {new: None, old: 7}
    assert sought == {new: "beginning", old: 7}


async def test_what_our_own_transactions_wrote_is_not_read_again_whatever_the_coordinator_knows(consumer: Any) -> None:
    """It would be written a second time."""
    places = [TopicPartition("comments", partition) for partition in range(4)]
    sought = reading(consumer, dict(zip(places, [None, 300, 900, None], strict=True)))
    consumer.app.written = {0: 500, 1: 500, 2: 500, 3: None}.get

    assert await consumer._thread._seek() == dict(zip(places, [500, 500, 900, None], strict=True))
    assert sought == dict(zip(places, [500, 500, 900, "beginning"], strict=True))


async def test_where_a_group_has_no_commit_and_there_is_something_to_read_it_says_so_once(consumer: Any) -> None:
    """All that was decided before is decided again, and acted on again: after an outage nobody may have meant that."""
    places = [TopicPartition("comments", partition) for partition in range(4)]
    logs = dict(zip(places, [(0, 9), (5, 5), (3, 4), (0, 9)], strict=True))
    reading(consumer, dict(zip(places, [None, None, None, 7], strict=True)), logs)
    with capture_logs() as lines:
        await consumer._thread._seek()
        await consumer._thread._seek()

    assert [(line["log_level"], line["topic"], line["partitions"]) for line in lines] == [
        ("warning", "comments", [0, 2])
    ]
    assert "decided as live" in lines[0]["event"]


async def test_nothing_fails_where_that_cannot_be_told(consumer: Any) -> None:
    new = TopicPartition("comments", 0)

    async def silent(_: Any) -> None:
        raise KafkaConnectionError

    sought = reading(consumer, {new: None}, {new: (0, 9)})
    answering, consumer._thread._consumer.end_offsets = consumer._thread._consumer.end_offsets, silent
    with capture_logs() as lines:
        assert await consumer._thread._seek() == {new: None}
        assert (sought, lines) == ({new: "beginning"}, [])
        consumer._thread._consumer.end_offsets = answering
        await consumer._thread._seek()
    assert [line["partitions"] for line in lines] == [[0]]


def reading(
    consumer: Any,
    committed: dict[TopicPartition, int | None],
    logs: Mapping[TopicPartition, tuple[int, int]] | None = None,
) -> dict[TopicPartition, int | str]:
    """Give the consumer partitions with these commits; where it goes on reading.

    Args:
        logs: the first offset of each and the next; None: they are empty.
    """
    sought: dict[TopicPartition, int | str] = {}
    logs = logs or dict.fromkeys(committed, (0, 0))

    async def first(places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: logs[place][0] for place in places}

    async def ends(places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: logs[place][1] for place in places}

    async def ask(place: TopicPartition) -> int | None:
        return committed[place]

    async def seek_to_beginning(*places: TopicPartition) -> None:
        sought.update(dict.fromkeys(places, "beginning"))

    consumer._thread._consumer = SimpleNamespace(
        assignment=committed.keys,
        committed=ask,
        seek=sought.__setitem__,
        seek_to_beginning=seek_to_beginning,
        beginning_offsets=first,
        end_offsets=ends,
    )
    return sought


async def test_nothing_is_dropped_for_lying_before_what_was_read_or_committed(consumer: Any) -> None:
    """A log that was cut short begins again below the commit, and what it says there is news."""
    consumer._read_offset.update({PLACE: 200})
    consumer._read_offset[PLACE] = 300
    assert consumer._read_offset[PLACE] is None

    consumer._committed_offset[PLACE] = 200
    consumer._to_message(PLACE, [record(b"later", offset=205)])
    assert consumer._committed_offset[PLACE] == 200
    with capture_logs() as logs:
        consumer._to_message(PLACE, [record(b"earlier", offset=40)])
        consumer._to_message(PLACE, [record(b"and on", offset=41)])
    assert [line["log_level"] for line in logs] == ["error"]
    # Somebody who had read on beyond it may still be heard.
    consumer.advance(PLACE, 200)
    assert committable(consumer) == {}
    consumer.advance(PLACE, 41)
    assert committable(consumer) == {PLACE: 41}


async def test_faust_looks_for_no_livelock(consumer: Any) -> None:
    """By statistics that nobody keeps: it would log an error a second, and ask aiokafka for a position that it may not have."""
    with capture_logs() as logs:
        consumer.verify_event_path(1e9, PLACE)

    assert logs == []


async def test_a_partition_that_is_revoked_takes_its_position_along(consumer: Any) -> None:
    async def nothing(_: set[TP]) -> None:
        pass

    consumer.advance(PLACE, 5)
    consumer._on_partitions_revoked = nothing
    await consumer.on_partitions_revoked({PLACE})

    assert committable(consumer) == {}


async def fetched(consumer: Any, *records: ConsumerRecord[bytes, bytes]) -> list[tuple[TP, Fetch]]:
    """What the consumer hands on of records that aiokafka has for it."""
    by_partition: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]] = {}
    for each in records:
        by_partition.setdefault(TopicPartition(each.topic, each.partition), []).append(each)

    async def getmany(**_: object) -> Any:
        return by_partition

    consumer._getmany = getmany
    consumer._thread.highwater = lambda _: 100
    consumer._set_active_tps({TP(place.topic, place.partition) for place in by_partition})
    return [each async for each in consumer.getmany(1.0)]


async def test_what_was_fetched_of_a_partition_is_handed_on_together(consumer: Any) -> None:
    records = [record(b"value", at, partition=partition) for partition in (0, 1) for at in (3, 4, 9)]
    consumer.app.consumer_generation_id = 7
    handed = await fetched(consumer, *records)

    assert [place for place, _ in handed] == [TP("comments", 0), TP("comments", 1)]
    for (place, fetch), expected in zip(handed, (records[:3], records[3:]), strict=True):
        assert list(fetch.records) == expected
        assert (fetch.tp, fetch.topic, fetch.partition, fetch.offset) == (place, *place, 3)
        assert (fetch.size, fetch.unfinished, fetch.generation_id) == (15, 3, 7)


async def test_a_fetch_is_as_large_as_all_that_a_producer_may_make_large() -> None:
    headers = [("trace", b"x" * 100), ("né", None), ("", b"")]
    fetch = Fetch(PLACE, [record(b"value", 0, key=b"key", headers=headers), record(None, 1)], 1)

    assert (list(fetch.sizes), fetch.size) == ([3 + 5 + 5 + 100 + 2, 0], 115)


async def test_it_comes_through_to_a_stream_as_it_is(consumer: Any) -> None:
    ((_, fetch),) = await fetched(consumer, record(None, 0), record(b"\xff", 1))
    topic = consumer.app.topic("comments", key_type=bytes, value_type=bytes, value_serializer="raw")
    event = await topic.decode(fetch, propagate=True)

    assert event.message is fetch
    assert [each.value for each in event.message.records] == [None, b"\xff"]


async def test_what_nobody_works_on_is_waited_for_no_longer(consumer: Any) -> None:
    fetch = Fetch(PLACE, [record(b"value")], 1)
    consumer._unacked_messages.add(fetch)
    waiting = asyncio.create_task(consumer._wait_for_ack(timeout=60))
    await asyncio.sleep(0)
    consumer.release(fetch)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert consumer._waiting_for_ack is None or waiting.done()
    assert not consumer.unacked
    await waiting


async def test_it_reads_what_is_committed_and_shares_partitions_out_one_by_one(consumer: Any) -> None:
    thread = consumer._thread
    client = thread._create_worker_consumer(consumer.transport)

    assert client._isolation_level == "read_committed"
    assert (client._fetch_min_bytes, client._fetch_max_wait_ms) == IDLE
    assert thread._assignor is RoundRobinPartitionAssignor
    await client.stop()


async def test_when_a_full_buffer_has_room_again_it_reads_on_at_once(consumer: Any) -> None:
    consumer._set_active_tps({PLACE})
    consumer.resume_flow()
    consumer.on_buffer_full(PLACE)
    waiting = asyncio.create_task(consumer._wait_next_records(FOREVER_S))
    await asyncio.sleep(0)
    assert not waiting.done()

    consumer.on_buffer_drop(PLACE)

    async with asyncio.timeout(10):
        assert await waiting == ({}, {PLACE})


async def test_while_a_partition_waits_for_room_it_does_not_wait_long_for_the_others(consumer: Any) -> None:
    other = TP("comments", 1)
    asked: list[float] = []

    async def getmany(**asked_for: Any) -> Any:
        asked.append(asked_for["timeout"])
        return {}

    consumer._getmany = getmany
    consumer._set_active_tps({PLACE, other})
    consumer.resume_flow()
    await consumer._wait_next_records(1.0)
    consumer.on_buffer_full(PLACE)
    assert await consumer._wait_next_records(1.0) == ({}, {other})

    assert asked == [1.0, 0.05]


async def test_where_something_came_it_asks_again_a_moment_later_and_else_at_once(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, slept = 100.0, []
    answers: list[dict[TP, Any]] = [{PLACE: [record(b"value")]}, {}, {}]

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    async def getmany(**_: Any) -> Any:
        return answers.pop(0)

    consumer._getmany = getmany
    consumer._set_active_tps({PLACE})
    consumer.resume_flow()
    monkeypatch.setattr("worker.consumer.time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(asyncio, "sleep", sleep)

    found, _ = await consumer._wait_next_records(1.0)
    assert (list(found), slept) == ([PLACE], [])
    now += 0.001
    assert (await consumer._wait_next_records(1.0))[0] == {}
    assert slept == [pytest.approx(PACE_S - 0.001)]
    assert (await consumer._wait_next_records(1.0))[0] == {}
    assert len(slept) == 1


class Broker:
    """One that answers a fetch when it is told to: aiokafka's client, as far as its fetcher knows it."""

    _metadata_max_age_ms = 300_000

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.asked: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        """Bytes that each fetch waits for, and milliseconds that it does at most."""
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: 1)

    async def send(self, _: int, request: Any) -> Any:
        built = request.build(FetchRequest_v4)
        self.asked.put_nowait((built.min_bytes, built.max_wait_time))
        batch = await self._answers.get()
        return SimpleNamespace(API_VERSION=4, topics=[(PLACE.topic, [(PLACE.partition, 0, 1, 1, [], batch)])])

    async def asked_after(self, batch: bytes) -> tuple[int, int]:
        """What the next fetch asks for, when this one brought these records, or none."""
        self._answers.put_nowait(batch)
        return await self.asked.get()


def batch_of(value: bytes) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1024)
    builder.append(0, 1, None, value, [])
    return bytes(builder.build())


@pytest.fixture
async def broker(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Broker]:
    """Of which the consumer reads one partition, with aiokafka's own fetcher, and has asked for the first time."""
    broker, subscriptions = Broker(), SubscriptionState()
    place = TopicPartition(*PLACE)
    subscriptions.assign_from_user([place])
    subscriptions.seek(place, 0)
    fetcher = Fetcher(broker, subscriptions, fetch_max_wait_ms=IDLE.max_wait_ms)
    # The thread was never started, and what is asked of it is done here.
    monkeypatch.setattr(consumer._thread, "thread_loop", asyncio.get_running_loop())
    consumer._thread._consumer = SimpleNamespace(_fetcher=fetcher, _closed=False)
    consumer.resume_flow()
    assert await broker.asked.get() == IDLE
    yield broker
    await fetcher.close()


def taken(consumer: Any) -> asyncio.Task[Any]:
    """What the consumer takes of what aiokafka has for it, as soon as there is something."""
    thread = consumer._thread
    return asyncio.create_task(thread._fetch_records(thread._consumer, {PLACE}, timeout=FOREVER_S, max_records=500))


async def test_while_something_is_unfinished_the_broker_waits_for_more(consumer: Any, broker: Broker) -> None:
    """It is asked again the moment that an answer is taken, so nobody is left to wait here; and an idle worker asks seldom."""
    fetch = Fetch(PLACE, [record(b"value")], 1)
    async with asyncio.timeout(10):
        taking = taken(consumer)
        await asyncio.sleep(0)
        assert await broker.asked_after(batch_of(b"value")) == BUSY
        assert list(await taking) == [PLACE]

        consumer.track_message(fetch)
        taking = taken(consumer)
        assert await broker.asked_after(b"") == BUSY
        consumer.release(fetch)
        await asyncio.sleep(0)
        assert await broker.asked_after(b"") == IDLE
        taking.cancel()


async def test_nor_does_it_ask_often_where_what_it_took_came_to_nobody(consumer: Any, broker: Broker) -> None:
    """As in the middle of a rebalance."""
    async with asyncio.timeout(10):
        taking = taken(consumer)
        await asyncio.sleep(0)
        assert await broker.asked_after(batch_of(b"value")) == BUSY
        await taking

        taking = taken(consumer)
        await asyncio.sleep(0)
        assert await broker.asked_after(b"") == IDLE
        taking.cancel()


async def test_what_is_let_go_when_its_thread_has_ended_is_let_go(consumer: Any) -> None:
    consumer._thread.thread_loop.close()
    consumer.release(Fetch(PLACE, [record(b"value")], 1))

    assert not consumer.unacked


async def test_no_silence_is_long_enough_to_leave_the_group(consumer: Any) -> None:
    """While its buffers are full a slow worker asks for nothing, and aiokafka counts that against it."""
    a_month_s = 30 * 86400

    assert consumer.app.conf.broker_max_poll_interval > a_month_s


async def test_nothing_flows_while_a_new_assignment_is_prepared(tmp_path: Path) -> None:
    """Of a worker that had no partitions nobody stops the flow, and what it fetched then had nowhere to go."""
    app = create_faust_app(Settings(kafka_bootstrap_servers="127.0.0.1:1"), tmp_path)
    flows: list[bool] = []

    async def prepare(_: set[Any]) -> None:
        flows.append(app.consumer.flow_active or app.flow_control.is_active())
        raise FatalError("that is all")

    async def crash(_: BaseException) -> None:
        pass

    app.on_assigned, app.crash = prepare, crash
    app.consumer.resume_flow()
    app.flow_control.resume()
    await app._on_partitions_assigned({PLACE})

    assert flows == [False]
    app.consumer._thread.thread_loop.close()
