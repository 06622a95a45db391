"""`python -m tests.fuzz.growth`: how the time for a hostile text grows with its length, by clock.

What the tests cannot say, since a clock is noisy: they count lines that are run, and look at regular expressions as such. Here
also the libraries' work is in it. Exit 1 where four times the text takes more than eight times the time, or the longest comment
takes longer than a second.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Final

import typer
from rich.console import Console
from rich.table import Table

from tests.fuzz.texts import UNITS, repeated
from worker.langid import open_detector
from worker.model_source import SHIPPED
from worker.normalise import normalise, normalise_mapped
from worker.onnx import OnnxClassifier
from worker.records import MAX_TEXT_CHARACTERS

_MOST_MS: Final = 1000.0
_MOST_GROWTH: Final = 8.0
_WORTH_A_LOOK_MS: Final = 2.0
"""Below, what is fixed about a call hides what grows."""


def main() -> None:
    """Measure, slowest first."""
    classifier = OnnxClassifier(SHIPPED / "default", threads=1)
    detector = open_detector()
    calls: Mapping[str, Callable[[str], object]] = {
        "normalise": normalise,
        "with the map": normalise_mapped,
        "language": lambda text: detector.detect([text]),
        "tokenise": lambda text: [piece.places() for piece in classifier.encode([text])[0]],
    }
    rows = []
    for name, call in calls.items():
        for unit_name, unit in UNITS.items():
            for before in ("", "oh "):
                short, long = (_median_ms(call, before + repeated(unit, size)) for size in _sizes())
                rows.append((long, long / max(short, 0.001), name, f"{before}{unit_name}"))
    rows.sort(reverse=True)
    table = Table(title=f"Texts of {MAX_TEXT_CHARACTERS:,} characters, and against a quarter of it")
    for column in ("ms", "times", "step", "text"):
        table.add_column(column)
    for ms, growth, name, of in rows[:20]:
        table.add_row(f"{ms:.1f}", f"{growth:.1f}", name, of)
    Console(width=100).print(table)
    if any(ms > _MOST_MS or (ms > _WORTH_A_LOOK_MS and growth > _MOST_GROWTH) for ms, growth, *_ in rows):
        raise typer.Exit(1)


def _sizes() -> tuple[int, int]:
    return MAX_TEXT_CHARACTERS // 4, MAX_TEXT_CHARACTERS - 10


def _median_ms(call: Callable[[str], object], text: str) -> float:
    call(text)
    taken = []
    for _ in range(3):
        started = time.thread_time()
        call(text)
        taken.append(1000 * (time.thread_time() - started))
    return median(taken)


if __name__ == "__main__":
    typer.run(main)
