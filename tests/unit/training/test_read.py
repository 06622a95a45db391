"""Reading: what a set says becomes a target, what it does not say stays unknown, and what follows is marked as assumed."""

import csv
from pathlib import Path

import pytest

from training import read
from training.labels import Row, load_rows, write_rows


def write_table(path: Path, rows: list[dict[str, str]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def test_hate_is_toxic_and_what_the_set_does_not_ask_stays_unknown(tmp_path: Path) -> None:
    write_table(tmp_path / "train_dev.csv", [{"text": "those people ruin it all", "label": "1", "split": "train"}])

    (row,) = read.dynahate(tmp_path)

    assert row.targets["identity_attack"] == row.targets["toxicity"] == 1.0
    assert row.assumed >= {"toxicity", "kindness"}
    assert "profanity" not in row.targets
    assert "insult" not in row.targets
    assert row.split == "train"


def test_not_hate_is_harmless_only_without_a_word_that_may_be_rude(tmp_path: Path) -> None:
    write_table(
        tmp_path / "train_dev.csv",
        [
            {"text": "they came for a cup of tea", "label": "0", "split": "dev"},
            {"text": "what an idiot that chef is", "label": "0", "split": "dev"},
        ],
    )

    mild, rude = read.dynahate(tmp_path)

    assert mild.targets["toxicity"] < 0.1
    assert "toxicity" in mild.assumed
    assert "toxicity" not in rude.targets
    assert rude.targets["identity_attack"] < 0.1


def test_who_was_asked_about_women_alone_says_nothing_of_other_hate(tmp_path: Path) -> None:
    asked = {"split": "train", "label_vector": "none"}
    write_table(
        tmp_path / "edos_labelled_aggregated.csv",
        [
            {"text": "women should not vote", "label_sexist": "sexist", **asked},
            {"text": "a cup of tea for everybody", "label_sexist": "not sexist", **asked},
            {"text": "throw the damn foreigners out", "label_sexist": "not sexist", **asked},
        ],
    )

    sexist, mild, rude = read.edos(tmp_path)

    assert sexist.targets["identity_attack"] == 0.9
    assert "identity_attack" in mild.assumed
    assert "identity_attack" not in rude.targets


def test_what_a_publisher_tests_with_is_left_out(tmp_path: Path) -> None:
    rows = [{"text": f"comment {split}", "label": "1", "split": split} for split in ("train", "dev", "test")]
    write_table(tmp_path / "dynahate" / "train_dev.csv", rows)

    assert [r.text for r in read.read_all(tmp_path, ["dynahate"])] == ["comment train", "comment dev"]


def test_a_rare_label_is_negative_without_its_vocabulary_and_unknown_with_it(tmp_path: Path) -> None:
    write_table(
        tmp_path / "comments.csv",
        [{"text": "see the sources in section two", "toxic": "0"}, {"text": "i want to hurt myself", "toxic": "1"}],
    )

    plain, worrying = read.jigsaw_balanced(tmp_path)

    assert plain.targets["self_harm"] == 0.0
    assert "self_harm" in plain.assumed
    assert "self_harm" not in worrying.targets


def test_toxic_texts_are_assumed_not_to_be_kind(tmp_path: Path) -> None:
    write_table(tmp_path / "labeled_data.csv", [{"class": "0", "tweet": "&lt;rude&gt; words"}])

    (row,) = read.davidson(tmp_path)

    assert row.targets["kindness"] == 0.0
    assert "kindness" in row.assumed
    assert row.text == "<rude> words"


def test_votes_become_shares_and_the_same_words_are_one_row(tmp_path: Path) -> None:
    empty = {f"Annotator{n}_is_abuse.1": "" for n in range(2, 9)}
    columns = ("is_abuse.-2", "is_abuse.-3", "sex_harassment")
    votes = [("1", "0", "1"), ("0", "0", "0")]
    rows = [
        {"user": "send it", "Annotator1_is_abuse.1": "0"}
        | {f"Annotator1_{c}": v for c, v in zip(columns, vote, strict=True)}
        | empty
        for vote in votes
    ]
    for name in ("ConvAbuseEMNLPtrain.csv", "ConvAbuseEMNLPvalid.csv"):
        write_table(tmp_path / name, rows)

    train, dev = read.convabuse(tmp_path)

    assert (train.split, dev.split) == ("train", "dev")
    assert train.targets["toxicity"] == train.targets["sexually_explicit"] == 0.5
    assert train.targets["severe_toxicity"] == 0.0


def write_toxic_spans(folder: Path, text: str, *, majority: str = "", trial: str = "") -> None:
    """One comment, two annotators who say where or nowhere, and one who says "all of it"; what the shared task made of it."""
    write_table(folder / "comments.csv", [{"comment_id": "7", "comment_text": text}])
    write_table(
        folder / "annotations.csv",
        [
            {"annotation": "0", "comment_id": "7", "not toxic": "False"},  # marks an insult
            {"annotation": "1", "comment_id": "7", "not toxic": "True"},
            {"annotation": "2", "comment_id": "7", "not toxic": "False"},  # all toxic, no span
        ],
    )
    write_table(folder / "spans.csv", [{"annotation": "0", "type": "Insult", "start": "5", "end": "10"}])
    write_table(folder / "tsd_train.csv", [{"text": text if majority else "another", "spans": majority or "[]"}])
    write_table(folder / "tsd_trial.csv", [{"text": text if trial else "yet another", "spans": trial or "[]"}])


def test_annotators_who_marked_no_span_do_not_count_for_its_type(tmp_path: Path) -> None:
    write_toxic_spans(tmp_path, "some words")

    (row,) = read.toxic_spans(tmp_path)

    assert row.targets["toxicity"] == pytest.approx(2 / 3)
    assert row.targets["insult"] == 0.5
    assert set(row.spans or ()) == {(5, 10, "toxicity", 0.5), (5, 10, "insult", 0.5)}


def test_what_the_majority_marked_stands_where_it_was_published(tmp_path: Path) -> None:
    write_toxic_spans(tmp_path, "some words", majority="[0, 1, 2, 3]")

    (row,) = read.toxic_spans(tmp_path)

    assert set(row.spans or ()) == {(0, 4, "toxicity", 1.0), (5, 10, "insult", 0.5)}
    assert row.split == "train"


def test_the_shared_tasks_trial_part_measures(tmp_path: Path) -> None:
    write_toxic_spans(tmp_path, "some words", trial="[0, 1, 2, 3]")

    assert [row.split for row in read.toxic_spans(tmp_path)] == ["dev"]


def test_spans_move_with_the_characters_that_normalising_moves(tmp_path: Path) -> None:
    write_toxic_spans(tmp_path, "so   words")

    (row,) = read.toxic_spans(tmp_path)

    assert row.text == "so words"
    assert (3, 8, "insult", 0.5) in (row.spans or ())


def test_spans_of_a_text_whose_entities_were_undone_are_unknown(tmp_path: Path) -> None:
    write_toxic_spans(tmp_path, "&amp; words")

    assert [row.spans for row in read.toxic_spans(tmp_path)] == [None]


def test_a_sentence_and_its_rewrites_share_a_group(tmp_path: Path) -> None:
    pair = {"toxic": "rude words", "neutral1": "civil words", "neutral2": "", "neutral3": ""}
    write_table(tmp_path / "paradetox.tsv", [pair], "\t")
    write_table(
        tmp_path / "paradetox_cannot_rewrite.tsv",
        [{"INPUT:toxic_comment": '"plain"', "OUTPUT:reasons": '{"not_toxic":true}'}],
        "\t",
    )

    toxic, neutral, plain = read.paradetox(tmp_path)

    assert toxic.group == neutral.group is not None
    assert toxic.targets["toxicity"] - neutral.targets["toxicity"] > 0.8
    assert (plain.text, plain.group) == ("plain", None)


def test_kind_emotions_are_kind_and_cross_ones_say_nothing_about_harm(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("anger\ngratitude\nneutral\n", encoding="utf-8")
    (tmp_path / "train.tsv").write_text("thank you\t1\ta\nwell then\t0\tb\n", encoding="utf-8")
    (tmp_path / "dev.tsv").write_text("we went there\t2\tc\n", encoding="utf-8")

    kind, cross, plain = read.goemotions(tmp_path)

    assert kind.targets["kindness"] > 0.9
    assert [r.feelings for r in (kind, cross, plain)] == [("gratitude",), ("anger",), ("neutral",)]
    assert "toxicity" not in cross.targets
    assert plain.targets["toxicity"] < 0.1
    assert plain.targets["kindness"] < 0.1


@pytest.mark.parametrize("targets", [{"toxicty": 1.0}, {"toxicity": 1.2}])
def test_a_row_refuses_a_wrong_label_or_target(targets: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="toxic"):
        Row("text", targets, "test")


def test_rows_survive_the_work_directory(tmp_path: Path) -> None:
    rows = [Row("a \u2028 b", {"threat": 0.5}, "test", "dev", frozenset({"threat"}), "g"), Row("c", {}, "test")]

    write_rows(tmp_path / "work" / "rows.jsonl", rows)

    assert load_rows(tmp_path / "work" / "rows.jsonl") == rows
