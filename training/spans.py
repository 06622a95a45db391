"""Spans: how well the places that the model points at agree with those that annotators marked, and from which score it points.

The measure is that of SemEval-2021 task 5: F1 over the characters of each text, averaged over texts; where nobody marked
anything, pointing at nothing is 1 and pointing at something 0.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from training.labels import SPANS_TRIAL, Row
from worker.batching import cut
from worker.onnx import TOKEN_OUTPUT, OnnxClassifier, Pointer, point
from worker.records import Span

MARKED_FROM: Final = 0.5
"""Share of annotators from which a character counts as marked."""

GRID: Final = np.round(np.arange(0.1, 0.75, 0.025), 3)
_BATCH_TOKENS: Final = 2048

Array = np.ndarray[Any, Any]


def marked(r: Row) -> set[int]:
    """The characters that annotators marked as toxic."""
    assert r.spans is not None  # noqa: S101  for the type checker; callers ask only rows that were annotated
    return {
        at
        for start, end, label, share in r.spans
        if label == "toxicity" and share >= MARKED_FROM
        for at in range(start, end)
    }


def is_measured(r: Row) -> bool:
    """Whether the shared task settled where the harm stands in it, or that it stands nowhere."""
    return r.group == SPANS_TRIAL and r.spans is not None


def text_f1(truth: set[int], found: set[int]) -> float:
    if not truth or not found:
        return float(truth == found)
    return 2 * len(truth & found) / (len(truth) + len(found))


def character_f1(rows: Sequence[Row], spans: Iterable[Sequence[Span]]) -> dict[str, float]:
    """Mean over the texts that were annotated: {f1, n}."""
    values = [
        text_f1(marked(r), {at for span in found for at in range(span.start, span.end)})
        for r, found in zip(rows, spans, strict=True)
        if is_measured(r)
    ]
    return {"f1": float(np.mean(values)) if values else float("nan"), "n": len(values)}


def best_threshold(rows: Sequence[Row], folder: Path) -> float | None:
    """The token threshold with the best character F1 on these rows; None where none of them says where.

    Raises:
        ValueError: the model has no token output.
    """
    measured = [r for r in rows if is_measured(r)]
    if not measured:
        return None
    classifier = OnnxClassifier(folder)
    pieces = [of_text[0] for of_text in classifier.encode([r.text for r in measured])]
    marks: list[Array] = [np.empty(0)] * len(pieces)
    for batch in cut([classifier.width(p) for p in pieces], _BATCH_TOKENS):
        for at, of_piece in zip(batch, classifier.token_probabilities([pieces[at] for at in batch]), strict=True):
            marks[at] = of_piece
    pointer = classifier.pointer
    if pointer is None:
        raise ValueError(f"{folder} has no {TOKEN_OUTPUT}")

    def f1_at(threshold: float) -> float:
        there = Pointer(pointer.labels, threshold)
        spans = [point(there, p.places(), m, m[:, 0] >= threshold) for p, m in zip(pieces, marks, strict=True)]
        return character_f1(measured, spans)["f1"]

    return float(max(GRID, key=lambda t: f1_at(float(t))))
