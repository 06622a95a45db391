"""The watchdog: it fires when the loop or the work stands still for too long, and only then."""

import os
import subprocess
import sys
import threading

import pytest

from tests.fakes import ManualClock
from worker.watchdog import EXIT_STALLED, Watchdog


class Kennel:
    """A watchdog whose time passes by hand and whose bite is a note."""

    def __init__(self, timeout_s: float = 60.0) -> None:
        self.clock = ManualClock()
        self.fired: list[str] = []
        self.watchdog = Watchdog(
            timeout_s, fire=self.fired.append, rearm=lambda _: None, disarm=lambda: None, clock=self.clock
        )

    def advance(self, seconds: float, *, beats: bool = True, progress: int = 0, waiting: bool = False) -> None:
        self.clock.advance(seconds)
        if beats:
            self.watchdog.beat()
            self.watchdog.report(progress=progress, waiting=waiting)
        self.watchdog.check()


def test_nothing_to_do_is_no_stall() -> None:
    kennel = Kennel()
    for _ in range(10):
        kennel.advance(59.0)

    assert kennel.fired == []
    assert kennel.watchdog.stalled_s == 0.0


def test_work_that_moves_is_no_stall() -> None:
    kennel = Kennel()
    for progress in range(10):
        kennel.advance(59.0, progress=progress + 1, waiting=True)

    assert kennel.fired == []


def test_work_that_waits_without_moving_is() -> None:
    kennel = Kennel()
    kennel.advance(1.0, progress=7, waiting=True)
    kennel.advance(60.0, progress=7, waiting=True)
    assert (kennel.fired, kennel.watchdog.stalled_s) == ([], 60.0)

    kennel.advance(1.0, progress=7, waiting=True)
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


def test_where_both_stand_still_the_loop_is_to_blame() -> None:
    kennel = Kennel()
    kennel.advance(10.0, progress=7, waiting=True)
    kennel.advance(10.0, progress=7, waiting=True)
    kennel.advance(51.0, beats=False)

    assert kennel.fired == ["the event loop has not turned for 51 s"]


def test_it_watches_from_a_thread_until_it_is_stopped() -> None:
    fired = threading.Event()
    clock = ManualClock()
    rearmed: list[float] = []
    again, disarmed = threading.Event(), threading.Event()

    def rearm(timeout_s: float) -> None:
        rearmed.append(timeout_s)
        if len(rearmed) > 2:
            again.set()

    watchdog = Watchdog(0.1, fire=lambda _: fired.set(), rearm=rearm, disarm=disarmed.set, clock=clock)
    watchdog.start()
    # Each time that it looks, not once: what is set off then ends the process unless it is called off again.
    assert again.wait(10)
    assert not disarmed.is_set()
    clock.advance(1.0)

    assert fired.wait(10)
    watchdog.stop()
    assert watchdog._thread is not None
    watchdog._thread.join(10)
    assert not watchdog._thread.is_alive()
    assert disarmed.is_set()
    # Later than the watchdog itself would fire.
    assert rearmed == pytest.approx([0.15] * len(rearmed))


def test_time_before_the_start_does_not_count() -> None:
    kennel = Kennel()
    kennel.clock.advance(1000.0)
    kennel.watchdog.start()
    kennel.watchdog.check()
    kennel.watchdog.stop()

    assert kennel.fired == []


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ, timeout=60
    )


def test_the_end_of_a_stalled_process_shows_every_stack() -> None:
    ended = run(
        "from worker.watchdog import dump_and_exit\ndef stalled():\n    dump_and_exit('no progress')\nstalled()"
    )

    assert (ended.returncode, EXIT_STALLED) == (70, 70)
    assert ended.stderr.startswith("watchdog: no progress\n")
    assert "in stalled" in ended.stderr


OUT_OF_MEMORY = """
from worker.watchdog import dump_and_exit
def inner():
    raise MemoryError("a private text")
def outer():
    try:
        inner()
    except MemoryError as error:
        raise RuntimeError("the same private text") from error
try:
    outer()
except RuntimeError as error:
    dump_and_exit("out of memory", error)
"""


def test_the_end_of_one_that_failed_shows_where_and_never_what_was_said_there() -> None:
    ended = run(OUT_OF_MEMORY)

    assert ended.returncode == EXIT_STALLED
    assert ended.stderr.startswith("watchdog: out of memory\nRuntimeError, raised at")
    assert "in outer" in ended.stderr
    assert "MemoryError, raised at" in ended.stderr
    assert "in inner" in ended.stderr
    assert "private" not in ended.stderr


HOLDS_THE_INTERPRETER = """
import re, threading
from worker.watchdog import Watchdog
armed = threading.Event()
from worker import watchdog
def rearm(timeout_s):
    watchdog.end_unless_rearmed(timeout_s)
    armed.set()
Watchdog(0.5, rearm=rearm).start()
armed.wait()
def grind():
    re.match("(a+)+$", "a" * 60 + "b")
grind()
"""


def test_code_that_lets_no_thread_run_ends_with_its_stacks_all_the_same() -> None:
    """The watchdog's thread is one of those that it does not let run."""
    ended = run(HOLDS_THE_INTERPRETER)

    assert ended.returncode == 1
    assert "in grind" in ended.stderr
