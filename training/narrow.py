"""Narrowing: a trained model → one with fewer heads and narrower layers, which says much the same before it has learned anything.

What stays of a layer is what the rest of it could make up for least, and what stays makes up for what has gone, as far as the two
go together in texts (Hassibi and Stork, optimal brain surgeon, 1993; by the head, after Kurtic et al., ZipLM, NeurIPS 2023). The
activation becomes a rectifier, which costs nothing where its outputs become integers that begin at zero.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any, Final

import torch
from torch import Tensor, nn

from training.batches import watch
from training.labels import Row
from training.model import Screener, built
from training.recipe import CUT, HEADS, INNER, REFINED, Recipe
from training.split import share
from training.train import EMOJI, WEIGHTS, load_trained

TEXTS: Final = 2_048
"""So many training rows show what goes together: some sixty thousand tokens."""
_DAMPING: Final = 1e-3
"""Of the mean square of an input, added to each."""


def cut(rows: Sequence[Row], work: Path) -> Path:
    """Write what is refined in `work`, narrower, and what belongs to it to a folder there; returns the weights' path.

    Raises:
        FileNotFoundError: nothing was refined in `work` yet.
    """
    before, to = work / REFINED, work / CUT
    model, tokenizer = load_trained(before)
    found = narrow(model, tokenizer, rows, heads=HEADS, inner=INNER)
    to.mkdir(exist_ok=True)
    torch.save(found.state_dict(), to / WEIGHTS)
    found.encoder.config.save_pretrained(to)
    copyfile(before / EMOJI, to / EMOJI)
    return to / WEIGHTS


def narrow(model: Screener, tokenizer: Any, rows: Sequence[Row], *, heads: int, inner: int) -> Screener:
    """The narrower model, in evaluation mode.

    Args:
        model: the trained one, of at least that size; it stays as it is.
        tokenizer: its.
        rows: those that teach.
        heads: so many of a layer's attention heads stay.
        inner: so many of its inner neurons do.
    """
    texts = [r.text for r in sorted(rows, key=lambda r: share(f"narrow{r.text}"))[:TEXTS]]
    tokens = tokenizer(texts, truncation=True, max_length=Recipe().max_tokens)["input_ids"]
    config = copy.deepcopy(model.encoder.config)
    config.intermediate_size, config.hidden_act, config.kept_heads = inner, "relu", heads
    size = config.hidden_size // config.num_attention_heads
    state = dict(model.state_dict())
    seen = _watch(model, tokens)
    for number in range(config.num_hidden_layers):
        layer = f"encoder.encoder.layer.{number}"
        attended, out = f"{layer}.attention.self", f"{layer}.attention.output.dense"
        stay = _fit(state, out, *seen[out], group=size, keep=heads)
        for part in ("query", "key", "value"):
            for kind in ("weight", "bias"):
                state[f"{attended}.{part}.{kind}"] = state[f"{attended}.{part}.{kind}"][stay]
        wide, out = f"{layer}.intermediate.dense", f"{layer}.output.dense"
        stay = _fit(state, out, *seen[out], group=1, keep=inner)
        for kind in ("weight", "bias"):
            state[f"{wide}.{kind}"] = state[f"{wide}.{kind}"][stay]
    found: Screener = built(config)
    found.load_state_dict(state)
    found.eval()
    return found


def _watch(model: Screener, tokens: Sequence[Sequence[int]]) -> Mapping[str, tuple[Tensor, Tensor]]:
    """By the layer behind heads or inner neurons: how what it will be given goes together, and what it is given now with that.

    Float64 [in + 1, in + 1] and [in + 1, in + 1], with a constant as the last input. Heads are given as they are; inner neurons
    through a rectifier instead of GELU.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    before: dict[str, Tensor] = {}

    def add(name: str, now: Tensor, then: Tensor) -> None:
        ones = torch.ones(len(now), 1)
        now, then = torch.cat([now, ones], 1), torch.cat([then, ones], 1)
        together, across = found.get(name, (0.0, 0.0))
        found[name] = (together + (then.T @ then).double(), across + (now.T @ then).double())

    looks: dict[nn.Module, Callable[[Tensor], None]] = {}
    for number, layer in enumerate(model.encoder.encoder.layer):
        heads, inner = (f"encoder.encoder.layer.{number}.{of}output.dense" for of in ("attention.", ""))
        looks[layer.attention.output.dense] = lambda given, name=heads: add(name, given, given)  # type: ignore[misc]
        looks[layer.intermediate.intermediate_act_fn] = partial(before.__setitem__, inner)
        looks[layer.output.dense] = lambda given, name=inner: add(name, given, before.pop(name).relu())  # type: ignore[misc]
    watch(model, tokens, looks)
    return found


def _fit(state: dict[str, Tensor], name: str, together: Tensor, across: Tensor, *, group: int, keep: int) -> Tensor:
    """Fit a layer anew to the `keep` groups of its inputs that it can do without least; which inputs these are."""
    weight, bias = state[f"{name}.weight"].double(), state[f"{name}.bias"].double()
    together = together.clone()
    together.diagonal()[:-1] += _DAMPING * together.diagonal()[:-1].mean()
    inverse = torch.linalg.inv(together)
    # What the layer puts out now, by what it will be given: [out, in + 1].
    fitted = torch.cat([weight, bias[:, None]], 1) @ across @ inverse
    stay = torch.arange(len(together) - 1).reshape(-1, group)
    while len(stay) > keep:
        blocks = inverse[stay[:, :, None], stay[:, None, :]]
        of_each = fitted[:, stay].transpose(0, 1)
        missed = (of_each @ torch.linalg.inv(blocks) * of_each).sum((1, 2))
        least = int(missed.argmin())
        gone = stay[least]
        # The others take over what it did, as far as they go together with it.
        ways = torch.linalg.solve(blocks[least], inverse[gone])
        fitted -= fitted[:, gone] @ ways
        inverse -= inverse[:, gone] @ ways
        stay = torch.cat([stay[:least], stay[least + 1 :]])
    stay = stay.flatten()
    state[f"{name}.weight"], state[f"{name}.bias"] = fitted[:, stay].float(), fitted[:, -1].float()
    return stay
