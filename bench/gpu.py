"""A checkpoint on a GPU: `python -m bench.gpu`, comments a second in float32 and in half of it, from 1, 2 and 4 processes.

Each process is a worker's line with a model of its own, and all feed one device: one alone seldom can, since what stands around
the model is Python. It stands apart from the other parts, since most machines have no GPU. `--device cpu` tries the same code
without one, and calls its figures what they are.
"""

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from bench.contest import Contestant, NotInstalledError, contestants
from bench.engine import write_texts
from bench.machine import describe_machine
from bench.plan import Plan
from bench.report import PER_S, Row, compare, table
from bench.rounds import interleave
from bench.texts import comment_texts
from bench.twin import ensure_twin, import_torch
from worker.batching import GPU_TOKENS

PART: Final = "gpu"
FOOTNOTE: Final = (
    "gpu: decode, normalise, language, tokenise, a model of the shipped one's size with random weights, policy; no verdict "
    "cache. Processes share one device, and the texts are dealt out among them."
)
_PROCESSES: Final = (1, 2, 4)
_PRECISIONS: Final = ("float32", "half")
_COUNT: Final = 20_000
_QUICK: Final = 0.01
_WIDTH: Final = 180
_NOTHING_MEASURED: Final = 2

Team = Sequence[Contestant]


class Device(StrEnum):
    """What the model runs on."""

    CUDA = "cuda"
    CPU = "cpu"


def main(
    *,
    device: Annotated[Device, typer.Option(help="cpu: to see that it works where there is no GPU.")] = Device.CUDA,
    batch_tokens: Annotated[int, typer.Option(help="As SCREENER_MAX_BATCH_TOKENS.", min=1)] = GPU_TOKENS,
    rounds: Annotated[int, typer.Option(help="How often each comes round.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Of the texts.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="A hundredth of the texts: to see that it works.")] = False,
) -> None:
    """Measure a checkpoint on this machine's GPU."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    if device is Device.CUDA and (reason := why_not()):
        console.print(f"{reason}: nothing was measured")
        raise typer.Exit(_NOTHING_MEASURED)
    ensure_twin()
    for name, value in describe_machine().items():
        console.print(f"{name}: {value}")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        plan = Plan(rounds=rounds, seed=seed, size=_QUICK if quick else 1.0, million=False, folder=Path(scratch))
        rows = run(plan, device, batch_tokens)
    footnotes = [FOOTNOTE]
    if device is Device.CPU or quick:
        footnotes.append(
            "NO FIGURES OF A GPU: " + ("they were taken on a CPU" if device is Device.CPU else "too few texts")
        )
    console.print(table(rows, footnotes))


def why_not() -> str | None:
    """Why there is nothing to measure here; None where there is."""
    try:
        torch = import_torch()
    except NotInstalledError as missing:
        return f"not installed: {missing}"
    return None if torch.cuda.is_available() else "no GPU here"


def run(plan: Plan, device: Device, batch_tokens: int) -> list[Row]:
    """Every precision with every number of processes, one team at work at a time."""
    texts = comment_texts(plan.count(_COUNT), plan.seed)
    part = PART if device is Device.CUDA else f"{PART}, tried on a CPU"
    programs: dict[str, Sequence[str]] = {
        f"{precision} {number}": ("-m", "bench.checkpoint", device.value, precision, str(batch_tokens))
        for precision in _PRECISIONS
        for number in range(max(_PROCESSES))
    }
    notes: dict[str, str] = {}
    with contestants(programs, plan.folder) as children:
        teams = {
            name_of(precision, size): [children[f"{precision} {number}"] for number in range(size)]
            for precision in _PRECISIONS
            for size in _PROCESSES
        }
        shares = {size: _deal(plan, texts, size) for size in _PROCESSES}
        seconds = interleave(
            {name: partial(race, team, shares[len(team)], notes, name) for name, team in teams.items()}, plan.rounds
        )
    rates = {name: [len(texts) / lap for lap in laps] for name, laps in seconds.items()}
    return [
        *(Row(part, name, PER_S, values, notes[name]) for name, values in rates.items()),
        *_comparisons(part, rates),
    ]


def name_of(precision: str, processes: int) -> str:
    """Of a team."""
    return f"{precision}, {processes} process{'es' if processes > 1 else ''}"


def race(team: Team, shares: Sequence[Path], notes: dict[str, str], name: str) -> float:
    """All at once. Seconds until the last has done its share."""
    started = time.perf_counter()
    with ThreadPoolExecutor(len(team)) as executor:
        laps = list(executor.map(Contestant.run, team, shares))
    seconds = time.perf_counter() - started
    notes[name] = laps[0].note
    return seconds


def _deal(plan: Plan, texts: Sequence[str], size: int) -> list[Path]:
    return [write_texts(plan, f"gpu-{size}-{first}", texts[first::size]) for first in range(size)]


def _comparisons(part: str, rates: Mapping[str, Sequence[float]]) -> list[Row]:
    """Half against whole, and many processes against one."""
    whole, half = _PRECISIONS
    pairs = [(name_of(half, size), name_of(whole, size)) for size in _PROCESSES]
    pairs += [(name_of(each, size), name_of(each, 1)) for each in _PRECISIONS for size in _PROCESSES if size > 1]
    return [compare(part, pair, rates[pair[0]], rates[pair[1]]) for pair in pairs]


if __name__ == "__main__":
    typer.run(main)
