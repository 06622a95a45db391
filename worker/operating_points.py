"""Operating points: from which score on a model is right so often.

They lie in the model's folder, beside its thresholds, measured on the dev split when it was made:

    {"insult": {"0.80": 0.71, "0.95": null}, …}

per label the score from which on the precision is at least so much, null where it never is. A policy may ask for a precision
instead of a score (`hold: precision 0.80`, see `worker.policy_file`), and so survives a new model. Read at startup and by
`comment-screener policy`; quick, since no model is loaded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from worker.classifier import LABELS
from worker.errors import StartupError
from worker.files import read_json
from worker.model_source import check_named, folder_of

FILE: Final = "operating_points.json"

Points = Mapping[str, Mapping[float, float | None]]
"""Label → precision → the score from which it is reached; None where it never is."""


def operating_points_of(model: str) -> Points:
    """Those of a shipped model, or of a folder; none of one on a hub.

    Raises:
        StartupError: there is no such model; otherwise as in `read_operating_points`.
    """
    check_named(model)
    return read_operating_points(folder_of(model))


def read_operating_points(folder: Path) -> Points:
    """Read those of a model; none where its folder states none.

    Raises:
        StartupError: the file is there and is no such table, in one line.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    content = read_json(path)
    if unknown := [label for label in content if label not in LABELS]:
        raise StartupError(f"{path}: {unknown[0]} is none of {', '.join(LABELS)}")
    return {label: _read_label(f"{path}: {label}", points) for label, points in content.items()}


def _read_label(where: str, points: Any) -> dict[float, float | None]:
    if not isinstance(points, dict):
        raise StartupError(f"{where}: not a JSON object of precisions")
    read: dict[float, float | None] = {}
    for written, score in points.items():
        try:
            precision = float(written)
        except ValueError:
            precision = 0.0
        if not 0 < precision <= 1:
            raise StartupError(f"{where}: a precision is a number above 0 and up to 1, not {written}")
        if precision in read:
            raise StartupError(f"{where}: precision {written} stands there twice")
        if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not 0 < score <= 1):
            raise StartupError(f"{where}: the score of precision {written} is a number above 0 and up to 1, or null")
        read[precision] = None if score is None else float(score)
    return read
