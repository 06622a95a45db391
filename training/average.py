"""Averaging: the weights of several runs, and of some steps within one → one model.

Between training and calibration. Shares stand in `recipe.AVERAGE`. The weights that all runs began with take part, save for the
heads, of which the base has none.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from training.model import load_model, load_tokenizer
from training.recipe import AVERAGE, BASE
from training.train import EMOJI, WEIGHTS, kept

State = Mapping[str, Any]
Shares = Mapping[tuple[str, int | None], float]
_HEADS: Final = ("head.", "token_head.")


def average(work: Path, shares: Shares | None = None) -> Path:
    """Write model.pt from what `train` left in `work`, by default with the shares of `recipe.AVERAGE`; returns its path.

    Raises:
        FileNotFoundError: a run, or a step of one that should have been kept, is not there.
        ValueError: the shares do not add up to one, or the runs do not have the same emoji.
    """
    shares = AVERAGE if shares is None else shares
    if abs(sum(shares.values()) - 1) > 1e-6:  # noqa: PLR2004
        raise ValueError(f"shares of {sum(shares.values()):g} in all make no average")
    vocabularies = {(work / run / EMOJI).read_text(encoding="utf-8") for run, _ in shares if run != BASE}
    if len(vocabularies) != 1:
        raise ValueError("the runs saw different rows: train them all again")
    vocabulary = vocabularies.pop()
    (work / EMOJI).write_text(vocabulary, encoding="utf-8")
    emoji = json.loads(vocabulary)
    parts: dict[tuple[str, int | None], State] = {}
    for run, step in shares:
        if run == BASE:
            parts[run, step] = load_model(load_tokenizer(emoji), emoji).state_dict()
        else:
            path = work / run / (WEIGHTS if step is None else kept(step))
            parts[run, step] = torch.load(path, weights_only=True)
    torch.save(mean(parts, shares), work / WEIGHTS)
    return work / WEIGHTS


def mean(
    parts: Mapping[tuple[str, int | None], State], shares: Mapping[tuple[str, int | None], float]
) -> dict[str, Any]:
    """The weighted mean, key by key. A head is the mean of those parts that have learned one."""
    found = {}
    for key in next(iter(parts.values())):
        known = {of: share for of, share in shares.items() if of[0] != BASE or not key.startswith(_HEADS)}
        total = sum(known.values())
        found[key] = sum(parts[of][key] * (share / total) for of, share in known.items())
    return found
