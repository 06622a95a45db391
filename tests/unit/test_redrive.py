"""Dead letters as work: what is open, what goes back, what is refused. Records in the order of their partition, no Kafka."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from tests.fakes import NOON
from tests.letters import dead_letter
from tests.strategies import dead_letters as drawn_letters
from worker.dead_letters import Headers, headers
from worker.errors import Reason, Stage
from worker.records import DeadLetter, Model, Place, Source
from worker.redrive import (
    REDRIVES,
    Letter,
    Original,
    Query,
    State,
    Survey,
    note_headers,
    read_place,
    read_record,
    read_time_ms,
    redriven_headers,
    refusal,
)

EVERY = frozenset(State)
TIME_MS = 1_795_000_000_123


class TopicRecord(Struct):
    """A record of the dead-letters topic, as Kafka gives it."""

    partition: int
    offset: int
    timestamp: int = TIME_MS
    key: bytes | None = b"key"
    value: bytes | None = b"value"
    headers: Sequence[tuple[str, bytes | None]] = ()


def letter_headers(own: Headers | None = None, **changes: Any) -> Headers:
    undecoded: dict[str, Any] = {
        "stage": Stage.DECODE,
        "reason": Reason.INVALID_JSON,
        "error_class": "InvalidRecord",
        "error_message": "not JSON at byte 7",
        "model": Model("default", "0.2.0", "a" * 64),
        "headers": own or [],
    }
    return headers(dead_letter(**undecoded | changes))


def comment_of(offset: int, partition: int = 0) -> Source:
    """Where the comment was read whose letter stands there: each has one of its own."""
    return Source("comments", 2, 41 + offset + 100 * partition)


def record(offset: int = 0, partition: int = 0, own: Headers | None = None, **changes: Any) -> TopicRecord:
    fields = {"source": comment_of(offset, partition)} | changes
    return TopicRecord(partition, offset, headers=letter_headers(own, **fields))


def note(of: int, offset: int, state: State = State.REDRIVEN, partition: int = 0) -> TopicRecord:
    """One that names its letter by its place alone, as those of 0.1.0 do."""
    noted = note_headers(Place(partition, of), state, by="ann@desk", at=NOON)
    return TopicRecord(partition, offset, value=None, headers=noted)


def note_on(letter: TopicRecord, offset: int, state: State = State.REDRIVEN) -> TopicRecord:
    """One that names its letter's comment as well."""
    read = read_record(letter)
    assert isinstance(read, Letter)
    noted = note_headers(read.place, state, by="ann@desk", at=NOON, original=read.original)
    return TopicRecord(letter.partition, offset, value=None, headers=noted)


def letter(own: Headers | None = None, **changes: Any) -> Letter:
    read = read_record(record(own=own, **changes))
    assert isinstance(read, Letter)
    return read


def numbered(count: int, value: bytes = b"value") -> list[Letter]:
    """Letters of two partitions in turn."""
    records = [record(at, at % 2) for at in range(count)]
    for each in records:
        each.value = value
    read = [read_record(each) for each in records]
    return [each for each in read if isinstance(each, Letter)]


def found(records: list[TopicRecord], **conditions: Any) -> dict[str, str]:
    survey = Survey(Query(**conditions))
    for each in records:
        survey.note(each)
    return {str(place): letter.state for place, letter in survey.found().items()}


# ---- what is open


def test_a_letter_is_open_until_a_note_stands_behind_it() -> None:
    records = [record(0), record(1), record(2), note(1, 3), note(0, 4, State.DISCARDED)]

    assert found(records[:3]) == {"0/0": "open", "0/1": "open", "0/2": "open"}
    assert found(records) == {"0/2": "open"}
    assert found(records, states=EVERY) == {"0/0": "discarded", "0/1": "redriven", "0/2": "open"}


def test_a_note_is_of_its_own_partition() -> None:
    records = [record(0), record(0, partition=1), note(0, 1, partition=1)]

    assert found(records) == {"0/0": "open"}


def test_the_last_note_counts() -> None:
    records = [record(0), note(0, 1, State.DISCARDED), note(0, 2)]

    assert found(records, states=EVERY) == {"0/0": "redriven"}
    assert found(records, states=frozenset({State.OPEN, State.DISCARDED})) == {}


def test_a_letter_that_a_replay_writes_once_more_is_handled_with_the_first() -> None:
    again = record(7, source=comment_of(0))
    for handled in (note_on(record(0), 2, State.DISCARDED), note(0, 2, State.DISCARDED)):
        records = [record(0), record(1), handled, again]

        assert found(records) == {"0/1": "open"}
        assert found(records, states=EVERY) == {"0/0": "discarded", "0/1": "open", "0/7": "discarded"}
        assert found([*records, note_on(again, 9)], states=frozenset({State.OPEN, State.DISCARDED})) == {"0/1": "open"}


def test_so_is_one_that_stood_there_already() -> None:
    """Written twice, by a worker that was killed between the letter and its offset."""
    twice = [record(0), record(1, source=comment_of(0))]

    assert found([*twice, note_on(twice[1], 2)]) == {}
    assert found([*twice, note_on(twice[1], 2)], states=EVERY) == {"0/0": "redriven", "0/1": "redriven"}


def test_a_comment_that_was_put_back_and_died_again_is_open() -> None:
    """Its copy stands at an offset of its own."""
    records = [record(0), note_on(record(0), 1), record(2, own=[(REDRIVES, b"1")])]

    assert found(records) == {"0/2": "open"}


def test_another_comment_at_the_same_place_of_a_topic_that_was_made_anew_is_open() -> None:
    records = [record(0), note_on(record(0), 1), record(2, source=comment_of(0), timestamp_ms=TIME_MS + 1)]

    assert found(records) == {"0/2": "open"}


def test_a_letter_that_names_no_comment_is_handled_by_its_place() -> None:
    records = [record(0, source=None), record(1, source=None), note_on(record(0, source=None), 2, State.DISCARDED)]

    assert found(records) == {"0/1": "open"}


@pytest.mark.parametrize("partition", [0, 1], ids=["its partition", "another"])
def test_a_mirror_numbers_anew_and_the_same_comments_stay_handled(partition: int) -> None:
    """Of the letters at 0, 2, 4 ... the one at 8 was handled. In the mirror it stands at 4, and another at 8."""
    originals = [record(2 * at) for at in range(10)]
    records = [*originals, note_on(originals[4], 20, State.DISCARDED)]
    assert found(records, states=frozenset({State.DISCARDED})) == {"0/8": "discarded"}
    for at, each in enumerate(records):
        each.offset = at
    records[-1].partition = partition

    assert found(records, states=frozenset({State.DISCARDED})) == {"0/4": "discarded"}
    assert len(found(records)) == 9


def test_a_note_whose_letter_retention_took_says_nothing() -> None:
    assert found([note(3, 8), record(9)]) == {"0/9": "open"}


@pytest.mark.parametrize(
    "stranger",
    [
        note(7, 6),
        note(2, 6, partition=1),
        note(2, 6, State.OPEN),
        TopicRecord(0, 6, value=None),
        TopicRecord(0, 6, value=None, headers=[("screener-handled", b"\xff"), ("screener-handled-offset", b"2")]),
        TopicRecord(
            0, 6, value=None, headers=[("screener-handled", b"redriven"), ("screener-handled-partition", None)]
        ),
        TopicRecord(0, 6, headers=note(2, 6).headers),
    ],
    ids=["of what follows", "of another partition", "of no deed", "bare", "garbled", "of nowhere", "with a value"],
)
def test_what_is_no_note_handles_nothing(stranger: TopicRecord) -> None:
    if stranger.partition == 1:
        stranger.partition = 0
    assert found([record(2), record(7), stranger]) == {"0/2": "open", "0/7": "open"}


def test_records_that_are_no_letters_are_counted_and_passed_over() -> None:
    survey = Survey(Query())
    for each in (TopicRecord(0, 0), record(1), note(1, 2), TopicRecord(0, 3, value=None)):
        survey.note(each)

    assert survey.strangers == 1


def test_an_empty_value_is_a_letter_and_a_missing_one_is_not() -> None:
    empty, missing = record(0), record(1)
    empty.value, missing.value = b"", None

    assert found([empty, missing]) == {"0/0": "open"}


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([State.REDRIVEN, State.DISCARDED]), st.booleans()), max_size=12
    )
)
def test_a_survey_remembers_exactly_what_the_last_notes_say(deeds: list[tuple[int, State, bool]]) -> None:
    """The last of the letters is of the first one's comment."""
    letters = [record(0), record(1), record(2, source=comment_of(0))]
    notes = [
        note_on(letters[of], 3 + at, state) if names_it else note(of, 3 + at, state)
        for at, (of, state, names_it) in enumerate(deeds)
    ]
    last = [State.OPEN, State.OPEN]
    for of, state, _ in deeds:
        last[of % 2] = state

    assert found([*letters, *notes], states=EVERY) == {f"0/{of}": last[of % 2] for of in range(3)}
    assert found([*letters, *notes]) == {f"0/{of}": "open" for of in range(3) if last[of % 2] is State.OPEN}


# ---- filters


@pytest.mark.parametrize(
    ("conditions", "offsets"),
    [
        ({"reasons": frozenset({"invalid_json"})}, [0, 3]),
        ({"reasons": frozenset({"invalid_json", "invalid_id"})}, [0, 1, 3]),
        ({"worker_versions": frozenset({"0.3.0"})}, [2]),
        ({"worker_versions": frozenset({"unknown"})}, [3]),
        ({"since_ms": 1000}, [1, 2]),
        ({"until_ms": 2000}, [0, 1]),
        ({"since_ms": 1000, "until_ms": 2000}, [1]),
        ({"partition": 0}, [0, 1, 2, 3]),
        ({"partition": 1}, []),
        ({"places": frozenset({Place(0, 2), Place(1, 1)})}, [2]),
        ({"reasons": frozenset({"invalid_json"}), "since_ms": 1}, []),
        ({}, [0, 1, 2, 3]),
    ],
)
def test_a_letter_has_to_meet_every_condition(conditions: dict[str, Any], offsets: list[int]) -> None:
    records = [
        record(0, timestamp_ms=0),
        record(1, timestamp_ms=1000, reason=Reason.INVALID_ID),
        record(2, timestamp_ms=2000, reason=Reason.UNCLASSIFIABLE, worker_version="0.3.0"),
        record(3, timestamp_ms=None),
    ]
    # A topic may give a letter the time of its own writing. Where the comment had none, that is all there is.
    for each, time_ms in zip(records, (900, 900, 900, -1), strict=True):
        each.timestamp = time_ms
    records[3].headers = records[3].headers[:-1]

    assert found(records, **conditions) == {f"0/{offset}": "open" for offset in offsets}


def test_what_is_left_out_for_its_time_alone_is_counted() -> None:
    """After an outage of six hours, what an hour shows is nothing, and all of it waits."""
    survey = Survey(Query(since_ms=1000, reasons=frozenset({"invalid_json"})))
    for each in (
        record(0, timestamp_ms=900),
        record(1, timestamp_ms=900),
        record(2, timestamp_ms=900, reason=Reason.INVALID_ID),
        record(3, timestamp_ms=1000),
        note_on(record(1, timestamp_ms=900), 4),
    ):
        survey.note(each)

    assert list(survey.found()) == [Place(0, 3)]
    assert survey.out_of_time() == 1


@pytest.mark.parametrize(
    ("conditions", "partitions", "first"),
    [
        ({}, [0, 1, 2], 0),
        ({"partition": 1}, [1], 0),
        ({"places": frozenset({Place(1, 9), Place(1, 4), Place(2, 0)})}, [1, 2], 4),
    ],
)
def test_no_more_is_read_than_has_to_be(conditions: dict[str, Any], partitions: list[int], first: int) -> None:
    query = Query(**conditions)

    assert [number for number in range(3) if query.may_be_in(number)] == partitions
    assert query.first_offset(1) == first


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026-11-24T10:00:00Z", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("2026-11-24T11:00:00.250+01:00", datetime(2026, 11, 24, 10, 0, 0, 250_000, tzinfo=UTC)),
        ("90s", datetime(2026, 11, 24, 11, 58, 30, tzinfo=UTC)),
        ("30m", datetime(2026, 11, 24, 11, 30, tzinfo=UTC)),
        ("1.5h", datetime(2026, 11, 24, 10, 30, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 17, 12, tzinfo=UTC)),
        ("1w", datetime(2026, 11, 17, 12, tzinfo=UTC)),
    ],
)
def test_a_time_or_an_age(written: str, time: datetime) -> None:
    assert read_time_ms(written, NOON) == round(time.timestamp() * 1000)


@pytest.mark.parametrize("written", ["", "2h ago", "-2h", "2y", "2026-11-24T10:00:00", "yesterday", "9" * 30 + "d"])
def test_what_is_neither(written: str) -> None:
    with pytest.raises(ValueError, match="not a time with a zone"):
        read_time_ms(written, NOON)


def test_a_place() -> None:
    assert read_place("3/41") == Place(3, 41)
    assert str(Place(3, 41)) == "3/41"


@pytest.mark.parametrize("written", ["", "3", "3/", "/41", "3/41/2", "-3/41", "3/-1", "a/b", " 3/41", "3/٤"])
def test_what_is_no_place(written: str) -> None:
    with pytest.raises(ValueError, match="not PARTITION/OFFSET"):
        read_place(written)


# ---- what goes back


def test_the_first_try() -> None:
    own: Headers = [("trace", b"\x00\xff"), ("trace", None), ("screener-stage", b"of the producer's own")]

    assert redriven_headers(letter(own)) == [*own, (REDRIVES, b"1")]


def test_the_next_try_takes_the_place_of_the_last() -> None:
    again = letter([("a", b"1"), (REDRIVES, b"1"), ("traceparent", b"added on the way")])

    assert again.redrives == 1
    assert redriven_headers(again) == [("a", b"1"), ("traceparent", b"added on the way"), (REDRIVES, b"2")]


@pytest.mark.parametrize("value", [b"", b"many", b"-1", b"1.0", b"9" * 10, "٤".encode(), None])
def test_a_header_of_that_name_that_counts_nothing_stays(value: bytes | None) -> None:
    strange = letter([(REDRIVES, value)])

    assert strange.redrives == 0
    assert redriven_headers(strange) == [(REDRIVES, value), (REDRIVES, b"1")]


def test_only_the_last_count_is_ours() -> None:
    assert redriven_headers(letter([(REDRIVES, b"7"), (REDRIVES, b"1")])) == [(REDRIVES, b"7"), (REDRIVES, b"2")]


@settings(max_examples=100)
@given(drawn_letters(), st.integers(1, 5))
def test_a_comment_that_dies_again_and_again_keeps_its_headers_and_its_count(drawn: DeadLetter, tries: int) -> None:
    original = [header for header in drawn.headers if header[0] != REDRIVES]
    carried: Headers = list(original)
    for tried in range(tries):
        read = letter(carried)
        assert read.redrives == tried
        carried = redriven_headers(read)

    assert carried == [*original, (REDRIVES, str(tries).encode())]


@pytest.mark.parametrize(
    ("own", "topic", "why"),
    [
        ([], "comments", None),
        ([(REDRIVES, b"2")], "comments", None),
        ([(REDRIVES, b"3")], "comments", "put back 3 times already"),
        ([(REDRIVES, b"4")], "comments", "put back 4 times already"),
        ([], "elsewhere", "its comment was read from elsewhere"),
        ([], "old-comments", None),
    ],
)
def test_what_is_refused(own: Headers, topic: str, why: str | None) -> None:
    tried = letter(own, source=Source(topic, 0, 0))

    assert refusal(tried, topics={"comments", "old-comments"}, limit=3) == why


def test_a_letter_that_was_read_from_nowhere_is_refused() -> None:
    assert refusal(letter(source=None), topics={"comments"}, limit=3) == "its comment was read from no topic"
    assert letter(source=None).original_partition is None
    assert letter().original_partition == 2


def test_a_note_says_what_when_and_by_whom() -> None:
    written = [
        ("screener-handled", b"discarded"),
        ("screener-handled-partition", b"3"),
        ("screener-handled-offset", b"41"),
        ("screener-handled-by", b"ann@desk"),
        ("screener-handled-at", b"2026-11-24T12:00:00.000Z"),
    ]
    assert note_headers(Place(3, 41), State.DISCARDED, by="ann@desk", at=NOON) == written
    assert note_headers(
        Place(3, 41), State.DISCARDED, by="ann@desk", at=NOON, original=Original("comments", 2, 7, "1795000000123")
    ) == [
        *written,
        ("screener-handled-original-topic", b"comments"),
        ("screener-handled-original-partition", b"2"),
        ("screener-handled-original-offset", b"7"),
        ("screener-handled-original-timestamp", b"1795000000123"),
    ]
