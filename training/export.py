"""Exporting: trained weights → an int8 ONNX graph, written node by node, and the files that go with it.

Why not the stock route (trace, fuse, `quantize_dynamic`)? It scales the activations of a whole batch by one number that it
takes from that batch, so a text's score would depend on its neighbours, by as much as 0.15, and the worker promises that it
does not. Here the steps of each layer's inputs are constants, chosen when it is exported (`inputs`). `compare` has
the other ways that were tried, RESULTS.md what came of them.

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
from tokenizers.pre_tokenizers import BertPreTokenizer

from training import MAX_TOKENS, VERSION
from training.calibrate import CALIBRATION
from training.evaluate import open_session, score
from training.inputs import Inputs, inputs_of, read_ranges, some_of
from training.labels import SPAN_LABELS, Row
from training.model import FAR
from training.rounding import rounded
from training.train import load_trained
from worker.classifier import LABELS

Array = np.ndarray[Any, Any]

OPSET: Final = 23
"""The first with `Attention`."""
HEAD_SIZE: Final = 32
EPSILON: Final = 1e-12
BITS: Final = 7
"""Of a weight. With 8, a sum of two products can overflow the 16 bits in which x86 machines without VNNI instructions add
them up: the same model would then give other scores there. With 7 it cannot."""

SPAN_THRESHOLD: Final = 0.4
"""From which probability a token belongs to a span, until `evaluate` has found a better one."""
MASKED: Final = -10_000.0
MS: Final = "com.microsoft"
_OF_NORMS: Final = (("gain", "weight"), ("shift", "bias"))
_TOKENIZER_SETTINGS: Final = frozenset({"do_lower_case", "model_max_length"})


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer. The name is unique in the graph.

    Attributes:
        weight: float32 [in, out].
        bias: float32 [out].
        inputs: what is known of its inputs; None where nobody looked.
        rectified: what is below zero in its inputs counts as nothing.
        beside: a layer before it that reads the same; None: there is none.
    """

    name: str
    weight: Array
    bias: Array
    inputs: Inputs | None = None
    rectified: bool = False
    beside: str | None = None


class Graph:
    """Nodes and constants, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Array) -> str:
        # A scalar stays one: `ascontiguousarray` would give it a dimension.
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def add(self, op: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, domain=domain, **attributes))
        return output


Linear = Callable[[Graph, str, Layer], str]
"""Adds x [batch, sequence, in] · weight + bias, named like the layer, and returns that name."""


def build(
    state: Mapping[str, Array],
    linear: Linear,
    *,
    quantised: bool = True,
    seen: Mapping[str, Inputs] = MappingProxyType({}),
) -> bytes:
    """The graph as bytes.

    Inputs input_ids, attention_mask: int64 [batch, sequence]; outputs logits: float32 [batch, 9], and token_logits: float32
    [batch, sequence, 5], in the order of `SPAN_LABELS`.

    `state` is the trained model's state, `linear` how its linear layers are computed; `quantised` is about the table
    of words. `seen`: by a layer's key in the state, what is known of its inputs.
    """
    g = Graph()
    hidden = _embed(g, state, quantised=quantised)
    layers = 1 + max(int(k.split(".")[3]) for k in state if k.startswith("encoder.encoder.layer."))
    unseen = _hide_padding(g)

    def product(x: str, name: str, key: str, *, rectified: bool = False, beside: str | None = None) -> str:
        weight, bias = (state[f"{key}.{of}"].astype(np.float32) for of in ("weight", "bias"))
        return linear(g, x, Layer(name, weight.T, bias, seen.get(key), rectified, beside))

    def norm(x: str, residual: str, name: str, key: str) -> str:
        # Not SkipLayerNormalization, which is both in one node and takes several times as long.
        g.add("Add", [x, residual], f"{name}_sum")
        gain, shift = (g.constant(f"{name}_{of}", state[f"{key}.{kind}"].astype(np.float32)) for of, kind in _OF_NORMS)
        return g.add("LayerNormalization", [f"{name}_sum", gain, shift], name, epsilon=EPSILON)

    for i in range(layers):
        key, name = f"encoder.encoder.layer.{i}", f"l{i}"
        own, out = f"{key}.attention.self", f"{key}.attention.output.dense"
        # Three products, and not one that is cut in three afterwards: that would be one more walk.
        q = product(hidden, f"{name}_q", f"{own}.query")
        k, v = (product(hidden, f"{name}_{of[0]}", f"{own}.{of}", beside=q) for of in ("key", "value"))
        heads = len(state[f"{own}.query.bias"]) // HEAD_SIZE
        attended = g.add("Attention", [q, k, v, unseen], f"{name}_attended", q_num_heads=heads, kv_num_heads=heads)
        projected = product(attended, f"{name}_projected", out)
        hidden = norm(projected, hidden, f"{name}_norm1", f"{key}.attention.output.LayerNorm")
        wide = product(hidden, f"{name}_wide", f"{key}.intermediate.dense")
        narrow = product(wide, f"{name}_narrow", f"{key}.output.dense", rectified=True)
        hidden = norm(narrow, hidden, f"{name}_norm2", f"{key}.output.LayerNorm")
    product(hidden, "token_logits", "token_head")
    # All of it in float32: together a thousandth of the work.
    _classify(g, _pool(g, hidden), state["head.weight"], state["head.bias"])
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
    g.add("Shape", ["input_ids"], "length", start=1, end=2)
    g.add("Slice", ["positions", "zero", "length", "one"], "position")
    g.add("Add", ["word", "position"], "embedded")
    key = "encoder.embeddings.LayerNorm"
    g.constant("embedded_gain", state[f"{key}.weight"].astype(np.float32))
    g.constant("embedded_bias", state[f"{key}.bias"].astype(np.float32))
    return g.add("LayerNormalization", ["embedded", "embedded_gain", "embedded_bias"], "hidden", epsilon=EPSILON)


def _hide_padding(g: Graph) -> str:
    """What `Attention` adds where a token looks at another: float32 [batch, 1, sequence, sequence]. Reads `attention_mask`."""
    g.constant("looks", np.array([MASKED, 0], np.float32))
    g.add("Gather", ["looks", "attention_mask"], "look")
    g.add("Unsqueeze", ["look", g.constant("heads_and_rows", np.array([1, 2], np.int64))], "look_from_one")
    g.add("Concat", ["one", "one", "length", "one"], "rows", axis=0)
    return g.add("Expand", ["look_from_one", "rows"], "look_from_all")


def _pool(g: Graph, hidden: str) -> str:
    """The mean and the maximum over real tokens: float32 [batch, 1, 2 · size]. Reads `attention_mask`."""
    g.constant("row", np.array([1], np.int64))
    g.constant("last", np.array([-1], np.int64))
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


def _classify(g: Graph, pooled: str, weight: Array, bias: Array) -> str:
    """A head in float32 behind `_pool`: weight [labels, size], bias [labels] → logits [batch, labels].

    Written so that each text is reduced by itself: a plain product [batch, 768] · [768, 9] sums in another order when the
    batch is one, and the last bit of a score would tell how many texts came with it.
    """
    g.constant("head", weight.astype(np.float32))
    g.constant("head_bias", bias.astype(np.float32))
    g.add("Mul", [pooled, "head"], "weighed")
    g.add("ReduceSum", ["weighed", "last"], "unbiased", keepdims=0)
    return g.add("Add", ["unbiased", "head_bias"], "logits")


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
    weight = g.constant(f"{layer.name}_w", layer.weight)
    return biased(g, g.add("MatMul", [rectify(g, x, layer), weight], f"{layer.name}_unbiased"), layer)


def rectify(g: Graph, x: str, layer: Layer) -> str:
    """The inputs that count."""
    return g.add("Relu", [x], f"{layer.name}_x") if layer.rectified else x


def biased(g: Graph, product: str, layer: Layer) -> str:
    """A product, and the layer's bias."""
    return g.add("Add", [product, g.constant(f"{layer.name}_bias", layer.bias)], layer.name)


def int8(g: Graph, x: str, layer: Layer, *, bits: int = BITS) -> str:
    """Integers: one step for all inputs of the layer, and one for the weights of each output channel.

    What lies beyond the inputs that were seen counts as the last of them. Where inputs are rectified the least of these is
    zero, and what is below becomes that by itself.

    Raises:
        ValueError: nobody has looked at the layer's inputs.
    """
    name, inputs = layer.name, layer.inputs
    if inputs is None:
        raise ValueError(f"{name}: nobody has looked at its inputs")
    weight, weight_scale, weight_zero = int8_weights(g, layer, bits)
    read, scale, zero = (f"{layer.beside or name}_{of}" for of in ("x8", "scale", "zero"))
    if layer.beside is None:
        g.constant(scale, np.array(inputs.step, np.float32))
        g.constant(zero, np.array(inputs.zero, np.uint8))
        g.add("QuantizeLinear", [x, scale, zero], read)
    bias = g.constant(f"{name}_bias", layer.bias)
    return g.add("MatMulIntegerToFloat", [read, weight, scale, weight_scale, zero, weight_zero, bias], name, MS)


def int8_weights(g: Graph, layer: Layer, bits: int) -> tuple[str, str, str]:
    """Adds a layer's weights as int8 [in, out], a float32 scale per output channel, and zero points of 0; their names."""
    limit = 2 ** (bits - 1) - 1
    together = None if layer.inputs is None else layer.inputs.together
    kept = None if layer.inputs is None else layer.inputs.weight_steps
    # The largest of weights that have been integers need not be the last of these.
    scale = np.array(np.maximum(np.abs(layer.weight).max(0), 1e-9) / limit if kept is None else kept, np.float32)
    return (
        g.constant(f"{layer.name}_w", rounded(layer.weight, scale, limit, together)),
        g.constant(f"{layer.name}_ws", scale),
        g.constant(f"{layer.name}_wz", np.zeros(scale.shape, np.int8)),
    )


def export(rows: Sequence[Row], work: Path, folder: Path) -> None:
    """Write model.onnx, the tokenizer and config.json to `folder`.

    Args:
        rows: those that teach, some of which show what layers are given (`inputs`). None: it is as `reopen` has found it, and
            weights go to the nearest integer, which is all that they want where they have been integers.
        work: where `average` or `refine`, and `calibrate`, left what they found.
        folder: the model's.

    Raises:
        FileNotFoundError: something of this is not in `work`.
    """
    model, tokenizer = load_trained(work)
    seen = inputs_of(model, some_of(rows, tokenizer)) if rows else read_ranges(work)
    state = calibrated({k: v.numpy() for k, v in model.state_dict().items()}, work)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(build(state, int8, seen=seen))
    # How long a piece may be and how it is padded is the caller's decision.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    # As it was: the worker keeps words from signs by itself, for every model.
    tokenizer.backend_tokenizer.pre_tokenizer = BertPreTokenizer()
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
