"""How much memory a process has, from start to end of a scenario. Linux: it reads /proc."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

_EVERY_S: Final = 0.1
_MIB: Final = 2**20


def resident_mib(pid: int, field: str = "VmRSS") -> float | None:
    """Memory that a process has in RAM, or had at most (`VmHWM`); None where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return None
    # A zombie has none.
    kib = [line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:")]
    return int(kib[0]) * 1024 / _MIB if kib else None


class Resident:
    """Looks ten times a second while it is entered.

    Args:
        pid: whose memory, asked anew each time; None while it is down.

    Attributes:
        samples: MiB, in order.
    """

    def __init__(self, pid: Callable[[], int | None]) -> None:
        self._pid = pid
        self.samples: list[float] = []

    @property
    def peak_mib(self) -> float:
        return max(self.samples)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _watch(self) -> None:
        while True:
            pid = self._pid()
            if pid is not None and (mib := resident_mib(pid)) is not None:
                self.samples.append(mib)
            await asyncio.sleep(_EVERY_S)
