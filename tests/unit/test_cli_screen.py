"""`comment-screener screen`: texts, files and pipes, a line out for each line in, in order, whatever is wrong with it."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from tests.fakes import POISON, FakeClassifier, comment_value, detect
from worker import cli_screen
from worker.cli import app
from worker.metrics import Metrics
from worker.policy_file import read_policy
from worker.records import Decision
from worker.screening import Record, Screener

POLICY = read_policy(
    b"{id: test, version: 1, labels: {insult: {under_13: {remove: 0.5}, all: {hold: 0.5}}},"
    b" communities: {boxing: {labels: {insult: {all: {}, under_13: {}}}}}}",
    "test.yaml",
)


def make_screener(*_: object, **__: object) -> Screener:
    return Screener(
        FakeClassifier(), POLICY, detect=detect, observer=Metrics(), max_batch_tokens=1024, cache_entries=100
    )


@pytest.fixture(autouse=True)
def _fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_screen, "open_screener", make_screener)
    for name in ("MODEL", "POLICY", "LABEL_MAP", "INFERENCE_THREADS"):
        monkeypatch.delenv(f"SCREENER_{name}", raising=False)


def screen(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["screen", *map(str, arguments)], input=stdin)


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def screen_file(tmp_path: Path, content: bytes, *arguments: str, name: str = "comments.jsonl") -> Result:
    (tmp_path / name).write_bytes(content)
    return screen("--input", tmp_path / name, *arguments)


def outcomes(written: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Comment id and action, or "dead letter" and reason."""
    return [
        (line["comment_id"], line["action"]) if "action" in line else ("dead letter", line["reason"])
        for line in written
    ]


def jsonl(*values: bytes) -> bytes:
    return b"\n".join(values) + b"\n"


# ---- one text


def test_a_text_gives_its_decision() -> None:
    (decision,) = lines(screen("you are stupid"))

    assert (decision["action"], decision["category"], decision["comment_id"], decision["source"]) == (
        "remove",
        "insult",
        "1",
        None,
    )
    assert (decision["scores"]["insult"], decision["audience_age_band"]) == (0.9, "unknown")


def test_its_readers_and_its_community_can_be_given() -> None:
    texts = [
        ("--audience", "under_13"),
        ("--audience", "adult"),
        ("--audience", "under_13", "--community", "boxing"),
    ]

    assert [lines(screen("stupid", *options))[0]["action"] for options in texts] == ["remove", "hold", "allow"]


def test_a_text_can_be_written_to_a_file(tmp_path: Path) -> None:
    result = screen("hello", "--output", tmp_path / "out.jsonl")

    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads((tmp_path / "out.jsonl").read_bytes())["action"] == "allow"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid_text: text: Expected `str` of length >= 1"),
        ("x" * 10_001, "invalid_text: text: Expected `str` of length <= 10000"),
        (POISON, "unclassifiable: the model cannot score this text"),
        ("a\udcffb", "invalid_utf8: not UTF-8 at byte"),
    ],
)
def test_a_text_that_cannot_be_screened(text: str, message: str) -> None:
    result = screen(text)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"comment-screener: {message}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["hello", "--input", "comments.jsonl"]])
def test_either_a_text_or_a_file(arguments: list[str]) -> None:
    result = screen(*arguments)

    assert result.exit_code == 2
    assert "give either a text or --input" in result.stderr


@pytest.mark.parametrize("options", [("--audience", "adult"), ("--community", "club")])
def test_what_is_said_of_a_text_is_not_said_of_a_file(tmp_path: Path, options: tuple[str, str]) -> None:
    """Each line says so itself: verdicts for another audience than was asked for would look like those that were."""
    path = tmp_path / "comments.jsonl"
    path.write_bytes(jsonl(comment_value("hello")))
    result = CliRunner().invoke(app, ["screen", "--input", str(path), *options])

    assert result.exit_code == 2
    assert "are for a text" in result.stderr


def test_fill_is_for_lines() -> None:
    assert CliRunner().invoke(app, ["screen", "hello", "--fill"]).exit_code == 2


# ---- JSON Lines


def test_a_line_out_for_each_line_in_in_order(tmp_path: Path) -> None:
    result = screen_file(
        tmp_path,
        jsonl(
            comment_value("stupid", "a", audience_age_band="adult"),
            b"no json",
            comment_value("hello", "b"),
            comment_value(POISON, "c"),
            b'{"text": "half"',
        ),
    )

    written = lines(result)
    assert outcomes(written) == [
        ("a", "hold"),
        ("dead letter", "invalid_json"),
        ("b", "allow"),
        ("dead letter", "unclassifiable"),
        ("dead letter", "invalid_json"),
    ]
    assert [line["source"] for line in written] == [
        {"topic": "comments.jsonl", "partition": 0, "offset": at} for at in range(5)
    ]


def test_a_dead_letter_line_holds_the_bytes_and_why(tmp_path: Path) -> None:
    (letter,) = lines(screen_file(tmp_path, b"\xff\x00 broken\n"))

    assert base64.b64decode(letter["value"]) == b"\xff\x00 broken"
    assert (letter["stage"], letter["reason"], letter["error_message"], letter["worker"]) == (
        "decode",
        "invalid_utf8",
        "not UTF-8 at byte 0",
        "screen",
    )


def test_the_summary_is_for_people_and_adds_up(tmp_path: Path) -> None:
    result = screen_file(tmp_path, jsonl(comment_value("hello"), comment_value("stupid"), comment_value("bye"), b"[]"))

    assert result.stderr.startswith("4 lines = 3 decisions (2 allow, 1 remove) + 1 dead letters, ")
    assert result.stderr.count("\n") == 1


def test_blank_lines_are_no_records_and_the_last_needs_no_end(tmp_path: Path) -> None:
    content = b"\n  \r\n" + comment_value("hello", "a") + b"\r\n\n" + comment_value("hello", "b")

    assert outcomes(lines(screen_file(tmp_path, content))) == [("a", "allow"), ("b", "allow")]


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    result = screen_file(tmp_path, b"")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("0 lines = 0 decisions (none) + 0 dead letters, ")


def test_more_lines_than_fit_a_window_keep_their_order(tmp_path: Path) -> None:
    names = [str(number) for number in range(2500)]

    written = lines(screen_file(tmp_path, jsonl(*(comment_value(f"text {int(name) % 7}", name) for name in names))))
    assert [line["comment_id"] for line in written] == names


def test_without_fill_a_bare_text_lacks_fields(tmp_path: Path) -> None:
    assert outcomes(lines(screen_file(tmp_path, b'{"text": "hello"}\n'))) == [("dead letter", "missing_field")]


def test_fill_gives_what_is_missing_and_changes_nothing_else(tmp_path: Path) -> None:
    content = jsonl(b'{"text": "hello"}', b"", comment_value("hello", "mine"), b'{"text": "hello", "comment_id": "x"}')

    written = lines(screen_file(tmp_path, content, "--fill"))
    assert outcomes(written) == [("1", "allow"), ("mine", "allow"), ("x", "allow")]
    assert written[1]["created_at"] == "2026-11-24T11:59:00Z"


def test_fill_reads_half_of_a_surrogate_pair_as_the_worker_does_and_fills_what_is_null(tmp_path: Path) -> None:
    """Four of Python's own escapes are a fox, which nobody has written."""
    content = jsonl(b'{"text": "\\udcf0\\udc9f\\udca6\\udc8a", "comment_id": null, "created_at": null}')

    [decision] = lines(screen_file(tmp_path, content, "--fill"))

    assert outcomes([decision]) == [("1", "allow")]
    [as_read] = lines(screen_file(tmp_path, jsonl('{"text": "\ufffd\ufffd\ufffd\ufffd"}'.encode()), "--fill"))
    assert decision["decision_id"] == as_read["decision_id"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"no json", "invalid_json"),
        (b'{"text": "a\xffb"}', "invalid_utf8"),
        (b'["text"]', "not_an_object"),
        (b'{"text": "a", "author_id": "\\ud800 and what follows"}', "invalid_field"),
        (b'{"text": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json"),
        (b'{"text": 3}', "invalid_field"),
    ],
    ids=["no json", "bad utf-8", "array", "surrogate", "bomb", "number"],
)
def test_fill_leaves_what_is_broken_to_the_decoder(tmp_path: Path, line: bytes, reason: str) -> None:
    written = lines(screen_file(tmp_path, jsonl(line, b'{"text": "hello"}'), "--fill"))

    assert outcomes(written) == [("dead letter", reason), ("2", "allow")]


# ---- CSV


def test_a_row_is_a_comment(tmp_path: Path) -> None:
    content = (
        b'text,comment_id,audience_age_band,likes\r\nstupid,a,adult,3\r\n"two\nlines, ""quoted""",b,,\r\nhello,,,\r\n'
    )

    written = lines(screen_file(tmp_path, content, name="Comments.CSV"))
    assert outcomes(written) == [("a", "hold"), ("b", "allow"), ("3", "allow")]
    assert [line.get("audience_age_band") for line in written] == ["adult", None, None]


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbftext,comment_id\r\nhello,a\r\n"

    assert outcomes(lines(screen_file(tmp_path, content, name="c.csv"))) == [("a", "allow")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"a,caf\xe9", "invalid_utf8"),
        (b"a", "invalid_field"),
        (b"a,hello,,", "invalid_field"),
        (b"a,", "invalid_text"),
        (b"a," + b"x" * 10_001, "invalid_text"),
        (b"x" * 501 + b",hello", "invalid_id"),
    ],
    ids=["bad utf-8", "short row", "long row", "empty text", "long text", "long id"],
)
def test_a_row_that_is_wrong_is_a_dead_letter(tmp_path: Path, row: bytes, reason: str) -> None:
    written = lines(screen_file(tmp_path, b"comment_id,text\n" + row + b"\nb,hello\n", name="c.csv"))

    assert outcomes(written) == [("dead letter", reason), ("b", "allow")]


def test_a_text_with_commas_that_nobody_quoted_is_not_cut_short(tmp_path: Path) -> None:
    content = b"comment_id,text\na,thanks for this, now go away\nb,hello\n"

    written = lines(screen_file(tmp_path, content, name="c.csv"))

    assert outcomes(written) == [("dead letter", "invalid_field"), ("b", "allow")]
    assert b"now go away" in base64.b64decode(written[0]["value"])


@pytest.mark.parametrize(
    "content", [b'a,"hello\nb,hello\nc,hello\n', b'a,"hello"you\n'], ids=["never closed", "and more"]
)
def test_a_quote_that_is_out_of_place_takes_no_other_row_with_it(tmp_path: Path, content: bytes) -> None:
    result = screen_file(tmp_path, b"comment_id,text\n" + content, name="c.csv")

    assert result.exit_code == 2
    assert re.search(r"line \d: not CSV: ", result.stderr)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"comment_id;text\na;hello\n", "line 1: its columns are separated by semicolons"),
        ("comment_id,text\na,hello\n".encode("utf-16"), "line 1: not UTF-8, but UTF-16"),
    ],
    ids=["semicolons", "UTF-16"],
)
def test_what_is_no_csv_at_all_is_refused_in_a_line(tmp_path: Path, content: bytes, message: str) -> None:
    result = screen_file(tmp_path, content, name="c.csv")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"comment-screener: {message}")


@pytest.mark.parametrize("header", [b"text,text", b"text, text", b"comment_id,text,comment_id"])
def test_a_column_that_stands_there_twice_is_asked_about(tmp_path: Path, header: bytes) -> None:
    """The last would be screened, and the others be dropped without a word."""
    result = screen_file(tmp_path, header + b"\nyou are stupid,hello,a\n", name="c.csv")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "line 1: the header has" in result.stderr


def test_spaces_around_the_names_of_columns_are_none_of_theirs(tmp_path: Path) -> None:
    written = lines(screen_file(tmp_path, b"comment_id, text\na,hello\n", name="c.csv"))

    assert outcomes(written) == [("a", "allow")]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + comment_value("hello", "a") + b"\r\n" + comment_value("hello", "b") + b"\r\n"

    assert outcomes(lines(screen_file(tmp_path, content))) == [("a", "allow"), ("b", "allow")]


def test_a_file_without_a_text_column_has_nothing_to_screen(tmp_path: Path) -> None:
    written = lines(screen_file(tmp_path, b"comment_id,body\na,hello\n", name="c.csv"))

    assert outcomes(written) == [("dead letter", "missing_field")]


def test_the_format_can_be_said(tmp_path: Path) -> None:
    as_csv = screen_file(tmp_path, b"text\nhello\n", "--format", "csv", name="c.txt")
    as_json = screen_file(tmp_path, comment_value("hello", "a"), "--format", "jsonl", name="c.csv")

    assert outcomes(lines(as_csv)) == [("1", "allow")]
    assert outcomes(lines(as_json)) == [("a", "allow")]


# ---- files and pipes


def test_standard_input() -> None:
    written = lines(screen("--input", "-", stdin=jsonl(comment_value("hello", "a"), b"[]")))

    assert outcomes(written) == [("a", "allow"), ("dead letter", "not_an_object")]
    assert written[0]["source"] == {"topic": "-", "partition": 0, "offset": 0}


def test_an_output_file_leaves_standard_output_empty(tmp_path: Path) -> None:
    result = screen_file(tmp_path, jsonl(comment_value("hello", "a")), "--output", str(tmp_path / "out.jsonl"))

    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads((tmp_path / "out.jsonl").read_bytes())["comment_id"] == "a"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = screen("--input", tmp_path / "nowhere.jsonl")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"comment-screener: {tmp_path}/nowhere.jsonl: No such file or directory\n"


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    result = screen_file(tmp_path, b"", "--output", str(tmp_path / "no" / "folder"))

    assert result.exit_code == 2
    assert result.stderr == f"comment-screener: {tmp_path}/no/folder: No such file or directory\n"


def test_a_text_whose_output_cannot_be_written(tmp_path: Path) -> None:
    result = screen("hello", "--output", tmp_path / "no" / "folder")

    assert result.exit_code == 2
    assert result.stderr == f"comment-screener: {tmp_path}/no/folder: No such file or directory\n"


def test_in_a_pipe_with_the_shipped_model() -> None:
    """The whole command in a process of its own: decisions on one stream, a plain summary on the other."""
    command = [sys.executable, "-m", "worker", "screen", "--input", "-"]
    content = jsonl(comment_value("you are a stupid idiot", "a"), b"no json", comment_value("thank you, lovely", "b"))
    piped = subprocess.run(command, input=content, capture_output=True, check=True, env=os.environ)

    written = [json.loads(line) for line in piped.stdout.splitlines()]
    assert [name for name, _ in outcomes(written)] == ["a", "dead letter", "b"]
    assert written[0]["scores"]["insult"] > 0.5 > written[2]["scores"]["insult"]
    summary = piped.stderr.decode()
    assert summary.startswith("3 lines = 2 decisions (")
    assert summary.count("\n") == 1
    assert "\x1b" not in summary


def test_an_output_that_is_the_input_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "comments.jsonl"
    file.write_bytes(comment_value() + b"\n")
    result = screen("--input", file, "--output", file)

    assert result.exit_code == 2
    assert result.stderr == f"comment-screener: {file}: the output would overwrite the input\n"
    assert file.read_bytes() == comment_value() + b"\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("you are st\u200bupid", "st\u200bupid insult 0.90, characters 8-15"),
        ("hallo", "language de: the scores mean little"),
        ("stupid", "insult 0.9000 ≥ 0.5 → remove for under_13 readers (labels.insult.under_13.remove)"),
        ("hallo", "unsupported_language → hold for under_13 readers (unsupported_language.default)"),
    ],
)
def test_a_person_is_told_why(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    screener = make_screener()
    (decision,) = screener.screen([Record(comment_value(text, audience_age_band="under_13"))])
    assert isinstance(decision, Decision)
    cli_screen._show(decision, text)

    assert shown in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("community", ["[team]", "a[/b]"])
def test_a_communitys_name_is_no_markup(community: str, capsys: pytest.CaptureFixture[str]) -> None:
    (decision,) = make_screener().screen([Record(comment_value("stupid", audience_age_band="under_13"))])
    assert isinstance(decision, Decision)
    rule = f"communities.{community}.labels.insult.all.hold"
    reasons = [msgspec.structs.replace(reason, rule=rule) for reason in decision.reasons]

    cli_screen._show(msgspec.structs.replace(decision, reasons=reasons), "stupid")

    assert rule in "".join(capsys.readouterr().out.split())
