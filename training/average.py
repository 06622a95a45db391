"""Averaging: the weights of several runs, and of some steps within them → one model. `refit` then fits it heads that suit it.

Twice: of the runs that began with the base, and of those that went on from that mean, with it. Shares stand in `recipe.py`. The
weights that all runs began with may take part, save for the heads, of which the base has none.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any, Final

import torch

from training import REOPENED
from training.model import load_model, load_tokenizer
from training.recipe import BASE, Shares
from training.train import EMOJI, SIZES, WEIGHTS, kept

State = Mapping[str, Any]
_HEADS: Final = ("head.", "token_head.")


def average(work: Path, shares: Shares, to: Path) -> Path:
    """Write model.pt, and what belongs to it, from what `train` left in `work` to the folder `to`; returns its path.

    Raises:
        FileNotFoundError: a run, or a step of one that should have been kept, is not there.
        ValueError: the shares do not add up to one, or the runs do not have the same emoji.
    """
    if abs(sum(shares.values()) - 1) > 1e-6:  # noqa: PLR2004
        raise ValueError(f"shares of {sum(shares.values()):g} in all make no average")
    vocabularies = {(work / run / EMOJI).read_text(encoding="utf-8") for run, _ in shares if run != BASE}
    if len(vocabularies) != 1:
        raise ValueError("the runs saw different rows: train them all again")
    vocabulary = vocabularies.pop()
    to.mkdir(parents=True, exist_ok=True)
    (to / REOPENED).unlink(missing_ok=True)
    (to / EMOJI).write_text(vocabulary, encoding="utf-8")
    copyfile(work / next(run for run, _ in shares if run != BASE) / SIZES, to / SIZES)
    emoji = json.loads(vocabulary)
    parts: dict[tuple[str, int | None], State] = {}
    for run, step in shares:
        if run == BASE:
            parts[run, step] = load_model(load_tokenizer(emoji), emoji).state_dict()
        else:
            path = work / run / (WEIGHTS if step is None else kept(step))
            parts[run, step] = torch.load(path, weights_only=True)
    torch.save(mean(parts, shares), to / WEIGHTS)
    return to / WEIGHTS


def mean(parts: Mapping[tuple[str, int | None], State], shares: Shares) -> dict[str, Any]:
    """The weighted mean, key by key. A head is the mean of those parts that have learned one."""
    found = {}
    for key in next(iter(parts.values())):
        known = {of: share for of, share in shares.items() if of[0] != BASE or not key.startswith(_HEADS)}
        total = sum(known.values())
        found[key] = sum(parts[of][key] * (share / total) for of, share in known.items())
    return found
