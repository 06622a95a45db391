"""Heads fitted anew on an encoder that stays as it is: where a mean of several is worse than what one could be.

**Places.** The mean of two token heads points less well than either: which direction means "here" is each run's own choice.
**Kindness.** Each run learns it from another mix of what is kind and what only sounds so, and the mean of their answers is less
sure than the encoder allows (RESULTS.md). The other labels' heads are the mean: fitted anew, they gained nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from training import MAX_TOKENS
from training.authored import LATER, SOURCE
from training.batches import by_length
from training.labels import Row
from training.model import Screener, in_bfloat16
from training.recipe import Recipe
from training.split import share
from training.train import WEIGHTS, load_trained, token_marks
from training.wrapped import WRAPPED
from worker.classifier import LABELS

SPANS_SET: Final = "toxic_spans"
"""The set whose annotators said where."""
_SPANS_EPOCHS: Final = 6
_SPANS_BATCH: Final = 8_192
_SPANS_RATE: Final = 3e-3

KINDNESS: Final = "kindness"
KIND_SETS: Final[Mapping[str, int]] = {"goemotions": 40_000, SOURCE: 5_000, LATER: 1_400, WRAPPED: 2_500}
"""Whose rows say what is kind, and how many of them are asked at most: people's view of it, and ours of what only sounds so."""
_KIND_STEPS: Final = 600
_KIND_RATE: Final = 2e-3
_STAY: Final = 1e-3
"""What a step away from the mean costs, beside the loss."""


def refit(rows: Sequence[Row], work: Path, *, kind: bool = True) -> None:
    """Fit both on the averaged model in `work`, or places alone; model.pt is written again."""
    model, tokenizer = load_trained(work)
    torch.manual_seed(0)
    places(model, tokenizer, rows)
    if kind:
        kindness(model, tokenizer, rows)
    torch.save(model.state_dict(), work / WEIGHTS)


def places(model: Screener, tokenizer: Any, rows: Sequence[Row]) -> None:
    """Fit the token head on the rows whose annotators said where; without any it stays."""
    asked = [r for r in rows if r.source == SPANS_SET and r.spans is not None]
    if not asked:
        return
    encoded = tokenizer([r.text for r in asked], truncation=True, max_length=MAX_TOKENS, return_offsets_mapping=True)
    tokens, offsets = encoded["input_ids"], encoded["offset_mapping"]
    features, targets = [], []
    with torch.inference_mode():
        for chosen, ids, mask in by_length(tokens):
            with in_bfloat16("cpu"):
                hidden = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            for row, i in enumerate(chosen):
                features.append(hidden[row, 1 : len(tokens[i]) - 1])
                targets.append(torch.tensor((token_marks(asked[i], offsets[i]) or [])[1:-1]))
    x, y = torch.cat(features).clone(), torch.cat(targets)
    optimiser = torch.optim.AdamW(model.token_head.parameters(), lr=_SPANS_RATE)
    total = _SPANS_EPOCHS * -(-len(x) // _SPANS_BATCH)
    for step in range(total):
        picked = torch.randint(len(x), (_SPANS_BATCH,))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model.token_head(x[picked]), y[picked])
        _step(optimiser, loss, _SPANS_RATE * (1 - step / total))


def kindness(model: Screener, tokenizer: Any, rows: Sequence[Row]) -> None:
    """Fit that label's weights on rows of `KIND_SETS`, from the mean on and not far from it; without any they stay."""
    chosen = [r for source, most in KIND_SETS.items() for r in _some(rows, source, most)]
    if not chosen:
        return
    x = _pooled(model, tokenizer, [r.text for r in chosen])
    y = torch.tensor([r.targets[KINDNESS] for r in chosen])
    column = LABELS.index(KINDNESS)
    before = model.head.weight[column].detach().clone()
    weight, bias = before.clone().requires_grad_(), model.head.bias[column].detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([weight, bias], lr=_KIND_RATE)
    for step in range(_KIND_STEPS):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ weight + bias, y)
        _step(optimiser, loss + _STAY * ((weight - before) ** 2).sum(), _KIND_RATE * (1 - step / _KIND_STEPS))
    with torch.no_grad():
        model.head.weight[column], model.head.bias[column] = weight, bias


def _some(rows: Sequence[Row], source: str, most: int) -> list[Row]:
    """Rows of a set that know of kindness, in an order that depends on their texts alone."""
    known = [r for r in rows if r.source == source and KINDNESS in r.targets]
    return sorted(known, key=lambda r: share(f"kind{r.text}"))[:most]


def _pooled(model: Screener, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """What the label head is given of each text, float32 [texts, twice the size]."""
    tokens = tokenizer(list(texts), truncation=True, max_length=Recipe().max_tokens)["input_ids"]
    found = torch.empty(len(texts), model.head.in_features)
    given: list[Tensor] = []
    hook = model.head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].float()))
    with torch.no_grad(), in_bfloat16("cpu"):
        for chosen, ids, mask in by_length(tokens):
            model(ids, mask)
            found[chosen] = given.pop()
    hook.remove()
    return found


def _step(optimiser: Any, loss: Tensor, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
