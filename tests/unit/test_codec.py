"""Decoding: which bytes are refused, for which reason, and that no reason quotes the comment."""

import json
from codecs import BOM_UTF8
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import comments, dead_letters, decisions
from worker.codec import comment_id, decode_comment, encode
from worker.errors import InvalidRecord, Reason, Stage
from worker.records import AgeBand, Comment, DeadLetter, Decision

LEAST = {"comment_id": "c1", "text": "hello", "created_at": "2026-11-24T12:00:00Z"}
IDS = ("comment_id", "author_id", "content_id", "content_owner_id", "parent_comment_id", "community_id")
PRIVATE = "s3cret"


def value(**fields: Any) -> bytes:
    return json.dumps(LEAST | fields, ensure_ascii=False).encode("utf-8", "surrogatepass")


def refusal(raw: bytes) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as refused:
        decode_comment(raw)
    assert refused.value.stage is Stage.DECODE
    return refused.value


def test_the_least_comment() -> None:
    assert decode_comment(value()) == Comment(
        comment_id="c1", text="hello", created_at=datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    )


def test_every_field() -> None:
    decoded = decode_comment(
        value(
            author_id="a1",
            author_age_band="under_13",
            content_id="v1",
            content_owner_id="o1",
            parent_comment_id="c0",
            community_id="club",
            audience_age_band="13_15",
            language="en-GB",
        )
    )

    assert decoded == Comment(
        comment_id="c1",
        text="hello",
        created_at=datetime(2026, 11, 24, 12, 0, tzinfo=UTC),
        author_id="a1",
        author_age_band=AgeBand.UNDER_13,
        content_id="v1",
        content_owner_id="o1",
        parent_comment_id="c0",
        community_id="club",
        audience_age_band=AgeBand.FROM_13_TO_15,
        language="en-GB",
    )


def test_unknown_fields_are_ignored_so_that_producers_can_move_first() -> None:
    assert decode_comment(value(likes=3, nested={"any": [1, None, "thing"]})) == decode_comment(value())


def test_null_is_the_same_as_absent_where_a_field_is_optional() -> None:
    assert decode_comment(value(author_id=None, audience_age_band=None, language=None)) == decode_comment(value())


def test_an_empty_language_is_the_same_as_none() -> None:
    assert decode_comment(value(language="")) == decode_comment(value())


def test_another_zone_is_the_same_moment() -> None:
    assert (
        decode_comment(value(created_at="2026-11-24T14:30:00+02:30")).created_at == decode_comment(value()).created_at
    )


@pytest.mark.parametrize(
    ("raw", "reason", "message"),
    [
        # UTF-8
        (value().replace(b"hello", b"hel\xfflo"), Reason.INVALID_UTF8, "not UTF-8 at byte 33"),
        (b"\xff\xfe{", Reason.INVALID_UTF8, "not UTF-8 at byte 0"),
        (b"{broken \xff", Reason.INVALID_UTF8, "not UTF-8 at byte 8"),
        (value().replace(b"c1", b"\xed\xa0\x80"), Reason.INVALID_UTF8, "not UTF-8 at byte 16"),
        # JSON
        (b"", Reason.INVALID_JSON, "Input data was truncated"),
        (b" ", Reason.INVALID_JSON, "Input data was truncated"),
        (value()[:-1], Reason.INVALID_JSON, "Input data was truncated"),
        (value() + b"}", Reason.INVALID_JSON, "JSON is malformed: trailing characters (byte 76)"),
        (b"hello", Reason.INVALID_JSON, "JSON is malformed: invalid character (byte 0)"),
        (b"\x00", Reason.INVALID_JSON, "JSON is malformed: invalid character (byte 0)"),
        (
            value().replace(b"hello", b"hel\x00lo"),
            Reason.INVALID_JSON,
            "JSON is malformed: invalid character (byte 33)",
        ),
        (b'{"x":' + b"[" * 100_000, Reason.INVALID_JSON, "nested too deeply"),
        (value(bomb=0).replace(b" 0}", b"[" * 50_000 + b"]" * 50_000 + b"}"), Reason.INVALID_JSON, "nested too deeply"),
        # Not an object
        (b"[]", Reason.NOT_AN_OBJECT, "not a JSON object"),
        (b"null", Reason.NOT_AN_OBJECT, "not a JSON object"),
        (b'"hello"', Reason.NOT_AN_OBJECT, "not a JSON object"),
        (b"1e400", Reason.NOT_AN_OBJECT, "not a JSON object"),
        # Missing
        (b"{}", Reason.MISSING_FIELD, "comment_id: missing"),
        (b'{"comment_id": "c1"}', Reason.MISSING_FIELD, "text: missing"),
        (b'{"comment_id": "c1", "text": "hello"}', Reason.MISSING_FIELD, "created_at: missing"),
        # Ids
        (value(comment_id=""), Reason.INVALID_ID, "comment_id: Expected `str` of length >= 1"),
        (value(comment_id=None), Reason.INVALID_ID, "comment_id: Expected `str`, got `null`"),
        (value(comment_id=7), Reason.INVALID_ID, "comment_id: Expected `str`, got `int`"),
        *((value(**{name: "x" * 501}), Reason.INVALID_ID, f"{name}: Expected `str` of length <= 500") for name in IDS),
        # Text
        (value(text=""), Reason.INVALID_TEXT, "text: Expected `str` of length >= 1"),
        (value(text=None), Reason.INVALID_FIELD, "text: Expected `str`, got `null`"),
        (value(text=["hello"]), Reason.INVALID_FIELD, "text: Expected `str`, got `array`"),
        (value(text="x" * 10_001), Reason.INVALID_TEXT, "text: Expected `str` of length <= 10000"),
        (value(text="🦊" * 10_001), Reason.INVALID_TEXT, "text: Expected `str` of length <= 10000"),
        # Timestamps
        (value(created_at="yesterday"), Reason.INVALID_TIMESTAMP, "created_at: Invalid RFC3339 encoded datetime"),
        (
            value(created_at="2026-11-24T12:00:00"),
            Reason.INVALID_TIMESTAMP,
            "created_at: Expected `datetime` with a timezone component",
        ),
        (value(created_at="2026-11-24"), Reason.INVALID_TIMESTAMP, "created_at: Invalid RFC3339 encoded datetime"),
        (value(created_at=1_795_000_000), Reason.INVALID_TIMESTAMP, "created_at: Expected `datetime`, got `int`"),
        # The rest
        (value(audience_age_band="13-15"), Reason.INVALID_FIELD, "audience_age_band: not one of the known values"),
        (value(author_age_band=12), Reason.INVALID_FIELD, "author_age_band: Expected `str | null`, got `int`"),
        (
            value(author_id="a-1 by name").replace(b"a-1", rb"\ud83e"),
            Reason.INVALID_FIELD,
            "half of a surrogate pair is not a character",
        ),
        (value(language="x" * 36), Reason.INVALID_FIELD, "language: Expected `str` of length <= 35"),
    ],
    ids=lambda given: repr(given)[:40] if isinstance(given, bytes) else "",
)
def test_what_is_wrong_is_said_in_one_line(raw: bytes, reason: Reason, message: str) -> None:
    refused = refusal(raw)

    assert (refused.reason, refused.message) == (reason, message)


def test_every_reason_of_decoding_has_a_case_above() -> None:
    cases = test_what_is_wrong_is_said_in_one_line.pytestmark[0].args[1]  # type: ignore[attr-defined]  # pytest's mark

    assert {reason for _, reason, _ in cases} == set(Reason) - {Reason.UNCLASSIFIABLE, Reason.DECISION_REFUSED}


@pytest.mark.parametrize("character", ["a", "é", "界", "🦊", "\0"])
def test_the_limit_of_a_text_is_in_characters_whatever_bytes_they_take(character: str) -> None:
    assert decode_comment(value(text=character * 10_000)).text == character * 10_000
    assert refusal(value(text=character * 10_001)).reason is Reason.INVALID_TEXT


@pytest.mark.parametrize(
    ("escaped", "read"),
    [
        (rb"cut in two \ud83e", "cut in two \ufffd"),
        (rb"\udd8a the other half", "\ufffd the other half"),
        (rb"\udd8a\ud83e \ud83e\udd8a", "\ufffd\ufffd 🦊"),
        (rb"\\ud83e \ud83e", "\\ud83e \ufffd"),
    ],
)
def test_half_of_a_surrogate_pair_hides_no_text(escaped: bytes, read: str) -> None:
    raw = value().replace(b"hello", escaped)

    assert decode_comment(raw).text == read
    assert comment_id(raw) == decode_comment(raw).comment_id == "c1"


def test_half_of_a_pair_that_is_no_escape_is_no_utf_8() -> None:
    assert refusal(value().replace(b"hello", b"\xed\xa0\x80")).reason is Reason.INVALID_UTF8


def test_what_has_half_of_a_pair_is_as_wrong_as_without() -> None:
    assert refusal(value(author_age_band=12).replace(b"hello", rb"\ud83e")).reason is Reason.INVALID_FIELD
    assert (
        refusal(value(author_id="a-1", likes="x").replace(b"hello", rb"\ud83e").replace(b"a-1", rb"\ud83e")).reason
        is Reason.INVALID_FIELD
    )
    assert refusal(value().replace(b"hello", rb"\ud83e")[:-1]).reason is Reason.INVALID_JSON
    assert comment_id(value().replace(b"hello", rb"\ud83e")[:-1]) is None


@pytest.mark.parametrize(
    "beside",
    [
        rb'"name": "Anna \ud83d"',
        rb'"name": "Anna \ud83d", "audience_age_band": "13_15"',
        rb'"meta": {"title": ["look \ud83d"], "\udd8a": null}',
        rb'"name": "Anna \ud83d", "score": 1e999',
        rb'"\ud83d": 1',
    ],
)
@pytest.mark.parametrize("text", [b"hello", rb"hello \ud83d"])
def test_what_stands_in_fields_that_nobody_reads_hides_no_text(beside: bytes, text: bytes) -> None:
    raw = value().replace(b"hello", text)[:-1] + b", " + beside + b"}"

    assert decode_comment(raw).text.startswith("hello")
    assert comment_id(raw) == "c1"


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_is_no_json_is_none_beside_half_of_a_pair_either(constant: bytes) -> None:
    raw = value().replace(b"hello", rb"\ud83e")[:-1] + b', "likes": ' + constant + b"}"

    assert refusal(raw).reason is Reason.INVALID_JSON
    assert comment_id(raw) is None


def test_a_byte_order_mark_is_passed_over() -> None:
    assert decode_comment(BOM_UTF8 + value()) == decode_comment(value())
    assert comment_id(BOM_UTF8 + value()) == "c1"
    assert refusal(BOM_UTF8).reason is Reason.INVALID_JSON


def test_an_escaped_surrogate_pair_is_a_character() -> None:
    assert decode_comment(value().replace(b"hello", rb"\ud83e\udd8a")).text == "🦊"


@settings(max_examples=100)
@given(
    st.sampled_from([*LEAST, *IDS, "author_age_band", "audience_age_band", "language", "likes"]),
    st.one_of(
        st.just(PRIVATE),
        st.just(PRIVATE * 2000),
        st.just({PRIVATE: PRIVATE}),
        st.just([PRIVATE]),
        st.just(f"2026-11-24T12:00:00{PRIVATE}"),
    ),
    st.integers(0, 200),
)
def test_no_message_quotes_what_stands_in_the_record(name: str, secret: Any, cut: int) -> None:
    whole = value(**{"text": PRIVATE} | {name: secret})
    broken = [
        whole,
        whole[:-cut],
        whole[:cut] + b"\xff" + whole[cut:],
        whole[:cut] + b"\x01" + whole[cut:],
        whole[cut:],
    ]

    for raw in broken:
        try:
            decode_comment(raw)
        except InvalidRecord as error:
            assert PRIVATE not in str(error)  # noqa: PT017  what does not fail is none of this test's business
            assert PRIVATE not in repr(error.__context__) or error.__suppress_context__  # noqa: PT017


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_comment_or_an_invalid_record(raw: bytes) -> None:
    try:
        decode_comment(raw)
    except InvalidRecord as error:
        assert error.reason in Reason  # noqa: PT017  either is right
        assert "\n" not in error.message  # noqa: PT017


@settings(max_examples=60)
@given(comments())
def test_a_comment_comes_back(comment: Comment) -> None:
    assert decode_comment(msgspec.json.encode(comment)) == comment


@settings(max_examples=60)
@given(decisions())
def test_a_decision_comes_back(decision: Decision) -> None:
    assert msgspec.json.decode(encode(decision), type=Decision) == decision


@settings(max_examples=60)
@given(dead_letters())
def test_a_dead_letter_comes_back(letter: DeadLetter) -> None:
    assert msgspec.json.decode(encode(letter), type=DeadLetter) == letter


@settings(max_examples=60)
@given(decisions())
def test_references_that_a_comment_did_not_have_are_not_written(decision: Decision) -> None:
    written = json.loads(encode(decision))

    assert None not in [written.get(name, "absent") for name in Comment.__struct_fields__ if name != "language"]


def test_which_comment_it_is_can_be_told_of_whatever_names_one() -> None:
    assert comment_id(b'{"text": 7, "comment_id": "c-1", "more": [{}]}') == "c-1"


@pytest.mark.parametrize(
    "value",
    [None, b"", b"no json", b"[]", b"{}", b'{"comment_id": 7}', b'{"comment_id": "\xff"}', b'{"a":' + b"[" * 100_000],
)
def test_and_of_nothing_else(value: bytes | None) -> None:
    assert comment_id(value) is None
