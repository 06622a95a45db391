"""Figures against hand-computed ones; what is undefined says so; the order of the rows changes nothing."""

import math
import random
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.classifier import HARM_LABELS, LABELS
from worker.evaluation import (
    BINS,
    FEWEST,
    HARM_ANY,
    Answers,
    Bin,
    Confusion,
    Figures,
    Interval,
    Rate,
    collect,
    curves,
    false_positive_rates,
    measure,
    reliability,
)

HALF = dict.fromkeys(LABELS, 0.5)
UNDEFINED = {"precision", "f1", "f1_interval", "roc_auc", "roc_auc_interval", "average_precision"}


def ask(targets: Sequence[float], scores: Sequence[float], threshold: float = 0.5) -> Answers:
    (answers,) = collect([{"insult": x} for x in targets], [{"insult": x} for x in scores], {"insult": threshold})
    return answers


def ask_any(rows: Sequence[Mapping[str, float]], scores: Sequence[Mapping[str, float]]) -> Answers:
    return {answers.name: answers for answers in collect(rows, scores, HALF)}[HARM_ANY]


def test_the_figures_are_those_that_a_hand_computes() -> None:
    # By score: 0.9 yes, 0.8 no, 0.6 yes, 0.3 yes, 0.2 no.
    figures = measure(ask([1, 0, 1, 1, 0], [0.9, 0.8, 0.6, 0.3, 0.2]))

    assert figures.confusion == Confusion(tp=2, fp=1, fn=1, tn=1)
    assert (figures.n, figures.positives, figures.threshold, figures.of) == (5, 3, 0.5, ["insult"])
    assert figures.precision == pytest.approx(2 / 3)
    assert figures.recall == pytest.approx(2 / 3)
    assert figures.f1 == pytest.approx(2 / 3)
    assert figures.false_positive_rate == 0.5
    # Of six pairs, 0.9 wins both, 0.6 and 0.3 one each.
    assert figures.roc_auc == pytest.approx(4 / 6)
    # Precision at each yes: 1/1, 2/3, 3/4.
    assert figures.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert figures.brier == pytest.approx((0.01 + 0.64 + 0.16 + 0.49 + 0.04) / 5)
    # Fewer rows than bins: each is a bin of its own.
    assert figures.calibration_error == pytest.approx((0.1 + 0.8 + 0.4 + 0.7 + 0.2) / 5)


def test_a_score_at_the_threshold_is_found() -> None:
    assert measure(ask([1, 0], [0.62, 0.6199], 0.62)).confusion == Confusion(tp=1, fp=0, fn=0, tn=1)


def test_a_share_is_counted_by_its_side_and_calibrated_as_it_is() -> None:
    figures = measure(ask([0.5, 0.4], [0.5, 0.4]))

    assert figures.confusion == Confusion(tp=1, fp=0, fn=0, tn=1)
    assert (figures.calibration_error, figures.brier) == (0, 0)


def test_bins_hold_equally_many_rows() -> None:
    scores = np.arange(300) / 300

    bins = reliability(np.ones(300), scores)
    assert [b.n for b in bins] == [20] * BINS
    assert bins[0].score == pytest.approx(9.5 / 300)


def test_equal_scores_share_a_bin() -> None:
    bins = reliability(np.array([1.0] * 50 + [0.0] * 50), np.full(100, 0.25))

    assert bins == [Bin(100, 0.25, 0.5)]


# ---- what the rows cannot give


@pytest.mark.parametrize(
    ("target", "reason", "also"), [(0.0, "no positive row", "recall"), (1.0, "no negative row", "false_positive_rate")]
)
def test_one_class_alone_leaves_figures_undefined(target: float, reason: str, also: str) -> None:
    figures = measure(ask([target] * 20, [0.1, 0.9] * 10))

    assert set(figures.undefined) == UNDEFINED | {also}
    assert {getattr(figures, name) for name in figures.undefined} == {None}
    assert {figures.undefined[name] for name in (also, "precision", "f1", "roc_auc", "average_precision")} == {reason}
    assert curves(ask([target] * 20, [0.1, 0.9] * 10)).recall is None


def test_what_one_class_alone_does_give() -> None:
    assert measure(ask([0, 0, 0, 0], [0.9, 0.1, 0.1, 0.1])).false_positive_rate == 0.25
    assert measure(ask([1, 1, 1, 1], [0.9, 0.1, 0.1, 0.1])).recall == 0.25


def test_nothing_found_has_no_precision_but_an_f1() -> None:
    figures = measure(ask([1] * 5 + [0] * 5, [0.1] * 10))

    assert figures.undefined == {"precision": "no row reaches the threshold"}
    assert (figures.precision, figures.recall, figures.f1) == (None, 0, 0)
    assert figures.f1_interval == Interval(0, 0)


@pytest.mark.parametrize(("targets", "few"), [([1, 1, 0, 0, 0, 0, 0], "positive"), ([1, 1, 1, 1, 1, 0], "negative")])
def test_a_handful_of_rows_has_no_interval(targets: Sequence[float], few: str) -> None:
    figures = measure(ask(targets, [0.5] * len(targets)))

    assert figures.roc_auc == 0.5
    assert set(figures.undefined.items()) == {
        (name, f"fewer than {FEWEST} {few} rows") for name in ("f1_interval", "roc_auc_interval")
    }


# ---- intervals


def many(seed: int = 0, n: int = 400) -> tuple[list[float], list[float]]:
    rng = random.Random(seed)
    targets = [float(rng.random() < 0.3) for _ in range(n)]
    return targets, [round(min(1, max(0, rng.gauss(0.35 + 0.25 * target, 0.15))), 2) for target in targets]


def test_an_interval_holds_its_figure_and_comes_out_the_same_again() -> None:
    targets, scores = many()
    figures = measure(ask(targets, scores))

    assert figures == measure(ask(targets, scores))
    for value, interval in ((figures.f1, figures.f1_interval), (figures.roc_auc, figures.roc_auc_interval)):
        assert value is not None
        assert interval is not None
        assert interval.low < value < interval.high
        assert 0.02 < interval.high - interval.low < 0.2


def test_the_resampled_auc_is_that_of_resampled_rows() -> None:
    """Against the same thing done row by row."""
    targets, scores = many(n=150)
    y, s = np.array(targets) > 0, np.array(scores)
    rng = np.random.default_rng(1)
    aucs, f1s = [], []
    for _ in range(1000):
        at = rng.integers(0, len(y), len(y))
        wins = s[at][y[at]][:, None] - s[at][~y[at]][None, :]
        aucs.append(((wins > 0) + 0.5 * (wins == 0)).mean())
        found = s[at] >= 0.5
        f1s.append(2 * (found & y[at]).sum() / (found.sum() + y[at].sum()))
    figures = measure(ask(targets, scores))

    for interval, values in ((figures.roc_auc_interval, aucs), (figures.f1_interval, f1s)):
        assert interval is not None
        assert [interval.low, interval.high] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.015)


# ---- which rows answer what


def test_a_label_is_measured_on_the_rows_that_name_it() -> None:
    rows: list[dict[str, float]] = [{"insult": 1}, {"kindness": 1}, {"insult": 0, "kindness": 0}]
    insult, kindness = collect(rows, [{"insult": 0.9, "kindness": 0.2}] * 3, HALF)

    assert (insult.name, insult.rows.tolist(), insult.targets.tolist()) == ("insult", [0, 2], [1, 0])
    assert (kindness.name, kindness.rows.tolist(), kindness.scores.tolist()) == ("kindness", [1, 2], [0.2, 0.2])


def test_labels_that_nobody_scores_or_nobody_names_are_not_asked() -> None:
    asked = collect([{"insult": 1, "threat": 0}], [{"insult": 0.9, "kindness": 0.1}], HALF)

    assert [answers.name for answers in asked] == ["insult"]
    assert collect([], [], HALF) == []


def test_any_harm_is_the_highest_where_it_can_be_decided() -> None:
    rows: list[dict[str, float]] = [
        {"insult": 1},  # one yes is enough
        {"insult": 0},  # a threat is unknown: left out
        {"insult": 0.2, "threat": 0.3},
        {"insult": 0, "threat": 1},
        {"kindness": 1},
    ]
    scores = [{"insult": 0.1 * at, "threat": 0.2, "kindness": 0.99} for at in range(5)]
    answers = ask_any(rows, scores)

    assert (answers.of, answers.threshold) == (["insult", "threat"], None)
    assert answers.rows.tolist() == [0, 2, 3]
    assert answers.targets.tolist() == [1, 0.3, 1]
    assert answers.scores.tolist() == pytest.approx([0.2, 0.2, 0.3])


def test_any_harm_is_found_where_one_label_reaches_its_own_threshold() -> None:
    rows: list[dict[str, float]] = [{"insult": 1, "threat": 0}] * 2
    scores = [{"insult": 0.7, "threat": 0.1}, {"insult": 0.1, "threat": 0.3}]
    asked = collect(rows, scores, {"insult": 0.8, "threat": 0.25})

    assert asked[-1].found.tolist() == [False, True]
    assert measure(asked[-1]).threshold is None


def test_one_harm_label_alone_is_not_asked_twice() -> None:
    asked = collect([{"insult": 1, "kindness": 0}], [{"insult": 0.9, "kindness": 0.1}], HALF)

    assert [answers.name for answers in asked] == ["insult", "kindness"]


def test_any_harm_that_no_row_decides_is_not_asked() -> None:
    asked = collect([{"insult": 0}, {"threat": 0}], [{"insult": 0.1, "threat": 0.1}] * 2, HALF)

    assert [answers.name for answers in asked] == ["insult", "threat"]


# ---- groups


def test_false_positives_are_counted_among_a_groups_negatives() -> None:
    answers = ask([0, 0, 0, 1, 1, 0], [0.9, 0.1, 0.1, 0.9, 0.1, 0.9])

    assert false_positive_rates(answers, ["a", "a", "b", "b", "c", None]) == {
        "a": Rate(2, 1, 0.5),
        "b": Rate(1, 0, 0.0),
        "c": Rate(0, 0, None),
    }


def test_groups_belong_to_the_rows_that_answer() -> None:
    rows: list[dict[str, float]] = [{"kindness": 1}, {"insult": 0}]
    asked = collect(rows, [{"insult": 0.9, "kindness": 0.9}] * 2, HALF)

    assert false_positive_rates(asked[0], ["a", "b"]) == {"a": Rate(0, 0, None), "b": Rate(1, 1, 1.0)}


# ---- whatever the rows are

_hundredths = st.integers(0, 100).map(lambda hundredths: hundredths / 100)
_rows = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(LABELS), _hundredths),
        st.fixed_dictionaries(dict.fromkeys(LABELS, _hundredths)),
    ),
    min_size=1,
    max_size=30,
)


def everything(rows: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> dict[str, Figures]:
    asked = collect([targets for targets, _ in rows], [scores for _, scores in rows], HALF)
    return {answers.name: measure(answers, resamples=20) for answers in asked}


@given(_rows)
def test_every_figure_is_a_share_or_says_why_it_is_not(
    rows: Sequence[tuple[Mapping[str, float], Mapping[str, float]]],
) -> None:
    for figures in everything(rows).values():
        c = figures.confusion
        assert c.tp + c.fp + c.fn + c.tn == figures.n
        assert c.tp + c.fn == figures.positives
        plain = msgspec.to_builtins(figures)
        for name in (*UNDEFINED, "recall", "false_positive_rate", "calibration_error", "brier"):
            assert (plain[name] is None) == (name in figures.undefined)
            values = plain[name].values() if isinstance(plain[name], dict) else [plain[name]]
            assert all(value is None or 0 <= value <= 1 + 1e-12 for value in values)
            assert not any(isinstance(value, float) and math.isnan(value) for value in values)


@given(_rows, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    rows: list[tuple[Mapping[str, float], Mapping[str, float]]], rng: random.Random
) -> None:
    shuffled = rng.sample(rows, len(rows))

    one, other = everything(rows), everything(shuffled)
    assert one.keys() == other.keys()
    for name, figures in one.items():
        assert msgspec.to_builtins(figures.confusion) == msgspec.to_builtins(other[name].confusion)
        assert figures.f1_interval == other[name].f1_interval
        assert figures.roc_auc_interval == other[name].roc_auc_interval
        assert figures.calibration_error == pytest.approx(other[name].calibration_error)


@given(_rows)
def test_any_harm_is_decided_as_its_definition_says(
    rows: Sequence[tuple[Mapping[str, float], Mapping[str, float]]],
) -> None:
    named = [label for label in HARM_LABELS if any(label in targets for targets, _ in rows)]
    decided = [
        at
        for at, (targets, _) in enumerate(rows)
        if any(targets.get(label, 0) >= 0.5 for label in named) or all(label in targets for label in named)
    ]
    asked = {
        answers.name: answers
        for answers in collect([targets for targets, _ in rows], [scores for _, scores in rows], HALF)
    }

    if len(named) > 1 and decided:
        assert asked[HARM_ANY].rows.tolist() == decided
    else:
        assert HARM_ANY not in asked
