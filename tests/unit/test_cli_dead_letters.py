"""`dead-letters`, with no Kafka: what is asked wrongly, and a broker that is not there."""

import pytest
from aiokafka.errors import KafkaConnectionError
from typer.testing import CliRunner

from worker import cli_dead_letters as cli
from worker.cli import app
from worker.demo.broker import free_port
from worker.errors import FatalError
from worker.settings import Settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SCREENER_{name.upper()}", raising=False)
    monkeypatch.setattr(cli, "configure_logs", lambda _: None)  # logging is global
    return monkeypatch


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list", "--since", "yesterday"], "yesterday: not a time with a zone"),
        (["list", "--until", "2026-11-24T10:00:00"], "not a time with a zone"),
        (["list", "--reason", "boredom"], "boredom"),
        (["list", "--limit", "0"], "Invalid value for '--limit'"),
        (["show", "3-41"], "3-41: not PARTITION/OFFSET, for example 3/41"),
        (["show"], "Missing argument"),
        (["redrive", "3/41", "x"], "x: not PARTITION/OFFSET"),
        (["redrive", "3/41", "--reason", "invalid_json"], "give either PARTITION/OFFSET or filters"),
        (["redrive", "3/41", "--partition", "0"], "give either PARTITION/OFFSET or filters"),
        (["redrive", "--rate", "0"], "Invalid value for '--rate'"),
        (["redrive", "--limit", "0"], "Invalid value for '--limit'"),
        (["discard", "3/41", "--since", "2h"], "give either PARTITION/OFFSET or filters"),
        (["list"], "SCREENER_KAFKA_BOOTSTRAP_SERVERS: Field required"),
    ],
)
def test_what_cannot_be_done_as_asked(environment: pytest.MonkeyPatch, arguments: list[str], says: str) -> None:
    environment.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, ["dead-letters", *arguments])

    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


@pytest.mark.parametrize("arguments", [["list"], ["show", "0/0"], ["redrive"], ["discard", "--yes"]])
def test_a_broker_that_does_not_answer(environment: pytest.MonkeyPatch, arguments: list[str]) -> None:
    environment.setenv("SCREENER_KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    result = CliRunner().invoke(app, ["dead-letters", *arguments])

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("comment-screener: no answer from Kafka at 127.0.0.1:")


@pytest.mark.parametrize(("all_done", "code"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("command", ["redrive", "discard"])
def test_what_is_left_undone_shows_in_the_exit_code(
    environment: pytest.MonkeyPatch, command: str, all_done: bool, code: int
) -> None:
    async def handle(*_: object, **__: object) -> bool:
        return all_done

    environment.setenv("SCREENER_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    environment.setattr(cli, "handle", handle)

    assert CliRunner().invoke(app, ["dead-letters", command, "--yes"]).exit_code == code


def test_a_broker_that_goes_away_is_one_line() -> None:
    async def lose() -> None:
        raise KafkaConnectionError("gone")

    with pytest.raises(FatalError, match=r"Kafka: KafkaConnectionError: .*gone"):
        cli._run(lose())
