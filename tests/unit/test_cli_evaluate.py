"""`comment-screener evaluate`: figures, JSON and picture from labelled rows, and every way to refuse them."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from tests.fakes import POISON, FakeClassifier, detect
from worker import cli_evaluate
from worker.classifier import COMMON_NAMES, LABELS, Found, Piece
from worker.cli import app
from worker.cli_scoring import model_thresholds, read_thresholds
from worker.errors import StartupError
from worker.metrics import Metrics
from worker.policy_file import read_policy
from worker.records import Model
from worker.screening import Screener

DASH = "\N{EN DASH}"
PNG = b"\x89PNG\r\n\x1a\n"
ROWS = (
    {"text": "you are stupid", "insult": 1, "kindness": 0, "who": "fans"},
    {"text": "what an idiot", "insult": 1, "threat": 0, "who": "fans"},
    {"text": "a stupid mistake of mine", "insult": 0, "threat": 0, "who": "players"},
    {"text": "thanks, lovely", "insult": 0, "threat": 0, "kindness": 1, "who": "players"},
    {"text": "see you on monday", "insult": 0, "threat": 0, "kindness": 0, "who": "players"},
    {"text": "no label here"},
)


@pytest.fixture
def classifier() -> FakeClassifier:
    return FakeClassifier()


@pytest.fixture(autouse=True)
def _fake_model(monkeypatch: pytest.MonkeyPatch, classifier: FakeClassifier) -> None:
    def open_screener(*_: object, **__: object) -> Screener:
        return Screener(
            classifier,
            read_policy(b"{id: test, version: 1, labels: {insult: {all: {hold: 0.5}}}}", "test.yaml"),
            detect=detect,
            observer=Metrics(),
            max_batch_tokens=1024,
            cache_entries=100,
        )

    monkeypatch.setattr(cli_evaluate, "open_screener", open_screener)
    set_thresholds(monkeypatch, {"insult": 0.85, "threat": 0.5})
    for name in ("MODEL", "LABEL_MAP", "INFERENCE_THREADS"):
        monkeypatch.delenv(f"SCREENER_{name}", raising=False)


def set_thresholds(monkeypatch: pytest.MonkeyPatch, thresholds: Mapping[str, float] | None) -> None:
    monkeypatch.setattr(cli_evaluate, "model_thresholds", lambda _: thresholds)


def evaluate(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], input=stdin)


def write(path: Path, *rows: Mapping[str, Any] | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", *ROWS)


def figures_of(file: Path, *arguments: str | Path) -> dict[str, Any]:
    """What `--json` writes."""
    path = file.parent / "figures.json"
    result = evaluate(file, "--json", path, *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def refusal(*arguments: str | Path) -> str:
    """The last line on standard error; standard output stays empty."""
    result = evaluate(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith("comment-screener: ")
    return line.removeprefix("comment-screener: ")


# ---- what comes out


def test_the_figures_as_json(rows: Path) -> None:
    found = figures_of(rows)

    assert found["file"] == "rows.jsonl"
    assert found["model"] == {"name": "fake", "version": "1", "sha256": "f" * 64}
    assert found["rows"] == {"read": 6, "scored": 5, "without_label": 1, "bad": 0}
    assert list(found["figures"]) == ["insult", "threat", "kindness", "harm_any"]
    insult = found["figures"]["insult"]
    # 0.9 for "stupid" is over 0.85, 0.8 for "idiot" is not.
    assert insult["confusion"] == {"tp": 1, "fp": 1, "fn": 1, "tn": 2}
    assert (insult["n"], insult["positives"], insult["threshold"]) == (5, 2, 0.85)
    assert (insult["precision"], insult["recall"], insult["f1"]) == (0.5, 0.5, 0.5)


def test_what_is_undefined_is_null_with_its_reason(rows: Path) -> None:
    threat = figures_of(rows)["figures"]["threat"]

    assert (threat["recall"], threat["undefined"]["recall"]) == (None, "no positive row")
    assert threat["false_positive_rate"] == 0


def test_the_table_is_plain_where_nobody_watches(rows: Path) -> None:
    result = evaluate(rows)

    assert (result.exit_code, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[0] == "fake 1 (ffffffffffff) on 5 rows of rows.jsonl"
    assert [line.split()[:7] for line in lines if line.startswith("insult")] == [
        ["insult", "5", "2", "0.850", "0.500", "0.500", "0.500"],
        ["insult", "1", "1", "1", "2", DASH, DASH],
    ]
    assert "6 rows = 5 scored + 1 without a label that the model scores + 0 bad." in lines
    assert "Thresholds: those of the model (thresholds.json)." in lines
    assert "No threshold is known for kindness: 0.5 is assumed." in lines
    assert any(line.startswith(f"{DASH} threat: no positive row, so no ") for line in lines)
    assert any("15 bins of equal mass" in line for line in lines)


def test_on_a_terminal_it_fits_eighty_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "r.jsonl", *({"text": f"hello {at}", "sexually_explicit": at % 2} for at in range(2000)))
    watched = Console(force_terminal=True, width=80, record=True, file=io.StringIO())
    monkeypatch.setattr(cli_evaluate, "Console", lambda *, stderr=False: Console(stderr=True) if stderr else watched)
    assert evaluate(file).exit_code == 0

    shown = watched.export_text().splitlines()
    header = next(line for line in shown if line.startswith("label  "))
    assert header.split() == ["label", "rows", "pos.", "hold", "sion", "recall", "F1", "AUC", "prec.", "ECE", "Brier"]
    assert max(map(len, shown)) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(shown)


def test_the_picture(rows: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.png", tmp_path / "other.png"

    assert evaluate(rows, "--report", one).exit_code == 0
    assert evaluate(rows, "--report", other).exit_code == 0
    assert one.read_bytes().startswith(PNG)
    assert one.read_bytes() == other.read_bytes()


def test_a_picture_of_a_single_label_and_odd_names(tmp_path: Path, classifier: FakeClassifier) -> None:
    classifier.model = Model("$a_{b$ [x]", "1" * 200, "f" * 64)
    file = write(tmp_path / f"{'long' * 30}.jsonl", {"text": "stupid", "insult": 1})

    assert evaluate(file, "--report", tmp_path / "one.png").exit_code == 0
    assert (tmp_path / "one.png").read_bytes().startswith(PNG)


def test_no_text_gets_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classifier: FakeClassifier) -> None:
    """Of two files that differ in their texts alone, all that is written is the same: a picture shows what bytes hide."""
    score = classifier.score

    def by_known_words_alone(pieces: Sequence[Piece]) -> list[Found]:
        return [Found({label: round(of, 1) for label, of in found.scores.items()}) for found in score(pieces)]

    monkeypatch.setattr(classifier, "score", by_known_words_alone)

    def written(folder: Path, say: Callable[[str], str]) -> tuple[str, bytes, bytes]:
        folder.mkdir()
        file = write(folder / "rows.jsonl", *({**row, "text": say(str(row["text"]))} for row in ROWS))
        figures, picture = folder / "f.json", folder / "f.png"
        result = evaluate(file, "--json", figures, "--report", picture, "--group", "who")
        assert result.exit_code == 0, result.output
        return result.output, figures.read_bytes(), picture.read_bytes()

    said, figures, picture = written(tmp_path / "one", str)
    assert (said, figures, picture) == written(tmp_path / "other", lambda text: f"{text} velvet")
    assert not [row["text"] for row in ROWS if str(row["text"]).encode() in said.encode() + figures + picture]


def test_false_positives_by_group(rows: Path) -> None:
    groups = figures_of(rows, "--group", "who")["groups"]

    assert list(groups["who"]) == ["fans", "players"]
    assert groups["who"]["players"]["insult"] == {"negatives": 3, "false_positives": 1, "rate": 1 / 3}
    assert groups["who"]["fans"]["insult"] == {"negatives": 0, "false_positives": 0, "rate": None}
    shown = evaluate(rows, "--group", "who").stdout
    assert "Negatives that were found all the same, by who" in shown
    assert ["insult", "players", "1", "3", "0.333"] in [line.split() for line in shown.splitlines()]


def test_a_groups_name_is_no_markup(tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", {"text": "hello", "insult": 0, "who": "[red]x"})

    assert "[red]x" in evaluate(file, "--group", "who").stdout


# ---- where things come from


def test_thresholds_can_be_given(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"insult": 0.8}')
    found = figures_of(rows, "--thresholds", tmp_path / "mine.json")

    assert found["figures"]["insult"]["threshold"] == 0.8
    assert found["figures"]["insult"]["confusion"]["tp"] == 2
    assert found["thresholds"] == {"source": "mine.json", "assumed": ["threat", "kindness"]}


def test_a_model_without_thresholds(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_thresholds(monkeypatch, None)

    found = figures_of(rows)
    assert {figures["threshold"] for figures in found["figures"].values()} == {0.5, None}
    assert found["thresholds"]["source"] == "0.5 for every label, because the model has no thresholds.json"


def test_the_shipped_model_has_its_own() -> None:
    thresholds = model_thresholds(None)

    assert thresholds is not None
    assert set(thresholds) == set(LABELS)


def test_a_folder_without_thresholds(tmp_path: Path) -> None:
    for name in ("model.onnx", "config.json", "tokenizer.json"):
        (tmp_path / name).touch()

    assert model_thresholds(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON: "),
        ("[0.5]", "not a JSON object"),
        ('{"rude": 0.5}', "rude is none of toxicity, "),
        ('{"insult": 1.1}', "insult: a threshold is a number from 0 to 1"),
        ('{"insult": true}', "insult: a threshold is a number from 0 to 1"),
        ('{"insult": "0.5"}', "insult: a threshold is a number from 0 to 1"),
        ('{"insult": NaN}', "insult: a threshold is a number from 0 to 1"),
    ],
)
def test_thresholds_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.json").write_text(content)

    with pytest.raises(StartupError) as refused:
        read_thresholds(tmp_path / "t.json")
    assert str(refused.value).startswith(f"{tmp_path}/t.json: {message}")


def test_thresholds_that_are_not_there(rows: Path, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.json"

    assert refusal(rows, "--thresholds", path) == f"{path}: No such file or directory"


def test_every_common_name_is_one_of_ours() -> None:
    assert COMMON_NAMES["toxic"] == "toxicity"
    assert set(COMMON_NAMES.values()) <= set(LABELS)


def test_names_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("body,rude\nstupid,1\nhello,0\n")
    found = figures_of(tmp_path / "r.csv", "--map", "body=text", "--map", "rude=insult")

    assert found["figures"]["insult"]["confusion"] == {"tp": 1, "fp": 0, "fn": 0, "tn": 1}


def test_standard_input_and_a_format_that_is_said(tmp_path: Path) -> None:
    result = evaluate("-", "--format", "csv", "--json", tmp_path / "f.json", stdin=b"text,insult\nstupid,1\n")

    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "f.json").read_bytes())["file"] == "standard input"


def test_texts_are_normalised_and_scored_once(tmp_path: Path, classifier: FakeClassifier) -> None:
    file = write(
        tmp_path / "r.jsonl", *({"text": text, "insult": 1} for text in ("stu\u200bpid", "stupid", " stupid "))
    )

    assert figures_of(file)["figures"]["insult"]["confusion"]["tp"] == 3
    assert classifier.scored.count("stupid") == 1


def test_more_rows_than_fit_a_window_keep_their_scores(tmp_path: Path) -> None:
    rows = [{"text": f"{'stupid' if at % 3 else 'fine'} {at % 40}", "insult": int(at % 3 > 0)} for at in range(2500)]
    figures = figures_of(write(tmp_path / "r.jsonl", *rows))["figures"]["insult"]

    assert figures["confusion"] == {"tp": 1666, "fp": 0, "fn": 0, "tn": 834}
    assert figures["f1_interval"] == {"low": 1, "high": 1}


def test_labels_that_the_model_lacks_are_named(rows: Path, classifier: FakeClassifier) -> None:
    classifier.labels = ("insult", "kindness")
    found = figures_of(rows)

    assert list(found["figures"]) == ["insult", "kindness"]
    assert found["not_scored"] == ["threat"]
    assert "The model does not score threat." in evaluate(rows).stdout


# ---- what is refused


def test_bad_rows_stop_it(tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", ROWS[0], "half", *({"text": "t", "insult": 3 + at} for at in range(6)), ROWS[1])
    result = evaluate(file)

    assert (result.exit_code, result.stdout) == (2, "")
    cell = "insult: not 0, 1, true, false or a share between; empty is for not annotated"
    assert result.stderr.splitlines() == [
        f"{file}: line 2: not JSON in UTF-8",
        *(f"{file}: line {line}: {cell}" for line in (3, 4, 5, 6)),
        f"{file}: and 2 more",
        f"comment-screener: {file}: 7 of 9 rows are bad; mend them, or leave them out with --skip-bad",
    ]


def test_bad_rows_can_be_left_out(tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", ROWS[0], "half", {"text": POISON, "insult": 1}, ROWS[1])
    found = figures_of(file, "--skip-bad")

    assert found["rows"] == {"read": 4, "scored": 2, "without_label": 0, "bad": 2}
    assert re.sub(r": raised at fakes\.py:\d+", "", evaluate(file, "--skip-bad").stderr).splitlines() == [
        f"{file}: line 2: not JSON in UTF-8",
        f"{file}: 1 of 4 rows are bad and left out",
        f"{file}: line 3: the model cannot score this text",
        f"{file}: 1 of 3 rows are bad and left out",
    ]


def test_a_text_that_the_model_cannot_score_stops_it(tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", ROWS[0], {"text": POISON, "insult": 1})

    assert refusal(file) == f"{file}: 1 of 2 rows are bad; mend them, or leave them out with --skip-bad"


def test_no_text_that_the_model_can_score(tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", {"text": POISON, "insult": 1})

    assert refusal(file, "--skip-bad") == f"{file}: the model can score none of its texts"


def test_no_row_or_no_label(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.jsonl")
    bare = write(tmp_path / "bare.jsonl", {"text": "hello", "rude": 1, "insult": None})

    assert refusal(empty) == f"{empty}: no row in it"
    assert refusal(bare) == (
        f"{bare}: no row has a label; ours are {', '.join(LABELS)}; name a column with --map THEIRS=OURS"
    )


def test_a_label_that_is_mistyped_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", {"text": "stupid", "Insult": 1, "threat": 0, "likes": 3})
    result = evaluate(file)

    assert result.exit_code == 0
    assert result.stderr == f"{file}: passed over the column 'Insult'; if it is for insult: --map 'Insult=insult'\n"
    assert evaluate(file, "--map", "Insult=insult").stderr == ""


def test_no_label_that_the_model_scores(rows: Path, classifier: FakeClassifier) -> None:
    classifier.labels = ("self_harm",)

    assert refusal(rows) == f"{rows}: the model scores none of its labels: insult, threat, kindness"


def test_a_model_that_does_not_work(rows: Path, classifier: FakeClassifier) -> None:
    classifier.broken = True
    result = evaluate(rows)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "comment-screener: the model no longer answers: RuntimeError\n"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("text", "--group text: a comment's text is no group"),
        ("many", "--group many: 51 different values; at most 50 make groups"),
        ("none", "--group none: no row has a value there"),
    ],
)
def test_a_column_that_makes_no_groups(tmp_path: Path, column: str, message: str) -> None:
    rows = ({"text": "hello", "insult": 0, "many": at, "none": None} for at in range(51))

    assert refusal(write(tmp_path / "r.jsonl", *rows), "--group", column) == message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.csv") == f"{tmp_path}/no.csv: No such file or directory"


def test_what_is_wrong_with_the_file_names_it(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("body\nhello\n")

    assert refusal(file) == f"{file}: line 1: the header has no column text; name it with --map THEIRS=text"
    assert refusal(file, "--map", "x") == "--map x: not THEIRS=OURS"


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    rows: Path, classifier: FakeClassifier, option: str
) -> None:
    folder = rows.parent

    assert refusal(rows, option, folder / "no" / "file") == f"{folder}/no/file: its folder does not exist"
    assert refusal(rows, option, folder) == f"{folder}: is a folder"
    assert refusal(rows, option, rows) == f"{rows}: the output would overwrite the input"
    limits = folder / "limits.json"
    limits.write_text("{}", "utf-8")
    assert refusal(rows, "--thresholds", limits, option, limits) == f"{limits}: the output would overwrite the input"
    assert classifier.batches == []


def test_two_outputs_in_one_file(rows: Path) -> None:
    path = rows.parent / "out"

    assert refusal(rows, "--json", path, "--report", path) == f"{path}: --json and --report would be one file"


def test_an_output_that_fails_late(rows: Path) -> None:
    assert refusal(rows, "--json", "/dev/full") == "/dev/full: No space left on device"


@pytest.mark.parametrize(
    ("absent", "options", "named"),
    [
        (["sklearn"], [], "scikit-learn"),
        (["matplotlib"], ["--report", "r.png"], "matplotlib"),
        (["sklearn", "matplotlib"], ["--report", "r.png"], "scikit-learn and matplotlib"),
    ],
)
def test_without_the_extra(
    rows: Path, monkeypatch: pytest.MonkeyPatch, absent: list[str], options: list[str], named: str
) -> None:
    for module in absent:
        monkeypatch.setitem(sys.modules, module, None)

    assert refusal(rows, *options) == f"evaluate needs {named}: pip install -e '.[evaluate]'"


def test_without_a_picture_matplotlib_is_not_needed(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    assert evaluate(rows).exit_code == 0


# ---- the whole command in a process of its own


def test_with_the_shipped_model(tmp_path: Path) -> None:
    kind = ["thank you so much, this was lovely", "what a beautiful song, well done", "you made my day, thanks"]
    rude = ["you are a stupid idiot", "shut up you pathetic loser", "you ugly worthless moron"]
    rows = [{"text": text, "insult": text in rude, "kindness": text in kind} for text in (*kind, *rude)]
    file = write(tmp_path / "rows.jsonl", *rows)
    command = [sys.executable, "-W", "error::UserWarning", "-m", "worker", "evaluate", str(file)]
    outputs = ["--json", str(tmp_path / "f.json"), "--report", str(tmp_path / "f.png")]
    ended = subprocess.run([*command, *outputs], capture_output=True, check=True, env=os.environ, text=True)

    found = json.loads((tmp_path / "f.json").read_bytes())
    assert found["rows"]["scored"] == 6
    assert found["thresholds"]["assumed"] == []
    assert min(found["figures"][label]["roc_auc"] for label in ("insult", "kindness")) > 0.8
    assert (tmp_path / "f.png").read_bytes().startswith(PNG)
    assert ended.stderr == ""
    assert "\x1b" not in ended.stdout
