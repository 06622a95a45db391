"""Comparing ways to quantise: accuracy, what a batch does to a text's score, and speed, of each in one run.

What RESULTS.md says about them comes from here: `python -m training compare`. The one that is shipped is in `export`.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from training import MAX_TOKENS
from training.evaluate import Array, by_label, coupling, open_session, score
from training.export import BITS, MS, Graph, Layer, Linear, biased, build, float32, int8, int8_weights, rectify
from training.inputs import inputs_of, some_of
from training.labels import Row
from training.train import load_trained
from worker.classifier import LABELS

COUPLED_TEXTS: Final = 200
TIMED_TEXTS: Final = 256
SHORT: Final = 32
"""Tokens up to which a text counts as short when speed is measured."""
_MIDDLE: Final = 128
_ROUNDS: Final = 5


def compare(teach: Sequence[Row], dev: Sequence[Row], work: Path) -> str:
    """A Markdown table with a line per candidate. `dev` is thinned to keep it to minutes."""
    model, tokenizer = load_trained(work)
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    seen = inputs_of(model, some_of(teach, tokenizer))
    candidates: Mapping[str, Linear] = {
        "float32": float32,
        "a range a layer, 7-bit weights (shipped)": int8,
        "a range a layer": partial(int8, bits=8),
        "a scale a token, 7-bit weights": per_token,
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
    graphs = {
        name: build(state, linear, quantised=linear is not float32, seen=seen) for name, linear in candidates.items()
    }
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


def speed(sessions: Mapping[str, Any], tokens: Sequence[Sequence[int]]) -> Mapping[str, float]:
    """Texts a second, in batches of 16 sorted by length. In turns, best of all rounds: others use the machine too."""
    taken = dict.fromkeys(sessions, float("inf"))
    for _ in range(_ROUNDS):
        for name, session in sessions.items():
            started = time.perf_counter()
            score(session, tokens)
            taken[name] = min(taken[name], time.perf_counter() - started)
    return {name: len(tokens) / t for name, t in taken.items()}


def per_token(g: Graph, x: str, layer: Layer) -> str:
    """The finest steps with which the largest input of each token fits: x → x ÷ scale + zero, product, and back."""
    name, x = layer.name, rectify(g, x, layer)
    weight, weight_scale, weight_zero = int8_weights(g, layer, BITS)
    g.constant(f"{name}_1", np.array(1, np.float32))
    g.constant(f"{name}_zero", np.array(_MIDDLE, np.uint8))
    g.add("Abs", [x], f"{name}_abs")
    g.add("ReduceMax", [f"{name}_abs", "last"], f"{name}_largest", keepdims=1)
    g.add("Max", [f"{name}_largest", g.constant(f"{name}_tiny", np.array(1e-9, np.float32))], f"{name}_top")
    g.add("Div", [f"{name}_top", g.constant(f"{name}_steps", np.array(127, np.float32))], f"{name}_scale")
    g.add("Div", [x, f"{name}_scale"], f"{name}_even")
    g.add("QuantizeLinear", [f"{name}_even", f"{name}_1", f"{name}_zero"], f"{name}_x8")
    inputs = [f"{name}_x8", weight, f"{name}_1", weight_scale, f"{name}_zero", weight_zero]
    g.add("MatMulIntegerToFloat", inputs, f"{name}_even_w", MS)
    return biased(g, g.add("Mul", [f"{name}_even_w", f"{name}_scale"], f"{name}_unbiased"), layer)


def dynamic(g: Graph, x: str, layer: Layer) -> str:
    """One scale for the whole batch, taken from that batch: what onnxruntime's `quantize_dynamic` does."""
    product = [rectify(g, x, layer), *int8_weights(g, layer, 8)]
    return biased(g, g.add("DynamicQuantizeMatMul", product, f"{layer.name}_unbiased", MS), layer)


def n_bits(g: Graph, x: str, layer: Layer) -> str:
    """Weights in blocks of 128 with a scale each; the runtime scales the activations per row and block."""
    name, x = layer.name, rectify(g, x, layer)
    block, (wide, out) = 128, layer.weight.shape
    blocks = layer.weight.T.reshape(out, wide // block, block)
    scale = np.maximum(np.abs(blocks).max(2), 1e-9) / 127
    g.constant(f"{name}_w", (np.round(blocks / scale[:, :, None]) + 128).astype(np.uint8))
    g.constant(f"{name}_ws", scale.astype(np.float32).reshape(-1))
    sizes = {"K": wide, "N": out, "bits": 8, "block_size": block, "accuracy_level": 4}
    return biased(g, g.add("MatMulNBits", [x, f"{name}_w", f"{name}_ws"], f"{name}_unbiased", MS, **sizes), layer)
