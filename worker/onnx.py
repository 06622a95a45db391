"""The ONNX Runtime classifier: a folder with `model.onnx`, a tokenizer and `config.json`.

Only the composition root imports this. Any sequence classifier exported to ONNX drops in: `config.json` names its labels
(`id2label`), and `labels.json` beside it, or the `SCREENER_LABEL_MAP` setting, maps foreign names to ours.
"""

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from worker.classifier import LABELS, Scores, Tokens
from worker.errors import StartupError, TransientError
from worker.records import Model

SHIPPED: Final = Path(__file__).parent / "models"
MAX_PIECE_TOKENS: Final = 256
"""Longer texts are scored in pieces of this many tokens: nothing hides behind a long preface."""
OVERLAP_TOKENS: Final = 32
"""Pieces share this much, so that a sentence cut in two is whole in one of them."""
_WIDTH_STEP: Final = 8
# A public checkpoint often uses the names of the Wikipedia data set; these need no mapping file.
_COMMON_NAMES: Final = {
    "toxic": "toxicity",
    "severe_toxic": "severe_toxicity",
    "obscene": "profanity",
    "identity_hate": "identity_attack",
    "sexual_explicit": "sexually_explicit",
}


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


class OnnxClassifier:
    """A transformer on ONNX Runtime's CPU provider, with transformers' fast tokenizer.

    Args:
        folder: `model.onnx` (inputs `input_ids`, `attention_mask`, perhaps `token_type_ids`; first output logits
            `[batch, labels]`), a fast tokenizer, `config.json` with `id2label`.
        threads: in one run of the model; 0 means one per CPU that this process may use.
        label_map: the model's label names to ours; None reads `labels.json` in the folder, where there is one.

    Raises:
        StartupError: anything in the folder that does not fit, in one line.
    """

    def __init__(self, folder: Path, *, threads: int = 0, label_map: Mapping[str, str] | None = None) -> None:
        config = _read_json(folder / "config.json")
        if label_map is None and (folder / "labels.json").is_file():
            label_map = read_label_map(folder / "labels.json")
        self._columns = _columns(config, label_map, folder)
        self.labels = tuple(self._columns)
        self.model = _describe(folder, config, label_map)
        self._multi_label = _is_multi_label(config)

        transformers_logging.set_verbosity_error()
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise StartupError(f"{folder}: its tokenizer does not load: {error}") from error
        if not self._tokenizer.is_fast:
            raise StartupError(f"{folder}: its tokenizer is a slow one; save it again as tokenizer.json")
        self._pad = self._tokenizer.pad_token_id or 0
        self._max_tokens = min(MAX_PIECE_TOKENS, int(config.get("max_position_embeddings", MAX_PIECE_TOKENS)))

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.log_severity_level = 3
        # Idle threads that spin would take the cores from the tokeniser and the event loop.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise StartupError(f"{folder}/model.onnx does not load: {error}") from error
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._output = self._session.get_outputs()[0].name
        if unknown := self._inputs - {"input_ids", "attention_mask", "token_type_ids"}:
            raise StartupError(
                f"{folder}/model.onnx wants inputs that text does not have: {', '.join(sorted(unknown))}"
            )
        outputs, last = self._session.get_outputs()[0].shape[-1], max(self._columns.values())
        if isinstance(outputs, int) and last >= outputs:
            raise StartupError(f"{folder}/model.onnx has {outputs} outputs, and config.json names output {last}")

    def encode(self, texts: Sequence[str]) -> list[list[Tokens]]:
        encoded = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._max_tokens,
            stride=OVERLAP_TOKENS,
            return_overflowing_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        pieces: list[list[Tokens]] = [[] for _ in texts]
        for text, piece in zip(encoded["overflow_to_sample_mapping"], encoded["input_ids"], strict=True):
            pieces[text].append(piece)
        return pieces

    def width(self, piece: Tokens) -> int:
        # At least one step: without special tokens, a text of which nothing is left is an empty piece.
        return min(max(1, -(-len(piece) // _WIDTH_STEP)) * _WIDTH_STEP, self._max_tokens)

    def score(self, pieces: Sequence[Tokens]) -> list[Scores]:
        width = self.width(max(pieces, key=len))
        input_ids = np.full((len(pieces), width), self._pad, dtype=np.int64)
        attention_mask = np.zeros((len(pieces), width), dtype=np.int64)
        for row, piece in enumerate(pieces):
            input_ids[row, : len(piece)] = piece
            attention_mask[row, : len(piece)] = 1
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = np.zeros_like(input_ids)
        try:
            logits = self._session.run([self._output], feeds)[0]
        except MemoryError as error:
            raise TransientError("out of memory in the model") from error
        except (Fail, RuntimeException) as error:
            if "alloc" in str(error).lower():
                raise TransientError("out of memory in the model") from error
            raise
        probabilities = _sigmoid(logits) if self._multi_label else _softmax(logits)
        if not np.isfinite(probabilities).all():
            raise ArithmeticError("the model's scores are not numbers")
        # Four decimals: what a person reads in a reason is exactly what was compared with the threshold.
        rows = probabilities.astype(np.float64).round(4).tolist()
        return [{label: row[column] for label, column in self._columns.items()} for row in rows]


def _columns(config: Mapping[str, Any], label_map: Mapping[str, str] | None, folder: Path) -> dict[str, int]:
    """Our label → the column of the model's output. The model's other labels are left out."""
    id2label = config.get("id2label")
    if not isinstance(id2label, dict) or not id2label:
        raise StartupError(f"{folder}/config.json names no labels (id2label)")
    if label_map is not None and (wrong := sorted(set(label_map.values()) - set(LABELS))):
        raise StartupError(f"label map of {folder}: {', '.join(wrong)} is none of {', '.join(LABELS)}")
    if wrong := [column for column in id2label if not column.isdecimal()]:
        raise StartupError(f"{folder}/config.json: id2label: {', '.join(wrong)} is not the number of an output")
    names = _COMMON_NAMES | {label: label for label in LABELS} | dict(label_map or {})
    columns = {names[name]: int(column) for column, name in id2label.items() if str(name) in names}
    if not columns:
        raise StartupError(
            f"{folder}: none of its labels ({', '.join(map(str, id2label.values()))}) is one of ours; "
            f"map them in labels.json or SCREENER_LABEL_MAP"
        )
    return {label: columns[label] for label in LABELS if label in columns}


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
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
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
