"""Reopening: what was exported and reopened is exported the same; what is not ours is refused."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from tests.training.conftest import tiny_model
from training.__main__ import app
from training.export import build, calibrated, int8
from training.inputs import inputs_of, read_ranges, some_of
from training.labels import Row
from training.model import load_tokenizer
from training.reopen import _as_now, _linear, _ranges, reopen, state_of
from training.train import load_trained
from worker.classifier import LABELS

EMOJI = ["\U0001f98a"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that nobody has trained."""
    folder = tmp_path_factory.mktemp("exported")
    tokenizer = load_tokenizer(EMOJI)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(5)
    model = tiny_model(tokenizer)
    for name, weights in model.named_parameters():
        if name.endswith("bias"):  # which begin as nothing
            torch.nn.init.normal_(weights, std=0.3)
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    seen = inputs_of(model.eval(), some_of([Row("you are a fox", {}, "test")], tokenizer))
    (folder / "model.onnx").write_bytes(build(state, int8, seen=seen))
    (folder / "config.json").write_text(json.dumps({"screener": {"version": "0.1.9"}}))
    return folder


def constants(model: bytes) -> dict[str, Any]:
    return {c.name: numpy_helper.to_array(c) for c in onnx.load_from_string(model).graph.initializer}


def test_what_was_exported_and_reopened_is_exported_the_same(exported: Path, tmp_path: Path) -> None:
    expected = constants((exported / "model.onnx").read_bytes())

    reopen(exported, tmp_path)
    model, tokenizer = load_trained(tmp_path)
    state = calibrated({k: v.numpy() for k, v in model.state_dict().items()}, tmp_path)
    found = constants(build(state, int8, seen=read_ranges(tmp_path)))

    assert tokenizer.get_vocab() == load_tokenizer(EMOJI).get_vocab()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype == np.int8:
            assert (found[name] == value).all(), name
        else:
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_it_is_written_down_that_the_weights_have_been_integers(exported: Path, tmp_path: Path) -> None:
    reopen(exported, tmp_path)

    assert json.loads((tmp_path / "reopened.json").read_text()) == {"version": "0.1.9"}


def test_a_model_of_other_words_is_refused(exported: Path, tmp_path: Path) -> None:
    other = shutil.copytree(exported, tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"]["fool"], tokenizer["model"]["vocab"]["hello"] = 1, 2
    (other / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")

    with pytest.raises(ValueError, match="another vocabulary"):
        reopen(other, tmp_path / "work")


def test_a_graph_of_somebody_elses_is_refused_in_one_line(exported: Path, tmp_path: Path) -> None:
    theirs = shutil.copytree(exported, tmp_path / "theirs")
    graph = helper.make_graph([], "theirs", [], [], [numpy_helper.from_array(np.zeros(1), "theirs")])
    onnx.save(helper.make_model(graph), theirs / "model.onnx")

    result = CliRunner().invoke(app, ["reopen", "--model", str(theirs), "--work", str(tmp_path / "work")])

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "not of `export`'s making" in result.stderr


def test_without_a_model_it_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["reopen", "--model", str(tmp_path), "--work", str(tmp_path / "work")])

    assert result.exit_code == 2
    assert "model.onnx" in result.stderr


def test_calibration_is_left_alone(exported: Path, tmp_path: Path) -> None:
    reopen(exported, tmp_path)

    lines = json.loads((tmp_path / "calibration.json").read_text())
    assert lines == {label: {"slope": 1.0, "shift": 0.0} for label in LABELS}


def as_of_090(now: dict[str, Any]) -> dict[str, Any]:
    """Query, key and value were one product."""
    joined = {
        f"l{i}_qkv_{of}": np.concatenate([now[f"l{i}_{part}_{of}"] for part in "qkv"], axis=-1)
        for i in range(sum(name.endswith("_wide_w") for name in now))
        for of in ("w", "ws", "wz", "bias")
    }
    parted = re.compile(r"(l\d+_)[qkv](_.*)")
    ranges = {
        parted.sub(r"\1qkv\2", name): value for name, value in now.items() if re.match(r"l\d+_q_(scale|zero)", name)
    }
    return {name: value for name, value in now.items() if not parted.fullmatch(name)} | joined | ranges


def test_a_model_from_before_query_key_and_value_were_three_products(exported: Path) -> None:
    now = constants((exported / "model.onnx").read_bytes())
    before = as_of_090(now)

    _as_now(before)

    expected = state_of(now)
    for key, value in state_of(before).items():
        assert (value == expected[key]).all(), key
    assert _ranges(before) == _ranges(now)
    assert len(_ranges(now)) == len(_linear(now))


def test_the_constants_of_earlier_versions_are_found_under_their_old_names(exported: Path) -> None:
    """They had no ranges, added the query's bias alone, and that of a product behind others in the sum that follows."""
    now = constants((exported / "model.onnx").read_bytes())
    renamed = {
        "token_logits": "tokens",
        "l0_projected_bias": "l0_norm1_bias",
        "l0_narrow_bias": "l0_norm2_bias",
    }
    before = {"l0_q_bias": now["l0_q_bias"]}
    for name, value in as_of_090(now).items():
        if name.endswith(("_scale", "_zero", "l0_qkv_bias")) and name != "words_scale":
            continue
        old = next((old + name.removeprefix(new) for new, old in renamed.items() if name.startswith(new)), name)
        before[old] = value

    _as_now(before)
    found, expected = state_of(before), state_of(now)

    for key, value in expected.items():
        if key.endswith(("key.bias", "value.bias")):
            assert not found[key].any()
        else:
            assert (found[key] == value).all(), key
