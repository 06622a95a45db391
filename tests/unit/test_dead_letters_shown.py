"""What is shown of a dead letter: never its value, nothing that steers a terminal, and a time whatever its unit."""

import pytest
from msgspec.structs import replace

from tests.unit.test_redrive import letter
from worker.dead_letters_shown import as_json, cells, described, summary, time_of
from worker.redrive import Found, State


def test_a_letter_is_described_without_its_value() -> None:
    buried = letter([("trace", b"\x00"), ("empty", b""), ("none", None)], error_message="not \x1b[31m JSON")
    shown = "\n".join(described(buried, State.OPEN))

    assert "5 bytes, sha256 cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619" in shown
    assert "b'value'" not in shown
    assert [line.split(maxsplit=1)[1] for line in shown.splitlines() if line.startswith("header")] == [
        "trace: '\\x00'",
        "empty: ''",
        "none: null",
    ]
    assert "not \\x1b[31m JSON" in shown
    assert "\x1b" not in shown


def test_a_row_and_a_line_hold_no_value_either() -> None:
    buried = letter([("screener-redrives", b"2")], error_message="[bold]x[/bold]")

    assert [cell.plain for cell in cells(buried, State.OPEN)] == [
        "0/0",
        "2026-11-18T11:06:40.123Z",
        "open",
        "invalid_json",
        "decode",
        "2",
        "0.2.0",
        "[bold]x[/bold]",
    ]
    assert '"redrives":2' in as_json(buried, State.OPEN)
    assert '"value"' not in as_json(buried, State.OPEN)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ([], "0 open"),
        ([Found("invalid_json"), Found("invalid_id"), Found("invalid_json")], "3 open: 2 invalid_json, 1 invalid_id"),
        ([Found("invalid_id", State.DISCARDED)], "0 open, 1 discarded: 1 invalid_id"),
    ],
)
def test_the_summary(found: list[Found], line: str) -> None:
    assert summary(found) == line


@pytest.mark.parametrize(
    ("time_ms", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_000_000_123, "2026-11-18T11:06:40.123Z"),
        (1_700_000_000_000_000, "1700000000000000 ms"),
        (2**62, f"{2**62} ms"),
        (None, ""),
    ],
)
def test_a_time_in_other_units_is_shown_as_it_is(time_ms: int | None, shown: str) -> None:
    assert time_of(replace(letter(), time_ms=time_ms)) == shown
