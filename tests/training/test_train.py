"""Training and exporting, where they need torch: unknown labels do not teach, and the graph says what the model says."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from training.compare import n_bits
from training.evaluate import coupling, logits, open_session
from training.export import Linear, build, float32, per_token
from training.model import Screener
from training.train import Recipe, masked_loss, pad, plan

TEXTS = [[101, 7, 8, 102], [101, 9, 102], [101, *range(20, 40), 102]]


@pytest.fixture(scope="module")
def small() -> Screener:
    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 512}
    screener = Screener(BertModel(BertConfig(vocab_size=200, **sizes), add_pooling_layer=False))
    screener.eval()
    return screener


def test_an_unknown_label_moves_nothing() -> None:
    raw = torch.zeros(1, 2, requires_grad=True)

    masked_loss(raw, torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])).backward()

    assert raw.grad is not None
    assert raw.grad[0, 0] != 0
    assert raw.grad[0, 1] == 0


def test_the_plan_has_each_row_once_and_the_same_order_again() -> None:
    recipe = Recipe(batch=4, window=3)
    lengths = [n % 13 for n in range(101)]

    batches = plan(lengths, recipe)

    assert sorted(i for b in batches for i in b) == list(range(101))
    assert batches == plan(lengths, recipe)


@pytest.mark.parametrize(("linear", "within"), [(float32, 1e-4), (per_token, 0.05), (n_bits, 0.05)])
def test_the_graph_says_what_the_model_says(small: Screener, linear: Linear, within: float) -> None:
    state = {k: v.numpy() for k, v in small.state_dict().items()}
    ids, mask = pad(TEXTS)
    with torch.no_grad():
        expected = small(ids, mask).numpy()

    graph = build(state, linear, quantised=linear is not float32)
    found = logits(open_session(graph, 1), TEXTS)

    assert np.abs(found - expected).max() < within


def test_a_score_does_not_depend_on_the_rest_of_the_batch(small: Screener) -> None:
    state = {k: v.numpy() for k, v in small.state_dict().items()}

    padded, _, same_width = coupling(open_session(build(state, per_token), 1), TEXTS)

    assert same_width == 0.0
    assert padded < 1e-5
