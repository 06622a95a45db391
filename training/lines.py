"""Lines: the figures that a model is held to, quick to take again. Each is one label on one part of the rows.

The same figures as those of `evaluate`, in percent, without all that stands around them there: choosing cutoffs takes them
hundreds of times.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.metrics import roc_auc_score

from training.authored import SOURCE as AUTHORED
from training.evaluate import FEWEST, Array, cells, macro_f1
from training.labels import Row
from worker.classifier import LABELS

MEASURES: Final = ("ROC AUC", "macro-F1")


@dataclass(frozen=True, slots=True)
class Line:
    """One label on one part of the rows.

    Attributes:
        name: part and label.
        rows: the numbers of the rows that measure it.
        truth: bool [rows].
        column: the label's.
        rarer: rows on the rarer side. Of 100, one that falls from the top to the bottom costs a whole point of ROC AUC.
    """

    name: str
    rows: Array
    truth: Array
    column: int
    rarer: int

    def figures(self, scores: Array, threshold: float) -> tuple[float, float]:
        """ROC AUC and macro-F1 in percent. `scores`: of all rows, [rows, labels]."""
        of_line = scores[self.rows, self.column]
        return 100 * float(roc_auc_score(self.truth, of_line)), 100 * macro_f1(self.truth, of_line >= threshold)


def lines(rows: Sequence[Row]) -> list[Line]:
    """Those over all rows, over the published and the authored ones, and over each set, as far as there are enough rows."""
    parts: dict[str, Callable[[Row], bool]] = {
        "all": lambda _: True,
        "published": lambda r: r.source != AUTHORED,
        **{source: lambda r, source=source: r.source == source for source in sorted({r.source for r in rows})},  # type: ignore[misc]
    }
    found = []
    for part, holds in parts.items():
        of_part = np.array([i for i, r in enumerate(rows) if holds(r)])
        for column, label in enumerate(LABELS):
            chosen, truth = cells([rows[i] for i in of_part], label)
            rarer = min(sum(truth), len(truth) - sum(truth))
            if rarer >= FEWEST:
                found.append(Line(f"{part}, {label}", of_part[chosen], np.array(truth, bool), column, rarer))
    return found


def lost(
    of: Sequence[Line], before: Array, after: Array, thresholds: Mapping[str, float]
) -> list[tuple[float, str, int]]:
    """Points lost on each line between two tables of scores [rows, labels], with its name and `rarer`; the most first."""
    found = []
    for line in of:
        at = thresholds[LABELS[line.column]]
        pairs = zip(line.figures(before, at), line.figures(after, at), MEASURES, strict=True)
        found += [(one - other, f"{line.name}, {measure}", line.rarer) for one, other, measure in pairs]
    return sorted(found, reverse=True)
