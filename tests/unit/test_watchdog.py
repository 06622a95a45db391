"""The watchdog: it fires when the loop or the work stands still for too long, and only then."""

import os
import subprocess
import sys
import threading

from tests.fakes import ManualClock
from worker.watchdog import EXIT_STALLED, Watchdog


class Kennel:
    """A watchdog whose time passes by hand and whose bite is a note."""

    def __init__(self, timeout_s: float = 60.0) -> None:
        self.clock = ManualClock()
        self.fired: list[str] = []
        self.watchdog = Watchdog(timeout_s, fire=self.fired.append, clock=self.clock)

    def advance(self, seconds: float, *, beats: bool = True, finished: int = 0, waiting: bool = False) -> None:
        self.clock.advance(seconds)
        if beats:
            self.watchdog.beat()
            self.watchdog.report(finished=finished, waiting=waiting)
        self.watchdog.check()


def test_nothing_to_do_is_no_stall() -> None:
    kennel = Kennel()
    for _ in range(10):
        kennel.advance(59.0)

    assert kennel.fired == []
    assert kennel.watchdog.stalled_s == 0.0


def test_work_that_moves_is_no_stall() -> None:
    kennel = Kennel()
    for finished in range(10):
        kennel.advance(59.0, finished=finished + 1, waiting=True)

    assert kennel.fired == []


def test_work_that_waits_without_moving_is() -> None:
    kennel = Kennel()
    kennel.advance(1.0, finished=7, waiting=True)
    kennel.advance(60.0, finished=7, waiting=True)
    assert (kennel.fired, kennel.watchdog.stalled_s) == ([], 60.0)

    kennel.advance(1.0, finished=7, waiting=True)
    assert kennel.fired == ["records are waiting and none was finished for 61 s"]


def test_it_counts_from_when_the_work_came_not_from_when_there_was_none() -> None:
    kennel = Kennel()
    for _ in range(10):
        kennel.advance(50.0)
    kennel.advance(50.0, waiting=True)

    assert kennel.fired == []


def test_a_loop_that_no_longer_turns_is_a_stall_whatever_the_work() -> None:
    kennel = Kennel()
    kennel.advance(60.0, beats=False)
    assert kennel.fired == []

    kennel.advance(1.0, beats=False)
    assert kennel.fired == ["the event loop has not turned for 61 s"]


def test_it_watches_from_a_thread_until_it_is_stopped() -> None:
    fired = threading.Event()
    clock = ManualClock()
    watchdog = Watchdog(0.1, fire=lambda _: fired.set(), clock=clock)
    watchdog.start()
    clock.advance(1.0)

    assert fired.wait(10)
    watchdog.stop()
    assert watchdog._thread is not None
    watchdog._thread.join(10)
    assert not watchdog._thread.is_alive()


def test_time_before_the_start_does_not_count() -> None:
    kennel = Kennel()
    kennel.clock.advance(1000.0)
    kennel.watchdog.start()
    kennel.watchdog.check()
    kennel.watchdog.stop()

    assert kennel.fired == []


def test_the_end_of_a_stalled_process_shows_every_stack() -> None:
    program = "from worker.watchdog import dump_and_exit\ndef stalled():\n    dump_and_exit('no progress')\nstalled()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ)

    assert (ended.returncode, EXIT_STALLED) == (70, 70)
    assert ended.stderr.startswith("watchdog: no progress\n")
    assert "in stalled" in ended.stderr
