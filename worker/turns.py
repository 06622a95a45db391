"""Of two records of one comment, what is made of the later one is written later, though it may be done first.

Windows overtake each other, and an edited comment is its id again: written the other way round, the decision on its old
text would be the last word on it. A window waits for those before it that hold a comment of its own, and for no other.

    line up, as windows are taken ─► screened, in any order ─► wait ─► written ─► done
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from msgspec import Struct

Key = tuple[int, str]
"""A partition, and a comment's id there, whatever the record's key. Kafka keeps no other order."""


class Turn(Struct, eq=False):
    """A window's place."""

    keys: frozenset[Key]
    behind: list[asyncio.Event]
    done: asyncio.Event


class Turns:
    """Who writes before whom."""

    def __init__(self) -> None:
        self._last: dict[Key, asyncio.Event] = {}

    def line_up(self, keys: Iterable[Key]) -> Turn:
        """Behind all that lined up before and have one of these keys."""
        turn = Turn(frozenset(keys), [], asyncio.Event())
        turn.behind = list({id(last): last for key in turn.keys if (last := self._last.get(key))}.values())
        self._last.update(dict.fromkeys(turn.keys, turn.done))
        return turn

    @contextlib.asynccontextmanager
    async def take(self, turn: Turn) -> AsyncIterator[None]:
        """Wait until it comes; it is over when this is left. After an error nobody's comes who was behind it."""
        for before in turn.behind:
            await before.wait()
        yield
        turn.done.set()
        for key in turn.keys:
            if self._last.get(key) is turn.done:
                del self._last[key]
