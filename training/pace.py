"""How fast models of one kind are beside each other: comments a second, tokenised and scored as in the worker, in turns."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from training.evaluate import Model
from training.labels import Row

NATURAL: Final = ("goemotions", "context_toxicity", "hopeedi")
"""Sets of comments as they come, most of them harmless."""
ROUNDS: Final = 5


def natural(rows: Sequence[Row]) -> list[Row]:
    """The rows with natural base rates."""
    return [r for r in rows if r.source in NATURAL]


def pace(folders: Mapping[str, Path], texts: Sequence[str], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Comments a second of each model in each round, on one thread. In turns, since others use the machine too."""
    models = {name: Model(folder, threads=1) for name, folder in folders.items()}
    for model in models.values():
        model.find(texts[:64])
    found: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            started = time.perf_counter()
            model.find(texts)
            found[name].append(len(texts) / (time.perf_counter() - started))
    return found


def ratio(found: Mapping[str, Sequence[float]], name: str, beside: str) -> tuple[float, float, float]:
    """How many times as fast as another a model is: median, least and most of the rounds."""
    ratios = [one / other for one, other in zip(found[name], found[beside], strict=True)]
    return median(ratios), min(ratios), max(ratios)
