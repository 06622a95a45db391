"""What deploy/FIRST_HOUR.md has people type exists: services, commands of the worker, alerts."""

import re
import shlex
from pathlib import Path
from typing import Final

import pytest
import yaml
from typer.testing import CliRunner

from worker.cli import app

TOP: Final = Path(__file__).parents[2]
TEXT: Final = (TOP / "deploy/FIRST_HOUR.md").read_text(encoding="utf-8")
SERVICES: Final = yaml.safe_load((TOP / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
COMMANDS: Final = [
    shlex.split(line.replace(" | grep policy", ""))
    for line in re.findall(r"^    (docker compose .+)$", TEXT, re.MULTILINE)
]
WITH_VALUE: Final = {"--profile", "--env", "--volume", "--name", "--scale", "--tail"}


def words(command: list[str]) -> list[str]:
    """What is no option of compose: its subcommand, the service, and what the container is told."""
    left: list[str] = []
    rest = iter(command[2:])
    for word in rest:
        if len(left) < 2 and word.startswith("--"):
            if word in WITH_VALUE:
                next(rest)
        else:
            left.append(word)
    return left


def test_there_are_commands() -> None:
    assert {words(command)[0] for command in COMMANDS} >= {"up", "ps", "exec", "logs", "kill", "run", "stop", "down"}


@pytest.mark.parametrize("command", COMMANDS, ids=shlex.join)
def test_a_command_names_a_service(command: list[str]) -> None:
    subcommand, *rest = words(command)
    if rest:
        assert rest[0] in SERVICES
    else:
        assert subcommand in {"up", "ps", "down"}


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if words(command)[0] == "run" or "comment-screener" in words(command)[2:3]],
    ids=shlex.join,
)
def test_what_the_worker_is_asked_it_can_be_asked(command: list[str]) -> None:
    asked = [word for word in words(command)[2:] if word != "comment-screener"]
    result = CliRunner().invoke(app, [*asked, "--help"])
    assert result.exit_code == 0, result.output


def test_an_alert_that_is_named_exists() -> None:
    rules = (TOP / "deploy/prometheus/rules.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"`(CommentScreener\w+)`", TEXT))
    assert named
    assert named <= set(re.findall(r"alert: (\w+)", rules))
