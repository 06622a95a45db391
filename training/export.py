"""Exporting: trained weights → an int8 ONNX graph, written node by node, and the files that go with it.

Why not the stock route (trace, fuse, `quantize_dynamic`)? It scales the activations of a whole batch by one number that it
takes from that batch, so a text's score would depend on its neighbours, by as much as 0.15, and the worker promises that it
does not. Here each token has its own scale. `compare` has the other ways that were tried, RESULTS.md what came of them.

The nodes are chosen by the clock (bench/RESULTS.md), some of them ONNX Runtime's own (`com.microsoft` domain). Beside the
products, what counts is how often the activations are walked over.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training import MAX_TOKENS, VERSION
from training.calibrate import CALIBRATION
from training.evaluate import open_session, score
from training.labels import SPAN_LABELS, Row
from training.model import FAR
from training.rounding import moments, rounded
from training.train import load_trained
from worker.classifier import LABELS

Array = np.ndarray[Any, Any]

OPSET: Final = 21
"""From here on `QuantizeLinear` takes a scale a block, which is how each token has its own."""
HEAD_SIZE: Final = 32
EPSILON: Final = 1e-12
BITS: Final = 7
"""Of a weight. With 8, a sum of two products can overflow the 16 bits in which x86 machines without VNNI instructions add
them up: the same model would then give other scores there. With 7 it cannot."""

SPAN_THRESHOLD: Final = 0.4
"""From which probability a token belongs to a span, until `evaluate` has found a better one."""
MASKED: Final = -10_000.0
MS: Final = "com.microsoft"
_TOKENIZER_SETTINGS: Final = frozenset({"do_lower_case", "model_max_length"})


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer's product, without its bias. The name is unique in the graph.

    Attributes:
        weight: float32 [in, out].
        rectified: what is below zero in its inputs counts as nothing.
        together: how its inputs go together (`rounding.moments`), float64 [in, in]; None where nobody looked.
    """

    name: str
    weight: Array
    rectified: bool = False
    together: Array | None = None


class Graph:
    """Nodes and constants, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Array) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, op: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, domain=domain, **attributes))
        return output


Linear = Callable[[Graph, str, Layer], str]
"""Adds x [batch, sequence, in] · weight, named like the layer, and returns that name. The node after it adds the bias."""

_TINY: Final = 1e-9
_MIDDLE: Final = 128
_LOWEST: Final = 0
ZEROS: Final = (_MIDDLE, _LOWEST)
"""What stands for zero in uint8: the middle, or the lowest where what is below counts nothing: that becomes zero by itself."""


def build(
    state: Mapping[str, Array],
    linear: Linear,
    *,
    quantised: bool = True,
    together: Mapping[str, Array] = MappingProxyType({}),
) -> bytes:
    """The graph as bytes.

    Inputs input_ids, attention_mask: int64 [batch, sequence]; outputs logits: float32 [batch, 9], and token_logits: float32
    [batch, sequence, 5], in the order of `SPAN_LABELS`.

    `state` is the trained model's state, `linear` how its linear layers are computed; `quantised` is about the table
    of words. `together`: by a layer's key in the state, how its inputs go together.
    """
    g = Graph()
    hidden = _embed(g, state, quantised=quantised)
    layers = 1 + max(int(k.split(".")[3]) for k in state if k.startswith("encoder.encoder.layer."))
    g.add("Cast", ["attention_mask"], "mask_int", to=TensorProto.INT32)
    g.add("Unsqueeze", ["attention_mask", g.constant("last", np.array([-1], np.int64))], "mask_of_tokens")
    g.add("Shape", ["mask_of_tokens"], "of_tokens")
    for zero in ZEROS if quantised else ():
        # What quantised zero is, for each token: the operator wants as many of them as there are scales.
        of_each = numpy_helper.from_array(np.array([zero], np.uint8))
        g.add("ConstantOfShape", ["of_tokens"], f"zero_{zero}_each", value=of_each)
        g.constant(f"zero_{zero}", np.array(zero, np.uint8))

    def product(x: str, name: str, *keys: str, rectified: bool = False) -> str:
        """Layers that read the same input are computed as one."""
        weight = np.concatenate([state[f"{k}.weight"] for k in keys]).T.astype(np.float32)
        return linear(g, x, Layer(name, weight, rectified, together.get(keys[0])))

    def vector(name: str, value: Array) -> str:
        return g.constant(name, value.astype(np.float32))

    def norm(x: str, bias: Array, residual: str, name: str, key: str) -> str:
        # Not SkipLayerNormalization, which is all of this in one node and takes several times as long.
        g.add("Add", [x, vector(f"{name}_bias", bias)], f"{name}_biased")
        g.add("Add", [f"{name}_biased", residual], f"{name}_sum")
        gain, shift = vector(f"{name}_gain", state[f"{key}.weight"]), vector(f"{name}_shift", state[f"{key}.bias"])
        return g.add("LayerNormalization", [f"{name}_sum", gain, shift], name, epsilon=EPSILON)

    for i in range(layers):
        key, name = f"encoder.encoder.layer.{i}", f"l{i}"
        own, out = f"{key}.attention.self", f"{key}.attention.output.dense"
        qkv = product(hidden, f"{name}_qkv", *(f"{own}.{p}" for p in ("query", "key", "value")))
        parts = [f"{name}_{p}" for p in "qkv"]
        g.nodes.append(helper.make_node("Split", [qkv], parts, name=f"{name}_split", axis=-1, num_outputs=3))
        # Of the three biases only the query's is added here. The key's adds the same to all tokens that one looks at, so shares
        # stay as they are; the value's comes through whole, since shares add up to one, and the next layer adds it to its own.
        query = g.add("Add", [parts[0], vector(f"{name}_q_bias", state[f"{own}.query.bias"])], f"{name}_query")
        heads = {"num_heads": len(state[f"{own}.query.bias"]) // HEAD_SIZE, "mask_filter_value": MASKED}
        attended = g.add("MultiHeadAttention", [query, *parts[1:], "", "mask_int"], f"{name}_attended", MS, **heads)
        projected = product(attended, f"{name}_projected", out)
        bias = state[f"{out}.bias"] + state[f"{out}.weight"] @ state[f"{own}.value.bias"]
        hidden = norm(projected, bias, hidden, f"{name}_norm1", f"{key}.attention.output.LayerNorm")
        wide = product(hidden, f"{name}_wide", f"{key}.intermediate.dense")
        bias = state[f"{key}.intermediate.dense.bias"]
        active = g.add("Add", [wide, vector(f"{name}_wide_bias", bias)], f"{name}_active")
        narrow = product(active, f"{name}_narrow", f"{key}.output.dense", rectified=True)
        hidden = norm(narrow, state[f"{key}.output.dense.bias"], hidden, f"{name}_norm2", f"{key}.output.LayerNorm")
    g.add(
        "Add",
        [product(hidden, "tokens", "token_head"), vector("tokens_bias", state["token_head.bias"])],
        "token_logits",
    )
    # All of it in float32: together a thousandth of the work.
    classify(g, pool(g, hidden), state["head.weight"], state["head.bias"], "logits")
    return _serialise(g)


def _embed(g: Graph, state: Mapping[str, Array], *, quantised: bool) -> str:
    """Word + position + token type (always the first, so it is added to the positions here), then a layer norm."""
    words = state["encoder.embeddings.word_embeddings.weight"].astype(np.float32)
    kinds = state["encoder.embeddings.token_type_embeddings.weight"].astype(np.float32)
    positions = state["encoder.embeddings.position_embeddings.weight"].astype(np.float32) + kinds[0]
    if quantised:
        scale = np.maximum(np.abs(words).max(1, keepdims=True), 1e-9) / 127
        g.constant("words", np.round(words / scale).astype(np.int8))
        g.constant("words_scale", scale)
        g.add("Gather", ["words", "input_ids"], "word_int")
        g.add("Cast", ["word_int"], "word_float", to=TensorProto.FLOAT)
        g.add("Gather", ["words_scale", "input_ids"], "word_scale")
        g.add("Mul", ["word_float", "word_scale"], "word")
    else:
        g.constant("words", words)
        g.add("Gather", ["words", "input_ids"], "word")
    g.constant("positions", positions[None])
    g.constant("zero", np.array([0], np.int64))
    g.constant("one", np.array([1], np.int64))
    g.nodes.append(helper.make_node("Shape", ["input_ids"], ["length"], name="length", start=1, end=2))
    g.add("Slice", ["positions", "zero", "length", "one"], "position")
    g.add("Add", ["word", "position"], "embedded")
    key = "encoder.embeddings.LayerNorm"
    g.constant("embedded_gain", state[f"{key}.weight"].astype(np.float32))
    g.constant("embedded_bias", state[f"{key}.bias"].astype(np.float32))
    return g.add("LayerNormalization", ["embedded", "embedded_gain", "embedded_bias"], "hidden", epsilon=EPSILON)


def pool(g: Graph, hidden: str) -> str:
    """The mean and the maximum over real tokens: float32 [batch, 1, 2 · size]. Reads `attention_mask`."""
    g.constant("row", np.array([1], np.int64))
    g.add("Cast", ["attention_mask"], "mask_float", to=TensorProto.FLOAT)
    g.add("Unsqueeze", ["mask_float", "row"], "mask_row")
    g.add("MatMul", ["mask_row", hidden], "sum")
    g.add("ReduceSum", ["mask_row", "last"], "count", keepdims=1)
    g.add("Div", ["sum", "count"], "mean")
    g.constant("far", np.array(FAR, np.float32))
    g.constant("whole", np.array(1, np.float32))
    g.add("Unsqueeze", ["mask_float", "last"], "mask_column")
    g.add("Sub", ["mask_column", "whole"], "mask_below")
    g.add("Mul", ["mask_below", "far"], "mask_far")
    g.add("Add", [hidden, "mask_far"], "real")
    g.add("ReduceMax", ["real", "row"], "top", keepdims=1)
    return g.add("Concat", ["mean", "top"], "pooled", axis=2)


def classify(g: Graph, pooled: str, weight: Array, bias: Array, output: str) -> str:
    """A head in float32 behind `pool`: weight [labels, size], bias [labels] → logits [batch, labels].

    Written so that each text is reduced by itself: a plain product [batch, 768] · [768, 9] sums in another order when the
    batch is one, and the last bit of a score would tell how many texts came with it.
    """
    g.constant("head", weight.astype(np.float32))
    g.constant("head_bias", bias.astype(np.float32))
    g.add("Mul", [pooled, "head"], "weighed")
    g.add("ReduceSum", ["weighed", "last"], "unbiased", keepdims=0)
    return g.add("Add", ["unbiased", "head_bias"], output)


def _serialise(g: Graph) -> bytes:
    shape = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, shape) for n in ("input_ids", "attention_mask")]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)]),
        helper.make_tensor_value_info("token_logits", TensorProto.FLOAT, [*shape, len(SPAN_LABELS)]),
    ]
    graph = helper.make_graph(g.nodes, "screener", inputs, outputs, g.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MS, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="comment-screener")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def float32(g: Graph, x: str, layer: Layer) -> str:
    """The layer as it was trained."""
    return g.add("MatMul", [rectify(g, x, layer), g.constant(f"{layer.name}_w", layer.weight)], layer.name)


def rectify(g: Graph, x: str, layer: Layer) -> str:
    """The inputs that count."""
    return g.add("Relu", [x], f"{layer.name}_x") if layer.rectified else x


def per_token(g: Graph, x: str, layer: Layer, *, bits: int = BITS) -> str:
    """int8, with a scale for each token and one for each output channel: x → x ÷ scale + zero, product, and back.

    The scale is the finest with which the token's largest input fits. Where inputs are rectified, zero is the lowest integer:
    what is below becomes that by itself, and the steps are half as wide as with zero in the middle.
    """
    name = layer.name
    weight, weight_scale, weight_zero = int8_weights(g, layer, bits)
    g.constant(f"{name}_1", np.array(1, np.float32))
    if layer.rectified:
        zero = _LOWEST
        g.add("ReduceMax", [x, "last"], f"{name}_top", keepdims=1)
        g.add("Div", [f"{name}_top", g.constant(f"{name}_steps", np.array(255, np.float32))], f"{name}_above")
        # Where all of them are below zero.
        g.add("Max", [f"{name}_above", g.constant(f"{name}_tiny", np.array(_TINY, np.float32))], f"{name}_scale")
    else:
        zero = _MIDDLE
        g.add("Abs", [x], f"{name}_abs")
        g.add("ReduceMax", [f"{name}_abs", "last"], f"{name}_top", keepdims=1)
        g.add("Div", [f"{name}_top", g.constant(f"{name}_steps", np.array(127, np.float32))], f"{name}_scale")
    inputs = [x, f"{name}_scale", f"zero_{zero}_each"]
    g.add("QuantizeLinear", inputs, f"{name}_x8", axis=2, block_size=layer.weight.shape[0])
    inputs = [f"{name}_x8", weight, f"{name}_1", weight_scale, f"zero_{zero}", weight_zero]
    g.add("MatMulIntegerToFloat", inputs, f"{name}_unscaled", MS)
    return g.add("Mul", [f"{name}_unscaled", f"{name}_scale"], name)


def int8_weights(g: Graph, layer: Layer, bits: int) -> tuple[str, str, str]:
    """Adds a layer's weights as int8 [in, out], a float32 scale per output channel, and zero points of 0; their names."""
    limit = 2 ** (bits - 1) - 1
    scale = (np.maximum(np.abs(layer.weight).max(0), 1e-9) / limit).astype(np.float32)
    return (
        g.constant(f"{layer.name}_w", rounded(layer.weight, scale, limit, layer.together)),
        g.constant(f"{layer.name}_ws", scale),
        g.constant(f"{layer.name}_wz", np.zeros(scale.shape, np.int8)),
    )


def export(rows: Sequence[Row], work: Path, folder: Path) -> None:
    """Write model.onnx, the tokenizer and config.json to `folder`.

    Args:
        rows: those that teach, some of which say how weights are rounded (`rounding`). None: to the nearest integer, which is all
            that weights want which have been integers.
        work: where `average` or `refine`, and `calibrate`, left what they found.
        folder: the model's.
    """
    model, tokenizer = load_trained(work)
    together = moments(model, tokenizer, rows) if rows else {}
    state = calibrated({k: v.numpy() for k, v in model.state_dict().items()}, work)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(build(state, per_token, together=together))
    # How long a piece may be and how it is padded is the caller's decision.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    kept = {
        k: v for k, v in sorted(settings.items()) if k == "tokenizer_class" or k in _TOKENIZER_SETTINGS or "token" in k
    }
    _write_json(folder / "tokenizer_config.json", kept)
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "problem_type": "multi_label_classification",
        "id2label": {str(i): label for i, label in enumerate(LABELS)},
        "label2id": {label: i for i, label in enumerate(LABELS)},
        "max_position_embeddings": 512,
        "spans": {"labels": list(SPAN_LABELS), "threshold": SPAN_THRESHOLD},
        "screener": {"name": "default", "version": VERSION},
    }
    _write_json(folder / "config.json", config)


def calibrated(state: Mapping[str, Array], work: Path) -> dict[str, Array]:
    """The state with `calibrate`'s slopes and shifts in its head, so that calibration costs nothing when it runs.

    Raises:
        FileNotFoundError: `calibrate` did not run yet.
    """
    found = json.loads((work / CALIBRATION).read_text(encoding="utf-8"))
    slope = np.array([found[label]["slope"] for label in LABELS], np.float32)
    shift = np.array([found[label]["shift"] for label in LABELS], np.float32)
    weight, bias = state["head.weight"] * slope[:, None], state["head.bias"] * slope + shift
    return {**state, "head.weight": weight, "head.bias": bias}


def float_scores(work: Path) -> Callable[[Sequence[str]], Array]:
    """The same model in float32, calibrated as the exported one is: normalised texts → scores, to see what int8 costs."""
    model, tokenizer = load_trained(work)
    state = calibrated({k: v.numpy() for k, v in model.state_dict().items()}, work)
    session = open_session(build(state, float32, quantised=False), 0)

    def of(texts: Sequence[str]) -> Array:
        return score(session, tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"])

    return of


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
