"""The colours of what keeps its colour on every panel. A value without one stops the generator, so that none is forgotten."""

from collections.abc import Mapping
from typing import Final

from worker.classifier import KIND_LABELS, LABELS
from worker.metrics import CATEGORIES, NO_CATEGORY, STAGES, SUPPORT
from worker.records import UNDETERMINED_LANGUAGE, UNSUPPORTED_LANGUAGE, Action, AgeBand

_HARM: Final = {
    "toxicity": "orange",
    "severe_toxicity": "dark-red",
    "identity_attack": "purple",
    "insult": "yellow",
    "profanity": "light-orange",
    "threat": "red",
    "sexually_explicit": "dark-purple",
    "self_harm": "dark-blue",
}
OF_LABEL: Final = {label: "green" if label in KIND_LABELS else _HARM[label] for label in LABELS}
_OTHERWISE: Final = {UNSUPPORTED_LANGUAGE: "light-blue", UNDETERMINED_LANGUAGE: "blue", NO_CATEGORY: "text"}
OF_CATEGORY: Final = {category: _OTHERWISE.get(category) or OF_LABEL[category] for category in CATEGORIES}
OF_ACTION: Final[Mapping[str, str]] = dict(
    zip(Action, ("green", "text", "light-blue", "yellow", "orange", "red", "dark-red"), strict=True)
)
OF_AGE: Final[Mapping[str, str]] = dict(
    zip(AgeBand, ("dark-blue", "blue", "light-blue", "text", "orange"), strict=True)
)
OF_STAGE: Final = dict(zip(STAGES, ("text", "orange", "light-blue", "blue", "purple", "green"), strict=True))
OF_PERCENTILE: Final[Mapping[str, str]] = {"p50": "light-blue", "p95": "blue", "p99": "purple"}
OF_SUPPORT: Final = dict(zip(SUPPORT.values(), ("green", "orange", "text"), strict=True))
