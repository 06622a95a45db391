"""Records: any bytes are a comment or a refusal, any headers a dead letter or none."""

import re
from typing import Any, Final, NamedTuple, cast

import msgspec

from tests.fuzz.promises import promise
from tests.fuzz.texts import SEPARATOR
from tests.letters import dead_letter
from worker import dead_letters
from worker.codec import decode_comment, encode
from worker.errors import InvalidRecord, Reason, Stage
from worker.records import Comment, DeadLetter, Place
from worker.redrive import Letter, Note, read_record, redriven_headers

_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "not UTF-8 at byte; half of a surrogate pair is not a character; nested too deeply; not a JSON object; missing; "
        "not one of the known values; JSON is malformed, invalid, truncated; Input data was truncated; trailing characters; "
        "trailing comma in array; expected or; unexpected end of hex escape; escaped utf-16 unicode string; invalid number; "
        "object keys must be strings; Number out of range; Invalid RFC3339 encoded datetime; with a timezone component; "
        "Expected str, got int, float, bool, null, array of length",
    )
)
"""All that a refusal is made of, beside the names of our fields and numbers."""


def decode(data: bytes) -> None:
    """Any bytes are a comment or an InvalidRecord whose message says nothing of what the record holds."""
    try:
        comment = decode_comment(data)
    except InvalidRecord as error:
        promise(error.stage is Stage.DECODE and error.reason in Reason, "a refusal has a stage and a reason")
        _check_message(error.message)
        return
    promise(decode_comment(msgspec.json.encode(comment)) == comment, "a comment that was read can be written and read")
    promise(comment.created_at.tzinfo is not None, "a time has a zone")


def _check_message(message: str) -> None:
    """Made of our own words and numbers, and nothing else: field names are ours too."""
    field, _, rest = message.partition(": ")
    if field in Comment.__struct_fields__:
        message = rest
    promise(message.isascii() and message.isprintable() and len(message) < 200, "a message is one short line")
    words = set(re.findall(r"\w+", message)) - _WORDS
    promise(all(map(str.isdigit, words)), "a message has no words but ours")


def letters(data: bytes) -> None:
    """A dead letter is read back as it was written, whatever headers its record had; strange headers are read or passed over."""
    parts = data.split(SEPARATOR)
    own: dead_letters.Headers = [
        (name.decode(errors="replace"), value if equals else None)
        for name, equals, value in (part.partition(b"=") for part in parts[:40])
    ]
    _read_back(own, None)
    written = _read_back(own, b"value")
    letter = dead_letter(timestamp_ms=None, key=parts[0], value=data, headers=own)
    again = _read_back(dead_letters.headers(letter), data)
    promise(isinstance(again, Letter) and again.headers == own, "a record's own headers come back")
    promise(msgspec.json.decode(encode(letter), type=DeadLetter) == letter, "a dead letter comes back from JSON")
    promise(not isinstance(written, Note), "what has a value is no note")


class _Read(NamedTuple):
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: dead_letters.Headers


def _read_back(headers: dead_letters.Headers, value: bytes | None) -> Letter | Note | None:
    read = read_record(cast("Any", _Read(3, 41, 0, None, value, headers)))
    if isinstance(read, Letter):
        promise(read.redrives >= 0 and read.reason is not None, "a letter's facts can be asked for")
        promise(read.original_partition is None or read.original_partition >= 0, "a partition is a number")
        promise(len(redriven_headers(read)) <= len(headers) + 1, "one more header at most")
    elif isinstance(read, Note):
        promise(read.place < Place(3, 41), "a note stands behind its letter")
    return read
