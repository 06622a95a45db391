"""What `comment-screener topics` refuses before it asks anybody, and the words it has for what it does."""

import pytest
from typer.testing import CliRunner

from worker.cli import app
from worker.cli_topics import describe, read_retention_ms
from worker.errors import StartupError
from worker.provisioning import Did, Difference, Step
from worker.topics import Topic

COMMENTS = Topic("comments", 8, 3, {"cleanup.policy": "delete", "retention.ms": "1"})
LESS = Difference("comments", "partitions", "4", "8")


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("90m", 5_400_000), ("12h", 43_200_000), ("7d", 604_800_000), ("forever", -1)],
)
def test_a_retention(text: str, milliseconds: int) -> None:
    assert read_retention_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "7", "0d", "-1", "7 d", "7w", "1.5h", "9999999d", "FOREVER"])
def test_no_retention(text: str) -> None:
    with pytest.raises(StartupError, match="no time: "):
        read_retention_ms(text)


@pytest.mark.parametrize(
    ("step", "done", "dry"),
    [
        (
            Step(Did.CREATE, COMMENTS),
            "created comments: 8 partitions, replication 3, cleanup.policy=delete, retention.ms=1",
            "would create comments: 8 partitions, replication 3, cleanup.policy=delete, retention.ms=1",
        ),
        (
            Step(Did.CHANGE, COMMENTS, LESS),
            "changed comments: partitions is 4, should be 8",
            "would change comments: partitions is 4, should be 8",
        ),
        (
            Step(Did.LEAVE, COMMENTS, LESS),
            "left comments: partitions is 4, should be 8",
            "would leave comments: partitions is 4, should be 8",
        ),
        (Step(Did.NOTHING, COMMENTS), "comments is as it should be", "comments is as it should be"),
    ],
)
def test_a_step_in_words(step: Step, done: str, dry: str) -> None:
    assert describe(step, dry_run=False) == done
    assert describe(step, dry_run=True) == dry


@pytest.mark.parametrize("command", ["create", "check"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--comments-retention", "7"], "no time: '7': like 90m, 12h, 7d, or forever"),
        (["--dead-letters-retention", "never"], "no time: 'never': like 90m, 12h, 7d, or forever"),
        (
            ["--replication", "2", "--min-insync-replicas", "3"],
            "--min-insync-replicas 3 of --replication 2: nothing could be written",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anybody_is_asked(
    command: str, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCREENER_KAFKA_BOOTSTRAP_SERVERS", "nobody.invalid:9092")
    result = CliRunner().invoke(app, ["topics", command, *options])

    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"comment-screener: {message}\n")
