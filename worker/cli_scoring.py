"""Model and policy for the commands that need no Kafka."""

from collections.abc import Mapping
from pathlib import Path

from worker.classifier import Classifier
from worker.errors import FatalError
from worker.metrics import Metrics
from worker.normalise import normalise
from worker.policy_file import load_policy
from worker.screening import Rejection, Screener

_CACHE_ENTRIES = 100_000
_MAX_BATCH_TOKENS = 2048


def open_classifier(model: str | None, threads: int = 0, label_map: Path | None = None) -> Classifier:
    """The shipped model, or the one named. Imports ONNX Runtime and transformers, which takes seconds."""
    from worker.onnx import OnnxClassifier, model_folder, read_label_map  # noqa: PLC0415

    names = None if label_map is None else read_label_map(label_map)
    return OnnxClassifier(model_folder(model or "default"), threads=threads, label_map=names)


def open_screener(
    model: str | None,
    policy: str | None,
    *,
    threads: int = 0,
    label_map: Path | None = None,
    cache_entries: int = _CACHE_ENTRIES,
) -> Screener:
    """The line through the middle, as the worker runs it."""
    return Screener(
        open_classifier(model, threads, label_map),
        load_policy(policy or "default"),
        observer=Metrics(),
        max_batch_tokens=_MAX_BATCH_TOKENS,
        cache_entries=cache_entries,
    )


def score_text(text: str, model: str | None) -> Mapping[str, float]:
    """The scores of one text.

    Raises:
        FatalError: the model cannot score it.
    """
    normalised = normalise(text)
    scores = open_screener(model, None).score([normalised])[normalised]
    if isinstance(scores, Rejection):
        raise FatalError(scores.message)
    return scores
