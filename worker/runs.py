"""Runs of the model: several at once, the most urgent first.

One run on one core wastes less than one run on all of them: nothing waits for the slowest part of each layer, and a batch
of a hundred tokens costs each of them hardly more than a large one. So cores are filled with runs, not runs with cores.

A run of a few tokens costs each many times that, since all the weights have to come by for it. So batches of one width that wait
at the same time, whoever wants them, are one run as far as there is room in it.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

_NICE: Final = 5
_NICEST: Final = 19


class Batchlike(Protocol):
    """What a run takes, by itself or with others of its width."""

    @property
    def width(self) -> int:
        """Of each of its pieces, in tokens."""

    @property
    def tokens(self) -> int:
        """Of all of them."""


Batch = TypeVar("Batch", bound=Batchlike)
Result = TypeVar("Result")

PATIENCE_S: Final = 0.0001
"""For each token that he wants scored, a caller lets others who want less go first for so long. A token takes a core of a small
machine 65 µs."""


class _Wanted(NamedTuple, Generic[Batch, Result]):
    """A batch that waits. Sorted by when it is due; numbers tell those apart that are due at once."""

    due: float
    number: int
    batch: Batch
    future: "Future[Result]"


class Runs(Generic[Batch, Result]):
    """At most so many runs at once, for any number of threads that ask for some.

    Args:
        run: what is done with batches of one width, in a thread of its own: a result for each, in their order, which is the same
            whatever others there are.
        at_once: how many runs are under way at most.
        most: tokens that batches may have together to be one run. A batch that has more is one by itself.
    """

    def __init__(self, run: Callable[[Sequence[Batch]], Sequence[Result]], at_once: int, most: int) -> None:
        self._run = run
        self._most = most
        self._executor = ThreadPoolExecutor(at_once, thread_name_prefix="inference", initializer=_step_back)
        self._waiting: list[_Wanted[Batch, Result]] = []
        self._numbers = count()
        self._lock = threading.Lock()

    def results(self, batches: Sequence[Batch], tokens: int) -> Iterator[tuple[Batch, Result]]:
        """Each batch with what came of it, in the order in which they are given.

        Args:
            batches: what one caller wants.
            tokens: in all of them. Who wants little passes who wants much, until that one has waited `PATIENCE_S` a token: a
                comment of a few words does not stand behind ten pages, and the ten pages get their turn.

        Raises what `run` raises; then none of these batches is under way any more.
        """
        due = time.monotonic() + tokens * PATIENCE_S
        wanted = {self._submit(due, batch): batch for batch in batches}
        future: Future[Result] | None = None
        try:
            # Whoever asks is woken once, and not by every run: it can do nothing before the last.
            wait(wanted, return_when=FIRST_EXCEPTION)
            for future in sorted(wanted, key=_in_order):
                yield wanted[future], future.result()
        finally:
            wait([each for each in wanted if not each.cancel()])
            # An error holds the frames that it came through, and what these hold stays as long: all that the run had in hand.
            wanted.clear()
            future = None

    def _submit(self, due: float, batch: Batch) -> Future[Result]:
        future: Future[Result] = Future()
        with self._lock:
            heappush(self._waiting, _Wanted(due, next(self._numbers), batch, future))
        self._executor.submit(self._run_next)
        return future

    def _run_next(self) -> None:
        # For each batch somebody asks, and others may have taken it along.
        if together := self._take():
            self._run_together(together)

    def _take(self) -> list[_Wanted[Batch, Result]]:
        """The most urgent batch that nobody has given up, and all that can go with it."""
        with self._lock:
            while self._waiting:
                first = heappop(self._waiting)
                if first.future.set_running_or_notify_cancel():
                    return [first, *self._take_along(first.batch.width, self._most - first.batch.tokens)]
        return []

    def _take_along(self, width: int, room: int) -> list[_Wanted[Batch, Result]]:
        along, left = [], []
        for wanted in sorted(self._waiting):
            if wanted.batch.width != width or wanted.batch.tokens > room:
                left.append(wanted)
            elif wanted.future.set_running_or_notify_cancel():
                along.append(wanted)
                room -= wanted.batch.tokens
        # Sorted, it is a heap.
        self._waiting = left
        return along

    def _run_together(self, together: list[_Wanted[Batch, Result]]) -> None:
        """Run these at once, and where that fails each by itself: it fails alone, whoever is to blame."""
        try:
            results = self._run([wanted.batch for wanted in together])
        except BaseException as error:  # noqa: BLE001  raised again where the result is asked for
            if len(together) == 1:
                # Taken out: as above.
                together.pop().future.set_exception(error)
        else:
            for wanted, result in zip(together, results, strict=True):
                wanted.future.set_result(result)
            return
        while together:
            self._run_together([together.pop(0)])


def _in_order(future: Future[Any]) -> bool:
    """A key to sort by: one that failed first, since others may still be under way behind it."""
    return not (future.done() and future.exception())


def _step_back() -> None:
    """Let the event loop, and whoever reads and publishes, go first: they need little, and every comment waits for it."""
    if sys.platform != "linux":  # only there has each thread a niceness of its own
        return
    # A sandbox may refuse; then nobody goes first, which is no reason to end.
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + _NICE
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, _NICEST))
