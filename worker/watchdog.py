"""No progress with work waiting, or an event loop that no longer turns: print every stack and exit.

Kafka clients can stall without a word, and a model can hang in native code. Whoever supervises the process starts it again, and
nothing is lost, since what was unfinished was never acked. It runs in a thread, so that it outlives what it watches.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

EXIT_STALLED: Final = 70
"""EX_SOFTWARE: distinct from a refusal to start and from a crash."""


def dump_and_exit(message: str) -> None:
    """The end of a stalled process: one line, all stacks, no clean-up that could hang as well."""
    sys.stderr.write(f"watchdog: {message}\n")
    sys.stderr.flush()
    faulthandler.dump_traceback(all_threads=True)
    os._exit(EXIT_STALLED)


class Watchdog:
    """Fires once when neither the loop nor the work moves for too long.

    Args:
        timeout_s: how long that is.
        fire: what to do then; told why in one line.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        timeout_s: float,
        *,
        fire: Callable[[str], None] = dump_and_exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._fire = fire
        self._clock = clock
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._beat = self._progress = clock()
        self._finished = 0

    @property
    def stalled_s(self) -> float:
        """For how long work has been waiting without any being finished; seconds."""
        return self._clock() - self._progress

    def beat(self) -> None:
        """The event loop turns."""
        self._beat = self._clock()

    def report(self, *, finished: int, waiting: bool) -> None:
        """Say how many records were finished since the start, and whether any are waiting."""
        if finished != self._finished or not waiting:
            self._finished = finished
            self._progress = self._clock()

    def check(self) -> None:
        """Look once; fires if it has to."""
        now = self._clock()
        if now - self._beat > self._timeout_s:
            self._fire(f"the event loop has not turned for {now - self._beat:.0f} s")
        elif now - self._progress > self._timeout_s:
            self._fire(f"records are waiting and none was finished for {now - self._progress:.0f} s")

    def start(self) -> None:
        """Watch from a thread of its own."""
        self._beat = self._progress = self._clock()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(min(1.0, self._timeout_s / 10)):
            self.check()
