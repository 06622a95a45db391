"""Authored examples: well-formed, every label covered on both sides of the split, nothing repeated across families."""

from pathlib import Path

import pytest

from training.authored import read_authored
from training.labels import Row
from training.split import key, split
from worker.classifier import LABELS


@pytest.fixture(scope="module")
def authored() -> list[Row]:
    return read_authored()


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("side", ["train", "dev"])
def test_every_label_has_positives_and_negatives_on_both_sides(authored: list[Row], label: str, side: str) -> None:
    targets = [r.targets[label] for r in authored if r.split == side and label in r.targets]

    assert 1.0 in targets
    assert 0.0 in targets


def test_no_text_is_empty_or_says_one_thing_here_and_another_there(authored: list[Row]) -> None:
    said: dict[str, dict[str, float]] = {}
    for r in authored:
        assert r.text
        known = said.setdefault(key(r.text), dict(r.targets))
        for label, target in r.targets.items():
            assert known.get(label, target) == target, f"{label} of: {r.text}"


def test_expanding_twice_gives_the_same_rows(authored: list[Row]) -> None:
    assert read_authored() == authored


def test_what_is_held_back_is_not_taught(authored: list[Row]) -> None:
    train, dev = split(authored)

    assert len(dev) > 50
    assert not {key(r.text) for r in train} & {key(r.text) for r in dev}


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("{id: a, labels: [rude], lines: [x]}", "no such label: rude"),
        ('{id: a, labels: [], lines: [], templates: [{text: "{who} is", limit: 1}], slots: {}}', "no such slot: who"),
    ],
)
def test_a_slip_in_a_file_is_named(tmp_path: Path, family: str, message: str) -> None:
    (tmp_path / "slip.yaml").write_text(f"- {family}\n", encoding="utf-8")

    with pytest.raises(ValueError, match=message):
        read_authored(tmp_path)
