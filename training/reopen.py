"""Reopening: an exported model → what `train` and `calibrate` leave, as far as int8 remembers it, to be exported anew.

For graphs that have become faster when the float weights are gone, and to go on from a model. Exported once more, they have the
same integers. It reads what `export` writes now, and what it wrote before: up to 0.9.0 query, key and value are one product.
What it wrote up to 0.5.0 is read to go on from: that has no ranges of inputs, and some of its biases stand elsewhere.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from transformers import AutoTokenizer, BertConfig

from training import REOPENED
from training.calibrate import CALIBRATION
from training.export import HEAD_SIZE
from training.inputs import Inputs, write_ranges
from training.model import load_tokenizer
from training.train import EMOJI, WEIGHTS
from worker.classifier import LABELS

Array = np.ndarray[Any, Any]

_ATTENTION = ("query", "key", "value")


def reopen(folder: Path, work: Path) -> None:
    """Write the weights of a model, the emoji that it knows and a calibration of nothing to `work`; its own lies in the head.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it is not of `export`'s making, or its vocabulary is not the base's and emoji.
    """
    graph = onnx.load(folder / "model.onnx").graph
    constants = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    try:
        _as_now(constants)
        state, ranges = state_of(constants), _ranges(constants)
        size = constants["words"].shape[1]
        sizes = BertConfig(
            vocab_size=len(constants["words"]),
            hidden_size=size,
            hidden_act="gelu" if any(node.op_type == "FastGelu" for node in graph.node) else "relu",
            num_hidden_layers=_layers(constants),
            num_attention_heads=size // HEAD_SIZE,
            kept_heads=constants["l0_q_w"].shape[1] // HEAD_SIZE,
            intermediate_size=constants["l0_wide_w"].shape[1],
            max_position_embeddings=constants["positions"].shape[1],
        )
    except KeyError as error:
        raise ValueError(f"{folder}/model.onnx is not of `export`'s making: it has no {error}") from error
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    emoji = [token["content"] for token in added if not token["special"]]
    known = AutoTokenizer.from_pretrained(folder, local_files_only=True).get_vocab()
    if load_tokenizer(emoji).get_vocab() != known:
        raise ValueError(f"{folder}/tokenizer.json has another vocabulary than the base's and emoji")
    version = json.loads((folder / "config.json").read_text(encoding="utf-8"))["screener"]["version"]
    work.mkdir(parents=True, exist_ok=True)
    torch.save({name: torch.tensor(value) for name, value in state.items()}, work / WEIGHTS)
    sizes.save_pretrained(work)
    if ranges:
        write_ranges(work, ranges)
    for name, content in (
        (EMOJI, emoji),
        (CALIBRATION, {label: {"slope": 1.0, "shift": 0.0} for label in LABELS}),
        (REOPENED, {"version": version}),
    ):
        (work / name).write_text(json.dumps(content), encoding="utf-8")


def _layers(constants: Mapping[str, Array]) -> int:
    return sum(name.endswith("_wide_w") for name in constants)


def _linear(constants: Mapping[str, Array]) -> dict[str, str]:
    """By the name of a product in the graph: the key in a state of the layer that it computes."""
    found = {"token_logits": "token_head"}
    for i in range(_layers(constants)):
        key = f"encoder.encoder.layer.{i}"
        found |= {f"l{i}_{part[0]}": f"{key}.attention.self.{part}" for part in _ATTENTION}
        found[f"l{i}_projected"] = f"{key}.attention.output.dense"
        found[f"l{i}_wide"] = f"{key}.intermediate.dense"
        found[f"l{i}_narrow"] = f"{key}.output.dense"
    return found


def _ranges(constants: Mapping[str, Array]) -> dict[str, Inputs]:
    """By a layer's key, in which range its inputs lie; none where each token has its own."""
    found: dict[str, Inputs] = {}
    for name, key in _linear(constants).items():
        # Key and value read what the query does.
        reads = f"{name[:-1]}q" if name.endswith(("_k", "_v")) else name
        if f"{reads}_scale" in constants:
            step, zero, steps = (constants[of] for of in (f"{reads}_scale", f"{reads}_zero", f"{name}_ws"))
            found[key] = Inputs.of_steps(float(step), int(zero), steps.tolist())
    return found


def _as_now(constants: dict[str, Array]) -> None:
    """Gives constants that `export` called otherwise before the names that they have now.

    Raises: KeyError for one that is not there.
    """
    if "token_logits_w" not in constants:
        _from_050(constants)
    if "l0_q_w" not in constants:
        _from_090(constants)


def _from_050(constants: dict[str, Array]) -> None:
    for of in ("w", "ws", "bias"):
        constants[f"token_logits_{of}"] = constants[f"tokens_{of}"]
    for i in range(_layers(constants)):
        query = constants[f"l{i}_q_bias"]
        # The key's changes nothing, and the value's is in the next layer's.
        constants[f"l{i}_qkv_bias"] = np.concatenate([query, np.zeros_like(query), np.zeros_like(query)])
        constants[f"l{i}_projected_bias"] = constants[f"l{i}_norm1_bias"]
        constants[f"l{i}_narrow_bias"] = constants[f"l{i}_norm2_bias"]


def _from_090(constants: dict[str, Array]) -> None:
    for i in range(_layers(constants)):
        for of in ("w", "ws", "bias"):
            cut = np.split(constants[f"l{i}_qkv_{of}"], len(_ATTENTION), axis=-1)
            constants |= {f"l{i}_{part[0]}_{of}": each for part, each in zip(_ATTENTION, cut, strict=True)}
        for of in ("scale", "zero"):
            if f"l{i}_qkv_{of}" in constants:
                constants[f"l{i}_q_{of}"] = constants[f"l{i}_qkv_{of}"]


def state_of(constants: Mapping[str, Array]) -> dict[str, Array]:
    """A state for `model.Screener` from a graph's constants. Raises: KeyError for one that is not there."""
    state: dict[str, Array] = {}

    def norm(key: str, name: str) -> None:
        state[f"{key}.weight"], state[f"{key}.bias"] = constants[f"{name}_gain"], constants[f"{name}_shift"]

    for name, key in _linear(constants).items():
        state[f"{key}.weight"] = np.ascontiguousarray(
            (constants[f"{name}_w"].astype(np.float32) * constants[f"{name}_ws"]).T
        )
        state[f"{key}.bias"] = constants[f"{name}_bias"]
    for i in range(_layers(constants)):
        key = f"encoder.encoder.layer.{i}"
        norm(f"{key}.attention.output.LayerNorm", f"l{i}_norm1")
        norm(f"{key}.output.LayerNorm", f"l{i}_norm2")
    embeddings = "encoder.embeddings"
    state[f"{embeddings}.word_embeddings.weight"] = constants["words"].astype(np.float32) * constants["words_scale"]
    # The first type's is in the positions', and no text has the second.
    state[f"{embeddings}.position_embeddings.weight"] = constants["positions"][0]
    state[f"{embeddings}.token_type_embeddings.weight"] = np.zeros((2, constants["positions"].shape[2]), np.float32)
    state[f"{embeddings}.LayerNorm.weight"] = constants["embedded_gain"]
    state[f"{embeddings}.LayerNorm.bias"] = constants["embedded_bias"]
    state["head.weight"], state["head.bias"] = constants["head"], constants["head_bias"]
    return state
