"""Evaluating: the exported file, as the worker will load it, on rows that it never saw → figures and thresholds.

Everything here is measured on model.onnx itself; nothing on the float weights.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score
from transformers import AutoTokenizer

from training import MAX_TOKENS
from training.authored import SOURCE as AUTHORED
from training.labels import Row
from worker.classifier import LABELS

FEWEST: Final = 10
"""Positives that a set needs before its own figure means anything."""

PRECISIONS: Final = (0.5, 0.8, 0.9, 0.95)
ASSUMED_NEGATIVES: Final = frozenset({"sexually_explicit", "self_harm"})
"""Labels whose negatives are texts without a single word of that vocabulary: no set annotates enough of them."""

THRESHOLD_LIMITS: Final = (0.05, 0.95)
# A soft target in between is a tie among annotators: neither answer would be wrong.
_NO_AT_MOST: Final = 0.35
_YES_FROM: Final = 0.65

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """One label on the dev split. `at` maps a precision to the lowest threshold that reaches it, and the recall there."""

    n: int
    positives: int
    roc_auc: float
    average_precision: float
    f1: float
    threshold: float
    precision: float
    recall: float
    at: Mapping[str, tuple[float, float] | None]


class Model:
    """An exported model: texts → scores. Texts are scored 16 at a time, each batch padded to its longest."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.session = open_session((folder / "model.onnx").read_bytes(), threads)

    def __call__(self, texts: Sequence[str]) -> Array:
        """Scores in [0, 1], float64 [texts, labels]."""
        tokens = self.tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        return score(self.session, tokens)


def open_session(model: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def score(session: Any, tokens: Sequence[Sequence[int]], batch: int = 16) -> Array:
    """Token ids → scores, in the order given; sorted by length inside, so that little is padded."""
    scores = np.zeros((len(tokens), len(LABELS)))
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        scores[chosen] = sigmoid(logits(session, [tokens[i] for i in chosen]))
    return scores


def pad(tokens: Sequence[Sequence[int]], width: int = 0) -> tuple[Array, Array]:
    """Token ids → input_ids, attention_mask: int64 [batch, longest], or wider."""
    width = max([width, *map(len, tokens)])
    ids, mask = (np.zeros((len(tokens), width), np.int64) for _ in range(2))
    for i, t in enumerate(tokens):
        ids[i, : len(t)] = t
        mask[i, : len(t)] = 1
    return ids, mask


def logits(session: Any, tokens: Sequence[Sequence[int]], width: int = 0) -> Array:
    """One batch, padded to its longest or to `width` if that is more → float32 [batch, labels]."""
    ids, mask = pad(tokens, width)
    result: Array = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
    return result


def sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x.astype(np.float64)))
    return result


def cells(rows: Sequence[Row], label: str) -> tuple[list[int], list[bool]]:
    """Which rows measure a label, and what the truth is there: annotated, and not a tie."""
    chosen, truth = [], []
    for i, r in enumerate(rows):
        target = r.targets.get(label)
        if target is None or _NO_AT_MOST < target < _YES_FROM:
            continue
        if label in r.assumed and not (label in ASSUMED_NEGATIVES and target == 0):
            continue
        chosen.append(i)
        truth.append(target >= _YES_FROM)
    return chosen, truth


def measure(truth: Sequence[bool], scores: Array) -> Figures:
    """Figures of one label; the threshold is the one with the best F1.

    Raises:
        ValueError: there are no positives, or nothing else.
    """
    y = np.asarray(truth)
    if not 0 < y.sum() < len(y):
        raise ValueError("needs positives and negatives")
    precision, recall, thresholds = precision_recall_curve(y, scores)
    f1 = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-9)
    threshold = float(np.clip(thresholds[int(f1.argmax())], *THRESHOLD_LIMITS))
    found = scores >= threshold
    right = float((found & y).sum())
    p, r = right / max(1, int(found.sum())), right / int(y.sum())
    return Figures(
        n=len(y),
        positives=int(y.sum()),
        roc_auc=float(roc_auc_score(y, scores)),
        average_precision=float(average_precision_score(y, scores)),
        f1=2 * p * r / max(1e-9, p + r),
        threshold=threshold,
        precision=p,
        recall=r,
        at={f"{wanted}": _at(wanted, precision, recall, thresholds) for wanted in PRECISIONS},
    )


def _at(wanted: float, precision: Array, recall: Array, thresholds: Array) -> tuple[float, float] | None:
    enough = np.flatnonzero(precision[:-1] >= wanted)
    return (float(thresholds[enough[0]]), float(recall[enough[0]])) if len(enough) else None


def by_label(rows: Sequence[Row], scores: Array) -> dict[str, Figures]:
    """Figures per label, over all rows that measure it; a label that cannot be measured is absent."""
    figures = {}
    for column, label in enumerate(LABELS):
        chosen, truth = cells(rows, label)
        if any(truth) and not all(truth):
            figures[label] = measure(truth, scores[chosen, column])
    return figures


def evaluate(rows: Sequence[Row], folder: Path, work: Path) -> dict[str, Any]:
    """Score the dev rows, write thresholds.json to `folder` and figures.json to `work`; returns the figures.

    The figures: `all`; `published` without the authored rows and `authored` alone; and `sets`, ROC AUC per set and label.
    """
    scores = Model(folder)([r.text for r in rows])
    everything = by_label(rows, scores)

    def part(chosen: Sequence[int]) -> dict[str, Figures]:
        return by_label([rows[i] for i in chosen], scores[chosen])

    sets = {}
    for source in sorted({r.source for r in rows}):
        measured = part([i for i, r in enumerate(rows) if r.source == source])
        sets[source] = {label: f.roc_auc for label, f in measured.items() if f.positives >= FEWEST}
    figures = {
        "all": _plain(everything),
        "published": _plain(part([i for i, r in enumerate(rows) if r.source != AUTHORED])),
        "authored": _plain(part([i for i, r in enumerate(rows) if r.source == AUTHORED])),
        "sets": {s: f for s, f in sets.items() if f},
    }
    (work / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    thresholds = {label: round(f.threshold, 3) for label, f in everything.items()}
    (folder / "thresholds.json").write_text(json.dumps(thresholds, indent=2) + "\n", encoding="utf-8")
    return figures


def _plain(figures: Mapping[str, Figures]) -> dict[str, Any]:
    return {label: asdict(f) for label, f in figures.items()}


def coupling(session: Any, tokens: Sequence[Sequence[int]], batch: int = 16) -> tuple[float, float, float]:
    """How far a text's scores move with the batch it is in: differences between alone and with others.

    Returns: largest and mean over batches of mixed length, padded; and the largest when all are padded to one width, as the
    worker does it, both alone and with others.
    """
    padded, same_width = [], []
    for start in range(0, len(tokens), batch):
        together = tokens[start : start + batch]
        width = max(map(len, together))
        alone = np.concatenate([sigmoid(logits(session, [t])) for t in together])
        alone_wide = np.concatenate([sigmoid(logits(session, [t], width)) for t in together])
        mixed = sigmoid(logits(session, together))
        padded.append(np.abs(alone - mixed))
        same_width.append(np.abs(alone_wide - mixed))
    all_padded = np.concatenate(padded)
    return float(all_padded.max()), float(all_padded.mean()), float(np.concatenate(same_width).max())
