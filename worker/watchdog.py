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

from worker.errors import where_raised

EXIT_STALLED: Final = 70
"""EX_SOFTWARE: distinct from a refusal to start and from a crash."""
_LAST_RESORT: Final = 1.5
"""After so many timeouts without a sign of life from the watchdog itself."""


def dump_and_exit(message: str, error: BaseException | None = None) -> None:
    """The end of a stalled process: one line, all stacks, no clean-up that could hang as well.

    Args:
        message: why.
        error: what ended it, where something did.
    """
    sys.stderr.write(f"watchdog: {message}\n")
    print_places(error)
    sys.stderr.flush()
    faulthandler.dump_traceback(all_threads=True)
    os._exit(EXIT_STALLED)


def print_places(error: BaseException | None) -> None:
    """Say of which class an error and its causes are and where they were raised; not their messages, which may quote a text."""
    while error is not None:
        sys.stderr.write(where_raised(error))
        error = error.__cause__


def end_unless_rearmed(timeout_s: float) -> None:
    """Print every stack and exit 1 unless this is called again in time: by a timer that needs no Python to run.

    Native code that holds the interpreter's lock for ever stops every thread of Python's, the watchdog's too.
    """
    faulthandler.dump_traceback_later(timeout_s, exit=True)


class Watchdog:
    """Fires once when neither the loop nor the work moves for too long.

    Args:
        timeout_s: how long that is.
        fire: what to do then; told why in one line.
        rearm: sets off the last resort in so many seconds, instead of when it was told before.
        disarm: calls it off.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        timeout_s: float,
        *,
        fire: Callable[[str], None] = dump_and_exit,
        rearm: Callable[[float], None] = end_unless_rearmed,
        disarm: Callable[[], None] = faulthandler.cancel_dump_traceback_later,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._fire = fire
        self._rearm = rearm
        self._disarm = disarm
        self._clock = clock
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._beat = self._progress = clock()
        self._seen = 0

    @property
    def stalled_s(self) -> float:
        """For how long work has been waiting without any being finished; seconds."""
        return self._clock() - self._progress

    def beat(self) -> None:
        """The event loop turns."""
        self._beat = self._clock()

    def report(self, *, progress: int, waiting: bool) -> None:
        """Hand in a number that moves while work does, and whether any records are waiting."""
        if progress != self._seen or not waiting:
            self._seen = progress
            self._progress = self._clock()

    def check(self) -> None:
        """Look once; fires if it has to."""
        now = self._clock()
        still_s, stalled_s = now - self._beat, now - self._progress
        if max(still_s, stalled_s) <= self._timeout_s:
            return
        # Progress is reported from the loop: while that stands still, nobody knows of any.
        if still_s > self._timeout_s / 2:
            self._fire(f"the event loop has not turned for {still_s:.0f} s")
        else:
            self._fire(f"records are waiting and none was finished for {stalled_s:.0f} s")

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
            self._rearm(self._timeout_s * _LAST_RESORT)
        self._disarm()
