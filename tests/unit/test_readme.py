"""The README says what is: settings, commands, targets, records, files."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.letters import dead_letter
from worker import dead_letters, redrive
from worker.classifier import LABELS
from worker.cli import app
from worker.errors import Reason
from worker.records import Action, AgeBand, References
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
NOT_OF_THE_WORKER = {"SCREENER_TEST_BROKER", "SCREENER_TEST_DELIVERY", "SCREENER_TRAINING_DATA"}
"""Variables of the tests and of the training."""

CODE = [line for block in re.findall(r"```\w*\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
SPANS = re.findall(r"`([^`\n]+)`", README)


def shown_default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.is_required():
        return "**required**"
    if field.default is None:
        return "\N{EN DASH}"
    return (
        f"`{field.default:g}`"
        if isinstance(field.default, int | float) and field.default < 10**5
        else f"`{field.default}`"
    )


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_its_row(name: str) -> None:
    row = f"| `SCREENER_{name.upper()}` | {shown_default(name)} | {Settings.model_fields[name].description} |"

    assert row in README.splitlines()


def test_every_variable_in_it_is_a_setting() -> None:
    named = set(re.findall(r"SCREENER_[A-Z_]+[A-Z]", README))

    assert named - NOT_OF_THE_WORKER == {f"SCREENER_{name.upper()}" for name in Settings.model_fields}


def test_every_target_of_make_in_it_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    calls = [line.removeprefix("$ ") for line in (*CODE, *SPANS) if re.match(r"(\$ )?make\b(?! )?( |$)", line)]
    named = {word for call in calls for word in call.split("#")[0].split()[1:] if re.fullmatch("[a-z-]+", word)}

    assert named
    assert named - targets == set()


def commands() -> list[str]:
    """Every call of the command, comments and what it is piped into left out."""
    lines = [line.removeprefix("$ ") for line in (*CODE, *SPANS)]
    return [re.split(r"\s[#|>]", line)[0] for line in lines if line.startswith("comment-screener ")]


def test_it_calls_the_command() -> None:
    assert len(commands()) > 5


@pytest.mark.parametrize("line", commands())
def test_every_command_in_it_exists_with_its_options(line: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}

    assert {word.split("=")[0] for word in words if word.startswith("-") and word != "-"} - options == set()


def test_every_label_action_age_and_reason_is_named() -> None:
    for name in (*LABELS, *Action, *AgeBand, *Reason, *References.__struct_fields__):
        assert f"`{name}`" in README


def test_every_header_of_a_dead_letter_is_named() -> None:
    named = set(re.findall(r"`(screener-[a-z-]+)`", README)) - {redrive.REDRIVES, redrive.HANDLED}

    assert named == {name for name, _ in dead_letters.headers(dead_letter())}


def test_every_file_of_the_worker_in_it_is_there() -> None:
    named = {span for span in SPANS if re.fullmatch(r"worker/[\w/.*]+", span)}

    assert named
    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_every_test_in_it_is_there() -> None:
    named = [span for span in SPANS if re.match(r"(chaos/|tests/unit/)?test_\w+\.py", span)]

    for span in named:
        file, _, beginning = span.partition("::")
        folder = "" if file.startswith("tests/") else "tests/" if file.startswith("chaos/") else "tests/integration/"
        assert f"def {beginning or 'test_'}" in (ROOT / folder / file).read_text("utf-8"), span
    assert len(named) > 20


def test_every_failure_in_it_names_the_test_that_shows_it() -> None:
    table = README.partition("## What happens when")[2].partition("**Load shedding**")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]

    assert len(rows) > 15
    assert [row for row in rows if not re.search(r"`[\w/]*test_\w+\.py[^|]*\|$", row)] == []


def test_every_module_has_its_line_in_the_map() -> None:
    modules = {f"worker/{file.stem}.py" for file in (ROOT / "worker").glob("*.py")} - {"worker/__init__.py"}
    listed = {name for name in modules if f"`{name}`" in README or re.match(r"worker/(cli|__main__|schemas)", name)}

    assert modules == listed


@pytest.mark.parametrize("said", ["README.md", "worker/models/default/MODEL_CARD.md"])
def test_the_licence_of_the_weights_stands_with_them(said: str) -> None:
    sentences = " ".join((ROOT / said).read_text("utf-8").split()).split(". ")

    assert [sentence for sentence in sentences if "weights" in sentence and "Apache-2.0" in sentence]
