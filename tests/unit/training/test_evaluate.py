"""Evaluating: figures computed by hand, what counts as truth, and thresholds that one large set or a lucky row cannot set."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from training import evaluate
from training.authored import SOURCE as AUTHORED
from training.evaluate import (
    FEWEST,
    Array,
    behaviours,
    by_label,
    by_term,
    cells,
    compare_toxicity,
    f1,
    flips,
    harm_found,
    is_right,
    macro_f1,
    measure,
    operating_points,
    operating_threshold,
    reached,
    summarise,
)
from training.labels import Row
from worker.classifier import LABELS

HALF = dict.fromkeys(LABELS, 0.5)
NOTHING = dict.fromkeys(LABELS, 0.0)

Group = tuple[str, float, float, int]
"""A set, its rows' target, the score that they get, and how many."""


def scored(label: str, *groups: Group) -> tuple[list[Row], Array]:
    rows = [Row(f"{source} {n}", {label: target}, source) for source, target, _, n in groups for n in range(n)]
    scores = np.zeros((len(rows), len(LABELS)))
    scores[:, LABELS.index(label)] = [score for _, _, score, n in groups for _ in range(n)]
    return rows, scores


def rows_of(label: str, *targets: float | None, assumed: bool = False) -> list[Row]:
    inferred = frozenset({label}) if assumed else frozenset()
    return [Row(f"text {n}", {} if t is None else {label: t}, "one", assumed=inferred) for n, t in enumerate(targets)]


# ---- what is true


def test_a_tie_among_annotators_and_an_unknown_label_measure_nothing() -> None:
    rows = rows_of("insult", 0.0, 0.35, 0.36, 0.5, 0.64, 0.65, 1.0, None)

    assert cells(rows, "insult") == ([0, 1, 5, 6], [False, False, True, True])


def test_what_was_inferred_measures_nothing_but_plain_negatives_of_labels_that_nobody_annotates() -> None:
    assert cells(rows_of("toxicity", 0.0, 1.0, assumed=True), "toxicity") == ([], [])
    assert cells(rows_of("self_harm", 0.0, 0.02, 1.0, assumed=True), "self_harm") == ([0], [False])


# ---- figures


def test_macro_f1_is_the_mean_over_both_sides() -> None:
    truth = np.array([True, True, True, False, False])
    found = np.array([True, True, False, True, False])

    assert f1(truth, found) == pytest.approx(2 / 3)
    assert f1(~truth, ~found) == pytest.approx(1 / 2)
    assert macro_f1(truth, found) == pytest.approx(7 / 12)


def test_f1_of_nothing_is_nothing() -> None:
    assert f1(np.zeros(3, bool), np.zeros(3, bool)) == 0.0


def test_the_figures_of_a_label() -> None:
    figures = measure([True, True, False, False, False], np.array([0.9, 0.3, 0.6, 0.2, 0.1]), 0.5)

    assert (figures.n, figures.positives, figures.threshold) == (5, 2, 0.5)
    assert (figures.precision, figures.recall, figures.f1) == (0.5, 0.5, 0.5)
    assert figures.roc_auc == pytest.approx(5 / 6)
    assert figures.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert figures.macro_f1 == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_label_without_anything_found_has_no_precision_and_no_error() -> None:
    assert measure([True, False], np.array([0.2, 0.1]), 0.5).precision == 0.0


@pytest.mark.parametrize("truth", [[True, True], [False, False], []])
def test_one_side_alone_cannot_be_measured(truth: list[bool]) -> None:
    with pytest.raises(ValueError, match="needs positives and negatives"):
        measure(truth, np.zeros(len(truth)), 0.5)


def test_a_label_that_cannot_be_measured_is_absent() -> None:
    rows, scores = scored("threat", ("one", 1.0, 0.9, 2), ("one", 0.0, 0.1, 2))

    assert set(by_label(rows, scores, HALF)) == {"threat"}
    assert by_label(rows[:2], scores[:2], HALF) == {}


def test_figures_are_given_for_all_rows_for_published_ones_and_for_ours() -> None:
    rows, scores = scored("insult", ("one", 1.0, 0.9, 10), ("one", 0.0, 0.1, 10), ("two", 0.0, 0.9, 10))
    ours, of_ours = scored("insult", (AUTHORED, 1.0, 0.1, 3), (AUTHORED, 0.0, 0.9, 3))

    figures = summarise(rows + ours, np.concatenate([scores, of_ours]), HALF)

    assert {part: figures[part]["insult"]["n"] for part in ("all", "published", "authored")} == {
        "all": 36,
        "published": 30,
        "authored": 6,
    }
    assert figures["authored"]["insult"]["roc_auc"] == 0.0
    # Three rows on a side are too few for a set's own figure, and so is one side.
    assert figures["sets"] == {"one": {"insult": {"roc_auc": 1.0, "f1": 1.0, "macro_f1": 1.0}}}


# ---- thresholds


def decided(rows: list[Row], scores: Array, label: str) -> float:
    threshold = operating_threshold(rows, scores, label)
    assert threshold is not None
    return threshold


@pytest.mark.parametrize(("label", "threshold"), [("insult", 0.23), ("kindness", 0.41)])
def test_of_equally_good_thresholds_it_is_the_lowest_for_harm_and_the_middle_one_for_kindness(
    label: str, threshold: float
) -> None:
    rows, scores = scored(label, ("one", 0.0, 0.2, 20), ("one", 1.0, 0.6, 20))

    # All from .21 to .60 separate them, and with two on either side all from .23 to .58.
    assert operating_threshold(rows, scores, label) == pytest.approx(threshold)


@pytest.mark.parametrize(("rows_a_side", "threshold"), [(40, 0.23), (4000, 0.43)])
def test_what_few_rows_cannot_tell_apart_is_equally_good(rows_a_side: int, threshold: float) -> None:
    """From .40 on one false alarm in forty is gone: of forty rows a side that says nothing, of four thousand it does."""
    alarms = rows_a_side // 40
    harmless: list[Group] = [("one", 0.0, 0.2, rows_a_side - alarms), ("one", 0.0, 0.4, alarms)]
    harmful: list[Group] = [("one", 1.0, 0.6, rows_a_side - 8 * alarms), ("one", 1.0, 0.1, 8 * alarms)]
    rows, scores = scored("insult", *harmless, *harmful)

    assert operating_threshold(rows, scores, "insult") == pytest.approx(threshold)


def test_each_set_counts_the_same_however_large() -> None:
    large = (("large", 0.0, 0.5, 1000), ("large", 1.0, 0.7, 1000))
    small: list[Group] = [(name, target, score, 10) for name in "ab" for target, score in ((0.0, 0.1), (1.0, 0.3))]
    rows, scores = scored("insult", *large, *small)

    assert 0.1 < decided(rows, scores, "insult") <= 0.3
    assert 0.5 < decided(rows[:2000], scores[:2000], "insult") <= 0.7


def test_sets_that_asked_the_labels_own_question_count_by_the_rows_that_can_tell() -> None:
    large: list[Group] = [("dynahate", 0.0, 0.5, 1000), ("dynahate", 1.0, 0.7, 1000)]
    small: list[Group] = [
        (name, target, score, 10) for name in ("hatemoji", AUTHORED) for target, score in ((0.0, 0.1), (1.0, 0.3))
    ]

    assert 0.5 < decided(*scored("identity_attack", *large, *small), "identity_attack") <= 0.7
    # Many rows on one side alone tell no more.
    lopsided: list[Group] = [("dynahate", 0.0, 0.5, 1000), ("dynahate", 1.0, 0.7, FEWEST)]
    few: list[Group] = [
        (name, target, score, 100) for name in ("hatemoji", AUTHORED) for target, score in ((0.0, 0.1), (1.0, 0.3))
    ]
    assert 0.1 < decided(*scored("identity_attack", *lopsided, *few), "identity_attack") <= 0.3


def test_a_set_with_too_few_rows_on_a_side_decides_nothing() -> None:
    enough: list[Group] = [("one", 0.0, 0.2, FEWEST), ("one", 1.0, 0.4, FEWEST)]
    few: list[Group] = [("two", 0.0, 0.7, 500), ("two", 1.0, 0.9, FEWEST - 1)]

    assert decided(*scored("insult", *enough, *few), "insult") <= 0.4
    assert operating_threshold(*scored("insult", *few), "insult") is None


def test_only_the_sets_that_asked_the_labels_question_decide_it() -> None:
    asked: list[Group] = [("dynahate", 0.0, 0.2, 20), ("dynahate", 1.0, 0.4, 20)]
    others: list[Group] = [
        (name, target, score, 50) for name in ("mhs", "edos") for target, score in ((0, 0.6), (1, 0.8))
    ]

    assert decided(*scored("identity_attack", *asked, *others), "identity_attack") <= 0.4
    # Of other labels every set is asked; and so they are where none of those that should decide is there.
    assert decided(*scored("insult", *asked, *others), "insult") > 0.4
    assert decided(*scored("identity_attack", *others), "identity_attack") > 0.6


def test_a_threshold_stays_within_its_limits() -> None:
    always = scored("insult", ("one", 0.0, 0.0, 20), ("one", 1.0, 0.01, 20))
    never = scored("insult", ("one", 0.0, 0.99, 20), ("one", 1.0, 1.0, 20))

    for rows, scores in (always, never):
        assert 0.05 <= decided(rows, scores, "insult") <= 0.95


# ---- operating points


def points(rows: list[Row], scores: Array) -> dict[str, float | None]:
    found = operating_points(rows, scores, "threat")
    return {precision: found[precision] for precision in ("0.80", "0.95")}


def test_a_point_is_where_its_precision_is_reached() -> None:
    rows, scores = scored(
        "threat", ("one", 0.0, 0.2, 80), ("one", 0.0, 0.5, 30), ("one", 1.0, 0.5, 120), ("one", 1.0, 0.9, 80)
    )

    # From .5 on 200 of 230 are right, from .9 on all.
    assert points(rows, scores) == {"0.80": 0.5, "0.95": 0.9}


def test_a_point_holds_from_there_on_up_and_not_just_there() -> None:
    rows, scores = scored("threat", ("one", 1.0, 0.6, 100), ("one", 0.0, 0.7, 20), ("one", 1.0, 0.9, 30))

    # From .6 on 130 of 150 are right, but from .7 on only 30 of 50.
    assert points(rows, scores)["0.80"] == 0.9


def test_a_precision_that_is_never_reached_has_no_point() -> None:
    rows, scores = scored("threat", ("one", 1.0, 0.8, 30), ("one", 0.0, 0.9, 20))

    assert points(rows, scores) == {"0.80": None, "0.95": None}


def test_fewer_found_than_that_prove_nothing_either_way() -> None:
    top: list[Group] = [("one", 1.0, 0.9, 8), ("one", 0.0, 0.8, 5)]
    rows, scores = scored("threat", *top, ("one", 1.0, 0.5, 60), ("one", 0.0, 0.1, 30))

    # From .5 on 68 of 73; above stand eight without a mistake, and then five mistakes in thirteen.
    assert points(rows, scores) == {"0.80": 0.5, "0.95": None}


@pytest.mark.parametrize(("found", "point"), [(79, None), (80, 0.9)])
def test_there_is_room_for_four_mistakes_among_those_that_prove_a_precision(found: int, point: float | None) -> None:
    rows, scores = scored("threat", ("one", 0.0, 0.2, 200), ("one", 1.0, 0.9, found))

    assert points(rows, scores)["0.95"] == point


def test_what_a_point_reaches_elsewhere_is_measured_there() -> None:
    rows, scores = scored(
        "threat", ("one", 1.0, 0.9, 6), ("one", 0.0, 0.9, 2), ("one", 1.0, 0.4, 5), ("one", 0.0, 0.1, 9)
    )

    assert reached(rows, scores, {"threat": {"0.50": 0.3, "0.80": 0.5, "0.90": 0.95, "0.95": None}}) == {
        "threat": {"0.50": (13, pytest.approx(11 / 13)), "0.80": (8, 0.75), "0.90": None, "0.95": None}
    }


@pytest.mark.parametrize("seed", range(20))
def test_more_precision_is_never_cheaper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rows_of("threat", *rng.integers(0, 2, 300).astype(float).tolist())
    scores = np.zeros((300, len(LABELS)))
    truth = np.array([r.targets["threat"] for r in rows])
    scores[:, LABELS.index("threat")] = np.clip(rng.normal(0.4 + 0.2 * truth, 0.15), 0, 1)

    at_least = [1.0 if at is None else at for at in operating_points(rows, scores, "threat").values()]

    assert all(before <= after for before, after in pairwise(at_least))


# ---- behaviours


@pytest.mark.parametrize(
    ("targets", "scores", "right"),
    [
        ({"insult": 1.0}, {"insult": 0.5}, True),
        ({"insult": 1.0}, {"insult": 0.49}, False),
        ({"insult": 0.0}, {"insult": 0.5}, False),
        ({"insult": 1.0, "threat": 0.0}, {"insult": 0.9, "threat": 0.9}, False),
        # Unknown, a tie, how bad it is, and how kind what is not kind: nobody can be wrong there.
        ({}, {"insult": 0.9}, True),
        ({"insult": 0.5}, {"insult": 0.9}, True),
        ({"severe_toxicity": 1.0}, {}, True),
        ({"kindness": 0.0}, {"kindness": 0.9}, True),
        ({"kindness": 1.0}, {"kindness": 0.1}, False),
    ],
)
def test_a_row_is_right_when_every_label_that_is_known_is(
    targets: Mapping[str, float], scores: Mapping[str, float], right: bool
) -> None:
    assert is_right(Row("text", targets, AUTHORED), {**NOTHING, **scores}, HALF) == right


def test_behaviours_are_counted_one_by_one() -> None:
    said = [("b/x", 1.0, 0.9), ("b/x", 1.0, 0.1), ("a/y", 0.0, 0.1), (None, 1.0, 0.1)]
    rows = [Row(f"t{n}", {"insult": target}, AUTHORED, behaviour=name) for n, (name, target, _) in enumerate(said)]
    scores = np.zeros((4, len(LABELS)))
    scores[:, LABELS.index("insult")] = [score for *_, score in said]

    counts = behaviours(rows, scores, HALF)

    assert counts == {"a/y": (1, 1), "b/x": (1, 2)}
    assert list(counts) == ["a/y", "b/x"]


def test_harmful_or_not_is_asked_where_it_is_known() -> None:
    rows = [
        Row("harmful by one label", {"insult": 1.0, "threat": 0.5}, AUTHORED, behaviour="a"),
        Row("harmless by all", {"insult": 0.0, "threat": 0.1}, AUTHORED, behaviour="a"),
        Row("nobody can say", {"insult": 0.0, "threat": 0.5}, AUTHORED, behaviour="a"),
        Row("kind and harmless", {"kindness": 1.0, "insult": 0.0}, AUTHORED, behaviour="b"),
        Row("published", {"insult": 1.0}, "one"),
    ]

    assert harm_found(rows, [True, True, True, False, False]) == {"a": (1, 2), "b": (1, 1)}


# ---- identity terms


@pytest.fixture
def _two_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "shared_slots", lambda _: {"being": ["Robot", "cat"]})


def naming(text: str, truth: float, toxicity: float, attack: float, many: int) -> list[tuple[Row, list[float]]]:
    """Rows of one text, both labels of which are as true, and their scores."""
    scores = {**NOTHING, "toxicity": toxicity, "identity_attack": attack}
    return [(Row(text, {"identity_attack": truth, "toxicity": truth}, "one"), list(scores.values()))] * many


@pytest.mark.usefixtures("_two_terms")
def test_what_naming_a_group_does() -> None:
    said = [
        *naming("robots are fine", 0.0, 0.2, 0.1, 30),
        *naming("a ROBOT, at last", 0.0, 0.6, 0.7, 10),
        *naming("that robot must go", 1.0, 0.4, 0.9, 20),
        *naming("no robotics, and a catalogue", 0.0, 0.9, 0.9, 99),
        *naming("one cat", 0.0, 0.9, 0.9, 29),
    ]

    terms = by_term([r for r, _ in said], np.array([s for _, s in said]), HALF)

    # Of 40 harmless rows ten are carried; of 40 x 20 pairs those with the ten are the wrong way round. Too few cats.
    assert terms == {"robot": {"n": 40, "false_positives": 0.25, "auc": 0.75}}


# ---- beside others


def test_flips_are_counted_per_label_and_over_all() -> None:
    ours, floats = np.zeros((2, len(LABELS))), np.zeros((2, len(LABELS)))
    ours[:, LABELS.index("threat")], floats[:, LABELS.index("threat")] = [0.5, 0.7], [0.499, 0.9]

    changed = flips(ours, floats, HALF)

    assert changed == {"all": 1 / 18, **NOTHING, "threat": 0.5}


def test_a_peer_is_compared_per_set_that_has_enough_and_over_all() -> None:
    rows, scores = scored(
        "toxicity", ("two", 0.0, 0.1, 10), ("two", 1.0, 0.9, 10), ("one", 0.0, 0.1, 10), ("one", 1.0, 0.9, 9)
    )
    theirs = np.where(scores[:, 0] > 0.5, 0.2, 0.8)
    theirs[20:] = 0.5

    table = compare_toxicity(rows, scores, theirs)

    assert list(table) == ["all", "two"]
    assert table["two"] == {"ours": 1.0, "theirs": 0.0}
    assert table["all"]["ours"] == 1.0
    # Of 20 x 19 pairs the 10 x 10 of one set are backwards, the 10 x 9 of the other ties; those between: 10 x 9 and 10 x 10,
    # .8 and .5 against .5 and .2, all backwards.
    assert table["all"]["theirs"] == pytest.approx(0.5 * 90 / 380)
