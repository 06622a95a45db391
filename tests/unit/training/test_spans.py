"""Agreement about where: hand-computed, and the shared task's rule for texts in which nobody marked anything."""

import pytest

from training.labels import SPANS_TRIAL, Row
from training.spans import character_f1, is_measured, marked, text_f1
from worker.records import Span


def row(*spans: tuple[int, int, str, float]) -> Row:
    return Row("you are a fool", {"toxicity": 1.0}, "toxic_spans", "dev", group=SPANS_TRIAL, spans=spans)


def test_a_character_is_marked_from_half_of_the_annotators_on_and_only_as_toxic() -> None:
    assert marked(row((0, 2, "toxicity", 0.5), (4, 6, "toxicity", 0.33), (8, 9, "insult", 1.0))) == {0, 1}


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [(set(), set(), 1.0), ({1}, set(), 0.0), (set(), {1}, 0.0), ({1, 2}, {2, 3}, 0.5), ({1, 2}, {1, 2}, 1.0)],
)
def test_f1_of_one_text(truth: set[int], found: set[int], expected: float) -> None:
    assert text_f1(truth, found) == expected


def test_the_mean_is_over_texts_that_were_annotated() -> None:
    rows = [row((10, 14, "toxicity", 1.0)), row(), Row("hello", {}, "other", "dev", spans=())]
    found = [[Span(10, 14, "insult", 0.9)], [Span(0, 3, "insult", 0.9)], [Span(0, 5, "insult", 0.9)]]

    assert character_f1(rows, found) == {"f1": 0.5, "n": 2}
    assert [is_measured(r) for r in rows] == [True, True, False]
