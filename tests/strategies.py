"""Hypothesis strategies that more than one test file draws from."""

import json
from typing import Any

from hypothesis import strategies as st

from worker.classifier import HARM_LABELS, KIND_LABELS, LABELS
from worker.policy import KNOWN_BANDS, Policy
from worker.policy_file import read_policy
from worker.records import Action

COMMUNITY = "club"
"""The community that `policies` may name."""

_HARM_ACTIONS = [action for action in Action if action.strength > Action.ALLOW.strength]
_BAND_NAMES = [*KNOWN_BANDS, "all"]

# Hundredths for scores and thresholds alike, so that a score often is exactly a threshold.
_unit = st.integers(0, 100).map(lambda hundredths: hundredths / 100)
_thresholds = st.integers(1, 100).map(lambda hundredths: hundredths / 100)


def scores() -> st.SearchStrategy[dict[str, float]]:
    """Scores of some model, which may not know every label."""
    return st.dictionaries(st.sampled_from(LABELS), _unit | st.floats(0, 1))


@st.composite
def harm_rules(draw: st.DrawFn, min_size: int = 0) -> dict[str, float]:
    """Actions with thresholds that rise with their strength."""
    actions = draw(st.lists(st.sampled_from(_HARM_ACTIONS), unique=True, min_size=min_size))
    thresholds = draw(st.lists(_thresholds, unique=True, min_size=len(actions), max_size=len(actions)))
    mildest_first = sorted(actions, key=lambda action: action.strength)
    return dict(zip(mildest_first, sorted(thresholds), strict=True))


def _kind_rules(min_size: int = 0) -> st.SearchStrategy[dict[str, float]]:
    return st.dictionaries(st.just("highlight"), _thresholds, min_size=min_size, max_size=1)


@st.composite
def policy_labels(draw: st.DrawFn, min_size: int = 0) -> dict[str, dict[str, dict[str, float]]]:
    """The `labels` of a policy file; from `min_size` 1 on it has a rule."""
    labels = draw(st.lists(st.sampled_from(LABELS), unique=True, min_size=min_size))
    bands = st.sampled_from(_BAND_NAMES)
    return {
        label: draw(
            st.dictionaries(
                bands, _kind_rules(min_size) if label in KIND_LABELS else harm_rules(min_size), min_size=min_size
            )
        )
        for label in labels
    }


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy read from a file, with or without a community of its own rules."""
    document: dict[str, Any] = {"id": "drawn", "version": "1", "labels": draw(policy_labels(min_size=1))}
    if draw(st.booleans()):
        document["communities"] = {COMMUNITY: {"labels": draw(policy_labels())}}
    return read_policy(json.dumps(document).encode(), "drawn.yaml")


def harm_labels() -> st.SearchStrategy[str]:
    return st.sampled_from(HARM_LABELS)
