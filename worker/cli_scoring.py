"""Model and policy for the commands that need no Kafka."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from worker.classifier import LABELS, Found
from worker.errors import FatalError, StartupError
from worker.files import read_json
from worker.language import UNDETERMINED, Detection
from worker.loading import load_classifier, load_detector
from worker.logs import configure_logs
from worker.metrics import Metrics
from worker.model_source import folder_of
from worker.normalise import normalise
from worker.operating_points import operating_points_of
from worker.policy import Policy
from worker.policy_file import load_policy
from worker.records import PolicyVersion
from worker.screening import Rejection, Screener

_CACHE_ENTRIES = 100_000
NO_POLICY: Final = Policy(PolicyVersion("none", "0", "0" * 64), {}, {})
"""For those who only want scores: nothing is decided, so nothing has to be read for it."""
_THRESHOLDS: Final = "thresholds.json"


def open_screener(
    model: str | None,
    policy: str | None,
    *,
    threads: int = 0,
    label_map: Path | None = None,
) -> Screener:
    """The line through the middle, as the worker runs it. Without a policy, for those who only want scores.

    Then no detector is loaded either: only a policy asks for the language.
    """
    # To stderr: stdout is for what was asked for.
    configure_logs("info")
    return Screener(
        load_classifier(model or "default", threads=threads, label_map=label_map),
        NO_POLICY if policy is None else load_policy(policy, operating_points_of(model or "default")),
        detect=tell_nothing if policy is None else load_detector(),
        observer=Metrics(),
        cache_entries=_CACHE_ENTRIES,
    )


def tell_nothing(texts: Sequence[str]) -> list[Detection]:
    """Nor has a language to be told for scores alone."""
    return [UNDETERMINED] * len(texts)


def detect_language(text: str) -> Detection:
    """What a comment's text says of its language."""
    return load_detector()([normalise(text)])[0]


def find_in(text: str, model: str | None, label_map: Path | None = None) -> Found:
    """What the model finds in one text; places in it as it is normalised.

    Raises:
        FatalError: the model cannot score it.
    """
    normalised = normalise(text)
    return scored(open_screener(model, None, label_map=label_map).find([normalised])[normalised])


def scored(found: Found | Rejection) -> Found:
    """What was found. Raises FatalError where the model cannot score the text."""
    if isinstance(found, Rejection):
        raise FatalError(found.message)
    return found


def model_thresholds(model: str | None) -> dict[str, float] | None:
    """The thresholds that lie in a model's folder; None where there are none. Errors as in `read_thresholds`."""
    path = folder_of(model or "default") / _THRESHOLDS
    return read_thresholds(path) if path.is_file() else None


def read_thresholds(path: Path) -> dict[str, float]:
    """From which score on a label counts as found: `{"insult": 0.62}`.

    Raises:
        StartupError: it is not such a file, in one line.
    """
    content = read_json(path)
    for label, threshold in content.items():
        if label not in LABELS:
            raise StartupError(f"{path}: {label} is none of {', '.join(LABELS)}")
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise StartupError(f"{path}: {label}: a threshold is a number from 0 to 1")
    return {label: float(threshold) for label, threshold in content.items()}
