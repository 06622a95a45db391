"""`python -m tests.fuzz [TARGET…] --inputs N --seed S`: looks for input that breaks a promise of `tests.fuzz.targets`.

Each target runs in a process of its own under libFuzzer (`atheris`), which keeps what reaches new branches in a corpus
(.cache/fuzz, outside git) and begins with it the next time. An input that breaks a promise, takes longer than the limit or needs
more memory is saved, and is worth a file in `tests/fuzz/cases`. Exit 1 where there was one.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from tests.fuzz.targets import CASES, TARGETS, Target

_CACHE: Final = Path(".cache/fuzz")
_TIMEOUT_S: Final = 20
"""For one input. What the slowest takes is in the table; this is for what never ends, on a machine that does other things too."""
_MEMORY_MIB: Final = 2048
"""For the whole process: models, tokenizer and what the fuzzer itself keeps."""


class Run(Struct, frozen=True):
    """What came of one target."""

    name: str
    inputs: int
    seconds: float
    slowest_ms: float
    peak_mib: float
    found: Sequence[Path]
    status: int


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[TARGET]…", help="All of them without one.")] = None,
    *,
    inputs: Annotated[int, typer.Option(min=1000, help="How many, all targets together.")] = 1_000_000,
    jobs: Annotated[int, typer.Option(min=1, help="Targets at a time, each on a core.")] = 2,
    seed: Annotated[int, typer.Option(min=1, help="The same seed and corpus try the same inputs.")] = 1,
) -> None:
    """Try hostile input, and say what came of it."""
    console = Console(width=100)
    if unknown := sorted(set(names or ()) - TARGETS.keys()):
        raise typer.BadParameter(f"{', '.join(unknown)}: the targets are {', '.join(TARGETS)}")
    if importlib.util.find_spec("atheris") is None:
        console.print("atheris is not installed: pip install -e '.[fuzz]' (Python 3.11 to 3.13, Linux)")
        raise typer.Exit(2)
    chosen = {name: target for name, target in TARGETS.items() if not names or name in names}
    shares = sum(target.share for target in chosen.values())
    runs = []
    with ThreadPoolExecutor(jobs) as pool:
        started = [
            pool.submit(_run, name, target, -(-inputs * target.share // shares), seed)
            for name, target in chosen.items()
        ]
        for ended in as_completed(started):
            runs.append(ended.result())
            console.print(_line(runs[-1]))
    console.print(_table(runs))
    if failed := [run for run in runs if run.status]:
        for run in failed:
            for path in run.found:
                console.print(f"{run.name}: {path}")
            console.print(f"{run.name}: what it said is in {_CACHE / run.name / 'log'}")
        raise typer.Exit(1)


def _run(name: str, target: Target, inputs: int, seed: int) -> Run:
    folder = _CACHE / name
    corpus, seeds, found = folder / "corpus", folder / "seeds", folder / "found"
    for path in (corpus, seeds, found):
        path.mkdir(parents=True, exist_ok=True)
    for old in [*seeds.iterdir(), *found.iterdir()]:
        old.unlink()
    for at, content in enumerate(target.seeds()):
        (seeds / f"{at:04}").write_bytes(content)
    (folder / "tokens").write_text(_dictionary(target.tokens))
    figures = folder / "figures.json"
    figures.unlink(missing_ok=True)
    arguments = [
        *("-m", "tests.fuzz.child", name, str(inputs), str(figures), str(found)),
        *(str(corpus), str(seeds), *(str(CASES / name) for _ in range((CASES / name).is_dir()))),
        *(f"-runs={inputs}", f"-seed={seed}", f"-max_len={target.longest}", f"-dict={folder / 'tokens'}"),
        *(f"-timeout={_TIMEOUT_S}", f"-rss_limit_mb={_MEMORY_MIB}", f"-artifact_prefix={found}/"),
        "-print_final_stats=1",
    ]
    started = time.monotonic()
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    told: dict[str, Any] = json.loads(figures.read_bytes()) if figures.is_file() else {"inputs": 0, "slowest_ms": 0.0}
    return Run(
        name,
        told["inputs"],
        seconds,
        told["slowest_ms"],
        usage.ru_maxrss / 1024,
        sorted(found.iterdir()),
        # Without its figures it ended before its last input.
        child.returncode or int(not told["inputs"]),
    )


def _dictionary(tokens: Iterable[bytes]) -> str:
    """In libFuzzer's format."""
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n' for token in tokens)


def _line(run: Run) -> str:
    return f"{run.name}: {'something was found' if run.status else f'{run.inputs:,} inputs, nothing was found'}"


def _table(runs: Sequence[Run]) -> Table:
    table = Table(title="What was tried")
    table.add_column("target")
    for column in ("inputs", "inputs/s", "slowest, ms", "peak, MiB", "found"):
        table.add_column(column, justify="right")
    for run in runs:
        table.add_row(
            run.name,
            f"{run.inputs:,}",
            f"{run.inputs / run.seconds:,.0f}",
            f"{run.slowest_ms:.1f}",
            f"{run.peak_mib:.0f}",
            str(max(len(run.found), int(run.status != 0))),
        )
    table.add_section()
    table.add_row("", f"{sum(run.inputs for run in runs):,}")
    return table


if __name__ == "__main__":
    typer.run(main)
