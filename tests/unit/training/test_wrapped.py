"""Harm between kind words: what hurts stays what it was, nothing of it is kind, and the wrapping itself says nothing."""

from collections import Counter
from collections.abc import Mapping

import pytest

from training.authored import SOURCE, read_authored
from training.labels import Row
from training.split import split
from training.wrapped import (
    HARM,
    HARMLESS,
    HOW_MANY,
    HOW_MANY_PADDED,
    PADDED_HARM,
    PADDED_HARMLESS,
    WRAPPED,
    wrapped,
)
from worker.classifier import HARM_LABELS


@pytest.fixture(scope="module")
def authored() -> list[Row]:
    return read_authored()


@pytest.fixture(scope="module")
def found(authored: list[Row]) -> list[Row]:
    return wrapped(authored)


def test_there_are_as_many_of_either_kind_on_each_side(found: list[Row]) -> None:
    counts = Counter((r.source, r.split, r.behaviour) for r in found)

    assert counts == {
        (source, side, behaviour): many[side]
        for source, side in ((WRAPPED, "train"), (SOURCE, "dev"))
        for many, behaviours in ((HOW_MANY, (HARM, HARMLESS)), (HOW_MANY_PADDED, (PADDED_HARM, PADDED_HARMLESS)))
        for behaviour in behaviours
    }


def test_each_is_put_together_of_rows_of_its_own_side(authored: list[Row], found: list[Row]) -> None:
    for side in ("train", "dev"):
        parts = sorted({r.text for r in authored if r.split == side}, key=len, reverse=True)
        for r in [r for r in found if r.split == side and r.behaviour in (HARM, HARMLESS)][::40]:
            rest = r.text
            for part in parts:
                rest = rest.replace(part, "")
            assert not any(map(str.isalnum, rest)), r.text


def test_what_is_padded_stands_whole_in_what_says_nothing(authored: list[Row], found: list[Row]) -> None:
    for side in ("train", "dev"):
        parts = [r for r in authored if r.split == side]
        padded = [r for r in found if r.split == side and r.behaviour in (PADDED_HARM, PADDED_HARMLESS)]
        for r in padded[::40]:
            assert any(_of_harm(p.targets) == _of_harm(r.targets) for p in parts if p.text in r.text), r.text
        # The worst there was: brackets, which published comments put around the names of people.
        assert sum("[" in r.text for r in padded) > len(padded) / 8


@pytest.mark.parametrize("behaviour", [HARM, PADDED_HARM])
def test_what_hurts_stays_what_it_was_and_is_not_kind(authored: list[Row], found: list[Row], behaviour: str) -> None:
    for r in [r for r in found if r.behaviour == behaviour][::40]:
        assert r.targets["kindness"] < 0.1
        assert any(r.targets.get(label, 0) >= 0.65 for label in HARM_LABELS)
        within = [a.targets for a in authored if a.text in r.text]
        assert _of_harm(r.targets) in map(_of_harm, within)


def _of_harm(targets: Mapping[str, float]) -> dict[str, float]:
    return {label: target for label, target in targets.items() if label != "kindness"}


def test_the_same_wrapping_around_what_is_harmless_is_harmless(found: list[Row]) -> None:
    harmless = [r for r in found if r.behaviour == HARMLESS]

    assert all(
        r.targets.get(label, 0) < 0.4
        for r in found
        if r.behaviour in (HARMLESS, PADDED_HARMLESS)
        for label in HARM_LABELS
    )
    assert 0.2 < sum(r.targets["kindness"] > 0.65 for r in harmless) / len(harmless) < 0.95


def test_none_is_longer_than_what_is_read_at_once(found: list[Row]) -> None:
    # Words, and at most a sign between any two of the parts.
    assert max(len(r.text.split()) for r in found) <= 80 + 12


def test_it_is_the_same_each_time_and_no_text_twice(authored: list[Row], found: list[Row]) -> None:
    assert wrapped(authored) == found
    teach, measure = split(found)
    assert len(teach) + len(measure) == len(found)


def test_nothing_is_made_of_nothing() -> None:
    assert wrapped([]) == []
    assert wrapped([Row("you idiot", {"insult": 1.0}, SOURCE, "train", behaviour="insult/plain")]) == []
