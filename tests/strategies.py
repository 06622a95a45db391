"""Hypothesis strategies that more than one test file draws from."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from worker.classifier import HARM_LABELS, KIND_LABELS, LABELS
from worker.errors import Reason, Stage
from worker.policy import KNOWN_BANDS, Policy
from worker.policy_file import read_policy
from worker.records import (
    UNSUPPORTED_LANGUAGE,
    Action,
    AgeBand,
    Comment,
    DeadLetter,
    Decision,
    Mode,
    Model,
    PolicyVersion,
    ReasonGiven,
    Source,
    Span,
)

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
    languages = st.dictionaries(st.sampled_from(_BAND_NAMES), st.sampled_from(["allow", "limit", "hold"]))
    if draw(st.booleans()):
        document["unsupported_language"] = draw(languages)
    if draw(st.booleans()):
        document["undetermined_language"] = draw(languages)
    if draw(st.booleans()):
        document["communities"] = {
            COMMUNITY: {
                "labels": draw(policy_labels()),
                "unsupported_language": draw(languages),
                "undetermined_language": draw(languages),
            }
        }
    return read_policy(json.dumps(document).encode(), "drawn.yaml")


def harm_labels() -> st.SearchStrategy[str]:
    return st.sampled_from(HARM_LABELS)


# ---- records. Text is any that UTF-8 can hold: half a surrogate pair is no character.

_characters = st.characters(codec="utf-8")
_texts = st.text(_characters, min_size=1, max_size=40)
_ids = st.text(_characters, min_size=1, max_size=20) | st.just("x" * 500)
_offsets = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_timestamps = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC) | _offsets)  # noqa: DTZ001  hypothesis adds the zone
_sha256s = st.text("0123456789abcdef", min_size=64, max_size=64)
_sources = st.builds(Source, st.text(_characters), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
_models = st.builds(Model, _texts, _texts, _sha256s)
_policy_versions = st.builds(PolicyVersion, _texts, _texts, _sha256s)
_references = {
    "author_id": st.none() | _ids,
    "author_age_band": st.none() | st.sampled_from(AgeBand),
    "content_id": st.none() | _ids,
    "content_owner_id": st.none() | _ids,
    "parent_comment_id": st.none() | _ids,
    "community_id": st.none() | _ids,
    "audience_age_band": st.none() | st.sampled_from(AgeBand),
}
_languages = st.none() | st.sampled_from(["en", "en-GB", "EN_us", "de", "zh-Hant-TW", "x" * 35])


def comments(texts: st.SearchStrategy[str] = _texts) -> st.SearchStrategy[Comment]:
    return st.builds(Comment, comment_id=_ids, text=texts, created_at=_timestamps, language=_languages, **_references)


def decisions() -> st.SearchStrategy[Decision]:
    labels = st.sampled_from(LABELS)
    reasons = st.builds(
        ReasonGiven, labels, _unit, _unit, st.sampled_from(AgeBand), st.sampled_from(Action), st.text(_characters)
    ) | st.builds(
        ReasonGiven,
        st.just(UNSUPPORTED_LANGUAGE),
        st.none(),
        st.none(),
        st.sampled_from(AgeBand),
        st.sampled_from(Action),
        st.text(_characters),
    )
    return st.builds(
        Decision,
        decision_id=st.from_regex(r"\A[A-Za-z0-9_-]{1,500}\Z"),
        comment_id=_ids,
        action=st.sampled_from(Action),
        category=st.none() | labels | st.just(UNSUPPORTED_LANGUAGE),
        severity=st.floats(0, 1),
        scores=scores(),
        spans=st.lists(st.builds(Span, st.integers(0, 9), st.integers(9, 99), labels, _unit), max_size=2),
        reasons=st.lists(reasons, max_size=2),
        language=_languages,
        language_supported=st.none() | st.booleans(),
        model=_models,
        policy=_policy_versions,
        mode=st.sampled_from(Mode),
        degraded=st.booleans(),
        source=st.none() | _sources,
        created_at=_timestamps,
        decided_at=_timestamps,
        **_references,
    )


def dead_letters() -> st.SearchStrategy[DeadLetter]:
    return st.builds(
        DeadLetter,
        stage=st.sampled_from(Stage),
        reason=st.sampled_from(Reason),
        error_class=st.text(_characters),
        error_message=st.text(_characters),
        attempts=st.integers(1, 9),
        worker=st.text(_characters),
        worker_version=st.text(_characters),
        model=_models,
        policy=_policy_versions,
        source=st.none() | _sources,
        timestamp_ms=st.none() | st.integers(0, 2**53),
        key=st.none() | st.binary(),
        value=st.binary(),
        headers=st.lists(st.tuples(st.text(_characters), st.none() | st.binary()), max_size=3),
    )
