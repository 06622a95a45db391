"""The card: every figure, every licence that is owed, and what was seen to go wrong."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from training import card
from training.authored import LATER
from training.authored import SOURCE as AUTHORED
from training.card import SETS, WRONG, seen
from training.labels import MEANING, Row
from training.read import READERS
from training.recipe import AGAIN, AVERAGE, HEADS, INNER, KIND, LONG, NARROW, REFINEMENT, RUNS, TAUGHT, TOLD
from training.split import MIXES
from training.wrapped import WRAPPED
from worker.classifier import LABELS


def figures_of(label: str, positives: int) -> dict[str, Any]:
    ranking = {"roc_auc": 0.912, "average_precision": 0.834, "threshold": 0.41, "precision": 0.71, "recall": 0.62}
    return {label: {"n": 1234, "positives": positives, **ranking, "f1": 0.66, "macro_f1": 0.78}}


FIGURES: dict[str, Any] = {
    "all": figures_of("insult", 321),
    "published": figures_of("insult", 210),
    "authored": figures_of("insult", 111),
    "sets": {
        "jigsaw": {"insult": {"roc_auc": 0.951, "f1": 0.7, "macro_f1": 0.81}},
        "goemotions": {"kindness": {"roc_auc": 0.942, "f1": 0.8, "macro_f1": 0.83}},
    },
    "behaviours": {"insult/plain": [3, 4], "kind/thanks": [5, 5]},
    "harm_found": {
        "ours": {"insult/plain": [4, 4], "kind/thanks": [4, 5]},
        "theirs": {"insult/plain": [2, 4]},
    },
    "terms": {
        "muslim": {"n": 120, "false_positives": 0.125, "auc": 0.875},
        "women": {"n": 99, "false_positives": 0.051, "auc": 0.912},
    },
    "spans": {"threshold": 0.35, "character_f1": {"f1": 0.654, "n": 321}, "labels": ["toxicity"]},
    "operating_points": {label: {"0.80": 0.512, "0.90": 0.9, "0.95": None} for label in LABELS},
    "reached": {label: {"0.80": [1234, 0.793], "0.90": None, "0.95": None} for label in LABELS},
    "normaliser": {
        "clean": {"read": 0.9012, "folded": 0.8934, "changed": 0.0321},
        "disguised": {"read": 0.8777, "folded": 0.8111},
    },
    "flips": {"all": 0.0012, **dict.fromkeys(LABELS, 0.001), "threat": 0.0047},
    "peer": {"all": {"ours": 0.931, "theirs": 0.822}, "jigsaw": {"ours": 0.961, "theirs": 0.923}},
}


def rows(sources: Iterable[str], many: int = 1) -> list[Row]:
    return [Row(f"{source} {n}", {"toxicity": 1.0}, source) for source in sources for n in range(many)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    added = [{"content": "[PAD]", "special": True}, {"content": "🔪", "special": False}]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}), encoding="utf-8")
    (tmp_path / "model.onnx").write_bytes(bytes(23_400_000))
    return tmp_path


def written(folder: Path, train: list[Row], dev: list[Row], figures: dict[str, Any] = FIGURES) -> str:
    card.card(train, dev, figures, folder)
    return (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.fixture
def text(folder: Path) -> str:
    return written(folder, rows([*SETS, AUTHORED, LATER], 2), rows([*SETS, AUTHORED]))


def tables(text: str) -> list[list[list[str]]]:
    """Cells of each table, by line, without the line below the head."""
    found = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    cut = [[[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()] for table in found]
    return [[table[0], *table[2:]] for table in cut]


def table(text: str, head: str, number: int = 0) -> list[list[str]]:
    """The lines of the table whose head begins like this; the first of them, or a later one."""
    return [t for t in tables(text) if " | ".join(t[0]).startswith(head)][number][1:]


def test_nothing_is_left_to_fill_in_and_every_line_of_a_table_has_all_its_cells(text: str) -> None:
    assert not re.search(r"(?<!`)\{\w*\}", text)
    for of in tables(text):
        assert {len(line) for line in of} == {len(of[0])}


def test_the_figures_of_all_rows_and_of_the_published_ones(text: str) -> None:
    figures = ["1,234", "321", "0.912", "0.834", "0.41", "0.71", "0.62", "0.66", "0.78"]

    assert table(text, "label | n") == [["insult", *figures]]
    assert table(text, "label | n", 1)[0][2] == "210"


def test_operating_points_say_where_there_is_none(text: str) -> None:
    assert table(text, "label | precision 0.80 | precision 0.90 | precision 0.95") == [
        [label, "0.512 (0.79 of 1,234)", "0.900", "never"] for label in LABELS
    ]


def test_sets_have_a_column_for_each_label_that_one_measures(text: str) -> None:
    assert ["set", "insult", "kindness"] in [t[0] for t in tables(text)]
    assert table(text, "set | insult") == [["jigsaw", "0.951 · 0.81", ""], ["goemotions", "", "0.942 · 0.83"]]


def test_a_peer_stands_beside_it(text: str) -> None:
    assert table(text, "set | this model") == [["all", "0.931", "0.822"], ["jigsaw", "0.961", "0.923"]]


def test_behaviours_add_up(text: str) -> None:
    lines = table(text, "behaviour")

    assert [line[:3] for line in lines] == [
        ["insult/plain", "4", "75%"],
        ["kind/thanks", "5", "100%"],
        ["**all**", "9", "89%"],
    ]
    assert [line[3:] for line in lines] == [["100%", "50%"], ["80%", ""], ["89%", "50%"]]


def test_naming_a_group(text: str) -> None:
    assert table(text, "term") == [["muslim", "120", "12.5%", "0.875"], ["women", "99", "5.1%", "0.912"]]
    assert "AUC: 0.037." in text


def test_what_stands_in_the_prose(text: str) -> None:
    prose = " ".join(text.split())
    recipe = RUNS[LONG]

    assert f"cut down to {HEADS} attention heads and {INNER} inner neurons a layer" in prose
    assert f"learned from {sum(sum(MIXES[RUNS[run].mix].values()) for run in NARROW):,} rows" in prose
    assert f"with {sum(sum(MIXES[RUNS[run].mix].values()) for run in TAUGHT):,} rows more" in prose
    assert f"each after {sum(MIXES[RUNS[KIND[0]].mix].values()):,} rows of GoEmotions" in prose
    assert "1 emoji" in prose
    assert "23.4 MB" in prose
    assert "**0.654** on 321 texts, pointing from 0.35 on" in prose
    assert "0.12%" in prose
    assert "0.47% (`threat`)" in prose
    assert f"{recipe.augmented:.0%} of the rows that the long run sees" in prose
    assert all(f"{share:.1%} {run}" in prose for (run, _), share in {**REFINEMENT, **AVERAGE, **TOLD}.items())
    assert f"went on from it for {sum(sum(MIXES[RUNS[run].mix].values()) for run in AGAIN):,} rows in all" in prose
    assert "2 more were written once it was known" in prose
    assert f"training saw {recipe.max_tokens}" in prose
    assert all(f"`{label}`: {meaning}" in prose for label, meaning in MEANING.items())


def test_every_set_that_taught_has_its_licence_and_citation(text: str) -> None:
    lines = {line[0]: line[1:] for line in table(text, "set | training rows")}

    for name, of in SETS.items():
        assert lines[of.title] == ["2", f"{seen(name):,}", "1", of.licence, of.citation]
    assert lines["authored (synthetic)"][0] == "2"
    assert lines["authored later (synthetic, none held back)"][:3] == ["2", f"{seen(LATER):,}", "0"]
    assert len(lines) == len(SETS) + 2


def test_a_set_that_taught_nothing_is_not_named(folder: Path) -> None:
    lines = table(written(folder, rows(["mhs", AUTHORED]), rows(["mhs", "cad"])), "set | training rows")

    assert [line[0] for line in lines] == ["Measuring Hate Speech", "authored (synthetic)"]


def test_it_says_under_which_licence_the_weights_are_and_whose_texts_ask_for_more(text: str) -> None:
    assert "**Licence of the weights**: Apache-2.0, like the code. Three of the sets have texts under CC-BY-SA." in text
    assert sum("CC-BY-SA" in of.licence for of in SETS.values()) == 3


def test_every_set_that_is_read_has_a_licence_and_a_quota() -> None:
    assert set(SETS) == set(READERS)
    asked = {RUNS[run].mix for run in KIND}
    assert all(set(mix) - {LATER, WRAPPED} == {*READERS, AUTHORED} for name, mix in MIXES.items() if name not in asked)
    assert all(set(MIXES[name]) == {"goemotions"} for name in asked)
    assert all(LATER in MIXES[RUNS[run].mix] for run in (*AGAIN, *NARROW, *TAUGHT))
    assert all(of.title and of.licence and of.citation for of in SETS.values())


def test_what_was_seen_to_go_wrong_is_among_the_limits(text: str) -> None:
    wrong = WRONG.read_text(encoding="utf-8").strip()
    limits = text[text.index("## Limits") : text.index("## Retraining")]

    assert wrong
    assert all(line.startswith(("- ", "  ")) for line in wrong.splitlines())
    assert wrong in limits


def test_the_card_can_be_written_without_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; import training.card"

    subprocess.run([sys.executable, "-c", program], check=True)
