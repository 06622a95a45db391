"""Reopening: an exported model → weights that can be averaged with others, as far as int8 remembers them.

`export` the other way round, for the graphs that it writes now and for those of 0.2.0. Written once more, the weights become the
same integers. Calibration stays where it is, in the head.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from transformers import AutoTokenizer

Array = np.ndarray[Any, Any]


def reopen(folder: Path, tokenizer: Any) -> dict[str, Any]:
    """A state dict for `model.Screener`, from `model.onnx` in a folder.

    Args:
        folder: `model.onnx` and its tokenizer, as `export` writes them.
        tokenizer: the one that the weights are wanted for.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it has another vocabulary, or is not of `export`'s making.
    """
    graph = onnx.load(folder / "model.onnx").graph
    if AutoTokenizer.from_pretrained(folder, local_files_only=True).get_vocab() != tokenizer.get_vocab():
        raise ValueError(f"{folder} has another vocabulary than the rows ask for")
    try:
        state = _state({constant.name: numpy_helper.to_array(constant) for constant in graph.initializer})
    except KeyError as error:
        raise ValueError(f"{folder}/model.onnx is not of `export`'s making: it has no {error}") from error
    return {name: torch.tensor(value) for name, value in state.items()}


def _state(constants: Mapping[str, Array]) -> dict[str, Array]:
    state: dict[str, Array] = {}

    def linear(key: str, weight: Array, bias: Array) -> None:
        state[f"{key}.weight"], state[f"{key}.bias"] = np.ascontiguousarray(weight.T), bias

    def weights(name: str) -> Array:
        found: Array = constants[f"{name}_w"].astype(np.float32) * constants[f"{name}_ws"]
        return found

    def norm(key: str, name: str) -> None:
        state[f"{key}.weight"], state[f"{key}.bias"] = constants[f"{name}_gain"], constants[f"{name}_shift"]

    layers = sum(name.endswith("_qkv_w") for name in constants)
    for i in range(layers):
        name, key = f"l{i}", f"encoder.encoder.layer.{i}"
        of_parts = np.split(weights(f"{name}_qkv"), 3, axis=1)
        if f"{name}_qkv_bias" in constants:  # 0.2.0
            biases = np.split(constants[f"{name}_qkv_bias"], 3)
            projected, narrow = constants[f"{name}_projected_bias"], constants[f"{name}_narrow_bias"]
        else:
            query = constants[f"{name}_q_bias"]
            # The key's changes nothing, and the value's is in the next layer's.
            biases = [query, np.zeros_like(query), np.zeros_like(query)]
            projected, narrow = constants[f"{name}_norm1_bias"], constants[f"{name}_norm2_bias"]
        for part, weight, bias in zip(("query", "key", "value"), of_parts, biases, strict=True):
            linear(f"{key}.attention.self.{part}", weight, bias)
        linear(f"{key}.attention.output.dense", weights(f"{name}_projected"), projected)
        linear(f"{key}.intermediate.dense", weights(f"{name}_wide"), constants[f"{name}_wide_bias"])
        linear(f"{key}.output.dense", weights(f"{name}_narrow"), narrow)
        norm(f"{key}.attention.output.LayerNorm", f"{name}_norm1")
        norm(f"{key}.output.LayerNorm", f"{name}_norm2")
    embeddings = "encoder.embeddings"
    state[f"{embeddings}.word_embeddings.weight"] = constants["words"].astype(np.float32) * constants["words_scale"]
    # The first type's is in the positions', and no text has the second.
    state[f"{embeddings}.position_embeddings.weight"] = constants["positions"][0]
    state[f"{embeddings}.token_type_embeddings.weight"] = np.zeros((2, constants["positions"].shape[2]), np.float32)
    state[f"{embeddings}.LayerNorm.weight"] = constants["embedded_gain"]
    state[f"{embeddings}.LayerNorm.bias"] = constants["embedded_bias"]
    linear("token_head", weights("tokens"), constants["tokens_bias"])
    state["head.weight"], state["head.bias"] = constants["head"], constants["head_bias"]
    return state
