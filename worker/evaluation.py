"""Labels and scores in, figures out: how well a model does on somebody's own rows.

Pure arithmetic: no file, no model, no text. It loads numpy and scikit-learn (the extra `evaluate`), so only the command
imports it, and only when it runs.

A target is a share in [0, 1]: how sure the annotators were. It counts as positive from `POSITIVE_FROM` on wherever yes and no
are counted, and as it is for calibration. A label that a row does not name is unknown there, never negative. A figure that
the rows cannot give is None, with a reason; never 0, never nan.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from msgspec import Struct
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from worker.classifier import HARM_LABELS, LABELS

HARM_ANY: Final = "harm_any"
"""The name of the question whether a row is harmful at all, asked beside the labels."""

POSITIVE_FROM: Final = 0.5
BINS: Final = 15
RESAMPLES: Final = 1000
SEED: Final = 0
LEVEL: Final = 0.95
FEWEST: Final = 5
"""With fewer positives or negatives than this, resampling says nothing about the next sample."""

_AT_ONCE: Final = 2**22
# Both of these need at least one row of each class to be more than a matter of course.
_BOTH: Final = ("precision", "f1", "roc_auc", "average_precision")

Array = np.ndarray[Any, Any]


class Interval(Struct, frozen=True):
    """A bootstrap percentile interval."""

    low: float
    high: float


class Confusion(Struct, frozen=True):
    """Rows by what they are and by what was found."""

    tp: int
    fp: int
    fn: int
    tn: int


class Figures(Struct, frozen=True):
    """The figures of one question. What is None has its reason in `undefined`, by the field's name.

    `of` names the labels behind it. `threshold` is None where each of them has its own.
    """

    of: list[str]
    n: int
    positives: int
    threshold: float | None
    confusion: Confusion
    precision: float | None
    recall: float | None
    f1: float | None
    f1_interval: Interval | None
    false_positive_rate: float | None
    roc_auc: float | None
    roc_auc_interval: Interval | None
    average_precision: float | None
    calibration_error: float
    brier: float
    undefined: dict[str, str]


class Bin(Struct, frozen=True):
    """One bin of a reliability curve: rows, their mean score, their mean target."""

    n: int
    score: float
    target: float


class Rate(Struct, frozen=True):
    """How many of a group's negatives were found all the same; `rate` is None where there are no negatives."""

    negatives: int
    false_positives: int
    rate: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """One question, on the rows that answer it.

    Args:
        name: a label, or `HARM_ANY`.
        of: the labels behind it.
        threshold: from which score on a row is found; None where each of several labels has its own.
        rows: where the rows stand in the input, int64 [n].
        targets: shares in [0, 1], float64 [n].
        scores: in [0, 1], float64 [n].
        found: whether the threshold was reached, bool [n].
    """

    name: str
    of: Sequence[str]
    threshold: float | None
    rows: Array
    targets: Array
    scores: Array
    found: Array

    @property
    def positive(self) -> Array:
        """Bool [n]."""
        positive: Array = self.targets >= POSITIVE_FROM
        return positive


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What is drawn. `recall` and `precision` are float64 [thresholds + 1], or None without both classes."""

    bins: Sequence[Bin]
    recall: Array | None
    precision: Array | None


def collect(
    targets: Sequence[Mapping[str, float]], scores: Sequence[Mapping[str, float]], thresholds: Mapping[str, float]
) -> list[Answers]:
    """Every question that the rows answer: a label where any row names it and the model scores it, then `HARM_ANY`.

    `HARM_ANY` is asked where there are two such harm labels or more. A row is positive if any of them is, and negative only
    if all of them are known to be negative; else it is left out. Its score is the highest, its target likewise; it is found
    if any label reaches its own threshold.

    Args:
        targets: by row, what is known.
        scores: by row, in the same order; the same labels in each.
        thresholds: for each label that is both annotated and scored.
    """
    table = {
        label: np.array([row.get(label, np.nan) for row in targets], dtype=np.float64)
        for label in LABELS
        if scores and label in scores[0] and any(label in row for row in targets)
    }
    columns = {label: np.array([row[label] for row in scores], dtype=np.float64) for label in table}
    answers = [_answers(label, [label], table, columns, thresholds) for label in table]
    if len(harms := [label for label in HARM_LABELS if label in table]) > 1:
        answers.append(_answers(HARM_ANY, harms, table, columns, thresholds))
    return [asked for asked in answers if len(asked.rows)]


def _answers(
    name: str,
    of: Sequence[str],
    table: Mapping[str, Array],
    columns: Mapping[str, Array],
    thresholds: Mapping[str, float],
) -> Answers:
    targets = np.stack([table[label] for label in of])
    scores = np.stack([columns[label] for label in of])
    # A comparison with nan is false: what is unknown makes nothing positive.
    decidable = (targets >= POSITIVE_FROM).any(axis=0) | ~np.isnan(targets).any(axis=0)
    rows = np.flatnonzero(decidable)
    limits = np.array([[thresholds[label]] for label in of])
    return Answers(
        name=name,
        of=of,
        threshold=thresholds[of[0]] if len(of) == 1 else None,
        rows=rows,
        targets=np.nanmax(targets[:, rows], axis=0) if len(rows) else np.zeros(0),
        scores=scores[:, rows].max(axis=0),
        found=np.any(scores[:, rows] >= limits, axis=0),
    )


def measure(answers: Answers, *, resamples: int = RESAMPLES) -> Figures:
    """The figures of one question."""
    positive, found, scores = answers.positive, answers.found, answers.scores
    confusion = Confusion(
        tp=int((positive & found).sum()),
        fp=int((~positive & found).sum()),
        fn=int((positive & ~found).sum()),
        tn=int((~positive & ~found).sum()),
    )
    undefined = _undefined(confusion)
    values: dict[str, Any] = dict.fromkeys(undefined)
    if "precision" not in values:
        values["precision"] = confusion.tp / (confusion.tp + confusion.fp)
    if "recall" not in values:
        values["recall"] = confusion.tp / (confusion.tp + confusion.fn)
    if "false_positive_rate" not in values:
        values["false_positive_rate"] = confusion.fp / (confusion.fp + confusion.tn)
    if "f1" not in values:
        values["f1"] = 2 * confusion.tp / (2 * confusion.tp + confusion.fp + confusion.fn)
        values["roc_auc"] = float(roc_auc_score(positive, scores))
        values["average_precision"] = float(average_precision_score(positive, scores))
    if "f1_interval" not in values:
        values["f1_interval"], values["roc_auc_interval"] = _bootstrap(positive, found, scores, resamples)
    bins = reliability(answers.targets, scores)
    return Figures(
        of=list(answers.of),
        n=len(answers.rows),
        positives=int(positive.sum()),
        threshold=answers.threshold,
        confusion=confusion,
        calibration_error=sum(b.n * abs(b.score - b.target) for b in bins) / len(answers.rows),
        brier=float(((scores - answers.targets) ** 2).mean()),
        undefined=undefined,
        **values,
    )


def _undefined(confusion: Confusion) -> dict[str, str]:
    """Which figures the rows cannot give, and why."""
    positives, negatives = confusion.tp + confusion.fn, confusion.fp + confusion.tn
    why: dict[str, str] = {}
    if not positives or not negatives:
        missing = "no positive row" if not positives else "no negative row"
        why |= dict.fromkeys((*_BOTH, "recall" if not positives else "false_positive_rate"), missing)
    elif not confusion.tp + confusion.fp:
        why["precision"] = "no row reaches the threshold"
    if min(positives, negatives) < FEWEST:
        few = f"fewer than {FEWEST} {'positive' if positives < FEWEST else 'negative'} rows"
        why |= dict.fromkeys(("f1_interval", "roc_auc_interval"), few)
    return why


def reliability(targets: Array, scores: Array) -> list[Bin]:
    """At most `BINS` bins of equal mass, by score; equal scores share a bin, so that the order of the rows does not matter.

    Args:
        targets: float64 [n].
        scores: float64 [n].
    """
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    bin_of_row = np.floor(middles / len(scores) * BINS).astype(np.int64)[inverse]
    n, score, target = (np.bincount(bin_of_row, weights) for weights in (np.ones(len(scores)), scores, targets))
    return [Bin(int(n[at]), float(score[at] / n[at]), float(target[at] / n[at])) for at in np.flatnonzero(n)]


def curves(answers: Answers) -> Curves:
    """What is drawn of one question."""
    bins = reliability(answers.targets, answers.scores)
    positive = answers.positive
    if positive.all() or not positive.any():
        return Curves(bins, None, None)
    precision, recall, _ = precision_recall_curve(positive, answers.scores, drop_intermediate=True)
    return Curves(bins, recall, precision)


def false_positive_rates(answers: Answers, groups: Sequence[str | None]) -> dict[str, Rate]:
    """For each group, how often a negative row was found.

    Args:
        answers: one question.
        groups: of each row of the whole input; None: of no group.
    """
    negative = ~answers.positive
    of_rows = np.array([groups[row] for row in answers.rows], dtype=object)
    rates = {}
    for group in sorted({group for group in groups if group is not None}):
        of_group = negative & (of_rows == group)
        negatives, wrong = int(of_group.sum()), int((of_group & answers.found).sum())
        rates[group] = Rate(negatives, wrong, wrong / negatives if negatives else None)
    return rates


def _bootstrap(positive: Array, found: Array, scores: Array, resamples: int) -> tuple[Interval, Interval]:
    """Intervals of F1 and ROC AUC from rows drawn with replacement.

    Rows with the same score and the same outcome are one cell, and a resample is a multinomial draw over the cells: scores
    have four decimals, so that a large file costs little more than a small one.
    """
    cells, counts = np.unique(np.stack([scores, positive, found]), axis=1, return_counts=True)
    is_positive, is_found = cells[1] > 0, cells[2] > 0
    starts = np.flatnonzero(np.diff(cells[0], prepend=-1.0))
    rng = np.random.default_rng(SEED)
    f1, auc = [], []
    for size in _chunks(resamples, max(1, _AT_ONCE // len(counts))):
        weights = rng.multinomial(len(scores), counts / len(scores), size=size)
        drawn_positive, drawn_negative = weights * is_positive, weights * ~is_positive
        positives, negatives = drawn_positive.sum(axis=1), drawn_negative.sum(axis=1)
        # 2 tp / (2 tp + fp + fn): the rows found and the rows that are positive.
        under = weights[:, is_found].sum(axis=1) + positives
        f1.append(_share(2 * drawn_positive[:, is_found].sum(axis=1), under))
        below = np.cumsum(drawn_negative, axis=1)
        of_score = np.add.reduceat(drawn_negative, starts, axis=1)
        widths = np.diff([*starts, len(counts)])
        ends = starts + widths - 1
        wins = np.repeat(below[:, ends] - of_score / 2, widths, axis=1)
        auc.append(_share((drawn_positive * wins).sum(axis=1), positives * negatives))
    return _interval(np.concatenate(f1)), _interval(np.concatenate(auc))


def _chunks(total: int, size: int) -> Iterator[int]:
    for start in range(0, total, size):
        yield min(size, total - start)


def _share(over: Array, under: Array) -> Array:
    """Where it is defined."""
    share: Array = over[under > 0] / under[under > 0]
    return share


def _interval(values: Array) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
