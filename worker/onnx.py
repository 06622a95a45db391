"""The ONNX Runtime classifier: a folder with `model.onnx`, a tokenizer and `config.json`.

Only `worker.loading` imports this. Any sequence classifier exported to ONNX drops in: `config.json` names its labels
(`id2label`), and `labels.json` beside it, or the `SCREENER_LABEL_MAP` setting, maps foreign names to ours.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from msgspec import Struct, ValidationError, convert
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

from worker.batching import CPU_TOKENS, GPU_TOKENS
from worker.classifier import LABELS, Found, Piece, Places
from worker.cores import usable_cores
from worker.errors import StartupError, TransientError
from worker.files import MIB, check_size, read_json
from worker.model_source import folder_of
from worker.outputs import columns_of, describe, is_multi_label, read_label_map, scores_of, sigmoid
from worker.records import Span
from worker.tokenizer import CPU_STEP, GPU_STEP, LARGEST, MAX_PIECE_TOKENS, Tokenizer

_GPU: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
_LARGEST: Final = {"model.onnx": 2048 * MIB} | LARGEST
"""A model has no more in one file."""
_HASHED: Final = ("model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json")
SLOW_FUSIONS: Final = ["SkipLayerNormFusion", "BiasSkipLayerNormFusion"]
"""ONNX Runtime's optimisers that make one node of two sums and a layer norm: on a CPU it then takes several times as long."""
_COUNT_BEHIND_PADDING: Final = {
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod", "camembert", "longformer", "luke"),
    *("data2vec-text", "ibert", "mpnet"),
}
"""Kinds of models, as transformers names them."""
_PAD: Final = 1
"""The padding token of these, where their configuration has none."""
TOKEN_OUTPUT: Final = "token_logits"  # noqa: S105  the name of an output
_KIND_FROM: Final = 0.4
"""Mean probability from which a span carries the name of a kind; below, that of the pointer's first label."""
_SURELY: Final = 0.01
"""Of a logit: many times what rounding can move a probability by."""
_NOT_EXTREME: Final = (0.001, 0.999)
"""Thresholds between which that holds: beyond, neighbouring float32 numbers lie further apart than it."""


def model_folder(name: str) -> Path:
    """The folder of a shipped model, or of a path. Raises StartupError where there is none."""
    folder = folder_of(name)
    missing = [file for file in ("model.onnx", "config.json", "tokenizer.json") if not (folder / file).is_file()]
    if missing:
        raise StartupError(f"SCREENER_MODEL: {folder} has no {' and no '.join(missing)}")
    return folder


class Pointer(Struct, frozen=True):
    """How a model's token output is read: `spans` in `config.json`.

    Attributes:
        labels: what its columns stand for; the first says whether a token belongs to a span, the others what kind it is.
        threshold: from which probability of the first a token does.
    """

    labels: tuple[str, ...]
    threshold: float


class OnnxClassifier:
    """A transformer on ONNX Runtime, with a fast tokenizer. On a GPU where onnxruntime-gpu is installed.

    Args:
        folder: `model.onnx` (inputs `input_ids`, `attention_mask`, perhaps `token_type_ids`; first output logits
            `[batch, labels]`; `token_logits` `[batch, width, span labels]` where `config.json` has `spans`), a fast
            tokenizer, `config.json` with `id2label`.
        threads: runs of the model at once, of one thread each; 0 means one per CPU that this process may use. On a GPU there is
            one run at a time.
        label_map: the model's label names to ours; None reads `labels.json` in the folder, where there is one.

    Raises:
        StartupError: anything in the folder that does not fit, in one line.
    """

    def __init__(self, folder: Path, *, threads: int = 0, label_map: Mapping[str, str] | None = None) -> None:
        for name, most in _LARGEST.items():
            check_size(folder / name, most)
        config = read_json(folder / "config.json")
        if label_map is None and (folder / "labels.json").is_file():
            label_map = read_label_map(folder / "labels.json")
        self._columns = columns_of(config, label_map, folder)
        self.labels = tuple(self._columns)
        self.model = describe(folder, _HASHED, config, label_map)
        self._multi_label = is_multi_label(config)

        self._session = _open(folder / "model.onnx")
        on_gpu = _GPU in self._session.get_providers()
        self.runs_at_once = 1 if on_gpu else threads or usable_cores()
        self.batch_tokens = GPU_TOKENS if on_gpu else CPU_TOKENS
        self._tokenizer = Tokenizer(folder, _readable_tokens(config), width_step=GPU_STEP if on_gpu else CPU_STEP)
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._outputs = [self._session.get_outputs()[0].name]
        self.pointer = _pointer(config, folder)
        if self.pointer is not None:
            self._nowhere_below = nowhere_below(self.pointer.threshold)
            self._outputs.append(TOKEN_OUTPUT)
            if TOKEN_OUTPUT not in {node.name for node in self._session.get_outputs()}:
                raise StartupError(f"{folder}/model.onnx has no output {TOKEN_OUTPUT}, and config.json has spans")
        if unknown := self._inputs - {"input_ids", "attention_mask", "token_type_ids"}:
            raise StartupError(
                f"{folder}/model.onnx wants inputs that text does not have: {', '.join(sorted(unknown))}"
            )
        outputs, last = self._session.get_outputs()[0].shape[-1], max(self._columns.values())
        if isinstance(outputs, int) and last >= outputs:
            raise StartupError(f"{folder}/model.onnx has {outputs} outputs, and config.json names output {last}")

    def encode(self, texts: Sequence[str]) -> list[list[Piece]]:
        return self._tokenizer.encode(texts)

    def width(self, piece: Piece) -> int:
        return self._tokenizer.width(piece)

    def score(self, pieces: Sequence[Piece]) -> list[Found]:
        logits, *token_logits = _run(self._session, self._outputs, self.feeds(pieces))
        scores = scores_of(logits, self._columns, multi_label=self._multi_label)
        if self.pointer is None or points_nowhere(token_logits[0], self._nowhere_below):
            return [Found(of_piece) for of_piece in scores]
        marks = sigmoid(token_logits[0])
        return [
            Found(of_piece, self._spans(piece, marks[row, : len(piece.tokens)]))
            for row, (piece, of_piece) in enumerate(zip(pieces, scores, strict=True))
        ]

    def token_probabilities(self, pieces: Sequence[Piece]) -> list[Any]:
        """Per piece what `Pointer.threshold` is compared with: float32 [tokens, span labels]. For choosing that threshold."""
        marks = sigmoid(_run(self._session, [TOKEN_OUTPUT], self.feeds(pieces))[0])
        return [marks[row, : len(piece.tokens)] for row, piece in enumerate(pieces)]

    def feeds(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """What the model is given of pieces of one width: int64 [batch, width] each."""
        width = self.width(max(pieces, key=lambda piece: len(piece.tokens)))
        input_ids = np.full((len(pieces), width), self._tokenizer.pad, dtype=np.int64)
        attention_mask = np.zeros((len(pieces), width), dtype=np.int64)
        for row, (tokens, _) in enumerate(pieces):
            input_ids[row, : len(tokens)] = tokens
            attention_mask[row, : len(tokens)] = 1
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = np.zeros_like(input_ids)
        return feeds

    def _spans(self, piece: Piece, marks: Any) -> tuple[Span, ...]:
        """Where the harm stands. `marks`: float32 [tokens, span labels], the first of which says whether it is a place at all."""
        assert self.pointer is not None  # noqa: S101  only asked where there is one; for the type checker
        found = marks[:, 0] >= self.pointer.threshold
        return point(self.pointer, piece.places(), marks, found) if found.any() else ()


def _readable_tokens(config: Mapping[str, Any]) -> int:
    """How many tokens the model reads at once. RoBERTa and its kin count positions from behind the padding token's number on."""
    positions, padding = config.get("max_position_embeddings"), config.get("pad_token_id")
    for number in (positions, padding):
        if not isinstance(number, int | None):
            raise StartupError("config.json: max_position_embeddings and pad_token_id are whole numbers")
    positions = MAX_PIECE_TOKENS if positions is None else positions
    if config.get("model_type") in _COUNT_BEHIND_PADDING:
        positions -= (_PAD if padding is None else padding) + 1
    return positions


def _run(session: onnxruntime.InferenceSession, outputs: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
    """One pass. Raises TransientError where there is not enough memory for it."""
    try:
        found: list[Any] = session.run(outputs, feeds)
    except MemoryError as error:
        raise TransientError("out of memory in the model") from error
    except (Fail, RuntimeException) as error:
        if "alloc" in str(error).lower():
            raise TransientError("out of memory in the model") from error
        raise
    return found


def _open(file: Path) -> onnxruntime.InferenceSession:
    """A model, on the best that there is: which ONNX Runtime is installed decides between GPU and CPU."""
    options = onnxruntime.SessionOptions()
    # A run stays in the thread that asks for it; several are under way at once (`worker.runs`).
    options.intra_op_num_threads = 1
    # It raises its errors as well: said once, by us, in our log's form and without what the model was given.
    options.log_severity_level = 4
    providers = [_CPU]
    if _GPU in onnxruntime.get_available_providers():
        providers = [_GPU, _CPU]
        # CUDA and cuDNN come as packages, where the loader does not look.
        onnxruntime.preload_dlls()
    unwanted = SLOW_FUSIONS if providers == [_CPU] else None
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=providers, disabled_optimizers=unwanted)
    except Exception as error:
        raise StartupError(f"{file} does not load: {error}") from error
    if session.get_providers()[0] != providers[0]:
        # ONNX Runtime would go on without, many times slower, and only warn.
        raise StartupError("onnxruntime-gpu is installed, and there is no GPU that it can use")
    return session


def _pointer(config: Mapping[str, Any], folder: Path) -> Pointer | None:
    """How to read the model's token output; None where it has none."""
    if "spans" not in config:
        return None
    try:
        pointer = convert(config["spans"], Pointer)
    except ValidationError as error:
        raise StartupError(f"{folder}/config.json: spans: {error}") from error
    if not pointer.labels or not set(pointer.labels) <= set(LABELS) or not 0 < pointer.threshold < 1:
        raise StartupError(f"{folder}/config.json: spans: labels of ours, and a threshold between 0 and 1")
    return pointer


def nowhere_below(threshold: float) -> float:
    """A logit: no token whose own is lower has a probability that reaches the threshold."""
    least, most = _NOT_EXTREME
    return math.log(threshold / (1 - threshold)) - _SURELY if least <= threshold <= most else -math.inf


def points_nowhere(token_logits: Any, below: float) -> bool:
    """Whether no token is marked, told without a probability; False where it is not sure.

    Args:
        token_logits: [batch, width, span labels], the first of which says whether a token is a place at all.
        below: `nowhere_below` of the threshold.
    """
    # In half precision rounding moves more. What is not a number is not lower than anything.
    return token_logits.dtype == np.float32 and bool(token_logits[..., 0].max() < below)


def point(pointer: Pointer, places: Places, marks: Any, found: Any) -> tuple[Span, ...]:
    """Runs of marked tokens → spans of the text, each under the name of its likeliest kind.

    Args:
        pointer: what the columns of `marks` stand for.
        places: per token, its characters and its word.
        marks: probabilities, [tokens, span labels].
        found: which tokens are marked, [tokens].
    """
    spans = []
    for run in _runs(places, found):
        mean = marks[run].mean(0)
        kind = 1 + int(mean[1:].argmax()) if len(pointer.labels) > 1 else 0
        label = pointer.labels[kind if mean[kind] >= _KIND_FROM else 0]
        score = round(float(marks[run, 0].max()), 4)
        spans.append(Span(places[run[0]][0], places[run[-1]][1], label, score))
    return tuple(spans)


def _runs(places: Places, found: Any) -> list[list[int]]:
    """Numbers of tokens, in runs of marked words. A marked part of a word marks all of it: nobody is shown half an insult."""
    runs: list[list[int]] = []
    marks: list[bool] = found.tolist()
    before = False
    for word, tokens in groupby(range(len(places)), key=lambda at: places[at][2]):
        of_word = list(tokens)
        marked = word is not None and any(marks[at] for at in of_word)
        if marked and before:
            runs[-1] += of_word
        elif marked:
            runs.append(of_word)
        before = marked
    return runs
