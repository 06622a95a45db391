"""`schemas/` is what the structs say, and says of a record what the codec says of it."""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from tests.fakes import comment_value
from tests.strategies import comments, dead_letters, decisions
from worker.codec import decode_comment, encode
from worker.errors import InvalidRecord, Reason, Stage
from worker.records import Action, AgeBand, Comment, DeadLetter, Decision, Mode, Source
from worker.schemas import json_schemas

FOLDER = Path(__file__).parents[2] / "schemas"
VALID = json.loads(comment_value())


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((FOLDER / f"{name}.json").read_bytes()))


REQUIRED = json_schemas()["decision"]["$defs"]["Decision"]["required"]
COMMENT, DECISION, DEAD_LETTER = map(validator, ("comment", "decision", "dead-letter"))


def test_the_folder_holds_what_the_structs_say() -> None:
    written = {file.stem: json.loads(file.read_bytes()) for file in FOLDER.glob("*.json")}

    assert written == json_schemas(), "schemas/ is behind worker/records.py: run `make schemas`"


@pytest.mark.parametrize("schema", json_schemas().values(), ids=json_schemas())
def test_each_is_a_schema_of_the_draft_that_it_names(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


@settings(max_examples=60)
@given(comments())
def test_every_comment_is_valid(comment: Comment) -> None:
    COMMENT.validate(json.loads(msgspec.json.encode(comment)))


@settings(max_examples=60)
@given(decisions())
def test_every_decision_is_valid(decision: Decision) -> None:
    DECISION.validate(json.loads(encode(decision)))


@settings(max_examples=60)
@given(dead_letters())
def test_every_dead_letter_is_valid(letter: DeadLetter) -> None:
    DEAD_LETTER.validate(json.loads(encode(letter)))


def test_unknown_fields_are_valid_so_that_producers_can_move_first() -> None:
    COMMENT.validate(VALID | {"likes": 3, "nested": {"any": ["thing"]}})


# What JSON Schema cannot say without the optional `format` vocabulary (that created_at is a moment with a zone) is not here.
@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("comment_id", "text", "created_at")),
        *({name: 7} for name in VALID),
        {"comment_id": ""},
        {"comment_id": "x" * 501},
        {"author_id": "x" * 501},
        {"text": ""},
        {"text": "🦊" * 10_001},
        {"audience_age_band": "13-15"},
        {"language": "x" * 36},
    ],
    ids=str,
)
def test_schema_and_codec_refuse_the_same_comments(changes: dict[str, Any]) -> None:
    changed = VALID | changes

    assert not COMMENT.is_valid(changed)
    with pytest.raises(InvalidRecord):
        decode_comment(json.dumps(changed).encode())


@pytest.mark.parametrize("name", VALID)
def test_schema_and_codec_want_the_same_fields(name: str) -> None:
    changed = {field: value for field, value in VALID.items() if field != name}

    assert not COMMENT.is_valid(changed)
    with pytest.raises(InvalidRecord):
        decode_comment(json.dumps(changed).encode())


def test_a_comment_with_an_empty_language_is_valid_to_both() -> None:
    without = VALID | {"language": ""}

    COMMENT.validate(without)
    assert decode_comment(json.dumps(without).encode()).language is None


def test_the_longest_comment_is_valid_to_both() -> None:
    longest = VALID | {"comment_id": "x" * 500, "text": "🦊" * 10_000}

    COMMENT.validate(longest)
    decode_comment(json.dumps(longest).encode())


@settings(max_examples=20)
@given(decisions())
def test_a_decision_that_lacks_something_or_says_something_else_is_not_valid(decision: Decision) -> None:
    written = json.loads(encode(decision))
    wrong: list[dict[str, Any]] = [
        written | {"action": "maybe"},
        written | {"severity": 1.5},
        written | {"decision_id": "not a name"},
        written | {"scores": {"insult": -0.1}},
        written | {"model": {"name": "m", "version": "1", "sha256": "short"}},
        *({name: value for name, value in written.items() if name != gone} for gone in REQUIRED),
    ]

    assert not any(DECISION.is_valid(changed) for changed in wrong)


def inside(schema: Any) -> Iterator[dict[str, Any]]:
    """It, and every schema in it."""
    if isinstance(schema, dict):
        yield schema
    if isinstance(schema, dict | list):
        for value in schema.values() if isinstance(schema, dict) else schema:
            yield from inside(value)


ENUMS: dict[str, type[StrEnum]] = {enum.__name__: enum for enum in (Action, AgeBand, Mode, Reason, Stage)}


def test_what_consumers_list_is_in_the_schemas_in_the_order_in_which_it_was_declared() -> None:
    written = [json.loads(file.read_bytes()) for file in FOLDER.glob("*.json")]
    found = [part for schema in written for part in inside(schema) if "enum" in part]

    assert {part["title"] for part in found} == ENUMS.keys()
    for part in found:
        assert part["enum"] == list(ENUMS[part["title"]])


def test_every_whole_number_says_how_large_it_may_be_or_counts_something_small() -> None:
    found = {
        name: (field.get("minimum"), field.get("maximum"))
        for schema in json_schemas().values()
        for part in inside(schema)
        for name, described in part.get("properties", {}).items()
        for field in inside(described)
        if field.get("type") == "integer"
    }

    assert found == {
        "partition": (0, 2**31 - 1),
        "offset": (0, 2**63 - 1),
        "timestamp_ms": (0, 2**63 - 1),
        "start": (0, None),
        "end": (0, None),
        "attempts": (1, None),
    }


@settings(max_examples=5)
@given(decisions())
def test_the_last_offset_that_there_can_be_is_valid_and_one_behind_it_is_not(decision: Decision) -> None:
    last = Source("comments", 2**31 - 1, 2**63 - 1)
    written = json.loads(encode(msgspec.structs.replace(decision, source=last)))

    DECISION.validate(written)
    for wrong in ({"offset": 2**63}, {"offset": -1}, {"partition": 2**31}, {"partition": -1}):
        assert not DECISION.is_valid(written | {"source": written["source"] | wrong})
