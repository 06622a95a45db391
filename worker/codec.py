"""Bytes ⇄ records.

The first step of the flow. Kafka values are decoded here and nowhere else: Faust would ack what it cannot decode before
anyone has seen it.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import msgspec

from worker.errors import InvalidRecord, Reason, Stage
from worker.records import Comment, DeadLetter, Decision


class _Named(msgspec.Struct):
    """As much of a comment as tells which one it is."""

    comment_id: str


_comments: Final = msgspec.json.Decoder(Comment)
_names: Final = msgspec.json.Decoder(_Named)
_encoder: Final = msgspec.json.Encoder()

# Whole messages, or their ends: what msgspec quotes of the record may look like either.
_FIELD: Final = re.compile(r" - at `\$\.(\w+)`\Z")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_HALF: Final = re.compile(r"[\ud800-\udfff]")
_IDS: Final = ("comment_id", "author_id", "content_id", "content_owner_id", "parent_comment_id", "community_id")
_REASON_OF_FIELD: Final = dict.fromkeys(_IDS, Reason.INVALID_ID) | {
    "text": Reason.INVALID_TEXT,
    "created_at": Reason.INVALID_TIMESTAMP,
}


def decode_comment(value: bytes) -> Comment:
    """Read one comment. What `mended` can put right, an emoji cut in two for instance, is no error. An empty language is none.

    Raises:
        InvalidRecord: with the reason, naming the field and what was expected of it, never what it held.
    """
    try:
        comment = _comments.decode(value)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        if (better := mended(value)) != value:
            return decode_comment(better)
        raise _malformed(value, str(error)) from None
    except RecursionError:
        raise InvalidRecord(Stage.DECODE, Reason.INVALID_JSON, "nested too deeply") from None
    return comment if comment.language != "" else msgspec.structs.replace(comment, language=None)


def mended(value: bytes) -> bytes:
    """What somebody else's encoder or scissors left in a comment, put right, so that none goes unscreened for it.

    Its known fields alone, with U+FFFD for each half of a surrogate pair in the text, and no byte-order mark; or as it was, where
    it is not the JSON of an object.
    """
    fields = _loaded(value)
    if not isinstance(fields, dict):
        return value
    known = {name: fields[name] for name in Comment.__struct_fields__ if name in fields}
    if isinstance(known.get("text"), str):
        known["text"] = _HALF.sub("\ufffd", known["text"])
    return json.dumps(known).encode()


def _loaded(value: bytes) -> Any:
    """What its JSON says, halves of surrogate pairs included; None where it is none."""
    try:
        # Of bytes it would take halves that are no UTF-8 as well.
        return json.loads(value.decode("utf-8-sig"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def typed(fields: Mapping[str, Any], number: int = 1) -> bytes:
    """A comment that no service has sent, as one on Kafka would be: an id and a time where `fields` have none.

    Bytes that are no UTF-8 come from the command line and from files as surrogates, and go on as they were.
    """
    named = {"comment_id": str(number), "created_at": datetime.now(UTC).isoformat(), **fields}
    return json.dumps(named, ensure_ascii=False).encode("utf-8", "surrogateescape")


def comment_id(value: bytes | None) -> str | None:
    """Which comment it is, without a look at the rest; None where that cannot be told."""
    try:
        return None if value is None else _names.decode(value).comment_id
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        better = value and mended(value)
        return None if better == value else comment_id(better)


def encode(record: Decision | DeadLetter) -> bytes:
    """Write one record as JSON, UTF-8."""
    return _encoder.encode(record)


def _malformed(value: bytes, message: str) -> InvalidRecord:
    # The decoder counts bytes from the start of a string, and may meet broken JSON before the broken encoding behind it.
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return InvalidRecord(Stage.DECODE, Reason.INVALID_UTF8, f"not UTF-8 at byte {error.start}")
    if _HALF.search(json.dumps(_loaded(value), ensure_ascii=False)):
        return InvalidRecord(Stage.DECODE, Reason.INVALID_FIELD, "half of a surrogate pair is not a character")
    return InvalidRecord(Stage.DECODE, Reason.INVALID_JSON, message)


def _invalid(message: str) -> InvalidRecord:
    """Sort a validation error by its field. msgspec quotes the value of an unknown enum member, so that is left out."""
    if missing := _MISSING.fullmatch(message):
        return InvalidRecord(Stage.DECODE, Reason.MISSING_FIELD, f"{missing[1]}: missing")
    if (found := _FIELD.search(message)) is None:
        return InvalidRecord(Stage.DECODE, Reason.NOT_AN_OBJECT, "not a JSON object")
    field = found[1]
    expected = "not one of the known values" if message.startswith("Invalid enum") else message[: found.start()]
    reason = _REASON_OF_FIELD.get(field, Reason.INVALID_FIELD)
    if reason is Reason.INVALID_TEXT and "of length" not in expected:
        # An author can write nothing, or too much. What is no text at all is the producer's.
        reason = Reason.INVALID_FIELD
    return InvalidRecord(Stage.DECODE, reason, f"{field}: {expected}")
