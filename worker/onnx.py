"""The ONNX Runtime classifier: a folder with `model.onnx`, a tokenizer and `config.json`.

Only the composition root imports this. Any sequence classifier exported to ONNX drops in: `config.json` names its labels
(`id2label`), and `labels.json` beside it, or the `SCREENER_LABEL_MAP` setting, maps foreign names to ours.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from msgspec import Struct, ValidationError, convert
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from worker.classifier import COMMON_NAMES, LABELS, Found, Piece, Places
from worker.errors import StartupError, TransientError
from worker.files import MIB, check_size, read_bytes
from worker.records import Model, Span

SHIPPED: Final = Path(__file__).parent / "models"
MAX_PIECE_TOKENS: Final = 256
"""Longer texts are scored in pieces of this many tokens: nothing hides behind a long preface."""
OVERLAP_TOKENS: Final = 32
"""Pieces share this much, so that a sentence cut in two is whole in one of them."""
_WIDTH_STEP: Final = 8
_GPU: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
_LARGEST: Final = {"model.onnx": 2048 * MIB, "tokenizer.json": 64 * MIB, "tokenizer_config.json": MIB}
"""A model has no more in one file; the largest vocabularies are a quarter of that."""
_RUST: Final = "pyo3_runtime"
"""Where the exception for a panic says that it lives; it cannot be imported."""
TOKEN_OUTPUT: Final = "token_logits"  # noqa: S105  the name of an output
_KIND_FROM: Final = 0.4
"""Mean probability from which a span carries the name of a kind; below, that of the pointer's first label."""


def model_folder(name: str) -> Path:
    """The folder of a shipped model, or of a path. Raises StartupError where there is none."""
    shipped = SHIPPED / name
    folder = shipped if shipped.is_dir() else Path(name)
    missing = [file for file in ("model.onnx", "config.json", "tokenizer.json") if not (folder / file).is_file()]
    if missing:
        raise StartupError(f"SCREENER_MODEL: {folder} has no {' and no '.join(missing)}")
    return folder


def read_label_map(path: Path) -> dict[str, str]:
    """The model's label names to ours. Raises StartupError where it is not such a map."""
    names = _read_json(path)
    if not all(isinstance(name, str) for name in names.values()):
        raise StartupError(f"{path}: not a map from label names to label names")
    return names


class Pointer(Struct, frozen=True):
    """How a model's token output is read: `spans` in `config.json`.

    Attributes:
        labels: what its columns stand for; the first says whether a token belongs to a span, the others what kind it is.
        threshold: from which probability of the first a token does.
    """

    labels: tuple[str, ...]
    threshold: float


class OnnxClassifier:
    """A transformer on ONNX Runtime, with transformers' fast tokenizer. On a GPU where onnxruntime-gpu is installed.

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
        config = _read_json(folder / "config.json")
        if label_map is None and (folder / "labels.json").is_file():
            label_map = read_label_map(folder / "labels.json")
        self._columns = _columns(config, label_map, folder)
        self.labels = tuple(self._columns)
        self.model = _describe(folder, config, label_map)
        self._multi_label = _is_multi_label(config)

        transformers_logging.set_verbosity_error()
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise StartupError(f"{folder}: its tokenizer does not load: {error}") from error
        if not self._tokenizer.is_fast:
            raise StartupError(f"{folder}: its tokenizer is a slow one; save it again as tokenizer.json")
        self._pad = self._tokenizer.pad_token_id or 0
        self._max_tokens = min(MAX_PIECE_TOKENS, int(config.get("max_position_embeddings", MAX_PIECE_TOKENS)))

        self._session = _open(folder)
        on_gpu = _GPU in self._session.get_providers()
        self.runs_at_once = 1 if on_gpu else threads or len(os.sched_getaffinity(0))
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._outputs = [self._session.get_outputs()[0].name]
        self.pointer = _pointer(config, folder)
        if self.pointer is not None:
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
        try:
            encoded = self._tokenizer(
                list(texts),
                truncation=True,
                max_length=self._max_tokens,
                stride=OVERLAP_TOKENS,
                return_overflowing_tokens=True,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
        except BaseException as error:
            # A panic in the tokenizer's Rust is no Exception, so nobody would blame the text for it.
            if type(error).__module__ != _RUST:
                raise
            raise RuntimeError("the tokenizer panicked") from error
        pieces: list[list[Piece]] = [[] for _ in texts]
        for text, encoding in zip(encoded["overflow_to_sample_mapping"], encoded.encodings, strict=True):
            # Places stay on the tokenizer's side until somebody asks: most comments have nothing to point at.
            pieces[text].append(Piece(encoding.ids, partial(_places, encoding)))
        return pieces

    def width(self, piece: Piece) -> int:
        # At least one step: without special tokens, a text of which nothing is left is an empty piece.
        return min(max(1, -(-len(piece.tokens) // _WIDTH_STEP)) * _WIDTH_STEP, self._max_tokens)

    def score(self, pieces: Sequence[Piece]) -> list[Found]:
        logits, *token_logits = self._run(pieces, self._outputs)
        probabilities = _sigmoid(logits) if self._multi_label else _softmax(logits)
        if not np.isfinite(probabilities).all():
            raise ArithmeticError("the model's scores are not numbers")
        # Four decimals: what a person reads in a reason is exactly what was compared with the threshold.
        rows = probabilities.astype(np.float64).round(4).tolist()
        scores = [{label: row[column] for label, column in self._columns.items()} for row in rows]
        if self.pointer is None:
            return [Found(of_piece) for of_piece in scores]
        marks = _sigmoid(token_logits[0])
        return [
            Found(of_piece, self._spans(piece, marks[row, : len(piece.tokens)]))
            for row, (piece, of_piece) in enumerate(zip(pieces, scores, strict=True))
        ]

    def token_probabilities(self, pieces: Sequence[Piece]) -> list[Any]:
        """Per piece what `Pointer.threshold` is compared with: float32 [tokens, span labels]. For choosing that threshold."""
        marks = _sigmoid(self._run(pieces, [TOKEN_OUTPUT])[0])
        return [marks[row, : len(piece.tokens)] for row, piece in enumerate(pieces)]

    def _run(self, pieces: Sequence[Piece], outputs: Sequence[str]) -> list[Any]:
        width = self.width(max(pieces, key=lambda piece: len(piece.tokens)))
        input_ids = np.full((len(pieces), width), self._pad, dtype=np.int64)
        attention_mask = np.zeros((len(pieces), width), dtype=np.int64)
        for row, (tokens, _) in enumerate(pieces):
            input_ids[row, : len(tokens)] = tokens
            attention_mask[row, : len(tokens)] = 1
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = np.zeros_like(input_ids)
        try:
            found: list[Any] = self._session.run(outputs, feeds)
        except MemoryError as error:
            raise TransientError("out of memory in the model") from error
        except (Fail, RuntimeException) as error:
            if "alloc" in str(error).lower():
                raise TransientError("out of memory in the model") from error
            raise
        return found

    def _spans(self, piece: Piece, marks: Any) -> tuple[Span, ...]:
        """Where the harm stands. `marks`: float32 [tokens, span labels], the first of which says whether it is a place at all."""
        assert self.pointer is not None  # noqa: S101  only asked where there is one; for the type checker
        found = marks[:, 0] >= self.pointer.threshold
        return point(self.pointer, piece.places(), marks, found) if found.any() else ()


def _open(folder: Path) -> onnxruntime.InferenceSession:
    """The model, on the best that there is: which ONNX Runtime is installed decides between GPU and CPU."""
    options = onnxruntime.SessionOptions()
    # A run stays in the thread that asks for it; several are under way at once (`worker.runs`).
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    providers = [_CPU]
    if _GPU in onnxruntime.get_available_providers():
        providers = [_GPU, _CPU]
        # CUDA and cuDNN come as packages, where the loader does not look.
        onnxruntime.preload_dlls()
    try:
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=providers)
    except Exception as error:
        raise StartupError(f"{folder}/model.onnx does not load: {error}") from error
    if session.get_providers()[0] != providers[0]:
        # ONNX Runtime would go on without, many times slower, and only warn.
        raise StartupError("onnxruntime-gpu is installed, and there is no GPU that it can use")
    return session


def _columns(config: Mapping[str, Any], label_map: Mapping[str, str] | None, folder: Path) -> dict[str, int]:
    """Our label → the column of the model's output. The model's other labels are left out."""
    id2label = config.get("id2label")
    if not isinstance(id2label, dict) or not id2label:
        raise StartupError(f"{folder}/config.json names no labels (id2label)")
    if label_map is not None and (wrong := sorted(set(label_map.values()) - set(LABELS))):
        raise StartupError(f"label map of {folder}: {', '.join(wrong)} is none of {', '.join(LABELS)}")
    if wrong := [column for column in id2label if not column.isdecimal()]:
        raise StartupError(f"{folder}/config.json: id2label: {', '.join(wrong)} is not the number of an output")
    names = {**COMMON_NAMES, **{label: label for label in LABELS}, **(label_map or {})}
    columns = {names[name]: int(column) for column, name in id2label.items() if str(name) in names}
    if not columns:
        raise StartupError(
            f"{folder}: none of its labels ({', '.join(map(str, id2label.values()))}) is one of ours; "
            f"map them in labels.json or SCREENER_LABEL_MAP"
        )
    return {label: columns[label] for label in LABELS if label in columns}


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
    before = False
    for word, tokens in groupby(range(len(places)), key=lambda at: places[at][2]):
        of_word = list(tokens)
        marked = word is not None and bool(found[of_word].any())
        if marked and before:
            runs[-1] += of_word
        elif marked:
            runs.append(of_word)
        before = marked
    return runs


def _places(encoding: Any) -> Places:
    return [(start, end, word) for (start, end), word in zip(encoding.offsets, encoding.word_ids, strict=True)]


def _is_multi_label(config: Mapping[str, Any]) -> bool:
    """Sigmoid, unless the checkpoint says that exactly one label is true. A lone output is always a sigmoid."""
    return config.get("problem_type") != "single_label_classification" or len(config["id2label"]) == 1


def _describe(folder: Path, config: Mapping[str, Any], label_map: Mapping[str, str] | None) -> Model:
    """Name and version from `config.json`; the hash covers everything that a score follows from."""
    digest = sha256()
    for name in ("model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"):
        file = folder / name
        digest.update(sha256(file.read_bytes()).digest() if file.is_file() else bytes(32))
    digest.update(json.dumps(label_map, sort_keys=True).encode())
    about = config.get("screener", {})
    return Model(about.get("name", folder.name), about.get("version", "0"), digest.hexdigest())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(path, MIB))
    except (OSError, ValueError, RecursionError) as error:
        raise StartupError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise StartupError(f"{path}: not a JSON object")
    return content


def _sigmoid(logits: Any) -> Any:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits))


def _softmax(logits: Any) -> Any:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
