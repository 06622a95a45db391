"""Exporting, where it needs torch: the graph says what the model says, and nothing that stands beside a text changes it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig

from training.batches import pad
from training.calibrate import CALIBRATION
from training.compare import dynamic, n_bits, per_token
from training.evaluate import coupling, open_session
from training.export import Linear, build, calibrated, float32, int8
from training.inputs import inputs_of
from training.model import Screener, built
from worker.classifier import LABELS

TEXTS = [[101, 7, 8, 102], [101, 9, 102], [101, *range(20, 40), 102]]


@pytest.fixture(scope="module")
def small() -> Screener:
    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 512}
    screener = built(BertConfig(vocab_size=200, hidden_act="relu", kept_heads=8, **sizes))
    screener.eval()
    return screener


@pytest.mark.parametrize(
    ("linear", "within"), [(float32, 1e-4), (int8, 0.05), (per_token, 0.05), (dynamic, 0.05), (n_bits, 0.05)]
)
def test_the_graph_says_what_the_model_says(small: Screener, linear: Linear, within: float) -> None:
    state = {k: v.numpy() for k, v in small.state_dict().items()}
    ids, mask = pad(TEXTS)
    with torch.no_grad():
        expected, expected_tokens = (t.numpy() for t in small(ids, mask))

    graph = build(state, linear, quantised=linear is not float32, seen=inputs_of(small, TEXTS))
    session = open_session(graph, 1)
    feeds = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    found, found_tokens = session.run(["logits", "token_logits"], feeds)

    assert np.abs(found - expected).max() < within
    assert np.abs((found_tokens - expected_tokens)[mask.numpy() == 1]).max() < within


def test_a_score_does_not_depend_on_the_rest_of_the_batch(small: Screener) -> None:
    state = {k: v.numpy() for k, v in small.state_dict().items()}

    padded, _, same_width = coupling(open_session(build(state, int8, seen=inputs_of(small, TEXTS)), 1), TEXTS)

    assert same_width == 0.0
    assert padded < 1e-5


def test_integers_want_to_know_what_they_stand_for(small: Screener) -> None:
    state = {k: v.numpy() for k, v in small.state_dict().items()}

    with pytest.raises(ValueError, match="l0_q: nobody has looked at its inputs"):
        build(state, int8)


def test_calibration_lies_in_the_head(small: Screener, tmp_path: Path) -> None:
    lines = {label: {"slope": 0.5 + at / 4, "shift": at / 2 - 2} for at, label in enumerate(LABELS)}
    (tmp_path / CALIBRATION).write_text(json.dumps(lines), encoding="utf-8")
    state = {k: v.numpy() for k, v in small.state_dict().items()}
    ids, mask = pad(TEXTS)
    feeds = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    logits, tokens = open_session(build(state, float32, quantised=False), 1).run(None, feeds)

    changed = calibrated(state, tmp_path)
    found, found_tokens = open_session(build(changed, float32, quantised=False), 1).run(None, feeds)

    slope, shift = (np.array([line[of] for line in lines.values()]) for of in ("slope", "shift"))
    scores, expected = (1 / (1 + np.exp(-x)) for x in (found, slope * logits + shift))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
    assert (found_tokens == tokens).all()
    assert {name for name in state if state[name] is not changed[name]} == {"head.weight", "head.bias"}


def test_export_waits_for_the_calibration(small: Screener, tmp_path: Path) -> None:
    state = {k: v.numpy() for k, v in small.state_dict().items()}

    with pytest.raises(FileNotFoundError, match=CALIBRATION):
        calibrated(state, tmp_path)
