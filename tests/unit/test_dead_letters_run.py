"""How a run over dead letters goes: in batches, at a rate, to the end of the one in hand; what is left open, and what is said."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import pytest

from tests.unit.test_redrive import numbered
from worker.dead_letters_run import batches, perform
from worker.errors import FatalError
from worker.redrive import Letter, State


async def streamed(letters: Iterable[Letter]) -> AsyncIterator[Letter]:
    for each in letters:
        yield each


class Acts:
    """What was asked to be done, in batches."""

    def __init__(self, too_large: Sequence[Letter] = (), fails_after: int = 10**6) -> None:
        self.batches: list[list[Letter]] = []
        self._too_large = too_large
        self._fails_after = fails_after
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    @property
    def letters(self) -> list[Letter]:
        return [letter for batch in self.batches for letter in batch]

    async def __call__(self, batch: Sequence[Letter]) -> list[Letter]:
        if len(self.batches) == self._fails_after:
            raise FatalError("3 records not confirmed within 1 s: no answer")
        self.begun.set()
        await self.may_end.wait()
        self.batches.append(list(batch))
        return [each for each in batch if each in self._too_large]


async def redriven(letters: Sequence[Letter], acts: Acts, *, rate: float | None = None, refused: Any = ()) -> bool:
    def judge(asked: Letter) -> str | None:
        return "not today" if asked in refused else None

    return await perform(streamed(letters), len(letters), State.REDRIVEN, judge, acts, rate=rate)


async def test_everything_is_done_in_batches_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    letters, acts = numbered(250), Acts()
    assert await redriven(letters, acts)

    assert [len(batch) for batch in acts.batches] == [100, 100, 50]
    assert acts.letters == letters
    assert capsys.readouterr() == ("250 of 250 letters redriven\n", "")


@pytest.mark.parametrize(("rate", "largest"), [(1e9, 100), (7.9, 7), (0.5, 1)])
async def test_a_batch_is_no_more_than_a_second_of_the_rate(rate: float, largest: int) -> None:
    acts = Acts()
    performing = asyncio.create_task(redriven(numbered(250), acts, rate=rate))
    while not acts.batches:  # noqa: ASYNC110  it is at work
        await asyncio.sleep(0)
    performing.cancel()
    await performing

    assert len(acts.batches[0]) == largest


async def test_large_letters_make_small_batches() -> None:
    letters = numbered(20, value=bytes(2**20))

    assert [len(batch) async for batch in batches(streamed(letters), 100)] == [8, 8, 4]


async def test_what_is_refused_stays_open_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    letters, acts = numbered(60), Acts()
    assert not await redriven(letters, acts, refused=letters[10:40])

    assert acts.letters == letters[:10] + letters[40:]
    out, err = capsys.readouterr()
    assert out == "30 of 60 letters redriven, 30 left open\n"
    assert err.splitlines()[0] == "0/10: left open: not today"
    assert err.splitlines()[20:] == ["and 10 more left open"]


async def test_what_is_too_large_is_counted_as_left_open(capsys: pytest.CaptureFixture[str]) -> None:
    letters = numbered(3)
    assert not await redriven(letters, Acts(too_large=letters[1:2]))

    assert capsys.readouterr() == (
        "2 of 3 letters redriven, 1 left open\n",
        "1/1: left open: too large for the comments topic with one more header\n",
    )


async def test_where_it_fails_it_says_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FatalError):
        await redriven(numbered(250), Acts(fails_after=2))

    assert capsys.readouterr().out == "200 of 250 letters redriven\n"


async def test_interrupted_it_finishes_the_batch_in_hand(capsys: pytest.CaptureFixture[str]) -> None:
    acts = Acts()
    acts.may_end.clear()
    performing = asyncio.create_task(redriven(numbered(250), acts))
    await acts.begun.wait()
    performing.cancel()
    await asyncio.sleep(0)
    assert acts.batches == []
    acts.may_end.set()

    assert not await performing
    assert capsys.readouterr() == (
        "100 of 250 letters redriven\n",
        "interrupted: the same command goes on with what is open\n",
    )


async def test_interrupted_while_it_waits_for_its_turn_it_ends_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    acts = Acts()
    performing = asyncio.create_task(redriven(numbered(3), acts, rate=0.001))
    await acts.begun.wait()
    while not acts.batches:  # noqa: ASYNC110  it is at work
        await asyncio.sleep(0)
    performing.cancel()

    assert not await performing
    assert len(acts.batches) == 1
    assert capsys.readouterr().out == "1 of 3 letters redriven\n"
