"""Comparing ways to quantise: accuracy, what a batch does to a text's score, and speed, of each in one run.

What RESULTS.md says about them comes from here: `python -m training compare`. The one that is shipped is in `export`.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from training import MAX_TOKENS
from training.evaluate import Array, by_label, coupling, open_session, pad, score
from training.export import MS, Graph, Layer, Linear, build, float32, int8_weights, per_token, rectify
from training.labels import Row
from training.train import load_trained
from worker.classifier import LABELS

CALIBRATION_ROWS: Final = 512
COUPLED_TEXTS: Final = 200
TIMED_TEXTS: Final = 256
SHORT: Final = 32
"""Tokens up to which a text counts as short when speed is measured."""

SMOOTHING: Final = 0.5
"""How much of a channel's spread moves from the activations (one scale for all) into the weights (a scale each)."""


def compare(teach: Sequence[Row], dev: Sequence[Row], work: Path) -> str:
    """A Markdown table with a line per candidate. `dev` is thinned to keep it to minutes."""
    model, tokenizer = load_trained(work)
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    texts = [r.text for r in teach[:: max(1, len(teach) // CALIBRATION_ROWS)]]
    ids = tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    seen = observe(state, (pad(ids[i : i + 16]) for i in range(0, len(ids), 16)))
    candidates: Mapping[str, Linear] = {
        "float32": float32,
        "per token, 7-bit weights (shipped)": per_token,
        "per token": partial(per_token, bits=8),
        "static, smoothed": partial(static, seen=seen),
        "static, smoothed, 7-bit weights": partial(static, seen=seen, bits=7),
        "dynamic, per batch (stock)": dynamic,
        "MatMulNBits, 8 bits": n_bits,
    }
    thinned = dev[::6]
    tokens = tokenizer([r.text for r in thinned], truncation=True, max_length=MAX_TOKENS)["input_ids"]
    short = [t for t in tokens if len(t) <= SHORT][:TIMED_TEXTS]
    heads = (
        *("scheme", "MB", "mean ROC AUC", "mean AP", "mean score error", "coupling, padded: max", "mean"),
        *("coupling, one width: max", "texts/s, 1 thread", "2 threads"),
    )
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    exact: Array | None = None
    graphs = {name: build(state, linear, quantised=linear is not float32) for name, linear in candidates.items()}
    sessions = {name: [open_session(graph, n) for n in (1, 2)] for name, graph in graphs.items()}
    speeds = {n: speed({name: s[n - 1] for name, s in sessions.items()}, short) for n in (1, 2)}
    for name, graph in graphs.items():
        scores = score(sessions[name][1], tokens)
        exact = scores if exact is None else exact
        figures = by_label(thinned, scores, dict.fromkeys(LABELS, 0.5)).values()
        auc, ap = np.mean([f.roc_auc for f in figures]), np.mean([f.average_precision for f in figures])
        largest, mean, same = coupling(sessions[name][1], tokens[:COUPLED_TEXTS])
        lines.append(
            f"| {name} | {len(graph) / 1e6:.1f} | {auc:.4f} | {ap:.4f} | {np.abs(scores - exact).mean():.5f} "
            f"| {largest:.1e} | {mean:.1e} | {same:.1e} | {speeds[1][name]:.0f} | {speeds[2][name]:.0f} |"
        )
    return "\n".join(lines) + "\n"


def speed(sessions: Mapping[str, Any], tokens: Sequence[Sequence[int]], rounds: int = 5) -> Mapping[str, float]:
    """Texts a second, in batches of 16 sorted by length. In turns, best of all rounds: others use the machine too."""
    taken = dict.fromkeys(sessions, float("inf"))
    for _ in range(rounds):
        for name, session in sessions.items():
            started = time.perf_counter()
            score(session, tokens)
            taken[name] = min(taken[name], time.perf_counter() - started)
    return {name: len(tokens) / t for name, t in taken.items()}


def observe(state: Mapping[str, Array], batches: Iterable[tuple[Array, Array]]) -> Mapping[str, Array]:
    """Per linear layer, the largest magnitude of each input channel over all tokens: float32 [in] each.

    `batches` are input_ids and attention_mask, int64 [batch, sequence]; padded positions do not count.
    """
    model = onnx.load_from_string(build(state, float32))
    inputs = {n.name: n.input[0] for n in model.graph.node if n.op_type == "MatMul" and n.input[1] == f"{n.name}_w"}
    for tensor in sorted(set(inputs.values())):
        model.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    top: dict[str, Array] = {}
    for ids, mask in batches:
        values = dict(zip(names, session.run(names, {"input_ids": ids, "attention_mask": mask}), strict=True))
        for layer, tensor in inputs.items():
            seen = np.abs(values[tensor][mask.astype(bool)]).max(0)
            top[layer] = np.maximum(top[layer], seen) if layer in top else seen
    return top


def static(g: Graph, x: str, layer: Layer, *, seen: Mapping[str, Array], bits: int = 8) -> str:
    """One constant scale for all activations of the layer, one per output channel for the weights.

    A few channels of a transformer are tens of times as large as the others, and one scale for all would leave those a
    handful of steps. So each channel is first divided by a constant that evens the spread, and its weights are multiplied
    by it (SmoothQuant, Xiao et al. 2023).
    """
    name, x = layer.name, rectify(g, x, layer)
    top = np.maximum(seen[name], 1e-5)
    even = top**SMOOTHING / np.maximum(np.abs(layer.weight).max(1), 1e-5) ** (1 - SMOOTHING)
    even = (even / np.exp(np.log(even).mean())).astype(np.float32)
    weight, weight_scale, zero = int8_weights(g, Layer(name, layer.weight * even[:, None]), bits)
    g.constant(f"{name}_xs", np.array((top / even).max() / 127, np.float32))
    g.constant(f"{name}_xz", np.array(128, np.uint8))
    g.add("Mul", [x, g.constant(f"{name}_even", (1 / even).astype(np.float32))], f"{name}_evened")
    g.add("QuantizeLinear", [f"{name}_evened", f"{name}_xs", f"{name}_xz"], f"{name}_x8")
    inputs = [f"{name}_x8", weight, f"{name}_xs", weight_scale, f"{name}_xz", zero]
    return g.add("MatMulIntegerToFloat", inputs, name, MS)


def dynamic(g: Graph, x: str, layer: Layer) -> str:
    """One scale for the whole batch, taken from that batch: what onnxruntime's `quantize_dynamic` does."""
    return g.add("DynamicQuantizeMatMul", [rectify(g, x, layer), *int8_weights(g, layer, 8)], layer.name, MS)


def n_bits(g: Graph, x: str, layer: Layer) -> str:
    """Weights in blocks of 128 with a scale each; the runtime scales the activations per row and block."""
    name, x = layer.name, rectify(g, x, layer)
    block, (wide, out) = 128, layer.weight.shape
    blocks = layer.weight.T.reshape(out, wide // block, block)
    scale = np.maximum(np.abs(blocks).max(2), 1e-9) / 127
    g.constant(f"{name}_w", (np.round(blocks / scale[:, :, None]) + 128).astype(np.uint8))
    g.constant(f"{name}_ws", scale.astype(np.float32).reshape(-1))
    sizes = {"K": wide, "N": out, "bits": 8, "block_size": block, "accuracy_level": 4}
    return g.add("MatMulNBits", [x, f"{name}_w", f"{name}_ws"], name, MS, **sizes)
