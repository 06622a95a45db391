"""The other Faust edge over fakes: outcomes and their offset committed together, in offset order, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fakes import POISON, comment_value
from tests.pipelines import DEAD_LETTERS, DECISIONS, Bench, run_to_its_end, source, values
from worker.agents import Delivery
from worker.dead_letters import Limit
from worker.errors import DeadLetterLimit, FatalError
from worker.ledger import Lost
from worker.publisher import Message, Sink
from worker.screening import Outcome, Screener
from worker.transactional import TransactionalPipeline


class FakeLedger:
    """Remembers what was committed.

    Args:
        too_large: which messages the broker refuses for their size.
    """

    def __init__(self, too_large: Callable[[Message], bool] = lambda _: False) -> None:
        self.turn = asyncio.Lock()
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        """Cleared: nothing is committed."""
        self.open.set()
        self.commits: list[tuple[list[Message], int]] = []
        self.lost = False
        self.tried: list[int] = []
        """Positions of all that was to be committed."""
        self._too_large = too_large

    async def commit(self, messages: Sequence[Message], position: int, owned: Callable[[], bool]) -> list[int]:  # noqa: ARG002  asked after failures
        self.tried.append(position)
        self.asked.set()
        await self.open.wait()
        if self.lost:
            raise Lost
        if refused := [at for at, message in enumerate(messages) if self._too_large(message)]:
            return refused
        self.commits.append((list(messages), position))
        return []

    @property
    def positions(self) -> list[int]:
        return [position for _, position in self.commits]

    @property
    def written(self) -> list[Message]:
        return [message for messages, _ in self.commits for message in messages]


class FakeLedgers:
    """Ledgers that each assignment opens anew, as the real one does."""

    def __init__(self, create: Callable[[], FakeLedger] = FakeLedger) -> None:
        self.opened: list[dict[int, FakeLedger]] = []
        self._create = create

    async def assign(self, partitions: Collection[int]) -> dict[int, FakeLedger]:
        for ledger in self.opened[-1].values() if self.opened else ():
            ledger.lost = True
        self.opened.append({partition: self._create() for partition in partitions})
        return self.opened[-1]


class FirstIsSlow(TransactionalPipeline):
    """Its first window is screened last of all."""

    let_go: asyncio.Event
    windows = 0

    async def _screen(self, window: Sequence[Delivery]) -> list[Outcome | None]:
        self.windows += 1
        if self.windows == 1:
            await self.let_go.wait()
        return await super()._screen(window)


class TransactionalBench(Bench):
    """As for the other edge, with ledgers."""

    def __init__(
        self,
        ledgers: FakeLedgers | None = None,
        *,
        create: type[TransactionalPipeline] = TransactionalPipeline,
        patience_s: float = 10.0,
        **arguments: Any,
    ) -> None:
        self.ledgers = ledgers or FakeLedgers()
        self._create = create
        self._patience_s = patience_s
        super().__init__(**arguments)

    def create_pipeline(self, screener: Screener, publisher: Sink, **arguments: Any) -> TransactionalPipeline:  # noqa: ARG002
        return self._create(screener, self.ledgers, patience_s=self._patience_s, **arguments)  # type: ignore[arg-type]  # a stand-in

    @asynccontextmanager
    async def assigned(self, *partitions: int) -> AsyncIterator[dict[int, FakeLedger]]:
        """Run with these partitions, whose ledgers are the body's to watch."""
        await self.pipeline.assign(partitions)
        async with self.running():
            yield self.ledgers.opened[-1]


async def test_outcomes_and_the_offset_behind_them_are_committed_together() -> None:
    bench = TransactionalBench()
    async with bench.assigned(0, 1) as ledgers:
        await bench.admit(*values("hello", "stupid", POISON, "bye"))
        await bench.admit(b"no json", partition=1, start=70)
        await bench.until_settled(5)

    assert [source(message) for message in ledgers[0].written] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert [message.topic for message in ledgers[0].written] == [DECISIONS, DECISIONS, DEAD_LETTERS, DECISIONS]
    assert ledgers[0].positions[-1] == 4
    assert ([source(message) for message in ledgers[1].written], ledgers[1].positions) == ([(1, 70)], [71])
    assert bench.sample("screener_comments_total", action="allow") == 2
    assert (bench.pipeline.finished, bench.pipeline.in_flight) == (5, 0)


async def test_faust_is_left_nothing_to_commit() -> None:
    bench = TransactionalBench()
    async with bench.assigned(0):
        await bench.admit(*values("a", "b"))
        await bench.until_settled(2)

    assert (bench.consumer.acked, bench.consumer.released) == ({}, [(0, 0), (0, 1)])


async def test_nothing_is_counted_or_released_before_it_is_committed() -> None:
    bench = TransactionalBench()
    async with bench.assigned(0) as ledgers:
        ledgers[0].open.clear()
        await bench.admit(*values("a"))
        await ledgers[0].asked.wait()
        assert bench.consumer.settled == 0
        assert bench.pipeline.in_flight == 1
        assert bench.sample("screener_comments_total", action="allow") == 0
        ledgers[0].open.set()
        await bench.until_settled(1)

    assert bench.sample("screener_comments_total", action="allow") == 1


async def test_a_window_that_overtakes_another_is_committed_behind_it() -> None:
    bench = TransactionalBench(create=FirstIsSlow, max_window=2)
    assert isinstance(bench.pipeline, FirstIsSlow)
    bench.pipeline.let_go = asyncio.Event()
    async with bench.assigned(0, 1) as ledgers:
        await bench.admit(*values("a", "b", "c"))
        await bench.admit(comment_value("d", "p"), partition=1)
        await bench.until_settled(1)
        assert (ledgers[0].commits, ledgers[1].positions) == ([], [1])
        bench.pipeline.let_go.set()
        await bench.until_settled(4)

    assert [source(message) for message in ledgers[0].written] == [(0, 0), (0, 1), (0, 2)]
    assert ledgers[0].positions == [3]


async def test_runs_of_one_partition_wait_for_one_another() -> None:
    bench = TransactionalBench(max_window=1)
    async with bench.assigned(0) as ledgers:
        ledgers[0].open.clear()
        # Of three widths, so that each is a run of its own.
        await bench.admit(*values("a", "a longer one", "one that is longer than both"))
        await bench.until_called(score=3)
        async with asyncio.timeout(10):
            await ledgers[0].asked.wait()
        for _ in range(20):
            # Whoever would not wait gets the chance.
            await asyncio.sleep(0)
        assert len(ledgers[0].tried) == 1
        ledgers[0].open.set()
        await bench.until_settled(3)

    # A window that was screened before the one in front of it goes with that one.
    assert ledgers[0].positions == sorted({*ledgers[0].tried, 3})
    assert [source(message) for message in ledgers[0].written] == [(0, 0), (0, 1), (0, 2)]


async def test_a_tombstone_moves_the_offset_and_writes_nothing() -> None:
    bench = TransactionalBench()
    async with bench.assigned(0) as ledgers:
        await bench.admit(None, start=4)
        await bench.until_settled(1)

    assert ledgers[0].commits == [([], 5)]
    assert bench.sample("screener_tombstones_total") == 1


async def test_what_was_begun_before_a_pause_is_committed() -> None:
    """As at a SIGTERM, and in a rebalance until the group has dealt anew."""
    bench = TransactionalBench()
    bench.classifier.open.clear()
    async with bench.assigned(0) as ledgers:
        await bench.admit(*values("a", "b"))
        await bench.until_called(score=1)
        bench.pipeline.pause()
        bench.classifier.open.set()
        await bench.until_settled(2)

    assert ledgers[0].positions == [2]
    assert bench.sample("screener_stale_acks_total") == 0


async def test_what_a_rebalance_overtook_is_committed_by_nobody_and_released() -> None:
    bench = TransactionalBench()
    async with bench.assigned(0) as ledgers:
        ledgers[0].open.clear()
        await bench.admit(*values("a", "b"))
        await ledgers[0].asked.wait()
        bench.pipeline.pause()
        bench.consumer.generation = 2
        await bench.pipeline.assign([0])
        ledgers[0].open.set()
        await bench.until_settled(2)
        assert bench.consumer.released == [(0, 0), (0, 1)]
        await bench.admit(*values("a", "b"))
        await bench.until_settled(4)

    assert ledgers[0].commits == []
    assert bench.ledgers.opened[1][0].positions == [2]
    assert bench.sample("screener_stale_acks_total") == 2
    assert bench.sample("screener_comments_total", action="allow") == 2


async def test_nor_is_what_was_still_being_screened_when_it_came() -> None:
    bench = TransactionalBench()
    bench.classifier.open.clear()
    async with bench.assigned(0):
        await bench.admit(*values("a", "b"))
        await bench.until_called(score=1)
        bench.pipeline.pause()
        await bench.pipeline.assign([0])
        bench.classifier.open.set()
        await bench.until_settled(2)

    assert bench.ledgers.opened[1][0].tried == []
    assert bench.consumer.released == [(0, 0), (0, 1)]


async def test_a_partition_that_went_elsewhere_takes_nothing_with_it() -> None:
    bench = TransactionalBench()
    async with bench.assigned(0, 1) as ledgers:
        ledgers[0].open.clear()
        await bench.admit(*values("a"))
        await ledgers[0].asked.wait()
        bench.pipeline.pause()
        await bench.pipeline.assign([1])
        ledgers[0].open.set()
        await bench.until_settled(1)
        await bench.admit(*values("x"), partition=1)
        await bench.until_settled(2)

    assert bench.ledgers.opened[1][1].positions == [1]


async def test_a_partition_lost_to_somebody_in_the_group_is_let_go_when_the_group_says_so() -> None:
    bench = TransactionalBench()
    async with bench.assigned(0) as ledgers:
        ledgers[0].lost = True
        await bench.admit(*values("a"))
        await ledgers[0].asked.wait()
        assert bench.consumer.settled == 0
        bench.pipeline.pause()
        await bench.until_settled(1)

    assert bench.consumer.released == [(0, 0)]


async def test_one_lost_to_somebody_outside_it_ends_the_process() -> None:
    """Reading on would go on for ever, with nothing committed and no lag to be seen."""
    bench = TransactionalBench(patience_s=0.01)
    await bench.pipeline.assign([0])
    bench.ledgers.opened[-1][0].lost = True
    await bench.admit(*values("a"))
    with pytest.raises(FatalError, match="comments/0 is written for by somebody who is not in the group"):
        await run_to_its_end(bench)

    assert bench.consumer.settled == 0


async def test_too_many_dead_letters_stop_it_before_any_of_that_window_is_written() -> None:
    bench = TransactionalBench(limit=Limit(in_a_row=3, ratio=1.0, window=100))
    await bench.pipeline.assign([0])
    await bench.admit(b"1", b"2", b"3")
    with pytest.raises(DeadLetterLimit):
        await run_to_its_end(bench)

    assert bench.ledgers.opened[-1][0].commits == []


def is_of(comment: bytes) -> Callable[[Message], bool]:
    return lambda message: message.topic == DECISIONS and message.key == comment


async def test_a_decision_that_is_too_large_becomes_a_dead_letter_in_the_same_transaction() -> None:
    bench = TransactionalBench(FakeLedgers(lambda: FakeLedger(is_of(b"c1"))))
    async with bench.assigned(0) as ledgers:
        await bench.admit(*values("a", "b", "c"))
        await bench.until_settled(3)

    assert [(message.topic, source(message)) for message in ledgers[0].written] == [
        (DECISIONS, (0, 0)),
        (DEAD_LETTERS, (0, 1)),
        (DECISIONS, (0, 2)),
    ]
    assert bench.sample("screener_dead_letters_total", reason="decision_refused") == 1


async def test_a_dead_letter_that_is_too_large_needs_a_person() -> None:
    bench = TransactionalBench(FakeLedgers(lambda: FakeLedger(lambda message: message.topic == DEAD_LETTERS)))
    await bench.pipeline.assign([0])
    await bench.admit(b"no json")
    with pytest.raises(FatalError, match="comments/0/0 is too large for dead-letters"):
        await run_to_its_end(bench)

    assert bench.consumer.settled == 0
