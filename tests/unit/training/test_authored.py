"""Authored examples: well-formed, every label covered on both sides of the split, nothing repeated across families."""

from pathlib import Path

import pytest

from training.authored import LATER, SOURCE, read_authored
from training.labels import Row
from training.split import key, split
from worker.classifier import LABELS

A_SHADE = 0.25
"""Two families may differ this much about one text: how sure they are, not which side it is on."""


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
            assert abs(known.get(label, target) - target) <= A_SHADE, f"{label} of: {r.text}"


def test_expanding_twice_gives_the_same_rows(authored: list[Row]) -> None:
    assert read_authored() == authored


def test_what_is_held_back_is_not_taught(authored: list[Row]) -> None:
    train, dev = split(authored)

    assert len(dev) > 50
    assert not {key(r.text) for r in train} & {key(r.text) for r in dev}


def test_a_quarter_of_lines_and_of_templates_is_held_back_and_templates_whole(tmp_path: Path) -> None:
    lines = ", ".join(f"line {n}" for n in range(8))
    templates = ", ".join(f'{{text: "t{n} {{who}}", limit: 2}}' for n in range(4))
    family = f"- {{id: a, labels: [], lines: [{lines}], templates: [{templates}], slots: {{who: [x, y, z]}}}}\n"
    (tmp_path / "f.yaml").write_text(family, encoding="utf-8")

    rows = read_authored(tmp_path)

    assert sum(r.split == "dev" for r in rows if r.text.startswith("line")) == 2
    sides = {number: {r.split for r in rows if r.text.startswith(f"t{number}")} for number in range(4)}
    assert sorted(map(tuple, sides.values())) == [("dev",), ("train",), ("train",), ("train",)]
    assert len(rows) == 8 + 4 * 2
    assert {r.behaviour for r in rows} == {"f/a"}


def test_what_was_written_later_only_teaches_and_changes_nothing_else(tmp_path: Path) -> None:
    family = "- {{id: a, labels: [insult], {more}lines: [a, b, c, d, e, f, g, h]}}\n"
    (tmp_path / "f.yaml").write_text(family.format(more=""), encoding="utf-8")
    before = read_authored(tmp_path)
    (tmp_path / "f.yaml").write_text(family.format(more="teaches: [x, y, z, w], "), encoding="utf-8")

    after = read_authored(tmp_path)

    assert [r for r in after if r.source == SOURCE] == before
    later = [r for r in after if r.source == LATER]
    assert [(r.text, r.split, r.targets["insult"]) for r in later] == [(text, "train", 1.0) for text in "xyzw"]


def test_shared_slots_serve_every_family_and_its_own_come_first(tmp_path: Path) -> None:
    (tmp_path / "slots.yaml").write_text("who: [shared]\nwhat: [thing]\n", encoding="utf-8")
    family = '- {id: a, labels: [], templates: [{text: "{who} {what}", limit: 9}], slots: {who: [own]}}\n'
    (tmp_path / "f.yaml").write_text(family, encoding="utf-8")

    assert [r.text for r in read_authored(tmp_path)] == ["own thing"]


def test_soft_targets_and_unknown_labels(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(
        "- {id: a, labels: {insult: 0.3}, unknown: [threat], lines: [x]}\n", encoding="utf-8"
    )

    (row,) = read_authored(tmp_path)

    assert row.targets["insult"] == 0.3
    assert row.targets["toxicity"] == 0.0
    assert "threat" not in row.targets
    assert row.spans is None


def test_where_nothing_is_harmful_there_is_nothing_to_point_at(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("- {id: a, labels: [kindness], lines: [x]}\n", encoding="utf-8")

    assert [r.spans for r in read_authored(tmp_path)] == [()]


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("{id: a, labels: [rude], lines: [x]}", "no such label: rude"),
        ('{id: a, labels: [], lines: [], templates: [{text: "{who} is", limit: 1}], slots: {}}', "no such slot: who"),
        ("{id: a, labels: [], lines: [x]}\n- {id: a, labels: [], lines: [y]}", "stands twice"),
    ],
)
def test_a_slip_in_a_file_is_named(tmp_path: Path, family: str, message: str) -> None:
    (tmp_path / "slip.yaml").write_text(f"- {family}\n", encoding="utf-8")

    with pytest.raises(ValueError, match=message):
        read_authored(tmp_path)
