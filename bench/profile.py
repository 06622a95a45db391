"""Where the time of a comment goes, from fetch to ack: the worker with what answers at once, looked at by py-spy while it drains.

Samples are of threads that hold the interpreter's lock. What else the process spent, user and system, went into system calls,
compression and whatever else lets go of it.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench import kafka
from bench.comments import comment_values
from bench.drain import Backlog
from bench.plan import Plan
from bench.processes import INSTANT, check_running, new_name
from bench.report import Row
from bench.rounds import interleave
from bench.stacks import by_call, by_function, by_layer, by_thread, read_stacks
from bench.texts import comment_texts
from tests.topics import Topics
from tests.workers import WorkerProcess

PART: Final = "profile"
FOOTNOTE: Final = (
    "profile: the worker's processor time by comment, samples of threads with the lock, in their innermost layer."
)
_PATIENCE_S: Final = 120.0
_COUNT: Final = 60_000
_SECONDS: Final = 8.0
_A_SECOND: Final = 250
_FUNCTIONS: Final = 10
_CALLS: Final = 25
_OUTSIDE: Final = "system calls, compression: without the lock"
_UNIT: Final = "µs/comment"
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Profile(Struct, frozen=True):
    """One look at a worker under load: microseconds a comment, in all and by what."""

    total: float
    layers: dict[str, float]
    threads: dict[str, float]
    functions: dict[str, float]
    calls: dict[str, float]


def run(plan: Plan, bootstrap: str) -> list[Row]:
    """The part."""
    if (program := _py_spy()) is None:
        return [Row(PART, "all of it", _UNIT, [], "not installed: py-spy: pip install -e '.[bench]'")]
    texts = comment_texts(plan.count(_COUNT, 15_000), plan.seed)
    backlog = Backlog(bootstrap, plan, comment_values(texts, "profile"))
    seconds = max(1.0, _SECONDS * min(1.0, plan.size * 4))
    looks = interleave({PART: partial(_look, backlog, bootstrap, program, plan.folder, seconds)}, plan.rounds)[PART]
    rows = [Row(PART, "all of it", _UNIT, [look.total for look in looks], "user and system time of the process")]
    rows += _rows("", [look.layers for look in looks], len(looks[0].layers))
    rows += _rows("thread: ", [look.threads for look in looks], len(looks[0].threads))
    rows += _rows("itself: ", [look.functions for look in looks], _FUNCTIONS)
    return rows + _rows("with what it calls: ", [look.calls for look in looks], _CALLS)


def _rows(prefix: str, looks: list[dict[str, float]], most: int) -> list[Row]:
    """The largest first. What a look has no sample of is 0 there."""
    sums: Counter[str] = Counter()
    for look in looks:
        sums.update(look)
    return [
        Row(PART, f"{prefix}{name}", _UNIT, [look.get(name, 0.0) for look in looks])
        for name, _ in sums.most_common(most)
    ]


def _look(backlog: Backlog, bootstrap: str, program: str, folder: Path, seconds: float) -> Profile:
    output = folder / f"{new_name('stacks')}.txt"
    found: list[Profile] = []

    async def look(worker: WorkerProcess, topics: Topics) -> None:
        # From the first decision on: its start is somebody else's part.
        first = await kafka.until_written(
            bootstrap, topics, 1, check=partial(check_running, worker), patience_s=_PATIENCE_S
        )
        before = _processor_s(worker)
        command = [program, "record", "--pid", str(worker.process.pid), "--format", "raw", "--output", str(output)]
        command += ["--gil", "--rate", str(_A_SECOND), "--duration", str(round(seconds))]
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        used = _processor_s(worker) - before
        comments = await kafka.written(bootstrap, topics) - first
        found.append(_profile(output.read_text("utf-8"), used, comments))

    backlog.drain(INSTANT, beside=look)
    return found[0]


def _profile(raw: str, used_s: float, comments: int) -> Profile:
    stacks = read_stacks(raw)
    total = used_s * 1e6 / comments
    sampled = sum(count for _, count in stacks)
    # Where others take the processor away, a thread holds the lock and waits: its samples are worth less then.
    each = min(1e6 / _A_SECOND / comments, total / sampled)
    layers, threads, functions, calls = (
        {name: each * count for name, count in count_by(stacks).items()}
        for count_by in (by_layer, by_thread, by_function, by_call)
    )
    return Profile(total, layers | {_OUTSIDE: max(0.0, total - each * sampled)}, threads, functions, calls)


def _processor_s(worker: WorkerProcess) -> float:
    """User and system time since its start. Linux: it reads /proc."""
    # The name, in brackets, may hold anything; the rest counts from behind it.
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _py_spy() -> str | None:
    """Beside this Python, or on the PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")
