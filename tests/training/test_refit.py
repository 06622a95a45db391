"""Heads fitted anew: each learns what its rows say, and nothing else of the model moves."""

import copy
from typing import Any

import pytest
import torch

from tests.training.conftest import tiny_model
from training.authored import SOURCE
from training.labels import Row
from training.model import Screener, load_tokenizer
from training.refit import KIND_SETS, KINDNESS, SPANS_SET, kindness, places
from worker.classifier import LABELS

COLUMN = LABELS.index(KINDNESS)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer([])


@pytest.fixture
def model(tokenizer: Any) -> Screener:
    torch.manual_seed(3)
    small: Screener = tiny_model(tokenizer).eval()
    return small


def rows(*sources: str) -> list[Row]:
    kind = [
        Row(f"thank you {n} times, my friend", {KINDNESS: 1.0, "insult": 0.0}, source)
        for source in sources
        for n in range(9)
    ]
    other = [Row(f"bus {n} leaves at noon", {KINDNESS: 0.0}, source) for source in sources for n in range(9)]
    return kind + other


def scores(model: Screener, tokenizer: Any, text: str) -> torch.Tensor:
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        logits, _ = model(ids, torch.ones_like(ids))
    return logits[0].sigmoid()


def changed(before: Screener, after: Screener) -> set[str]:
    return {
        name
        for (name, one), other in zip(before.state_dict().items(), after.state_dict().values(), strict=True)
        if not torch.equal(one, other)
    }


def test_kindness_is_fitted_and_nothing_else_moves(model: Screener, tokenizer: Any) -> None:
    before = copy.deepcopy(model)

    kindness(model, tokenizer, rows("goemotions", SOURCE))

    assert changed(before, model) == {"head.weight", "head.bias"}
    others = [at for at in range(len(LABELS)) if at != COLUMN]
    assert model.head.weight[others].equal(before.head.weight[others])
    assert scores(model, tokenizer, "thank you, my friend")[COLUMN] > 0.6
    assert scores(model, tokenizer, "the bus leaves at noon")[COLUMN] < 0.4


def test_only_sets_that_know_of_it_are_asked(model: Screener, tokenizer: Any) -> None:
    before = copy.deepcopy(model)

    kindness(model, tokenizer, [*rows("mhs"), Row("hello", {"insult": 1.0}, "goemotions")])

    assert changed(before, model) == set()
    assert "mhs" not in KIND_SETS


def test_it_is_the_same_whatever_the_order_of_the_rows(model: Screener, tokenizer: Any) -> None:
    other = copy.deepcopy(model)

    kindness(model, tokenizer, rows("goemotions"))
    kindness(other, tokenizer, rows("goemotions")[::-1])

    assert changed(model, other) == set()


def test_places_are_fitted_and_nothing_else_moves(model: Screener, tokenizer: Any) -> None:
    before = copy.deepcopy(model)
    marked = [
        Row(f"you fool number {n}", {"insult": 1.0}, SPANS_SET, spans=((4, 8, "insult", 1.0),)) for n in range(20)
    ]

    places(model, tokenizer, marked)

    assert changed(before, model) == {"token_head.weight", "token_head.bias"}


def test_without_rows_that_say_where_they_stay(model: Screener, tokenizer: Any) -> None:
    before = copy.deepcopy(model)

    places(model, tokenizer, [Row("you fool", {"insult": 1.0}, SPANS_SET), Row("you fool", {}, "mhs", spans=())])

    assert changed(before, model) == set()
