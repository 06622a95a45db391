"""The worker as it is deployed: a process of its own, told by its environment, asked over HTTP."""

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.commands import environment
from tests.topics import Kafka, Topics
from worker.demo.process import Process

START_S: Final = 180.0
GRACE_S: Final = 40.0
WORKER: Final = ("-m", "worker", "run")
DELIVERY: Final = os.environ.get("SCREENER_TEST_DELIVERY", "at_least_once")
"""How workers deliver where a test does not care: `SCREENER_TEST_DELIVERY=transactions make chaos`."""
ONCE: Final = DELIVERY == "transactions"
"""Whether nothing may ever be decided twice, whatever becomes of the worker."""
SLOWLY: Final[dict[str, Any]] = {"cache_entries": 0, "max_window": 16, "max_in_flight": 128}
"""No repeats from memory, and small windows: something is always in the middle of something."""


async def until(process: Process, met: Callable[[], bool], every_s: float = 0.1) -> None:
    """Wait until it is so, which nobody tells, while the process runs: where it ends before, what it said last is the error.

    Args:
        process: was started.
        met: asked in a thread: it may block.
        every_s: how often.
    """
    async with asyncio.timeout(START_S):
        while not await asyncio.to_thread(met):
            assert process.running, process.tail()
            await asyncio.sleep(every_s)


class WorkerProcess:
    """One worker.

    Args:
        kafka: what it reads from, or its address, the one setting without a default.
        topics: what it reads and writes.
        folder: for its log.
        program: what python runs; a test's own script to put a fault in.
        settings: more of them, named as in `worker.settings`.
    """

    def __init__(
        self,
        kafka: Kafka | str,
        topics: Topics,
        folder: Path,
        *,
        name: str = "worker",
        program: Sequence[str] = WORKER,
        **settings: object,
    ) -> None:
        everything = {
            "kafka_bootstrap_servers": kafka if isinstance(kafka, str) else kafka.bootstrap,
            "comments_topic": topics.comments,
            "decisions_topic": topics.decisions,
            "dead_letters_topic": topics.dead_letters,
            "group_id": topics.comments,
            "http_port": 0,
            "session_timeout_s": 6,
            "startup_timeout_s": 30,
            "publish_timeout_s": 60,
            "delivery": DELIVERY,
        } | settings
        self.log = folder / f"{name}.log"
        self.process = Process([sys.executable, *program], self.log, environment(**everything))

    def start(self) -> Self:
        self.process.start()
        return self

    async def ready(self) -> Self:
        """Wait until it has the model, and its partitions."""
        await self.until(lambda: self._is_ok("/readyz"))
        return self

    async def alive(self) -> Self:
        """Wait until it answers at all: a signal finds it prepared from then on."""
        await self.until(lambda: self._is_ok("/livez"), every_s=0.05)
        return self

    async def until(self, met: Callable[[], bool], every_s: float = 0.1) -> None:
        """`until` of its process."""
        await until(self.process, met, every_s)

    async def until_logged(self, *lines: str) -> None:
        """Wait until its log has one of these."""
        await self.until(lambda: any(line in self.said() for line in lines))

    async def until_measured(self, line: str) -> None:
        """Wait until /metrics has it."""
        await self.until_matched(re.escape(line))

    async def until_matched(self, pattern: str, every_s: float = 0.2) -> None:
        """Wait until something that /metrics has matches."""
        await self.until(lambda: re.search(pattern, self.metrics(), re.MULTILINE) is not None, every_s)

    async def ended(self) -> int:
        """Wait until it ends by itself; how it did."""
        return await asyncio.to_thread(self.process.wait, START_S)

    async def terminate(self) -> int | None:
        """SIGTERM; how it ended."""
        return await asyncio.to_thread(self.process.stop, GRACE_S)

    async def interrupt(self) -> int:
        """SIGINT, as Ctrl-C sends it; how it ended."""
        self._signal(signal.SIGINT)
        return await asyncio.to_thread(self.process.wait, GRACE_S)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def freeze(self) -> None:
        """SIGSTOP: it does nothing more, heartbeats included, and does not know."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT, after `freeze`."""
        self._signal(signal.SIGCONT)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    async def __aenter__(self) -> Self:
        return await self.start().ready()

    async def __aexit__(self, *_: object) -> None:
        self.kill()

    def metrics(self, accept: str = "text/plain") -> str:
        """What /metrics says, in this format."""
        return self._get("/metrics", accept)

    def _is_ok(self, path: str) -> bool:
        try:
            return self._get(path) == "ok\n"
        except (OSError, StopIteration):
            return False

    def _get(self, path: str, accept: str = "*/*") -> str:
        # The last start's line, where it was started again.
        port = next(event["port"] for event in reversed(self._events()) if event.get("event") == "listening")
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  our own worker, over HTTP
            text: str = answer.read().decode()
            return text

    def _signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None, self.process.tail()
        os.kill(self.process.pid, number)

    def _events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.said().splitlines() if line.startswith("{") and line.endswith("}")]
