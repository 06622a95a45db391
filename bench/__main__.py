"""`python -m bench [PART…] [--rounds N] [--quick] [--million]`: every part, or those named, and one report of them."""

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from bench.machine import describe_machine
from bench.parts import FOOTNOTES, Part, run_part
from bench.picture import draw
from bench.plan import Plan
from bench.report import Row, table, to_json

# Nothing here fetches, nor do the processes that are started here: every model is a folder.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

_HERE: Final = Path(__file__).parent
_QUICK_OUTPUT: Final = Path("build/bench")
_QUICK: Final = 0.05
_WIDTH: Final = 180
"""Of the table where it goes into a file."""


def main(
    parts: Annotated[
        list[Part] | None, typer.Argument(help="Without any: all but profile.", show_default=False)
    ] = None,
    *,
    rounds: Annotated[int, typer.Option(help="How often each contestant comes round.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Of the texts.")] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="A twentieth of everything: to see that it works; its figures mean nothing.")
    ] = False,
    million: Annotated[bool, typer.Option("--million", help="A backlog of a million as well (scale).")] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for latest.json and latest.png. Without: bench, or build/bench with --quick."),
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(help="Empty folder to keep everybody's logs in. Without: none are kept.")
    ] = None,
) -> None:
    """Measure the worker beside what else one could run."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    machine = describe_machine()
    for name, value in machine.items():
        console.print(f"{name}: {value}")
    chosen = [part for part in Part if part in (parts or [each for each in Part if each is not Part.PROFILE])]
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = logs or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        size = _QUICK if quick else 1.0
        rows: list[Row] = []
        try:
            run(chosen, Plan(rounds=rounds, seed=seed, size=size, million=million, folder=folder), console, rows)
        finally:
            # Of the parts that came to an end: minutes of figures are not to go with one that did not.
            done = [part for part in chosen if any(row.part == part for row in rows)]
            footnotes = [FOOTNOTES[part] for part in done]
            console.print(table(rows, footnotes))
            run_as = {"rounds": rounds, "size": size, "seed": seed, "asked": chosen, "done": done}
            _write(output or (_QUICK_OUTPUT if quick else _HERE), rows, machine, footnotes, run_as)


def run(parts: Sequence[Part], plan: Plan, console: Console, rows: list[Row]) -> None:
    """The parts, one after the other, their rows put behind `rows`.

    Each in a process of its own with a broker of its own. What a part before left in either, to be collected or deleted, would
    take its share of the cores: latencies came out four times as long.
    """
    for part in parts:
        console.print(f"{part} …")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            rows += alone.submit(run_part, part, plan).result()


def _write(
    folder: Path, rows: Sequence[Row], machine: Mapping[str, str], footnotes: Sequence[str], run_as: Any
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    taken_at = datetime.now(UTC).isoformat(timespec="seconds")
    (folder / "latest.json").write_bytes(to_json(rows, machine, footnotes, taken_at=taken_at, **run_as))
    (folder / "latest.png").write_bytes(draw(rows, machine))


if __name__ == "__main__":
    typer.run(main)
