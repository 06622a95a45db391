"""What a run begins with: a package's weights, or those that Maven fetches, read out of a traced graph."""

import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import AutoModel, BertConfig, BertModel

from training import bases
from training.bases import base_folder, encoder_of
from training.model import BASE
from training.recipe import BGE_SMALL, MINILM
from worker.errors import StartupError


@pytest.fixture(scope="module")
def encoder() -> BertModel:
    torch.manual_seed(3)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 40}
    return BertModel(BertConfig(vocab_size=50, max_position_embeddings=32, **sizes), add_pooling_layer=False).eval()


def traced(encoder: BertModel) -> onnx.ModelProto:
    """As an exporter leaves it: a linear layer's weight is a nameless constant, transposed, of a node that has its path."""
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    for name, value in encoder.state_dict().items():
        if value.ndim == 2 and "embeddings" not in name:
            constants.append(
                numpy_helper.from_array(np.ascontiguousarray(value.numpy().T), f"onnx::MatMul_{len(nodes)}")
            )
            path = name.removesuffix(".weight").replace(".", "/").replace("layer/", "layer.")
            nodes.append(helper.make_node("MatMul", ["x", constants[-1].name], [path], name=f"/{path}/MatMul"))
        else:
            constants.append(numpy_helper.from_array(value.numpy(), name))
    # One of two activations, which has no weight.
    nodes.append(helper.make_node("MatMul", ["q", "k"], ["scores"], name="/encoder/layer.0/attention/self/MatMul"))
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "traced", [], [output], constants))


def test_an_encoder_is_found_again_in_its_graph(encoder: BertModel) -> None:
    found = encoder_of(traced(encoder))
    expected = encoder.state_dict()

    assert found.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())
    assert (found.config.num_hidden_layers, found.config.intermediate_size) == (2, 40)


def test_a_graph_of_something_else_is_refused() -> None:
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [], [output])

    with pytest.raises(StartupError, match="no BERT encoder in it"):
        encoder_of(helper.make_model(graph))


def test_minilm_comes_with_a_package(tmp_path: Path) -> None:
    assert base_folder(MINILM, tmp_path) == BASE
    assert not list(tmp_path.iterdir())


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: BertModel) -> Path:
    """A Maven that copies a jar of ours to where it is told, and notes that it was asked."""
    folder = tmp_path / "maven"
    folder.mkdir()
    weights = traced(encoder).SerializeToString()
    with zipfile.ZipFile(folder / "small.jar", "w") as jar:
        jar.writestr(bases._MEMBER, weights)
    name = f"{bases._ARTIFACT}-{bases._VERSION}.jar"
    (folder / "mvn").write_text(
        "#!/bin/sh\n"
        f"echo asked >> '{folder}/asked'\n"
        f"for a; do case $a in -DoutputDirectory=*) cp '{folder}/small.jar' \"${{a#*=}}/{name}\";; esac; done\n"
    )
    (folder / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(bases, "_SHA256", hashlib.sha256(weights).hexdigest())
    return folder


def test_maven_is_asked_once(tmp_path: Path, maven: Path, encoder: BertModel) -> None:
    folder = base_folder(BGE_SMALL, tmp_path / "work")

    assert base_folder(BGE_SMALL, tmp_path / "work") == folder
    assert (maven / "asked").read_text().split() == ["asked"]
    found = AutoModel.from_pretrained(folder, add_pooling_layer=False).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in encoder.state_dict().items())
    assert [path.name for path in (tmp_path / "work").iterdir()] == [BGE_SMALL]


@pytest.mark.usefixtures("maven")
def test_other_weights_than_they_were_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "_SHA256", "0" * 64)

    with pytest.raises(StartupError, match="has the SHA-256"):
        base_folder(BGE_SMALL, tmp_path / "work")
    assert not list((tmp_path / "work").iterdir())


def test_what_maven_says_is_told(tmp_path: Path, maven: Path) -> None:
    (maven / "mvn").write_text("#!/bin/sh\necho '[ERROR] no route to anywhere'; exit 1\n")

    with pytest.raises(StartupError, match="no route to anywhere"):
        base_folder(BGE_SMALL, tmp_path / "work")


def test_without_maven_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(StartupError, match="no Maven"):
        base_folder(BGE_SMALL, tmp_path / "work")
