"""Calibrating: what a score says of how often it is right → a slope and a shift per label, from half of the dev rows.

Platt's way: a logistic regression on the trained model's logit. A score of .8 then means that about four in five such rows of the
dev mix carry the label, and the scores of two labels can be compared. On a platform where harm is rarer than in the published
sets, scores run too high; `comment-screener evaluate` shows by how much.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from training import MAX_TOKENS
from training.batches import by_length
from training.labels import Row
from training.split import halves
from training.train import load_trained
from worker.classifier import LABELS

Array = np.ndarray[Any, Any]

CALIBRATION: Final = "calibration.json"
FEWEST: Final = 30
"""Rows on either side that a label needs; with fewer, its logit stays as it is."""


def calibrate(rows: Sequence[Row], work: Path) -> dict[str, dict[str, float]]:
    """Fit on the tuning half of the dev rows; writes and returns {label: {slope, shift}}."""
    tune, _ = halves(rows)
    logits = trained_logits(tune, work)
    found = {label: fit(tune, logits[:, column], label) for column, label in enumerate(LABELS)}
    (work / CALIBRATION).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def fit(rows: Sequence[Row], logits: Array, label: str) -> dict[str, float]:
    """Slope and shift for one label. Soft targets count as that share of a positive; of inferred ones only a 0 counts.

    Raises:
        ArithmeticError: the slope is not positive: the label was not learned.
    """
    known = [i for i, r in enumerate(rows) if label in r.targets and (label not in r.assumed or r.targets[label] == 0)]
    share_of = np.array([rows[i].targets[label] for i in known])
    x = logits[known]
    if (share_of >= 0.5).sum() < FEWEST or (share_of < 0.5).sum() < FEWEST:  # noqa: PLR2004
        return {"slope": 1.0, "shift": 0.0}
    # A soft target is two rows with weights that add up to one.
    twice = np.concatenate([x, x])[:, None]
    y = np.concatenate([np.ones(len(x)), np.zeros(len(x))])
    weights = np.concatenate([share_of, 1 - share_of])
    line = LogisticRegression(C=1e6).fit(twice, y, sample_weight=weights)
    slope, shift = float(line.coef_[0, 0]), float(line.intercept_[0])
    if slope <= 0:
        raise ArithmeticError(f"{label}: higher logits are no likelier to be right")
    return {"slope": slope, "shift": shift}


def trained_logits(rows: Sequence[Row], work: Path) -> Array:
    """The trained model's logits as they are: float32 [rows, labels]."""
    model, tokenizer = load_trained(work)
    tokens = tokenizer([r.text for r in rows], truncation=True, max_length=MAX_TOKENS)["input_ids"]
    logits = np.zeros((len(rows), len(LABELS)), np.float32)
    with torch.inference_mode():
        for chosen, ids, mask in by_length(tokens):
            logits[chosen] = model(ids, mask)[0].numpy()
    return logits
