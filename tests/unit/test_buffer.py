"""What Faust reads ahead: bounded by bytes, in Faust's own terms."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mode.utils.queues import FlowControlEvent

from tests.fakes import FakeConsumer, FakeEvent
from worker.buffer import Buffer
from worker.faust_app import create_faust_app
from worker.settings import Settings

EVENTS, BYTES = 100, 10_000


def make() -> Buffer:
    flow = FlowControlEvent(initially_suspended=False)
    return Buffer(EVENTS, max_bytes=BYTES, flow_control=flow, clear_on_resume=True)


def event(size: int | None) -> FakeEvent:
    return fetched(size)


def fetched(*sizes: int | None) -> FakeEvent:
    return FakeEvent(FakeConsumer().fetch(0, 0, *(None if size is None else b"x" * size for size in sizes)))


def offer(buffer: Buffer, *sizes: int | None) -> list[str]:
    """Put events in as Faust's conductor does; what it is told of the pressure."""
    told: list[str] = []
    for size in sizes:
        buffer.put_nowait_enhanced(
            event(size), on_pressure_high=lambda: told.append("pause"), on_pressure_drop=lambda: None
        )
    return told


@pytest.mark.parametrize("size", [None, 0, 1, 100])
async def test_small_records_count_for_one(size: int | None) -> None:
    buffer = make()
    offer(buffer, *[size] * (EVENTS - 1))
    assert (buffer.qsize(), buffer.full()) == (99, False)

    offer(buffer, size)
    assert buffer.full()


async def test_a_fetch_counts_for_its_records() -> None:
    buffer = make()
    buffer.put_nowait(fetched(*[10] * 60))
    assert (buffer.qsize(), buffer.full()) == (60, False)

    buffer.put_nowait(fetched(*[10] * 40))
    assert buffer.full()
    buffer.get_nowait()
    assert buffer.qsize() == 40


async def test_and_for_its_bytes_where_those_are_more() -> None:
    buffer = make()
    buffer.put_nowait(fetched(2000, None, 3000))
    assert buffer.qsize() == 50


async def test_large_ones_for_their_share_of_the_bytes() -> None:
    buffer = make()
    offer(buffer, *[3000] * 3)
    assert (buffer.qsize(), buffer.full()) == (90, False)

    offer(buffer, 3000)
    assert buffer.full()


async def test_the_partition_is_paused_before_it_is_full() -> None:
    assert offer(make(), *[2000] * 4) == []
    assert "pause" in offer(make(), *[2000] * 5)


async def test_and_goes_on_when_it_has_emptied() -> None:
    buffer = make()
    dropped: list[bool] = []
    for _ in range(5):
        buffer.put_nowait_enhanced(
            event(2000), on_pressure_high=lambda: None, on_pressure_drop=lambda: dropped.append(True)
        )
    taken = [buffer.get_nowait() for _ in range(3)]
    assert (len(taken), dropped, buffer.qsize()) == (3, [], 40)

    buffer.get_nowait()
    assert (dropped, buffer.qsize()) == ([True], 20)


async def test_one_that_is_larger_than_all_of_it_goes_through_alone() -> None:
    buffer = make()
    offer(buffer, BYTES * 5)
    assert buffer.full()

    buffer.get_nowait()
    assert (buffer.qsize(), buffer.empty(), buffer.full()) == (0, True, False)


async def test_who_waits_to_put_one_in_goes_on_when_there_is_room() -> None:
    buffer = make()
    offer(buffer, BYTES)
    waiting = asyncio.create_task(buffer.put(event(1)))
    await asyncio.sleep(0)
    assert not waiting.done()

    await buffer.get()
    async with asyncio.timeout(10):
        await waiting


async def test_after_a_rebalance_it_is_empty() -> None:
    buffer = make()
    offer(buffer, BYTES, 1)
    buffer.clear()

    assert (buffer.qsize(), buffer.full(), buffer.empty()) == (0, False, True)
    told: Any = offer(buffer, 1)
    assert told == []


async def test_it_is_what_faust_keeps_our_events_in(tmp_path: Path) -> None:
    app = create_faust_app(Settings(kafka_bootstrap_servers="kafka:9092", max_in_flight_bytes=BYTES), tmp_path)
    queue = app.topic("comments", value_type=bytes).queue

    assert isinstance(queue, Buffer)
    queue.put_nowait_enhanced(event(BYTES), on_pressure_high=lambda: None, on_pressure_drop=lambda: None)
    assert queue.full()
