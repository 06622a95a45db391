"""Partitions taken away while something of them is in hand: what is written of it no more, and how long it may take.

Whoever gets them reads on from the last commit, and may have decided an edit before a worker that lost them has written what it
made of the old text. In a compacted topic that would be the last word.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from tests.fakes import FakeConsumer, RecordingPublisher, comment_value
from tests.pipelines import Bench, source, values
from worker.consumer import Fetch
from worker.errors import FatalError
from worker.faust_app import ScreenerApp, crash_of, create_faust_app
from worker.publisher import Message
from worker.settings import Settings

TP0 = TP("comments", 0)


class SharedTopic(RecordingPublisher):
    """One topic of decisions that several workers write to."""

    def __init__(self, log: list[Message]) -> None:
        super().__init__()
        self._log = log

    async def publish(self, messages: Sequence[Message]) -> list[int]:
        refused = await super().publish(messages)
        self._log += messages
        return refused


# ---- what is written no more


async def test_the_heir_of_a_partition_has_the_last_word_on_an_edited_comment() -> None:
    topic: list[Message] = []
    slow, heir = Bench(SharedTopic(topic)), Bench(SharedTopic(topic))
    slow.classifier.open.clear()
    async with slow.running(), heir.running():
        await slow.admit(comment_value("you are stupid", "c"))
        await slow.until_called(encode=1)
        slow.pipeline.pause()
        slow.consumer.generation = 2
        slow.pipeline.resume()
        await heir.admit(comment_value("you are stupid", "c"), comment_value("thanks", "c"))
        await heir.until_settled(2)
        slow.classifier.open.set()
        await slow.until_settled(1)

    assert [source(message) for message in topic] == [(0, 0), (0, 1)]
    assert slow.consumer.released == [(0, 0)]
    assert slow.sample("screener_stale_acks_total") == 1


@pytest.mark.parametrize("assigned", [True, False], ids=["dealt anew", "thrown out"])
async def test_what_is_still_being_screened_then_is_written_by_nobody_here(assigned: bool) -> None:
    """By the generation alone, where nobody has told of a new assignment yet; by the assignment alone, where it is the same."""
    publisher = RecordingPublisher()
    bench = Bench(publisher)
    bench.classifier.open.clear()
    async with bench.running():
        await bench.admit(*values("a", "b"), None, b"no json")
        await bench.until_called(encode=1)
        bench.pipeline.pause()
        if assigned:
            bench.pipeline.resume()
        else:
            bench.consumer.generation = -1
        bench.classifier.open.set()
        await bench.until_settled(4)

    assert publisher.published == []
    assert bench.consumer.acked == {}
    assert bench.sample("screener_comments_total", action="allow") == 0
    assert bench.sample("screener_dead_letters_total", reason="invalid_json") == 0


async def test_of_a_window_that_spans_two_assignments_the_later_is_written() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher)
    await bench.admit(comment_value("a", "a"))
    bench.pipeline.resume()
    await bench.admit(comment_value("b", "b"), partition=1)
    async with bench.running():
        await bench.until_settled(2)

    assert [source(message) for message in publisher.published] == [(1, 0)]
    assert (bench.consumer.acked, bench.consumer.released) == ({1: [0]}, [(0, 0)])


async def test_what_was_begun_before_a_pause_is_still_written_while_nobody_has_dealt_anew() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher)
    bench.classifier.open.clear()
    async with bench.running():
        await bench.admit(*values("a", "b"))
        await bench.until_called(encode=1)
        bench.pipeline.pause()
        bench.classifier.open.set()
        await bench.until_settled(2)

    assert bench.consumer.acked == {0: [0, 1]}


async def test_what_a_log_that_was_cut_short_has_lost_still_gets_its_decision() -> None:
    """Nobody reads it again."""
    publisher = RecordingPublisher()
    bench = Bench(publisher)
    bench.classifier.open.clear()
    async with bench.running():
        await bench.admit(*values("a"), start=1000)
        await bench.until_called(encode=1)
        await bench.admit(*values("b"), start=0)
        bench.classifier.open.set()
        await bench.until_settled(2)

    assert sorted(json.loads(message.value or b"")["source"]["offset"] for message in publisher.published) == [0, 1000]


# ---- how long it may take


def in_hand() -> Fetch:
    return FakeConsumer().fetch(0, 0, b"a", b"b", b"c")


def faust_app(folder: Path, *unacked: Fetch, finished: asyncio.Event | None = None, **given: Any) -> ScreenerApp:
    """Faust's application whose consumer has these fetches in hand, and waits until they are finished."""
    app = create_faust_app(Settings(kafka_bootstrap_servers="127.0.0.1:1", **given), folder)

    async def wait_empty() -> None:
        await (finished or asyncio.Event()).wait()

    coordinator = SimpleNamespace(generation=7)
    app._consumer = SimpleNamespace(
        unacked=unacked,
        assignment=lambda: {TP0},
        stop_flow=lambda: None,
        pause_partitions=lambda _: None,
        wait_empty=wait_empty,
        _thread=SimpleNamespace(_ensure_consumer=lambda: SimpleNamespace(_coordinator=coordinator)),
    )
    return app


async def test_a_worker_that_cannot_finish_ends_before_the_group_goes_on_without_it(tmp_path: Path) -> None:
    app = faust_app(tmp_path, in_hand(), rebalance_timeout_s=0.05)
    revoking = asyncio.create_task(app._on_partitions_revoked({TP0}))
    try:
        async with asyncio.timeout(10):
            with pytest.raises(
                FatalError, match=r"^3 records unfinished 0.04 s after a rebalance began \(SCREENER_REB"
            ):
                await crash_of(app)
    finally:
        revoking.cancel()
        await asyncio.gather(revoking, return_exceptions=True)


async def test_one_that_finishes_in_time_goes_on(tmp_path: Path) -> None:
    finished = asyncio.Event()
    app = faust_app(tmp_path, in_hand(), finished=finished, rebalance_timeout_s=600)
    asyncio.get_running_loop().call_soon(finished.set)
    async with asyncio.timeout(10):
        await app._on_partitions_revoked({TP0})

    assert not app._crashed.is_set()
    assert [task for task in asyncio.all_tasks() if not task.cancelling()] == [asyncio.current_task()]


async def test_nothing_in_hand_is_waited_for_by_the_brokers_clock(tmp_path: Path) -> None:
    """What then takes so long is the brokers'."""
    app = faust_app(tmp_path, rebalance_timeout_s=0.01)
    await app._end_overdue()

    assert not app._crashed.is_set()


async def test_with_transactions_the_brokers_see_to_it_themselves(tmp_path: Path) -> None:
    app = faust_app(tmp_path, in_hand(), rebalance_timeout_s=0.01, delivery="transactions")
    await app._end_overdue()

    assert not app._crashed.is_set()


@pytest.mark.parametrize("generation", [7, -1], ids=["a rebalance", "thrown out"])
async def test_who_was_thrown_out_of_the_group_knows_so_at_once(tmp_path: Path, generation: int) -> None:
    app = faust_app(tmp_path)
    app.consumer._thread._ensure_consumer()._coordinator.generation = generation
    app.consumer_generation_id = 7
    told: list[int] = []
    app.on_revoking = lambda: told.append(app.consumer_generation_id)
    app.on_rebalance_start()

    assert told == [generation]
