"""A model's outputs → scores of our labels, as its `config.json` and a label map say: the same for every classifier.

`config.json` names its labels (`id2label`), and `labels.json` beside it, or the `SCREENER_LABEL_MAP` setting, maps foreign
names to ours.
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np

from worker.classifier import COMMON_NAMES, LABELS, Scores
from worker.errors import StartupError
from worker.files import read_json
from worker.records import Model


def read_label_map(path: Path) -> dict[str, str]:
    """The model's label names to ours. Raises StartupError where it is not such a map."""
    names = read_json(path)
    if not all(isinstance(name, str) for name in names.values()):
        raise StartupError(f"{path}: not a map from label names to label names")
    return names


def columns_of(config: Mapping[str, Any], label_map: Mapping[str, str] | None, folder: Path) -> dict[str, int]:
    """Our label → the column of the model's output. The model's other labels are left out."""
    id2label = config.get("id2label")
    if not isinstance(id2label, dict) or not id2label:
        raise StartupError(f"{folder}/config.json names no labels (id2label)")
    if label_map is not None and (wrong := sorted(set(label_map.values()) - set(LABELS))):
        raise StartupError(f"label map of {folder}: {', '.join(wrong)} is none of {', '.join(LABELS)}")
    if wrong := [column for column in id2label if not column.isdecimal()]:
        raise StartupError(f"{folder}/config.json: id2label: {', '.join(wrong)} is not the number of an output")
    if unknown := sorted(set(label_map or {}) - set(map(str, id2label.values()))):
        raise StartupError(f"label map of {folder}: the model has no label {', '.join(unknown)}")
    names = {**COMMON_NAMES, **{label: label for label in LABELS}, **(label_map or {})}
    columns: dict[str, str] = {}
    for column, name in id2label.items():
        if (label := names.get(str(name))) is None:
            continue
        if label in columns:
            # Which of them counts, or their sum or maximum, nobody has said.
            both = f"{id2label[columns[label]]} and {name}"
            raise StartupError(
                f"{folder}: two of its labels would be our {label}: {both}; map one of them to another, or to none"
            )
        columns[label] = column
    if not columns:
        raise StartupError(
            f"{folder}: none of its labels ({', '.join(map(str, id2label.values()))}) is one of ours; "
            f"map them in labels.json or SCREENER_LABEL_MAP"
        )
    return {label: int(columns[label]) for label in LABELS if label in columns}


def is_multi_label(config: Mapping[str, Any]) -> bool:
    """Sigmoid, unless the checkpoint says that exactly one label is true. A lone output is always a sigmoid."""
    return config.get("problem_type") != "single_label_classification" or len(config["id2label"]) == 1


def scores_of(logits: Any, columns: Mapping[str, int], *, multi_label: bool) -> list[Scores]:
    """Scores of each row.

    Args:
        logits: float32 [rows, outputs].
        columns: our label → its output.
        multi_label: a sigmoid of each output; else a softmax of all.

    Raises:
        ArithmeticError: they are not numbers.
    """
    probabilities = sigmoid(logits) if multi_label else _softmax(logits)
    if not np.isfinite(probabilities).all():
        raise ArithmeticError("the model's scores are not numbers")
    # Four decimals: what a person reads in a reason is exactly what was compared with the threshold.
    rows = probabilities.astype(np.float64).round(4).tolist()
    return [{label: row[column] for label, column in columns.items()} for row in rows]


def describe(
    folder: Path, files: Iterable[str], config: Mapping[str, Any], label_map: Mapping[str, str] | None
) -> Model:
    """Name and version from `config.json`; the hash covers everything that a score follows from.

    Args:
        files: their names, in an order that is always the same; one that is not there counts as such.
    """
    digest = sha256()
    for name in files:
        digest.update(_sha256(folder / name))
    digest.update(json.dumps(label_map, sort_keys=True).encode())
    about = config.get("screener", {})
    if not isinstance(about, dict) or not all(isinstance(about.get(key, ""), str) for key in ("name", "version")):
        raise StartupError(f"{folder}/config.json: screener: name and version are texts")
    return Model(about.get("name", folder.name), about.get("version", "0"), digest.hexdigest())


def _sha256(path: Path) -> bytes:
    if not path.is_file():
        return bytes(32)
    with path.open("rb") as file:
        return file_digest(file, "sha256").digest()


def sigmoid(logits: Any) -> Any:
    """Each by itself."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits))


def _softmax(logits: Any) -> Any:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
