"""Ctrl-C, SIGTERM and a terminal that is closed, while there are child processes to end."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Child(Protocol):
    """What can be ended at once."""

    def hurry(self) -> None:
        """Kill it without waiting; safe in a signal handler."""


class Interrupts:
    """The first signal raises KeyboardInterrupt, once: on the way out nothing raises again, and children are killed instead."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._gentle: Callable[[], None] | None = None
        self.raised = False
        """Whether a signal has raised KeyboardInterrupt."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def watch(self, child: Child) -> None:
        """Kill this one, should somebody press Ctrl-C while it is being ended."""
        self._children.append(child)

    @contextmanager
    def gently(self, end: Callable[[], None]) -> Iterator[None]:
        """In the block the first signal only calls `end`; the next one raises."""
        self._gentle = end
        try:
            yield
        finally:
            self._gentle = None

    def _handle(self, number: int, _: Any) -> None:
        if self.raised:
            for child in self._children:
                child.hurry()
        elif self._gentle is not None and number != signal.SIGHUP:  # nobody is left to show a gentle end to
            end, self._gentle = self._gentle, None
            end()
        else:
            self.raised = True
            raise KeyboardInterrupt
