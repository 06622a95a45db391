"""When to leave: cutoffs for the first stage's scores, chosen on the tuning half of the dev rows.

They begin where each label by itself misses a small share of what the default model finds. Two labels always reach a person,
since a life may depend on them: of these, not even a weak sign may leave, unless it is known to be none. Then they are tightened
until nothing leaves that the default policy would do something about, and until no line of the figures loses too much: always the
one that wins back the most for the fewest comments that stay.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import Any, Final

import numpy as np

from training.evaluate import Array
from training.labels import Row
from training.lines import lines, lost
from training.pace import NATURAL
from worker.classifier import HARM_LABELS, KIND_LABELS, LABELS
from worker.early import Leaving

MISSED: Final = 0.01
"""Share of what the default model finds of a harm label that is below its cutoff to begin with."""
UNKIND: Final = 0.02
"""Share of the kind texts that are below `kind_below` to begin with, and of those from `kind_from` on that are not kind."""
MOST_LOST: Final = 0.4
MOST_LOST_OF_FEW: Final = 1.0
"""Points that a line may lose; the second one where so few rows decide it that one row may cost a point."""
FEW: Final = 100
NEVER: Final = ("threat", "self_harm")
"""Labels of which nothing leaves that a policy could send to a person, however little it counts as found: policies ask for far
lower scores than the thresholds are."""
SIGN: Final = 0.70
"""The precision that makes a sign, in `operating_points.json`."""
_CARRIES: Final = 0.5
_LEAST_COST: Final = 1e-4
_STEPS: Final = (0.85, 0.6)
"""A cutoff is tightened by one of these."""
_KIND_BELOW: Final = len(HARM_LABELS)
_KIND_FROM: Final = _KIND_BELOW + 1


def choose(
    rows: Sequence[Row],
    early: Array,
    scores: Array,
    thresholds: Mapping[str, float],
    signs: Mapping[str, float],
    *,
    acted: Array,
) -> Leaving:
    """The rule.

    Args:
        rows: the rows that tune.
        early: the first stage's scores of them, float64 [rows, labels].
        scores: the default model's.
        thresholds: from where on that one has found a label.
        signs: per label of `NEVER`, from where on nothing may leave.
        acted: bool [rows], what a policy does something about by those scores.
    """
    of = lines(rows)
    natural = np.array([r.source in NATURAL for r in rows])
    if not natural.any():
        natural[:] = True

    def state(at: Array) -> tuple[float, float]:
        """By how much lines lose too much, in all, and the share of natural comments that leave."""
        left = gone(early, at)
        found = lost(of, scores, np.where(left[:, None], early, scores), thresholds)
        too_much = sum(
            max(0.0, points - (MOST_LOST_OF_FEW if rarer < FEW else MOST_LOST)) for points, _, rarer in found
        )
        return too_much, float(left[natural].mean())

    at = _loose(early, scores, thresholds)
    for label, sign in signs.items():
        column = LABELS.index(label)
        # What is known to be none is no sign: a single sentence that only sounds so would keep half of all comments.
        none = np.array([label not in r.assumed and r.targets.get(label, 1.0) < _CARRIES for r in rows])
        at[column] = min([at[column], *early[(scores[:, column] >= sign) & ~none, column]])
    at = _without(early, at, acted, natural)
    too_much, leaving = state(at)
    while too_much > 0:
        tighter = [(state(tried), tried) for tried in _tightened(at)]
        better = [((less, share), tried) for (less, share), tried in tighter if less < too_much]
        if not better:
            break
        (too_much_then, leaving_then), at = max(
            better, key=lambda b: (too_much - b[0][0]) / max(1e-3, leaving - b[0][1])
        )
        too_much, leaving = too_much_then, leaving_then
    # So that fewer leave.
    rounded = [floor(float(cutoff) * 1e4) / 1e4 for cutoff in at[:_KIND_FROM]]
    kind_from = ceil(float(at[_KIND_FROM]) * 1e4) / 1e4
    return Leaving(dict(zip(HARM_LABELS, rounded, strict=False)), rounded[_KIND_BELOW], kind_from)


def _without(early: Array, at: Array, acted: Array, natural: Array) -> Array:
    """Cutoffs with which none of these leave, lowered where that keeps the fewest natural comments."""
    while (bad := gone(early, at) & acted).any():
        left = gone(early, at)[natural].mean()

        def gain(tried: Array, bad: Array = bad, left: float = left) -> float:
            stay = ~gone(early, tried)
            return float((stay & bad).sum() / max(_LEAST_COST, left - (~stay)[natural].mean()))

        lower = []
        for column in range(len(HARM_LABELS)):
            for cutoff in np.unique(early[bad, column]):
                lower.append(at.copy())
                lower[-1][column] = cutoff
        at = max(lower, key=gain)
    return at


def gone(early: Array, at: Array) -> Array:
    """Which texts leave: bool [texts]; as `Leaving.leaves` says of one. `at`: cutoffs, `kind_below`, `kind_from`."""
    (kindness,) = (early[:, LABELS.index(label)] for label in KIND_LABELS)
    harmless = (early[:, : len(HARM_LABELS)] < at[: len(HARM_LABELS)]).all(1)
    settled = (kindness < at[_KIND_BELOW]) | (kindness >= at[_KIND_FROM])
    return np.asarray(harmless & settled)


def harmful(scores: Array, thresholds: Mapping[str, float]) -> Array:
    """In which texts any harm is found: bool [texts]."""
    at = np.array([thresholds[label] for label in HARM_LABELS])
    return np.asarray((scores[:, : len(HARM_LABELS)] >= at).any(1))


def _loose(early: Array, scores: Array, thresholds: Mapping[str, float]) -> Array:
    """Where it begins: cutoffs, `kind_below`, `kind_from`."""
    at = [_quantile(early[scores[:, c] >= thresholds[label], c], MISSED) for c, label in enumerate(HARM_LABELS)]
    (label,) = KIND_LABELS
    column = LABELS.index(label)
    kind = np.asarray(scores[:, column] >= thresholds[label])
    below = _quantile(early[kind, column], UNKIND)
    order = np.argsort(-early[:, column])
    wrong = np.cumsum(~kind[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(wrong <= UNKIND)
    from_ = early[order[enough[-1]], column] if len(enough) else 1.0
    return np.array([*at, below, max(below, from_)])


def _quantile(values: Array, share: float) -> float:
    """The value below which no more than this share lies; 1 where there are none."""
    return float(np.sort(values)[int(share * len(values))]) if len(values) else 1.0


def _tightened(at: Array) -> list[Any]:
    """Each of them, one at a time, so that fewer leave."""
    tried = []
    for place in range(len(at)):
        for step in _STEPS:
            tighter = at.copy()
            tighter[place] = 1 - (1 - at[place]) * step if place == _KIND_FROM else at[place] * step
            tighter[_KIND_FROM] = max(tighter[_KIND_BELOW], tighter[_KIND_FROM])
            tried.append(tighter)
    return tried
