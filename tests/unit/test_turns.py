"""Turns: who shares a key waits, nobody else does, and nothing is kept of those that are over."""

import asyncio
import random

from worker.turns import Turns


async def test_windows_write_in_any_order_but_that_of_their_keys() -> None:
    chance = random.Random(7)
    turns = Turns()
    windows = [{(chance.randrange(3), str(chance.randrange(6))) for _ in range(chance.randrange(4))} for _ in range(40)]
    lined_up = [turns.line_up(keys) for keys in windows]
    written: list[int] = []

    async def write(at: int) -> None:
        for _ in range(chance.randrange(9)):
            await asyncio.sleep(0)
        async with turns.take(lined_up[at]):
            await asyncio.sleep(0)
            written.append(at)

    await asyncio.gather(*map(write, chance.sample(range(40), 40)))

    assert sorted(written) == list(range(40))
    assert written != list(range(40))
    place = {at: n for n, at in enumerate(written)}
    for first in range(40):
        for second in range(first + 1, 40):
            if windows[first] & windows[second]:
                assert place[first] < place[second]
    assert turns._last == {}


async def test_a_window_waits_for_those_before_it_alone() -> None:
    turns = Turns()
    one, two, other = turns.line_up([(0, "a")]), turns.line_up([(0, "a"), (0, "b")]), turns.line_up([(1, "a")])

    assert one.behind == other.behind == []
    assert two.behind == [one.done]
    async with turns.take(one):
        pass
    assert turns.line_up([(0, "a"), (0, "b")]).behind == [two.done]
