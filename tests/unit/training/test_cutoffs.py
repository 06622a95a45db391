"""When comments may leave the fast model early, as it is chosen."""

from dataclasses import replace

import numpy as np
import pytest

from training import cutoffs
from training.evaluate import Array
from training.labels import Row
from worker.classifier import LABELS
from worker.early import Leaving

NOTHING = np.zeros(100, bool)
THRESHOLDS = dict.fromkeys(LABELS, 0.5)
RUDE, KIND = LABELS.index("toxicity"), LABELS.index("kindness")


def told() -> tuple[list[Row], Array]:
    """A hundred rows, every fourth of them rude, and a model that is always right."""
    rows = [Row(f"text {at}", {"toxicity": float(at % 4 == 0)}, "jigsaw") for at in range(100)]
    scores = np.full((len(rows), len(LABELS)), 0.01)
    scores[::4, RUDE] = 0.9
    return rows, scores


def gone(rule: Leaving, early: Array) -> list[int]:
    """The numbers of the rows that leave."""
    return [at for at, scores in enumerate(early.tolist()) if rule.leaves(dict(zip(LABELS, scores, strict=True)))]


def test_what_is_found_harmless_by_both_leaves_and_what_is_not_stays() -> None:
    rows, scores = told()
    rule = cutoffs.choose(rows, scores, scores, THRESHOLDS, {}, acted=NOTHING)

    assert gone(rule, scores) == [at for at in range(100) if at % 4]


@pytest.mark.parametrize("label", cutoffs.NEVER)
def test_no_sign_of_what_always_reaches_a_person_leaves(label: str) -> None:
    rows, scores = told()
    early, column = scores.copy(), LABELS.index(label)
    # Too little to be found by the model, enough for a policy; and next to nothing to the first stage.
    scores[1, column] = 0.3
    early[:, column] = 0.001
    early[1, column] = 0.002

    assert 1 in gone(cutoffs.choose(rows, early, scores, THRESHOLDS, {}, acted=NOTHING), early)
    assert 1 not in gone(cutoffs.choose(rows, early, scores, THRESHOLDS, {label: 0.3}, acted=NOTHING), early)
    assert 2 in gone(cutoffs.choose(rows, early, scores, THRESHOLDS, {label: 0.3}, acted=NOTHING), early)


@pytest.mark.parametrize("label", cutoffs.NEVER)
@pytest.mark.parametrize(("target", "assumed", "leaves"), [(0.0, False, True), (0.0, True, False), (1.0, False, False)])
def test_what_is_known_to_be_no_sign_is_none(label: str, target: float, assumed: bool, leaves: bool) -> None:
    """Else one sentence that only sounds so would keep half of all comments. What was inferred is not known."""
    rows, scores = told()
    rows[1] = replace(rows[1], targets={label: target}, assumed=frozenset([label] if assumed else []))
    early, column = scores.copy(), LABELS.index(label)
    scores[1, column] = 0.3
    early[:, column] = 0.001

    assert (1 in gone(cutoffs.choose(rows, early, scores, THRESHOLDS, {label: 0.3}, acted=NOTHING), early)) is leaves


def test_nothing_leaves_that_a_policy_does_something_about() -> None:
    rows, scores = told()
    acted, early = NOTHING.copy(), scores.copy()
    acted[[1, 2]] = True
    # One that the first stage takes for as harmless as any, but for a label of which nobody else has as much; and another.
    early[1, RUDE], early[1, LABELS.index("insult")] = 0.02, 0.011
    early[2, LABELS.index("profanity")] = 0.4

    left = gone(cutoffs.choose(rows, early, scores, THRESHOLDS, {}, acted=acted), early)

    assert left == [at for at in range(100) if at % 4 and at not in (1, 2)]
