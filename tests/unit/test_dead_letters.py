"""Dead letters on Kafka, and the limit that keeps a bad deploy from draining a topic into them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.letters import dead_letter as letter
from tests.strategies import dead_letters as drawn_letters
from worker.dead_letters import Headers, Limit, headers, split
from worker.errors import DeadLetterLimit, Reason
from worker.records import DeadLetter

BAD = Reason.INVALID_JSON
OFF = 10**6


def test_the_headers() -> None:
    assert headers(letter()) == [
        ("screener-original-topic", b"comments"),
        ("screener-original-partition", b"2"),
        ("screener-original-offset", b"41"),
        ("screener-original-timestamp", b"1795000000123"),
        ("screener-stage", b"classify"),
        ("screener-reason", b"unclassifiable"),
        ("screener-error-class", b"ValueError"),
        ("screener-error-message", b"the model cannot score this text"),
        ("screener-attempts", b"1"),
        ("screener-worker", b"worker-1"),
        ("screener-model", b"default/0.1.0/" + b"a" * 64),
        ("screener-policy", b"strict/3/" + b"b" * 64),
        ("screener-worker-version", b"0.2.0"),
    ]


def test_what_is_not_known_is_empty() -> None:
    added = dict(headers(letter(source=None, timestamp_ms=None)))

    assert [added[f"screener-original-{name}"] for name in ("topic", "partition", "offset", "timestamp")] == [b""] * 4


def test_the_records_own_headers_stand_first_repeated_names_and_all() -> None:
    own: Headers = [("b", b"\xff"), ("a", None), ("b", b""), ("screener-stage", b"from an earlier life")]

    assert headers(letter(headers=own))[:4] == own
    assert len(headers(letter(headers=own))) == 4 + 13


@settings(max_examples=60)
@given(drawn_letters())
def test_no_header_of_the_record_is_touched_and_the_letter_neither(drawn: DeadLetter) -> None:
    own = list(drawn.headers)

    assert headers(drawn)[: len(own)] == own
    assert drawn.headers == own


# ---- the limit


def test_too_many_in_a_row() -> None:
    limit = Limit(in_a_row=3, ratio=1.0, window=OFF)
    limit.note([BAD, BAD])

    with pytest.raises(DeadLetterLimit) as stopped:
        limit.note([Reason.INVALID_FIELD])
    assert str(stopped.value) == (
        "3 dead letters in a row (SCREENER_DEAD_LETTERS_IN_A_ROW), the last for invalid_field: "
        "look at what the producers send before starting again"
    )


def test_a_decision_between_them_starts_the_count_anew() -> None:
    limit = Limit(in_a_row=3, ratio=1.0, window=OFF)

    for _ in range(100):
        limit.note([BAD, BAD, None])


def test_what_authors_can_bring_about_counts_on_neither_side() -> None:
    """Or whoever writes enough empty comments stops all workers; and hides a bad deploy from them."""
    limit = Limit(in_a_row=3, ratio=0.5, window=4)
    limit.note([Reason.INVALID_TEXT] * 1000)
    limit.note([BAD, Reason.INVALID_TEXT, BAD, Reason.INVALID_TEXT])

    with pytest.raises(DeadLetterLimit, match="3 dead letters in a row"):
        limit.note([BAD])


def test_too_large_a_share_of_a_full_window() -> None:
    limit = Limit(in_a_row=OFF, ratio=0.5, window=4)
    limit.note([BAD, BAD, None])

    with pytest.raises(DeadLetterLimit) as stopped:
        limit.note([BAD])
    assert str(stopped.value) == (
        "3 of the last 4 records are dead letters (SCREENER_DEAD_LETTERS_RATIO 0.5): "
        "look at what the producers send before starting again"
    )


def test_a_share_is_only_taken_once_there_were_as_many_records() -> None:
    Limit(in_a_row=OFF, ratio=0.5, window=4).note([BAD, BAD, BAD])


def test_exactly_the_share_is_allowed() -> None:
    Limit(in_a_row=OFF, ratio=0.5, window=4).note([BAD, None, BAD, None, BAD, None])


def test_what_left_the_window_no_longer_counts() -> None:
    limit = Limit(in_a_row=OFF, ratio=0.5, window=4)
    limit.note([BAD, BAD, None, None])
    limit.note([None, None, BAD, BAD, None, None, BAD])

    with pytest.raises(DeadLetterLimit):
        limit.note([BAD, BAD])


def test_a_ratio_of_one_never_stops() -> None:
    Limit(in_a_row=OFF, ratio=1.0, window=4).note([BAD] * 1000)


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.sampled_from([None, None, BAD]), max_size=6), max_size=20),
    st.integers(1, 6),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    st.integers(1, 9),
)
def test_it_stops_exactly_where_counting_from_the_start_says(
    windows: list[list[Reason | None]], in_a_row: int, ratio: float, window: int
) -> None:
    limit = Limit(in_a_row, ratio, window)
    dead: list[bool] = []

    for reasons in windows:
        stops = False
        for reason in reasons:
            dead.append(reason is not None)
            last = dead[-window:]
            stops |= dead[-in_a_row:] == [True] * in_a_row
            stops |= len(last) == window and sum(last) > ratio * window
            if stops:
                break
        if stops:
            with pytest.raises(DeadLetterLimit):
                limit.note(reasons)
            return
        limit.note(reasons)


@pytest.mark.parametrize("window", [1, 2, 7, 20, 64, 99, 256])
def test_decisions_that_are_refused_for_their_size_stop_it_as_well(window: int) -> None:
    """They were noted as decisions, before anybody could know."""
    limit, refused = Limit(in_a_row=100, ratio=0.5, window=1000), 0

    def refuse_all() -> None:
        nonlocal refused
        for _ in range(1000):
            limit.note([None] * window)
            refused += window
            limit.refuse(Reason.DECISION_REFUSED, window)

    with pytest.raises(DeadLetterLimit, match=r"dead letters in a row .*decision_refused"):
        refuse_all()
    assert 100 <= refused < 100 + window


def test_a_decision_that_was_refused_among_others_counts_as_one() -> None:
    limit = Limit(in_a_row=3, ratio=0.5, window=4)
    for window in ([None, None, None], [None, None], [None]):
        limit.note(window)
        limit.refuse(Reason.DECISION_REFUSED, 1)
        limit.note([None])

    with pytest.raises(DeadLetterLimit, match="3 of the last 4"):
        limit.refuse(Reason.DECISION_REFUSED, 1)


def test_a_limit_message_is_one_line() -> None:
    with pytest.raises(DeadLetterLimit) as stopped:
        Limit(in_a_row=1, ratio=1.0, window=1).note([BAD])

    assert not re.search(r"\n", str(stopped.value))


# ---- read back


@settings(max_examples=100)
@given(drawn_letters())
def test_a_letter_is_split_into_what_it_was_made_of(drawn: DeadLetter) -> None:
    parts = split(headers(drawn))

    assert parts is not None
    own, ours = parts
    assert own == drawn.headers
    assert (ours["stage"], ours["reason"], ours["worker"]) == (drawn.stage, drawn.reason, drawn.worker)
    assert (ours["error-message"], ours["worker-version"]) == (drawn.error_message, drawn.worker_version)


def test_a_letter_that_is_older_than_the_workers_version() -> None:
    older = headers(letter(headers=[("a", b"1")]))[:-1]
    parts = split(older)

    assert parts is not None
    assert parts[0] == [("a", b"1")]
    assert "worker-version" not in parts[1]
    assert parts[1]["policy"].startswith("strict/3/")


def test_a_letter_that_was_a_comment_itself_keeps_all_that_looks_like_ours() -> None:
    copied = headers(letter(reason=Reason.INVALID_ID))
    parts = split(headers(letter(headers=copied)))

    assert parts is not None
    assert parts[0] == copied
    assert parts[1]["reason"] == "unclassifiable"


def test_what_was_added_behind_ours_on_the_way_belongs_to_neither() -> None:
    parts = split([*headers(letter(headers=[("a", None)])), ("traceparent", b"00-1-2-01")])

    assert parts is not None
    assert parts[0] == [("a", None)]
    assert "traceparent" not in parts[1]


@pytest.mark.parametrize("found", [[], [("a", b"1")], headers(letter())[:11], headers(letter())[1:]])
def test_what_is_no_dead_letter(found: Headers) -> None:
    assert split(found) is None
