"""Averaging: the weights of several runs, and of some steps within them → one model, and a token head that fits it.

Twice: of the runs that began with the base, and of the run that went on from that mean, with it. Shares stand in `recipe.py`. The
weights that all runs began with may take part, save for the heads, of which the base has none.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any, Final

import torch

from training import MAX_TOKENS, REOPENED
from training.labels import Row
from training.model import in_bfloat16, load_model, load_tokenizer
from training.recipe import BASE, Shares
from training.train import EMOJI, SIZES, WEIGHTS, kept, load_trained, pad, token_marks

State = Mapping[str, Any]
SPANS_SET: Final = "toxic_spans"
"""The set whose annotators said where."""
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


def refit(rows: Sequence[Row], work: Path, epochs: int = 6, batch: int = 8_192) -> None:
    """Fit the token head anew on the averaged encoder, which stays as it is; model.pt is written again.

    The mean of two token heads points less well than either: which direction means "here" is each run's own choice. The
    label head is spared, since its runs agree.
    """
    model, tokenizer = load_trained(work)
    asked = [r for r in rows if r.source == SPANS_SET and r.spans is not None]
    if not asked:
        return
    encoded = tokenizer([r.text for r in asked], truncation=True, max_length=MAX_TOKENS, return_offsets_mapping=True)
    tokens, offsets = encoded["input_ids"], encoded["offset_mapping"]
    features, targets = [], []
    order = sorted(range(len(asked)), key=lambda i: len(tokens[i]))
    with torch.inference_mode():
        for start in range(0, len(order), 64):
            chosen = order[start : start + 64]
            ids, mask = pad([tokens[i] for i in chosen])
            with in_bfloat16("cpu"):
                hidden = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            for row, i in enumerate(chosen):
                features.append(hidden[row, 1 : len(tokens[i]) - 1])
                targets.append(torch.tensor((token_marks(asked[i], offsets[i]) or [])[1:-1]))
    x, y = torch.cat(features).clone(), torch.cat(targets)
    torch.manual_seed(0)
    optimiser = torch.optim.AdamW(model.token_head.parameters(), lr=3e-3)
    total = epochs * -(-len(x) // batch)
    for step in range(total):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / total)
        picked = torch.randint(len(x), (batch,))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model.token_head(x[picked]), y[picked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.save(model.state_dict(), work / WEIGHTS)
