"""A process that has to get ready before anything can be asked of it."""

import time
from collections.abc import Callable

from worker.demo.process import Process
from worker.errors import StartupError

_LOOKS_EVERY_S = 0.1


def start(process: Process, is_ready: Callable[[], bool], patience_s: float, what: str) -> None:
    """Start it and wait until it is ready. Blocks.

    Raises:
        StartupError: it ends or does not get ready, with the last lines of its log.
    """
    process.start()
    deadline = time.monotonic() + patience_s
    while not is_ready():
        if not process.running or time.monotonic() > deadline:
            raise StartupError(f"{what} does not start:\n{process.tail()}")
        time.sleep(_LOOKS_EVERY_S)
