"""Calibrating: the line that made the labels is found again, and what was not learned is an error, no score."""

from collections.abc import Sequence

import numpy as np
import pytest

from training.calibrate import FEWEST, Array, fit
from training.labels import Row

IDENTITY = {"slope": 1.0, "shift": 0.0}


@pytest.fixture(scope="module")
def logits() -> Array:
    return np.random.default_rng(0).normal(0, 3, 20_000).astype(np.float32)


def sigmoid(x: Array) -> Array:
    probabilities: Array = 1 / (1 + np.exp(-x))
    return probabilities


def rows(targets: Sequence[float] | Array, *, assumed: bool = False) -> list[Row]:
    inferred = frozenset({"insult"}) if assumed else frozenset()
    return [Row(f"text {n}", {"insult": float(t)}, "test", assumed=inferred) for n, t in enumerate(targets)]


@pytest.mark.parametrize(("slope", "shift"), [(0.6, -1.5), (1.0, 0.0), (1.8, 0.7)])
def test_the_line_that_drew_the_labels_is_found_again(logits: Array, slope: float, shift: float) -> None:
    drawn = np.random.default_rng(1).random(len(logits)) < sigmoid(slope * logits + shift)

    line = fit(rows(drawn), logits, "insult")

    assert line["slope"] == pytest.approx(slope, rel=0.05)
    assert line["shift"] == pytest.approx(shift, abs=0.08)


def test_a_soft_target_counts_as_that_share_of_a_positive(logits: Array) -> None:
    few = logits[:500]

    line = fit(rows(sigmoid(0.7 * few - 1)), few, "insult")

    # Nothing was drawn, so nothing but the solver's tolerance stands between them.
    assert line == {"slope": pytest.approx(0.7, abs=2e-3), "shift": pytest.approx(-1, abs=2e-3)}


@pytest.mark.parametrize("positive", [True, False])
def test_with_too_few_rows_on_one_side_a_logit_stays_as_it_is(positive: bool) -> None:
    side, other = float(positive), float(not positive)
    targets = [side] * (FEWEST - 1) + [other] * 200
    values = np.where(np.array(targets) > 0.5, 2.0, -1.0)
    values[::5] *= -1

    assert fit(rows(targets), values, "insult") == IDENTITY
    assert fit(rows([*targets, side]), np.append(values, 2 * side - 1), "insult") != IDENTITY


def test_a_label_that_nobody_knows_stays_as_it_is(logits: Array) -> None:
    assert fit(rows([0.0] * 100), logits[:100], "threat") == IDENTITY


def test_what_was_inferred_does_not_count_unless_it_is_a_plain_no(logits: Array) -> None:
    x = logits[:2000]
    drawn = rows((np.random.default_rng(2).random(2000) < sigmoid(x)).astype(float))
    line = fit(drawn, x, "insult")

    wrong = rows([0.9] * 500, assumed=True)
    assert fit([*drawn, *wrong], np.append(x, np.full(500, -6.0, np.float32)), "insult") == line

    plain = rows([0.0] * 500, assumed=True)
    assert fit([*drawn, *plain], np.append(x, np.full(500, 2.0)), "insult")["shift"] < line["shift"] - 0.2


def test_a_label_learned_backwards_is_an_error(logits: Array) -> None:
    with pytest.raises(ArithmeticError, match="insult: higher logits are no likelier to be right"):
        fit(rows(sigmoid(-logits[:1000])), logits[:1000], "insult")
