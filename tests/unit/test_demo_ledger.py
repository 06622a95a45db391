"""The demo's sum: it adds up only when every record has its own outcome."""

from datetime import UTC, datetime

import pytest
from msgspec import structs

from worker.demo.display import _line, printable
from worker.demo.ledger import Ledger, Outcome, read_input
from worker.records import Action, AgeBand, Decision, Mode, Model, Place, PolicyVersion, ReasonGiven, Source

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def decision(comment_id: str, place: Place, decision_id: str = "d") -> Decision:
    return Decision(
        decision_id=decision_id,
        comment_id=comment_id,
        action=Action.ALLOW,
        category=None,
        severity=0.1,
        scores={},
        spans=[],
        reasons=[],
        language=None,
        language_supported=None,
        model=Model("m", "1", "0" * 64),
        policy=PolicyVersion("p", "1", "0" * 64),
        mode=Mode.LIVE,
        degraded=False,
        source=Source("comments", place.partition, place.offset),
        created_at=NOW,
        decided_at=NOW,
    )


def value(comment_id: str) -> bytes:
    return f'{{"comment_id": "{comment_id}", "text": "hello"}}'.encode()


PLACE = Place(0, 7)


@pytest.mark.parametrize("outcome_first", [False, True])
def test_it_adds_up_in_whichever_order_both_sides_are_told(outcome_first: bool) -> None:
    ledger = Ledger()
    outcome = Outcome(2.5, decision=decision("a", PLACE))
    if outcome_first:
        ledger.record_outcome(PLACE, outcome)
        ledger.record_input(PLACE, value("a"), 2.0)
    else:
        ledger.record_input(PLACE, value("a"), 2.0)
        ledger.record_outcome(PLACE, outcome)

    assert ledger.complete
    assert ledger.problems() == []
    assert ledger.totals() == {"allow": 1}
    assert ledger.latencies_s() == [0.5]
    assert [row.record.text for row in ledger.rows] == ["hello"]


def test_dead_letters_are_outcomes_too() -> None:
    ledger = Ledger()
    ledger.record_input(PLACE, b"{", 2.0)
    ledger.record_outcome(PLACE, Outcome(2.5, dead_reason="invalid_json"))

    assert ledger.problems() == []
    assert ledger.dead_letters() == {"invalid_json": 1}
    assert ledger.totals() == {"dead letter": 1}


def test_what_is_missing_is_named() -> None:
    ledger = Ledger()
    ledger.record_input(PLACE, value("a"), 2.0)

    assert not ledger.complete
    assert ledger.problems() == ["1 records without a decision or a dead letter: partition/offset 0/7"]


def test_an_outcome_that_nobody_asked_for_is_a_problem() -> None:
    ledger = Ledger()
    ledger.record_outcome(PLACE, Outcome(2.5, dead_reason="invalid_json"))

    assert "nobody sent" in ledger.problems()[0]


def test_a_repeat_is_counted_apart_and_is_no_problem() -> None:
    ledger = Ledger()
    ledger.record_input(PLACE, value("a"), 2.0)
    for read_at in (2.5, 3.5):
        ledger.record_outcome(PLACE, Outcome(read_at, decision=decision("a", PLACE)))

    assert (ledger.repeats, len(ledger.rows), ledger.problems()) == (1, 1, [])


def test_a_repeat_that_differs_is_a_problem() -> None:
    ledger = Ledger()
    ledger.record_input(PLACE, value("a"), 2.0)
    ledger.record_outcome(PLACE, Outcome(2.5, decision=decision("a", PLACE, "one")))
    ledger.record_outcome(PLACE, Outcome(3.5, decision=decision("a", PLACE, "two")))

    assert "differently" in ledger.problems()[0]


def test_a_decision_for_another_comment_is_a_problem() -> None:
    ledger = Ledger()
    ledger.record_input(PLACE, value("a"), 2.0)
    ledger.record_outcome(PLACE, Outcome(2.5, decision=decision("b", PLACE)))

    assert "another comment" in ledger.problems()[0]


@pytest.mark.parametrize("malformed", [b"", b"\xff", b"[]", b"7", b'{"text": 7}', b"\x00"])
def test_a_malformed_record_is_an_input_all_the_same(malformed: bytes) -> None:
    record = read_input(malformed, 1.0)

    assert (record.value, record.text) == (malformed, None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines", "two lines"),
        ("\x1b[2Jgone", "·[2Jgone"),
        ("lo\u200bser", "lo·ser"),
        ("👨\u200d👩", "👨\u200d👩"),
        ("abcdef", "abcd…"),
    ],
)
def test_a_strangers_text_is_safe_on_a_terminal(text: str, shown: str) -> None:
    assert printable(text, 5 if text == "abcdef" else 20) == shown


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (
            ReasonGiven("insult", 0.8, 0.75, AgeBand.UNDER_13, Action.HOLD, "labels.insult.under_13.hold"),
            "hold insult 0.80 ≥ 0.75 under_13",
        ),
        (
            ReasonGiven("unsupported_language", None, None, AgeBand.UNDER_13, Action.HOLD, "unsupported_language.all"),
            "hold language: pt under_13",
        ),
    ],
)
def test_a_line_says_what_was_behind_an_action(reason: ReasonGiven, shown: str) -> None:
    held = structs.replace(decision("a", PLACE), action=Action.HOLD, reasons=[reason], language="pt")
    ledger = Ledger()
    ledger.record_input(PLACE, value("a"), 2.0)
    ledger.record_outcome(PLACE, Outcome(2.5, decision=held))

    assert " ".join(_line(ledger.rows[0], 40).plain.split()) == f"{shown} 500 hello"
