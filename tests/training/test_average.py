"""Averaging: shares add up, the model before takes part as it was exported, and what is missing is named."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from tests.training.conftest import tiny_model
from training.average import average, mean
from training.export import build, per_token
from training.model import load_tokenizer
from training.recipe import AVERAGE, BEFORE
from training.reopen import _state, reopen
from training.train import EMOJI, SIZES, WEIGHTS, kept

A = {"encoder.w": torch.tensor([1.0]), "head.weight": torch.tensor([10.0])}
B = {"encoder.w": torch.tensor([3.0]), "head.weight": torch.tensor([30.0])}


def test_each_part_counts_by_its_share() -> None:
    found = mean({("a", None): A, ("b", 7): B}, {("a", None): 0.25, ("b", 7): 0.75})

    assert found["encoder.w"].tolist() == [2.5]
    assert found["head.weight"].tolist() == [25.0]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for run, state in (("a", A), ("b", B)):
        (tmp_path / run).mkdir()
        (tmp_path / run / EMOJI).write_text("[]")
        (tmp_path / run / SIZES).write_text("{}")
        torch.save(state, tmp_path / run / WEIGHTS)
    torch.save(B, tmp_path / "a" / kept(5))
    return tmp_path


def test_runs_and_their_kept_steps_become_one_model(work: Path) -> None:
    path = average(work, {("a", None): 0.5, ("a", 5): 0.25, ("b", None): 0.25})

    assert path == work / WEIGHTS
    assert torch.load(path, weights_only=True)["encoder.w"].tolist() == [2.0]
    assert (work / EMOJI).read_text() == "[]"
    assert (work / SIZES).read_text() == "{}"


def test_shares_that_are_no_average_are_refused(work: Path) -> None:
    with pytest.raises(ValueError, match=r"shares of 0\.9 in all make no average"):
        average(work, {("a", None): 0.9})


def test_runs_of_different_rows_are_refused(work: Path) -> None:
    (work / "b" / EMOJI).write_text('["x"]')

    with pytest.raises(ValueError, match="the runs saw different rows"):
        average(work, {("a", None): 0.5, ("b", None): 0.5})


def test_a_step_that_was_not_kept_is_named(work: Path) -> None:
    with pytest.raises(FileNotFoundError, match="step-6"):
        average(work, {("a", 6): 1.0})


def test_the_shares_in_the_recipe_add_up() -> None:
    assert sum(AVERAGE.values()) == pytest.approx(1)


# ---- the model before


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer([])


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A model that nobody has trained, as it is exported."""
    folder = tmp_path_factory.mktemp("exported") / BEFORE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(5)
    model = tiny_model(tokenizer)
    for name, weights in model.named_parameters():
        if name.endswith("bias"):  # which begin as nothing
            torch.nn.init.normal_(weights, std=0.3)
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    (folder / "model.onnx").write_bytes(build(state, per_token))
    return folder


def constants(model: bytes) -> dict[str, Any]:
    return {c.name: numpy_helper.to_array(c) for c in onnx.load_from_string(model).graph.initializer}


def test_what_was_exported_and_reopened_is_exported_the_same(before: Path, tokenizer: Any) -> None:
    state = reopen(before, tokenizer)
    expected = constants((before / "model.onnx").read_bytes())

    found = constants(build({k: v.numpy() for k, v in state.items()}, per_token))

    assert state.keys() == tiny_model(tokenizer).state_dict().keys()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype == np.int8:
            assert (found[name] == value).all(), name
        else:
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_graphs_of_before_0_3_have_their_biases_elsewhere(before: Path) -> None:
    now = constants((before / "model.onnx").read_bytes())
    then = {name: value for name, value in now.items() if name not in ("l0_q_bias", "l0_norm1_bias", "l0_norm2_bias")}
    of_qkv = np.arange(3 * 48, dtype=np.float32)
    then |= {"l0_qkv_bias": of_qkv, "l0_projected_bias": now["l0_norm1_bias"], "l0_narrow_bias": now["l0_norm2_bias"]}

    state = _state(then)

    for part, bias in zip(("query", "key", "value"), np.split(of_qkv, 3), strict=True):
        assert (state[f"encoder.encoder.layer.0.attention.self.{part}.bias"] == bias).all()
    assert (state["encoder.encoder.layer.0.attention.output.dense.bias"] == now["l0_norm1_bias"]).all()
    assert (state["encoder.encoder.layer.0.output.dense.bias"] == now["l0_norm2_bias"]).all()


def test_the_model_before_has_its_share(tmp_path: Path, before: Path, tokenizer: Any) -> None:
    run = tmp_path / "a"
    run.mkdir()
    (run / EMOJI).write_text("[]")
    (run / SIZES).write_text("{}")
    ours = {k: torch.zeros_like(v) for k, v in tiny_model(tokenizer).state_dict().items()}
    torch.save(ours, run / WEIGHTS)
    shutil.copytree(before, tmp_path / BEFORE)

    found = torch.load(average(tmp_path, {("a", None): 0.75, (BEFORE, None): 0.25}), weights_only=True)

    for name, weights in reopen(before, tokenizer).items():
        torch.testing.assert_close(found[name], 0.25 * weights)


def test_a_model_of_other_words_is_refused(before: Path) -> None:
    with pytest.raises(ValueError, match="another vocabulary"):
        reopen(before, load_tokenizer(["\U0001f98a"]))


def test_a_graph_of_somebody_elses_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(tmp_path)
    graph = helper.make_graph([], "theirs", [], [], [numpy_helper.from_array(np.zeros(1), "theirs")])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")

    with pytest.raises(ValueError, match="not of `export`'s making"):
        reopen(tmp_path, tokenizer)


def test_without_the_model_before_it_says_so(work: Path) -> None:
    with pytest.raises(FileNotFoundError, match=BEFORE):
        average(work, {("a", None): 0.5, (BEFORE, None): 0.5})
