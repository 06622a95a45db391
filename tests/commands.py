"""A command of the worker's as somebody gives it: a process of its own, with arguments and an environment."""

import asyncio
import os
import sys

from msgspec import Struct


class Ended(Struct):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it put out, line by line."""
        return self.out.splitlines()


def environment(**settings: object) -> dict[str, str]:
    """Ours, with these settings of the worker's, named as in `worker.settings`, and no others."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SCREENER_")}
    return clean | {f"SCREENER_{name.upper()}": str(value) for name, value in settings.items()}


async def start(*arguments: str, **settings: object) -> asyncio.subprocess.Process:
    """Start `comment-screener` with these arguments; what it prints can be read."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**settings),
    )


async def give(*arguments: str, **settings: object) -> Ended:
    """Run it to its end."""
    process = await start(*arguments, **settings)
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())
