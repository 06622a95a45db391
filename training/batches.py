"""Batches for torch: token ids, padded, those of like length together; and a model watched while it reads them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

_WIDTH_STEP: Final = 8


def pad(tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids → input_ids, attention_mask: int64 [batch, longest], rounded up so that few shapes of memory are asked for."""
    width = -(-max(map(len, tokens)) // _WIDTH_STEP) * _WIDTH_STEP
    ids = torch.zeros(len(tokens), width, dtype=torch.long)
    mask = torch.zeros(len(tokens), width, dtype=torch.long)
    for i, t in enumerate(tokens):
        ids[i, : len(t)] = torch.tensor(t)
        mask[i, : len(t)] = 1
    return ids, mask


def by_length(tokens: Sequence[Sequence[int]], batch: int = 64) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """All texts once, the short ones first → which they are, input_ids and attention_mask."""
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        yield chosen, *pad([tokens[i] for i in chosen])


def watch(model: Any, tokens: Sequence[Sequence[int]], looks: Mapping[nn.Module, Callable[[Tensor], None]]) -> None:
    """Have a model read texts. Whoever looks at one of its modules is given what that is given of real tokens: [tokens, in]."""
    mask = torch.ones(0)

    def hook(look: Callable[[Tensor], None]) -> Any:
        return lambda _, inputs: look(inputs[0][mask.bool()])

    hooks = [module.register_forward_pre_hook(hook(look)) for module, look in looks.items()]
    with torch.inference_mode():
        for _, ids, mask in by_length(tokens):
            model(ids, mask)
    for each in hooks:
        each.remove()
