"""Cutting an exported graph in two behind one of its layers: the first stage, with a head of its own, and the rest.

Surgery on the shipped file, not another export: nodes and weights stay as they are, so what goes through both stages comes out
as it would of the whole, to the last bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from training.export import MS, Array, Graph, classify, pool
from worker.classifier import LABELS
from worker.early import EARLY_OUTPUT, HIDDEN

_SHAPE: Final = ("batch", "sequence")


@dataclass(frozen=True, slots=True)
class Head:
    """One hidden layer over what `pool` gives, and an output for each label.

    Attributes:
        mean: of each input, [2 · size].
        scale: one over the spread of each.
        wide: [2 · size, inner].
        wide_bias: [inner].
        weight: [labels, inner].
        bias: [labels].
    """

    mean: Array
    scale: Array
    wide: Array
    wide_bias: Array
    weight: Array
    bias: Array


def behind(layer: int) -> str:
    """The tensor that comes out of a layer, counted from 1: float32 [batch, sequence, size]."""
    return f"l{layer - 1}_norm2"


def pooled_behind(whole: onnx.ModelProto, layers: Sequence[int]) -> tuple[onnx.ModelProto, list[str]]:
    """The whole graph, which also says what `pool` makes of each of these layers, and under which names: [batch, 1, 2 · size]."""
    model = onnx.ModelProto()
    model.CopyFrom(whole)
    names = []
    for layer in layers:
        g = Graph()
        pooled = pool(g, behind(layer))
        _prefix(g, f"after{layer}_", keep={"attention_mask", behind(layer)})
        model.graph.node.extend(g.nodes)
        model.graph.initializer.extend(g.constants)
        names.append(f"after{layer}_{pooled}")
        model.graph.output.append(helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, None))
    return model, names


def first_stage(whole: onnx.ModelProto, layer: int, head: Head) -> bytes:
    """input_ids, attention_mask: int64 [batch, sequence] → hidden states behind `layer`, and the head's logits [batch, 9]."""
    nodes, constants = _leading_to(whole, [behind(layer)], given=set())
    g = Graph()
    g.nodes += nodes
    g.constants += constants
    pooled = pool(g, behind(layer))
    g.add("Sub", [pooled, g.constant("early_mean", head.mean)], "early_centred")
    g.add("Mul", ["early_centred", g.constant("early_scale", head.scale)], "early_even")
    # Weights on the left and a column for each text, so that each is a product by itself, like all others whatever the batch.
    g.add("Transpose", ["early_even"], "early_column", perm=[0, 2, 1])
    g.add("MatMul", [g.constant("early_wide_w", head.wide.T), "early_column"], "early_wide")
    g.add("Transpose", ["early_wide"], "early_row", perm=[0, 2, 1])
    active = g.add("BiasGelu", ["early_row", g.constant("early_wide_bias", head.wide_bias)], "early_gelu", MS)
    classify(g, active, head.weight, head.bias, EARLY_OUTPUT)
    _rename(g, {behind(layer): HIDDEN})
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, _SHAPE) for n in ("input_ids", "attention_mask")]
    outputs = [
        helper.make_tensor_value_info(HIDDEN, TensorProto.FLOAT, [*_SHAPE, head.wide.shape[0] // 2]),
        helper.make_tensor_value_info(EARLY_OUTPUT, TensorProto.FLOAT, [_SHAPE[0], len(LABELS)]),
    ]
    return _serialise(whole, g, inputs, outputs)


def rest(whole: onnx.ModelProto, layer: int) -> bytes:
    """Hidden states behind `layer` [batch, sequence, size], attention_mask → the whole graph's outputs."""
    g = Graph()
    nodes, constants = _leading_to(whole, [o.name for o in whole.graph.output], given={behind(layer)})
    g.nodes += nodes
    g.constants += constants
    _rename(g, {behind(layer): HIDDEN})
    size = next(len(c.float_data) or c.dims[0] for c in constants if c.name == f"l{layer}_norm1_gain")
    inputs = [
        helper.make_tensor_value_info(HIDDEN, TensorProto.FLOAT, [*_SHAPE, size]),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, _SHAPE),
    ]
    return _serialise(whole, g, inputs, list(whole.graph.output))


def _leading_to(whole: onnx.ModelProto, outputs: Sequence[str], given: set[str]) -> tuple[list[Any], list[Any]]:
    """Copies of the nodes and constants that `outputs` follow from, back to what is given, in their order."""
    wanted, nodes = set(outputs), []
    for node in reversed(whole.graph.node):
        if wanted & set(node.output) and not given & set(node.output):
            wanted |= set(node.input)
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    return nodes[::-1], [c for c in whole.graph.initializer if c.name in wanted]


def _rename(g: Graph, names: Mapping[str, str]) -> None:
    for node in g.nodes:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]


def _prefix(g: Graph, prefix: str, keep: set[str]) -> None:
    """Names of their own for all that `g` adds to a graph that has such nodes already."""
    own = {name for node in g.nodes for name in (*node.input, *node.output)} - keep
    _rename(g, {name: prefix + name for name in own})
    for thing in (*g.nodes, *g.constants):
        thing.name = prefix + thing.name


def _serialise(whole: onnx.ModelProto, g: Graph, inputs: Sequence[Any], outputs: Sequence[Any]) -> bytes:
    graph = helper.make_graph(g.nodes, "screener", list(inputs), list(outputs), g.constants)
    model = helper.make_model(
        graph, opset_imports=whole.opset_import, ir_version=whole.ir_version, producer_name=whole.producer_name
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
