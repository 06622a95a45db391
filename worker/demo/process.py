"""One child process: started apart from the terminal, its output in a file, ended and reaped whatever happens.

What brokers and the demo's worker have in common.
"""

import atexit
import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from worker.errors import StartupError

_TAIL_BYTES: Final = 64 * 1024
_LINE_CHARACTERS: Final = 300
_COLOURS: Final = re.compile(r"\x1b\[[\d;]*m")


class Process:
    """A command that can be started, ended and started again.

    It leads a session of its own: Ctrl-C in a terminal goes to everything in the foreground at once, and a broker that goes
    before its worker leaves the worker waiting for it.

    Args:
        command: what to run.
        log: where standard output and error go; a later start appends.
        environment: the whole environment; None hands on ours.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._environment = environment
        self._popen: subprocess.Popen[bytes] | None = None
        self.log = log

    @property
    def pid(self) -> int | None:
        """None where it does not run."""
        return self._popen.pid if self._popen is not None and self.running else None

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; minus the signal's number where a signal ended it. None before that."""
        return None if self._popen is None else self._popen.poll()

    def start(self) -> None:
        """Start it. Does nothing where it runs already."""
        if self.running:
            return
        with self.log.open("ab") as log, _interrupts_held():
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        # Should a Ctrl-C come between here and the block that is to end it.
        atexit.register(self.kill)

    def wait(self, timeout_s: float) -> int:
        """Wait until it ends by itself. Raises TimeoutError."""
        assert self._popen is not None, "wait before start"  # noqa: S101  a mistake in this code, not in the world
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self._command[0]} still runs after {timeout_s:g} s") from None

    def stop(self, grace_s: float) -> int | None:
        """SIGTERM, and SIGKILL after `grace_s`. Returns how it ended."""
        if self._popen is None:
            return None
        self._popen.terminate()
        try:
            with contextlib.suppress(TimeoutError):
                self.wait(grace_s)
        finally:
            # After the grace period, and after a Ctrl-C that cut it short: nothing may be left behind.
            self.kill()
        return self.exit_code

    def kill(self) -> int | None:
        """SIGKILL, to everything in its session's process group. Returns how it ended."""
        if self._popen is None:
            return None
        if self.running:
            self.hurry()
        atexit.unregister(self.kill)
        return self._popen.wait()

    def hurry(self) -> None:
        """SIGKILL without waiting. Takes no lock, so a signal handler may call it; whoever ends the process reaps it."""
        if self._popen is not None and self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log, without colours, long ones cut."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(line[:_LINE_CHARACTERS] for line in _COLOURS.sub("", text).split("\n")[-lines - 1 :]).rstrip()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back for a moment: what raises between the fork and the assignment leaves a child that nobody knows."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread only
        return
    held: list[int] = []

    def hold(number: int, _: Any) -> None:
        held.append(number)

    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for missed in held:
            signal.raise_signal(missed)


def run_to_end(command: list[str], failure: str, timeout_s: float) -> None:
    """Run a command to its end.

    Raises:
        StartupError: it failed, or took longer; with what it said.
    """
    with tempfile.TemporaryDirectory() as directory:
        process = Process(command, Path(directory) / "log")
        try:
            process.start()
            code = process.wait(timeout_s)
        except TimeoutError as error:
            raise StartupError(f"{failure}: {error}:\n{process.tail()}") from None
        finally:
            process.kill()
        if code != 0:
            raise StartupError(f"{failure}:\n{process.tail()}")
