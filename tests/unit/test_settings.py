"""Settings: from the environment alone; what is missing or wrong is named without its value; secrets stay secret."""

import json
import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from worker.cli import app
from worker.errors import StartupError
from worker.records import Mode
from worker.settings import Settings, load_settings

BROKER = "SCREENER_KAFKA_BOOTSTRAP_SERVERS"
PRIVATE = "hunter2"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing set but the one thing that has to be."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SCREENER_{name.upper()}", raising=False)
    monkeypatch.setenv(BROKER, "kafka:9092")
    return monkeypatch


def refusal() -> str:
    with pytest.raises(StartupError) as refused:
        load_settings()
    return str(refused.value)


def test_only_the_broker_has_no_default(environment: pytest.MonkeyPatch) -> None:
    assert load_settings().kafka_bootstrap_servers == "kafka:9092"

    environment.delenv(BROKER)
    assert refusal() == "SCREENER_KAFKA_BOOTSTRAP_SERVERS: Field required"
    assert [name for name, field in Settings.model_fields.items() if field.is_required()] == ["kafka_bootstrap_servers"]


@pytest.mark.parametrize(
    ("changed", "to", "said"),
    [
        ("DECISIONS_TOPIC", "comments", "SCREENER_DECISIONS_TOPIC: not the same topic as SCREENER_COMMENTS_TOPIC"),
        (
            "DEAD_LETTERS_TOPIC",
            "comments",
            "SCREENER_DEAD_LETTERS_TOPIC: not the same topic as SCREENER_COMMENTS_TOPIC",
        ),
        (
            *("DEAD_LETTERS_TOPIC", "moderation.decisions"),
            "SCREENER_DEAD_LETTERS_TOPIC: not the same topic as SCREENER_DECISIONS_TOPIC",
        ),
    ],
)
def test_no_topic_is_written_to_for_two_things(
    environment: pytest.MonkeyPatch, changed: str, to: str, said: str
) -> None:
    environment.setenv(f"SCREENER_{changed}", to)

    assert refusal() == said


def test_everything_can_be_set(environment: pytest.MonkeyPatch) -> None:
    for name, value in {
        "COMMENTS_TOPIC": "in",
        "SECURITY_PROTOCOL": "SASL_SSL",
        "SSL_CA_FILE": "/etc/ca.pem",
        "MODE": "shadow",
        "MAX_WINDOW": "64",
        "BATCH_WAIT_MS": "0",
        "DEAD_LETTERS_RATIO": "1",
        "COMMENTS_PARTITIONS": "8",
        "HTTP_PORT": "0",
    }.items():
        environment.setenv(f"SCREENER_{name}", value)
    loaded = load_settings()

    assert (loaded.comments_topic, loaded.security_protocol, loaded.ssl_ca_file) == (
        "in",
        "SASL_SSL",
        Path("/etc/ca.pem"),
    )
    assert (loaded.mode, loaded.max_window, loaded.batch_wait_ms) == (Mode.SHADOW, 64, 0.0)
    assert (loaded.dead_letters_ratio, loaded.comments_partitions, loaded.http_port) == (1.0, 8, 0)


@pytest.mark.parametrize(
    "name",
    [
        "COMMENTS_PARTITIONS",
        "SECURITY_PROTOCOL",
        "SASL_MECHANISM",
        "SESSION_TIMEOUT_S",
        "REBALANCE_TIMEOUT_S",
        "COMMIT_INTERVAL_S",
        "COMPRESSION",
        "MODE",
        "INFERENCE_THREADS",
        "MAX_BATCH_TOKENS",
        "MAX_WINDOW",
        "BATCH_WAIT_MS",
        "MAX_IN_FLIGHT",
        "CACHE_ENTRIES",
        "PUBLISH_TIMEOUT_S",
        "SHUTDOWN_TIMEOUT_S",
        "STARTUP_TIMEOUT_S",
        "WATCHDOG_TIMEOUT_S",
        "DEAD_LETTERS_IN_A_ROW",
        "DEAD_LETTERS_RATIO",
        "DEAD_LETTERS_WINDOW",
        "HTTP_PORT",
        "LOG_LEVEL",
    ],
)
def test_a_value_that_does_not_fit_is_named_and_not_shown(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(f"SCREENER_{name}", PRIVATE)

    message = refusal()
    assert message.startswith(f"SCREENER_{name}: ")
    assert "\n" not in message
    assert PRIVATE not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_WINDOW", "0"),
        ("MAX_IN_FLIGHT", "-1"),
        ("BATCH_WAIT_MS", "-0.1"),
        ("CACHE_ENTRIES", "-1"),
        ("SESSION_TIMEOUT_S", "0"),
        ("SESSION_TIMEOUT_S", "nan"),
        ("DEAD_LETTERS_RATIO", "0"),
        ("DEAD_LETTERS_RATIO", "1.01"),
        ("HTTP_PORT", "65536"),
        ("SECURITY_PROTOCOL", "ssl"),
        ("SASL_MECHANISM", "GSSAPI"),
        ("MAX_WINDOW", ""),
    ],
)
def test_a_value_out_of_bounds_is_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(f"SCREENER_{name}", value)

    assert refusal().startswith(f"SCREENER_{name}: ")


def test_everything_that_is_wrong_is_said_at_once_a_line_each(environment: pytest.MonkeyPatch) -> None:
    environment.delenv(BROKER)
    environment.setenv("SCREENER_MAX_WINDOW", "many")
    environment.setenv("SCREENER_MODE", "dry")

    assert [line.split(":")[0] for line in refusal().splitlines()] == [
        "SCREENER_KAFKA_BOOTSTRAP_SERVERS",
        "SCREENER_MODE",
        "SCREENER_MAX_WINDOW",
    ]


def test_variables_of_others_are_ignored(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SCREENER_TEST_BROKER", "kafka")
    environment.setenv("MAX_WINDOW", "7")

    assert load_settings().max_window == 256


def test_a_password_is_never_printed(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SCREENER_SASL_PASSWORD", PRIVATE)
    loaded = load_settings()

    assert loaded.sasl_password is not None
    assert loaded.sasl_password.get_secret_value() == PRIVATE
    assert PRIVATE not in f"{loaded} {loaded!r} {loaded.model_dump()} {loaded.model_dump_json()}"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_is_described_where_it_is_declared(name: str) -> None:
    assert (Settings.model_fields[name].description or "").endswith(".")


def test_an_empty_address_is_no_address(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SCREENER_KAFKA_BOOTSTRAP_SERVERS", "")

    with pytest.raises(StartupError, match=r"^SCREENER_KAFKA_BOOTSTRAP_SERVERS: "):
        load_settings()


def test_two_passwords_are_one_too_many(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SCREENER_SASL_PASSWORD", PRIVATE)
    environment.setenv("SCREENER_SASL_PASSWORD_FILE", "/run/secrets/password")

    assert refusal() == "SCREENER_SASL_PASSWORD_FILE: not beside SCREENER_SASL_PASSWORD: one of the two"


SECRET = re.compile("password|secret|token(?!s)|credential")


def test_whatever_is_called_a_secret_is_kept_as_one() -> None:
    fields = {name: field.annotation for name, field in Settings.model_fields.items() if SECRET.search(name)}

    assert fields == {
        "sasl_password": SecretStr | None,
        "sasl_password_file": Path | None,
        "sasl_oauth_token_file": Path | None,
    }


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command_shows_what_is_effective_and_no_secret(
    environment: pytest.MonkeyPatch, tmp_path: Path, options: list[str]
) -> None:
    token = tmp_path / "token"
    token.write_text(f"{PRIVATE}-token", "utf-8")
    environment.setenv("SCREENER_SASL_PASSWORD", PRIVATE)
    environment.setenv("SCREENER_SASL_OAUTH_TOKEN_FILE", str(token))
    environment.setenv("SCREENER_MAX_WINDOW", "64")
    result = CliRunner().invoke(app, ["settings", *options])

    assert (result.exit_code, result.stderr) == (0, "")
    assert PRIVATE not in result.stdout
    if options:
        shown = json.loads(result.stdout)
        assert shown.keys() == {f"SCREENER_{name.upper()}" for name in Settings.model_fields}
        assert (shown["SCREENER_MAX_WINDOW"], shown["SCREENER_SASL_PASSWORD"]) == (64, "**********")
        assert (shown["SCREENER_SSL_CA_FILE"], shown["SCREENER_SASL_OAUTH_TOKEN_FILE"]) == (None, str(token))
    else:
        lines = result.stdout.splitlines()
        assert len(lines) == len(Settings.model_fields)
        assert {"SCREENER_MAX_WINDOW=64", "# SCREENER_SSL_CA_FILE is not set"} <= set(lines)


def test_the_command_refuses_what_the_worker_would(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SCREENER_MAX_WINDOW", PRIVATE)
    result = CliRunner().invoke(app, ["settings"])

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("comment-screener: SCREENER_MAX_WINDOW: ")
    assert PRIVATE not in result.stderr
