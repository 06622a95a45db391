"""Dead letters as work: which are open, what a redrive puts back on the comments topic, and the note that a letter was handled.

Pure. The topic only grows, so nothing is taken out of it: a note stands behind its letter, in the same partition, and has no
value. Whoever reads a partition from its beginning to its end knows what is open in it, and no state is kept anywhere else.
Every other reader of the topic passes over records without a value.
"""

import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct

from worker import dead_letters
from worker.dead_letters import PREFIX, Headers
from worker.records import Place

REDRIVES: Final = PREFIX + "redrives"
"""The header that counts how often a comment was put back. It travels with the comment, and with its next dead letter."""
UNKNOWN_VERSION: Final = "unknown"
"""Stands for the worker's version in letters that were written before there was a header for it."""
HANDLED: Final = PREFIX + "handled"
"""The header by which a note is known; it says how."""

_PARTITION, _OFFSET, _BY, _AT = (f"{HANDLED}-{name}" for name in ("partition", "offset", "by", "at"))
_PARTS: Final = ("topic", "partition", "offset", "timestamp")
_ORIGINAL: Final = tuple(f"{HANDLED}-original-{name}" for name in _PARTS)
_COUNT: Final = re.compile(rb"[0-9]{1,9}")
_LONG: Final = re.compile(rb"[0-9]{1,18}")
_PLACE: Final = re.compile(r"([0-9]{1,9})/([0-9]{1,18})")
_AGE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class State(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"


class TopicRecord(Protocol):
    """What is used of a record read from Kafka."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Original(Struct, frozen=True):
    """Where a comment was read, and of which time it was: in a topic that was made anew another one stands there.

    One that was put back has an offset of its own.
    """

    topic: str
    partition: int
    offset: int
    time: str
    """As the letter's header has it."""


class Letter(Struct, frozen=True, kw_only=True):
    """A dead letter read back."""

    place: Place
    time_ms: int | None
    """Kafka's time of the comment, which its letter keeps."""
    key: bytes | None
    value: bytes
    headers: Headers
    """The comment's own."""
    facts: Mapping[str, str]
    """What the worker wrote, by the names of its headers without the prefix."""

    @property
    def reason(self) -> str:
        return self.facts["reason"]

    @property
    def original_topic(self) -> str:
        return self.facts["original-topic"]

    @property
    def original_partition(self) -> int | None:
        """Which partition the comment was read from; None where the letter does not say."""
        written = self.facts["original-partition"]
        return int(written) if _COUNT.fullmatch(written.encode()) else None

    @property
    def original(self) -> Original | None:
        """The comment that it is of; None where it does not say."""
        return _read_original([self.facts.get(f"original-{name}", "") for name in _PARTS])

    @property
    def worker_version(self) -> str:
        return self.facts.get("worker-version", UNKNOWN_VERSION)

    @property
    def redrives(self) -> int:
        """How often this comment was put back already."""
        return redrives_of(self.headers)


class Note(Struct, frozen=True):
    """That a letter was handled, and how."""

    place: Place
    state: State
    original: Original | None = None
    """Which comment's; None in a note that was written before there were headers for it."""


def read_record(record: TopicRecord) -> Letter | Note | None:
    """What a record of the dead-letters topic is; None where it is neither a letter nor a note that can be meant for one."""
    if record.value is None:
        return _read_note(record)
    parts = dead_letters.split(record.headers)
    if parts is None:
        return None
    own, facts = parts
    return Letter(
        place=Place(record.partition, record.offset),
        time_ms=_time_of(record, facts),
        key=record.key,
        value=record.value,
        headers=own,
        facts=facts,
    )


def _time_of(record: TopicRecord, facts: Mapping[str, str]) -> int | None:
    """When its comment was written. The record itself may have the time of its own writing: a topic can ask for that."""
    written = facts.get("original-timestamp", "")
    if written.isascii() and written.isdigit():
        return int(written)
    return record.timestamp if record.timestamp >= 0 else None


def note_headers(place: Place, state: State, *, by: str, at: datetime, original: Original | None = None) -> Headers:
    """The headers of a note.

    Args:
        place: of the letter.
        state: what was done about it.
        original: its comment.
        by: who did it.
        at: when, with a zone.
    """
    written = {
        HANDLED: state,
        _PARTITION: str(place.partition),
        _OFFSET: str(place.offset),
        _BY: by,
        _AT: at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if original is not None:
        values = (original.topic, str(original.partition), str(original.offset), original.time)
        written |= dict(zip(_ORIGINAL, values, strict=True))
    return [(name, value.encode(errors="replace")) for name, value in written.items()]


def redriven_headers(letter: Letter) -> Headers:
    """The comment's own headers as they were, without the last count of tries, and the next count behind them."""
    at = _count_at(letter.headers)
    own = [header for number, header in enumerate(letter.headers) if number != at]
    return [*own, (REDRIVES, str(letter.redrives + 1).encode())]


def redrives_of(headers: Sequence[tuple[str, bytes | None]]) -> int:
    """How often the comment with these headers was put back."""
    at = _count_at(headers)
    return 0 if at is None else int(headers[at][1] or b"")


def refusal(letter: Letter, *, topics: Collection[str], limit: int) -> str | None:
    """Why a letter is not to be put back, in a line; None where it may be.

    Args:
        letter: the letter.
        topics: whose comments may be.
        limit: how often one comment may be.
    """
    if letter.original_topic not in topics:
        return f"its comment was read from {letter.original_topic or 'no topic'}"
    if letter.redrives >= limit:
        return f"put back {letter.redrives} times already"
    return None


class Query(Struct, frozen=True, kw_only=True):
    """Which letters are meant: those that meet every condition. An empty collection or None is no condition."""

    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    """Not included."""
    worker_versions: frozenset[str] = frozenset()
    partition: int | None = None
    places: frozenset[Place] = frozenset()
    states: frozenset[State] = frozenset({State.OPEN})

    def matches(self, letter: Letter) -> bool:
        """Whether a letter meets every condition but that of its state, which only stands behind it, and that of its time."""
        return (
            (not self.places or letter.place in self.places)
            and self.partition in (None, letter.place.partition)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.worker_versions or letter.worker_version in self.worker_versions)
        )

    def may_be_in(self, partition: int) -> bool:
        """Whether a partition has to be read."""
        return self.partition in (None, partition) and (
            not self.places or any(place.partition == partition for place in self.places)
        )

    def first_offset(self, partition: int) -> int:
        """Where in a partition to begin to read."""
        return min((place.offset for place in self.places if place.partition == partition), default=0)

    def is_in_time(self, time_ms: int | None) -> bool:
        """Whether a comment of this time is meant."""
        if self.since_ms is None and self.until_ms is None:
            return True
        if time_ms is None:
            return False
        return (self.since_ms is None or time_ms >= self.since_ms) and (
            self.until_ms is None or time_ms < self.until_ms
        )


class Found(Struct):
    """What a survey remembers of a letter."""

    reason: str
    state: State = State.OPEN
    original: Original | None = None
    in_time: bool = True
    """Whether its comment is of the time that was asked for."""


class Survey:
    """The letters that a query asks for, once every record was noted, each partition's in order.

    What was handled is a comment: a letter that a replay has written once more, of the same comment at the same place of the
    comments topic, is handled with the first. One that was put back and died again stands at another place, and is open.

    Remembers a place, a comment, a reason and a state of each of them, about 500 bytes, and no letter. One that was handled is
    forgotten as soon as its note is met, but for its comment, unless handled ones are asked for.

    Args:
        query: which letters.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self._found: dict[Place, Found] = {}
        self._handled: dict[Original | None, State] = {}
        self.strangers = 0
        """Records with a value that are no dead letters."""

    def note(self, record: TopicRecord) -> None:
        """Take in the next record of its partition."""
        read = read_record(record)
        if isinstance(read, Letter):
            handled = self._handled.get(read.original)
            if self._query.matches(read) and (handled is None or handled in self._query.states):
                # A reason is one of ten: one string of each is enough.
                self._found[read.place] = Found(
                    sys.intern(read.reason), original=read.original, in_time=self._query.is_in_time(read.time_ms)
                )
        elif isinstance(read, Note):
            self._handle(read)
        elif record.value is not None:
            self.strangers += 1

    def found(self) -> dict[Place, Found]:
        """What the query asks for, in order of place."""
        return {place: found for place, found in self._in_asked_state() if found.in_time}

    def out_of_time(self) -> int:
        """How many letters are as asked for, but of comments of another time: of an hour ago are those that waited for longer."""
        return sum(not found.in_time for _, found in self._in_asked_state())

    def _in_asked_state(self) -> Iterator[tuple[Place, Found]]:
        for place, found in sorted(self._found.items()):
            found.state = self._handled.get(found.original, found.state)
            if found.state in self._query.states:
                yield place, found

    def _handle(self, note: Note) -> None:
        found = self._found.get(note.place)
        if note.original is not None:
            self._handled[note.original] = note.state
            if found is None or found.original != note.original:
                # A mirror has numbered its letters anew: another stands at that place, or none.
                return
        elif found is not None and found.original is not None:
            self._handled[found.original] = note.state
        if found is not None:
            found.state = note.state
            if note.state not in self._query.states:
                del self._found[note.place]


def by_reason(found: Collection[Found]) -> Counter[str]:
    """How many of each reason."""
    return Counter(letter.reason for letter in found)


def read_place(text: str) -> Place:
    """Read `PARTITION/OFFSET`. Raises ValueError."""
    if not (parts := _PLACE.fullmatch(text)):
        raise ValueError(f"{text}: not PARTITION/OFFSET, for example 3/41")
    return Place(int(parts[1]), int(parts[2]))


def read_time_ms(text: str, now: datetime) -> int:
    """Read a time, RFC 3339 or an age like `2h`, as milliseconds since 1970.

    Raises:
        ValueError: it is neither.
    """
    try:
        if age := _AGE.fullmatch(text):
            time = now - timedelta(**{_UNITS[age[2]]: float(age[1])})
        else:
            time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(
            f"{text}: not a time with a zone like 2026-11-24T10:00:00Z, nor an age like 90s, 30m, 2h, 7d or 1w"
        )
    return round(time.timestamp() * 1000)


def _read_note(record: TopicRecord) -> Note | None:
    headers = {name: value or b"" for name, value in record.headers}
    state, partition, offset = (headers.get(name, b"") for name in (HANDLED, _PARTITION, _OFFSET))
    if state.decode(errors="replace") not in (State.REDRIVEN, State.DISCARDED):
        return None
    if not (_COUNT.fullmatch(partition) and _LONG.fullmatch(offset)):
        return None
    place = Place(int(partition), int(offset))
    original = _read_original([headers.get(name, b"").decode(errors="replace") for name in _ORIGINAL])
    # One that names no comment, and a letter in another partition or behind itself, was copied here from another topic.
    if original is None and not _is_before(place, record):
        return None
    return Note(place, State(state.decode()), original)


def _read_original(written: Sequence[str]) -> Original | None:
    topic, partition, offset, time = written
    if not (topic and _COUNT.fullmatch(partition.encode()) and _LONG.fullmatch(offset.encode())):
        return None
    # A topic is one of a few: one string of each is enough.
    return Original(sys.intern(topic), int(partition), int(offset), time)


def _is_before(place: Place, record: TopicRecord) -> bool:
    return place.partition == record.partition and place.offset < record.offset


def _count_at(headers: Sequence[tuple[str, bytes | None]]) -> int | None:
    """Which header counts the tries: the last of that name that holds a number."""
    for at in range(len(headers) - 1, -1, -1):
        name, value = headers[at]
        if name == REDRIVES and _COUNT.fullmatch(value or b""):
            return at
    return None
