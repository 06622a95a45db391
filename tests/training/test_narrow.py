"""Narrowing: what stays makes up for what has gone, and what says nothing goes first."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig

from training.labels import Row
from training.model import Screener, built, load_tokenizer
from training.narrow import narrow
from training.train import unlike
from worker.classifier import LABELS

HEADS, INNER = 4, 64
WHO = ["you", "they", "we", "cats", "dogs"]
DOES = ["see", "have", "like", "take", "make"]
WHAT = ["it", "this", "that", "more", "rain"]
TEXTS = [f"{who} {does} {what}" for who in WHO for does in DOES for what in WHAT]
ROWS = [Row(text, dict.fromkeys(LABELS, 0.0), "some") for text in TEXTS]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer([])


@pytest.fixture
def wide(tokenizer: Any) -> Screener:
    torch.manual_seed(3)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": INNER}
    model = built(BertConfig(vocab_size=len(tokenizer), hidden_act="relu", initializer_range=0.3, **sizes))
    model.eval()
    return model


def layers(model: Screener, tokenizer: Any) -> Tensor:
    """What comes out of the last layer for the texts, which have the same length."""
    ids = torch.tensor(tokenizer(TEXTS)["input_ids"])
    with torch.inference_mode():
        return model.look(ids, torch.ones_like(ids))[2][-1]


def test_a_model_as_wide_as_before_says_the_same(wide: Screener, tokenizer: Any) -> None:
    found = narrow(wide, tokenizer, ROWS, heads=HEADS, inner=INNER)

    expected = layers(wide, tokenizer)
    assert (layers(found, tokenizer) - expected).norm() < 0.02 * expected.norm()


def test_what_goes_is_made_up_for_by_what_says_the_same(wide: Screener, tokenizer: Any) -> None:
    with torch.no_grad():
        for layer in wide.encoder.encoder.layer:
            # Every neuron twice, behind weights of their own; and every head.
            for part in (
                layer.intermediate.dense,
                *(getattr(layer.attention.self, p) for p in ("query", "key", "value")),
            ):
                for weights in (part.weight, part.bias):
                    weights[len(weights) // 2 :] = weights[: len(weights) // 2]

    found = narrow(wide, tokenizer, ROWS, heads=HEADS // 2, inner=INNER // 2)

    expected = layers(wide, tokenizer)
    assert (layers(found, tokenizer) - expected).norm() < 0.02 * expected.norm()


def test_what_says_nothing_goes_first(wide: Screener, tokenizer: Any) -> None:
    with torch.no_grad():
        for layer in wide.encoder.encoder.layer:
            layer.attention.output.dense.weight[:, 32:64] = 0
            layer.output.dense.weight[:, ::2] = 0

    found = narrow(wide, tokenizer, ROWS, heads=HEADS - 1, inner=INNER // 2)

    query, kept = (model.encoder.encoder.layer[0].attention.self.query.weight for model in (wide, found))
    assert (kept == torch.cat([query[:32], query[64:]])).all()
    expected = layers(wide, tokenizer)
    assert (layers(found, tokenizer) - expected).norm() < 0.02 * expected.norm()


def test_it_is_as_narrow_as_asked_and_the_wide_one_stays(wide: Screener, tokenizer: Any) -> None:
    before = {name: value.clone() for name, value in wide.state_dict().items()}

    found = narrow(wide, tokenizer, ROWS, heads=1, inner=24)

    assert found.encoder.encoder.layer[1].attention.output.dense.weight.shape == (128, 32)
    assert found.encoder.encoder.layer[1].intermediate.dense.weight.shape == (24, 128)
    assert all((value == before[name]).all() for name, value in wide.state_dict().items())


def test_layers_are_compared_where_there_are_tokens() -> None:
    theirs = torch.ones(2, 3, 4)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    ours = theirs.clone()
    ours[0, 2], ours[1, 1:] = 7.0, 7.0

    assert unlike([ours], [theirs], mask) == 0.0
    assert unlike([torch.zeros(2, 3, 4), ours], [theirs, theirs], mask) == 0.5
