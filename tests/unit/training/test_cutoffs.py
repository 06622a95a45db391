"""When comments may leave the fast model early, as it is chosen."""

import numpy as np
import pytest

from training import cutoffs
from training.evaluate import Array
from training.labels import Row
from worker.classifier import LABELS
from worker.early import Leaving

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
    rule = cutoffs.choose(rows, scores, scores, THRESHOLDS, {})

    assert gone(rule, scores) == [at for at in range(100) if at % 4]


@pytest.mark.parametrize("label", cutoffs.NEVER)
def test_no_sign_of_what_always_reaches_a_person_leaves(label: str) -> None:
    rows, scores = told()
    early, column = scores.copy(), LABELS.index(label)
    # Too little to be found by the model, enough for a policy; and next to nothing to the first stage.
    scores[1, column] = 0.3
    early[:, column] = 0.001
    early[1, column] = 0.002

    assert 1 in gone(cutoffs.choose(rows, early, scores, THRESHOLDS, {}), early)
    assert 1 not in gone(cutoffs.choose(rows, early, scores, THRESHOLDS, {label: 0.3}), early)
    assert 2 in gone(cutoffs.choose(rows, early, scores, THRESHOLDS, {label: 0.3}), early)
