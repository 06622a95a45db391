"""Pauses between the tries of work that the world keeps from succeeding, and for how long it has.

Beside the flow: publishing and screening ask how long to wait; /readyz and `screener_paused` ask whether anything waits.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Backoff:
    """The pauses of one kind of work; several pieces of it may be failing at once.

    Args:
        first_s: the longest that the first pause can be; that of each next one is twice as long,
        longest_s: up to this.
        jitter: a number from 0 to 1: a pause is from half to all of its longest, so that workers that failed together do not
            try again together.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        first_s: float,
        longest_s: float,
        *,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._clock = clock
        self._begun: dict[object, float] = {}
        self._failing_since: dict[object, float] = {}

    @property
    def working_s(self) -> float:
        """For how long the oldest unfinished piece has been going on, failing or not; 0 where there is none."""
        return self._age(self._begun)

    @property
    def failing_s(self) -> float:
        """For how long the piece that has failed longest has; 0 where none fails."""
        return self._age(self._failing_since)

    @contextmanager
    def tries(self) -> Iterator[Iterator[float]]:
        """One piece of work: its pauses in seconds, to be asked for after each failure. It fails until this is left."""
        piece = object()
        self._begun[piece] = self._clock()
        try:
            yield self._pauses(piece)
        finally:
            del self._begun[piece]
            self._failing_since.pop(piece, None)

    def _age(self, since: dict[object, float]) -> float:
        return self._clock() - min(since.values()) if since else 0.0

    def _pauses(self, piece: object) -> Iterator[float]:
        self._failing_since[piece] = self._clock()
        pause_s = self._first_s
        while True:
            yield pause_s * (1 + self._jitter()) / 2
            pause_s = min(2 * pause_s, self._longest_s)
