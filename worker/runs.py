"""Runs of the model: several at once, the most urgent first.

One run on one core wastes less than one run on all of them: nothing waits for the slowest part of each layer, and a small batch
costs a token what a large one does. So cores are filled with runs, not runs with cores.
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
from typing import Any, Final, Generic, TypeVar

_NICE: Final = 5
_NICEST: Final = 19

Batch = TypeVar("Batch")
Result = TypeVar("Result")

PATIENCE_S: Final = 0.0001
"""For each token that he wants scored, a caller lets others who want less go first for so long. A token takes a core of a small
machine 65 µs."""


class Runs(Generic[Batch, Result]):
    """At most so many runs at once, for any number of threads that ask for some.

    Args:
        run: what is done with one batch, in a thread of its own.
        at_once: how many batches are under way at most.
    """

    def __init__(self, run: Callable[[Batch], Result], at_once: int) -> None:
        self._run = run
        self._executor = ThreadPoolExecutor(at_once, thread_name_prefix="inference", initializer=_step_back)
        self._waiting: list[tuple[float, int, Batch, Future[Result]]] = []
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
            heappush(self._waiting, (due, next(self._numbers), batch, future))
        self._executor.submit(self._run_next)
        return future

    def _run_next(self) -> None:
        with self._lock:
            _, _, batch, future = heappop(self._waiting)
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = self._run(batch)
        except BaseException as error:  # noqa: BLE001  raised again where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            # As above.
            del future, batch


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
