"""`python -m training`: what is missing is one clear line and an exit code, whichever command finds out."""

import csv
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

import training
from training import authored
from training import read as reading
from training.__main__ import app
from training.labels import Row, load_rows

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
README = (Path(training.__file__).parent / "README.md").read_text("utf-8")


def refused(*arguments: str | Path, code: int = 2) -> str:
    """The one line on standard error with which a command ends."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("training: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("training: ").removesuffix("\n")


def leave(folder: Path, names: Sequence[str]) -> Path:
    """What earlier commands made, as far as a later one looks before it begins."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_help_needs_no_torch_and_names_every_command() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; sys.argv[1:] = ['--help']; from training.__main__ import app; app()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert all(f" {command} " in ended.stdout for command in COMMANDS)


def test_the_readme_names_every_command_and_no_other() -> None:
    (drawn,) = re.findall(r"^ +(read ──► .*)$", README, re.MULTILINE)
    called = set(re.findall(r"python -m training\s+([a-z]\w*)", README))

    # `split` is a part of `read`.
    assert called | set(re.findall(r"\w+", drawn)) - {"split"} == set(COMMANDS)
    assert called <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize("command", ["read", "all"])
def test_the_data_have_to_be_named(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCREENER_TRAINING_DATA", raising=False)
    result = CliRunner().invoke(app, [command, "--work", str(tmp_path)])

    assert result.exit_code == 2
    assert "--data" in result.stderr
    assert "SCREENER_TRAINING_DATA" in result.stderr


@pytest.mark.parametrize("command", ["read", "all"])
def test_a_data_folder_that_is_not_there(command: str, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"

    assert refused(command, "--data", nowhere, "--work", tmp_path / "work") == f"--data: no folder {nowhere}"
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("command", ["read", "all"])
def test_a_set_that_is_not_there(command: str, tmp_path: Path) -> None:
    line = refused(command, "--data", tmp_path, "--work", tmp_path / "work")

    assert line == f"no {tmp_path}/dynahate/train_dev.csv: training/README.md says where each set comes from"
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("command", "there", "missing", "first"),
    [
        ("train", [], "train.jsonl", "read"),
        ("calibrate", [], "dev.jsonl", "read"),
        ("calibrate", ["dev.jsonl"], "model.pt", "teach"),
        ("export", [], "model.pt", "teach"),
        ("export", ["model.pt"], "calibration.json", "calibrate"),
        ("evaluate", [], "dev.jsonl", "read"),
        ("evaluate", ["dev.jsonl"], "model.pt", "teach"),
        ("evaluate", ["dev.jsonl", "model.pt"], "calibration.json", "calibrate"),
        ("card", [], "train.jsonl", "read"),
        ("card", ["train.jsonl", "dev.jsonl"], "figures.json", "evaluate"),
        ("compare", [], "train.jsonl", "read"),
        ("compare", ["train.jsonl", "dev.jsonl"], "model.pt", "teach"),
    ],
)
def test_a_step_that_was_not_taken_yet(
    tmp_path: Path, command: str, there: Sequence[str], missing: str, first: str
) -> None:
    work = leave(tmp_path / "work", there)

    assert refused(command, "--work", work) == f"no {work / missing} yet: run `python -m training {first}` first"


@pytest.mark.parametrize("command", ["evaluate", "card"])
def test_a_model_that_was_not_exported_yet(command: str, tmp_path: Path) -> None:
    work = leave(tmp_path / "work", ["train.jsonl", "dev.jsonl", "model.pt", "calibration.json", "figures.json"])

    line = refused(command, "--work", work, "--model", tmp_path / "model")

    assert line == f"no {tmp_path}/model/model.onnx yet: run `python -m training export` first"


def test_torch_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = leave(tmp_path / "work", ["train.jsonl"])
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("training.train")]:
        monkeypatch.delitem(sys.modules, name)

    assert refused("train", "--work", work) == "torch is missing: pip install -e '.[training]'"


def test_reading_puts_ours_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    (data / "dynahate").mkdir(parents=True)
    with (data / "dynahate" / "train_dev.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "label", "split"], ["Said twice", 1, "train"], ["said by them", 0, "dev"]])
    read_all = reading.read_all
    monkeypatch.setattr(reading, "read_all", lambda folder: read_all(folder, ["dynahate"]))
    monkeypatch.setattr(authored, "read_authored", lambda: [Row("said twice", {"insult": 1.0}, "authored", "train")])

    result = CliRunner().invoke(app, ["read", "--data", str(data), "--work", str(work)])

    assert (result.exit_code, result.stdout) == (0, "train: 1 rows\ndev: 1 rows\n")
    assert [r.source for r in load_rows(work / "train.jsonl")] == ["authored"]
    assert [r.source for r in load_rows(work / "dev.jsonl")] == ["dynahate"]


def test_a_set_that_will_teach_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authored, "read_authored", list)
    rows = [Row(f"text {n}", {"insult": 1.0}, source, "train") for n, source in enumerate(("forum", "mhs"))]
    monkeypatch.setattr(reading, "read_all", lambda _: rows)

    result = CliRunner().invoke(app, ["read", "--data", str(tmp_path), "--work", str(tmp_path / "work")])

    assert result.exit_code == 0
    assert result.stderr == "forum teaches nothing: it has no line in MIXES of training/split.py\n"
