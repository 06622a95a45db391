"""From data sets to a model card with `python -m training`, small: sets as their publishers hand them out, a tiny encoder."""

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from tests.training.conftest import tiny_model
from training import REOPENED, authored, average, narrow, read, recipe, train
from training.__main__ import app
from training.authored import SOURCE as AUTHORED
from training.authored import read_authored
from training.labels import SPAN_LABELS, Row, load_rows, write_rows
from training.recipe import Recipe
from training.split import PER_EPOCH
from worker.classifier import LABELS
from worker.normalise import normalise
from worker.onnx import OnnxClassifier, model_folder

RECIPE = Recipe(epochs=2, batch=32, learning_rate=3e-3, max_tokens=32, checkpoint_every=50, bf16=False)
FURTHER = replace(RECIPE, begins=recipe.AVERAGED, teachers=(recipe.AVERAGED,), untaught=(AUTHORED,), learning_rate=1e-3)
ALIKE = replace(FURTHER, begins=recipe.CUT, teachers=(recipe.REFINED,), alike=1.0)
TAUGHT = replace(ALIKE, begins=recipe.NARROW[-1], teachers=(recipe.REFINED, recipe.TEACHER))
PER_SET = 400
OURS = 2400

Line = Sequence[str | float | None]


def write_csv(path: Path, head: Sequence[str], lines: Iterable[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *lines])


def sides(rows: Sequence[Row], label: str) -> list[tuple[Row, bool]]:
    """Of the rows half that carry a label and half that do not, `PER_SET` in all, as far as there are so many."""
    carry = [r for r in rows if r.targets.get(label) == 1.0][: PER_SET // 2]
    others = [r for r in rows if r.targets.get(label) == 0.0][: PER_SET // 2]
    return [(r, True) for r in carry] + [(r, False) for r in others]


def write_dynahate(folder: Path, rows: Sequence[Row]) -> None:
    lines = [(r.text, int(bad), r.split) for r, bad in sides(rows, "identity_attack")]
    write_csv(folder / "train_dev.csv", ("text", "label", "split"), lines)


def write_goemotions(folder: Path, rows: Sequence[Row]) -> None:
    folder.mkdir(parents=True)
    (folder / "labels.txt").write_text("admiration\nneutral\n", encoding="utf-8")
    for name in ("train", "dev"):
        lines = [f"{r.text}\t{0 if kind else 1}\tid\n" for r, kind in sides(rows, "kindness") if r.split == name]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")


def write_toxic_spans(folder: Path, rows: Sequence[Row]) -> None:
    """One annotator a comment, who marks the whole of an insult; the shared task has them all."""
    said = sides(rows, "insult")
    marked = [(str(n), "Insult", 0, len(r.text)) for n, (r, bad) in enumerate(said) if bad]
    write_csv(folder / "comments.csv", ("comment_id", "comment_text"), [(n, r.text) for n, (r, _) in enumerate(said)])
    votes = [(n, n, str(not bad)) for n, (_, bad) in enumerate(said)]
    write_csv(folder / "annotations.csv", ("annotation", "comment_id", "not toxic"), votes)
    write_csv(folder / "spans.csv", ("annotation", "type", "start", "end"), marked)
    for name, split in (("tsd_train", "train"), ("tsd_trial", "dev")):
        task = [(r.text, str(list(range(len(r.text))) if bad else [])) for r, bad in said if r.split == split]
        write_csv(folder / f"{name}.csv", ("text", "spans"), task)


WRITERS: Mapping[str, Callable[[Path, Sequence[Row]], None]] = {
    "dynahate": write_dynahate,
    "goemotions": write_goemotions,
    "toxic_spans": write_toxic_spans,
}


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def read_json(path: Path) -> Mapping[str, float]:
    content: Mapping[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `read` and `train` leave: of three sets, made of rows that the authored part then lacks, in seconds."""
    folder = tmp_path_factory.mktemp("trained")
    rows = [r for r in read_authored() if "\t" not in r.text]
    # Mixed: the families in the order of their names would leave whole labels to one part.
    mixed = [rows[n] for n in np.random.default_rng(0).permutation(len(rows))]
    for at, (name, write) in enumerate(WRITERS.items()):
        write(folder / "data" / name, mixed[at::4])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authored, "read_authored", lambda: mixed[3::4])
        patch.setattr(read, "read_all", partial(read.read_all, readers=tuple(WRITERS)))
        runs = {
            "one": RECIPE,
            "another": RECIPE,
            **dict.fromkeys(recipe.AGAIN, FURTHER),
            **dict.fromkeys(recipe.NARROW, ALIKE),
            recipe.TEACHER: RECIPE,
            **dict.fromkeys(recipe.KIND, replace(RECIPE, begins=recipe.TEACHER)),
            **dict.fromkeys(recipe.TAUGHT, replace(TAUGHT, of_kindness=recipe.KIND)),
        }
        patch.setattr(recipe, "RUNS", runs)
        patch.setattr(narrow, "HEADS", 1)
        patch.setattr(narrow, "INNER", 32)
        patch.setattr(recipe, "AVERAGE", {(recipe.BASE, None): 0.25, ("one", None): 0.75})
        patch.setattr(train, "load_model", tiny_model)
        for name, quota in {**dict.fromkeys(WRITERS, PER_SET), AUTHORED: OURS}.items():
            patch.setitem(PER_EPOCH, name, quota)
        run("read", "--data", folder / "data", "--work", folder / "work")
        run("train", "--work", folder / "work")
        patch.setattr(average, "load_model", tiny_model)
        run("average", "--work", folder / "work")
        run("refine", "--work", folder / "work")
        run("narrow", "--work", folder / "work")
        run("teach", "--work", folder / "work")
    return folder / "work"


@pytest.fixture
def work(trained: Path, tmp_path: Path, _tiny: None) -> Path:
    """A copy, to be spoilt."""
    return shutil.copytree(trained, tmp_path / "work")


def test_from_data_sets_to_a_model_that_the_worker_loads(work: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"

    run("calibrate", "--work", work)
    run("export", "--work", work, "--model", model)
    printed = run("evaluate", "--work", work, "--model", model)
    run("card", "--work", work, "--model", model)

    assert set(read_json(model / "thresholds.json")) == set(LABELS)
    assert set(read_json(model / "operating_points.json")) == set(LABELS)
    text = (model / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"| {AUTHORED} (synthetic) |" in text
    assert "int8 file of version" not in text
    assert "| insult |" in printed
    classifier = OnnxClassifier(model_folder(str(model)), threads=1)
    assert tuple(classifier.labels) == LABELS
    assert classifier.pointer is not None
    assert classifier.pointer.labels == SPAN_LABELS
    ((piece,),) = classifier.encode([normalise("you are a stupid idiot")])
    (found,) = classifier.score([piece])
    assert found.scores["insult"] > found.scores["kindness"]
    outputs = onnxruntime.InferenceSession(model / "model.onnx", providers=["CPUExecutionProvider"]).get_outputs()
    assert [o.name for o in outputs] == ["logits", "token_logits"]


def test_the_card_says_what_was_read_back_from_integers(work: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    run("calibrate", "--work", work)
    run("export", "--work", work, "--model", model)
    run("evaluate", "--work", work, "--model", model)

    for folder, said in (
        (work / recipe.AVERAGED, "The first of these was read back from the int8 file of version 0.1.9"),
        (work / recipe.REFINED, "The wide one was read back from the int8 file of version 0.1.9"),
        (work, "The weights are those of version 0.1.9, read back from its int8 file"),
    ):
        (folder / REOPENED).write_text('{"version": "0.1.9"}', encoding="utf-8")
        run("card", "--work", work, "--model", model)
        assert said in " ".join((model / "MODEL_CARD.md").read_text(encoding="utf-8").split())


def test_only_what_is_refined_can_be_made_narrower(work: Path) -> None:
    shutil.rmtree(work / recipe.REFINED)

    result = CliRunner().invoke(app, ["narrow", "--work", str(work)])

    assert result.exit_code == 2
    assert "emoji.json yet: run `python -m training refine` first" in result.stderr


def test_to_refine_an_average_takes_one(work: Path) -> None:
    shutil.rmtree(work / recipe.AVERAGED)
    for run in recipe.AGAIN:
        shutil.rmtree(work / run)

    result = CliRunner().invoke(app, ["refine", "--work", str(work)])

    assert result.exit_code == 2
    assert "emoji.json yet: `average` first" in result.stderr


def refused(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_label_that_no_set_decides_gets_the_middle_and_no_operating_points(work: Path, tmp_path: Path) -> None:
    model, rows = tmp_path / "model", load_rows(work / "dev.jsonl")
    run("calibrate", "--work", work)
    run("export", "--work", work, "--model", model)
    tame = [replace(r, targets={k: t for k, t in r.targets.items() if k != "threat" or t < 1}) for r in rows]
    write_rows(work / "dev.jsonl", tame)

    printed = run("evaluate", "--work", work, "--model", model)

    assert "threat: no set has 10 rows on both sides; its threshold is 0.5" in printed
    assert json.loads((model / "thresholds.json").read_text())["threat"] == 0.5
    assert set(json.loads((model / "operating_points.json").read_text())["threat"].values()) == {None}


def test_a_label_learned_backwards_is_one_clear_line(work: Path) -> None:
    rows = load_rows(work / "dev.jsonl")
    turned = [replace(r, targets={k: 1 - t if k == "insult" else t for k, t in r.targets.items()}) for r in rows]
    write_rows(work / "dev.jsonl", turned)

    assert refused("calibrate", "--work", work) == "training: insult: higher logits are no likelier to be right\n"
