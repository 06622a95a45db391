"""From the start of the process to ready, and the memory that it has under load."""

import asyncio
import time
from typing import Final

from bench import kafka
from bench.comments import comment_values
from bench.drain import Backlog
from bench.plan import Plan
from bench.processes import WORKER, check_running, new_name, process
from bench.report import Row
from bench.rounds import interleave
from bench.texts import comment_texts
from tests.chaos.resident import resident_mib
from tests.workers import WorkerProcess
from worker.settings import Settings

PART: Final = "start"
FOOTNOTE: Final = (
    "start: memory with the verdict cache as the settings have it, when the backlog is done; the worker sees no torch, as in its "
    "own environment."
)
_COUNT: Final = 3000
_CACHE_ENTRIES: Final = Settings.model_fields["cache_entries"].default


def run(plan: Plan, bootstrap: str) -> list[Row]:
    """The part."""
    texts = comment_texts(plan.count(_COUNT, 300), plan.seed)
    backlog = Backlog(bootstrap, plan, comment_values(texts, "start"))
    found = interleave({"ready": lambda: [_ready_s(plan, bootstrap)], "memory": lambda: _memory(backlog)}, plan.rounds)
    return [
        Row(
            PART,
            "start to ready",
            "s",
            [seconds for (seconds,) in found["ready"]],
            "an empty topic; looked at ten times a second",
        ),
        Row(PART, "resident memory under load", "MiB", [now for now, _ in found["memory"]], f"{len(texts)} comments"),
        Row(PART, "resident memory, highest", "MiB", [most for _, most in found["memory"]], "since its start"),
    ]


def _ready_s(plan: Plan, bootstrap: str) -> float:
    name = new_name("ready")
    topics = asyncio.run(kafka.fresh_topics(bootstrap, name))
    worker = process(WORKER, bootstrap, topics, name, plan.folder)
    started = time.monotonic()
    worker.start()
    try:
        asyncio.run(worker.ready())
        return time.monotonic() - started
    finally:
        worker.kill()


def _memory(backlog: Backlog) -> list[float]:
    """MiB when the backlog is done, and at most."""
    found: list[float] = []

    def look(worker: WorkerProcess) -> None:
        check_running(worker)
        for field in ("VmRSS", "VmHWM"):
            pid = worker.process.pid
            mib = None if pid is None else resident_mib(pid, field)
            assert mib is not None  # noqa: S101  it runs; for the type checker
            found.append(mib)

    backlog.drain(WORKER, look=look, cache_entries=_CACHE_ENTRIES)
    return found
