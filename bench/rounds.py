"""Interleaved rounds: whatever else the machine does meanwhile, it does to everybody.

Pure, but for what it is given to call.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

Result = TypeVar("Result")


def interleave(contestants: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """Call each once a round. Every round begins with another one, so that nobody always comes after the same.

    Returns:
        Per contestant one result a round, in the order of the rounds.
    """
    names = list(contestants)
    results: dict[str, list[Result]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names) if names else 0
        for name in names[turn:] + names[:turn]:
            results[name].append(contestants[name]())
    return results


def ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Round by round: what both met in a round cancels out."""
    return [mine / theirs for mine, theirs in zip(one, other, strict=True) if theirs]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all lies at or below: nearest rank, so it is one that was measured.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def middle(values: Sequence[float]) -> float:
    """The median."""
    return float(median(values))
