"""What the worker's consumer decides otherwise than Faust's. How it fares on a broker is for the tests with one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from faust.types import TP
from structlog.testing import capture_logs

from tests.fakes import record
from worker.consumer import BUSY_PACE_S, PACE_S, Consumer, Fetch
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


def reading(consumer: Any, committed: dict[TopicPartition, int | None]) -> dict[TopicPartition, int | str]:
    """Give the consumer partitions with these commits; where it goes on reading."""
    sought: dict[TopicPartition, int | str] = {}

    async def ask(place: TopicPartition) -> int | None:
        return committed[place]

    async def seek_to_beginning(*places: TopicPartition) -> None:
        sought.update(dict.fromkeys(places, "beginning"))

    consumer._thread._consumer = SimpleNamespace(
        assignment=committed.keys, committed=ask, seek=sought.__setitem__, seek_to_beginning=seek_to_beginning
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


@pytest.mark.parametrize(("unfinished", "pace"), [(False, PACE_S), (True, BUSY_PACE_S)])
async def test_where_something_came_it_asks_again_a_moment_later_and_else_at_once(
    consumer: Any, monkeypatch: pytest.MonkeyPatch, *, unfinished: bool, pace: float
) -> None:
    """A longer moment while there is something to do: a worker with much to do asks seldom, and is brought much at a time."""
    fetch = Fetch(PLACE, [record(b"value")], 1)
    if unfinished:
        consumer.track_message(fetch)
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
    assert slept == [pytest.approx(pace - 0.001)]
    assert (await consumer._wait_next_records(1.0))[0] == {}
    assert len(slept) == 1


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
