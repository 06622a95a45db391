"""Labelled rows: what is read, what is unknown, and what is wrong with a row, without a word of what it held."""

import codecs
import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.classifier import COMMON_NAMES, LABELS
from worker.errors import StartupError
from worker.labelled import Labelled, column_names, read_labelled
from worker.records import MAX_TEXT_CHARACTERS

PRIVATE = "meet-me-at-nine"
"""Stands for whatever a comment holds: it must turn up in no error."""
UTF_16 = "line 1: not UTF-8, but UTF-16 by the look of it; save it as UTF-8"


def names(*given_: str) -> dict[str, str]:
    return column_names(given_, COMMON_NAMES)


def from_json(*rows: object, given_names: Sequence[str] = (), groups: Sequence[str] = ()) -> Labelled:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    required = [pair.rpartition("=")[0] for pair in given_names]
    stream = io.BytesIO(b"\n".join(lines) + b"\n")
    return read_labelled(stream, is_csv=False, names=names(*given_names), groups=groups, required=required)


def from_csv(content: bytes | str, given_names: Sequence[str] = (), groups: Sequence[str] = ()) -> Labelled:
    stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
    required = [pair.rpartition("=")[0] for pair in given_names]
    return read_labelled(stream, is_csv=True, names=names(*given_names), groups=groups, required=required)


def refusal(content: bytes | str, **options: Any) -> str:
    with pytest.raises(StartupError) as refused:
        from_csv(content, **options)
    message = str(refused.value)
    assert "\n" not in message
    assert PRIVATE not in message
    return message


def targets(read: Labelled) -> list[Mapping[str, float]]:
    assert read.bad == []
    return [row.targets for row in read.rows]


def why(read: Labelled) -> str:
    (bad,) = read.bad
    assert PRIVATE not in repr(read)
    return bad.why


# ---- what is read


def test_a_row_of_json() -> None:
    read = from_json({"text": "hello", "insult": 0, "threat": 1, "kindness": 0.25, "likes": 7})

    assert [(row.line, row.text) for row in read.rows] == [(1, "hello")]
    assert targets(read) == [{"insult": 0.0, "threat": 1.0, "kindness": 0.25}]


def test_a_row_of_csv() -> None:
    assert targets(from_csv("id,text,insult,kindness\n1,hello,1,0.25\n")) == [{"insult": 1.0, "kindness": 0.25}]


@pytest.mark.parametrize("cell", ["1", "1.0", "true", "True", " TRUE ", True, 1, 1.0])
def test_a_yes_is_written_in_many_ways(cell: object) -> None:
    assert targets(from_json({"text": "hello", "insult": cell})) == [{"insult": 1.0}]


@pytest.mark.parametrize("cell", ["0", "0.0", "false", "False", False, 0, 0.0])
def test_a_no_likewise(cell: object) -> None:
    assert targets(from_json({"text": "hello", "insult": cell})) == [{"insult": 0.0}]


@pytest.mark.parametrize("cell", ["", "  ", None])
def test_an_empty_cell_is_unknown_and_no_no(cell: object) -> None:
    assert targets(from_json({"text": "hello", "insult": cell, "threat": 0})) == [{"threat": 0.0}]
    assert targets(from_csv(f"text,insult,threat\nhello,{cell or ''},0\n")) == [{"threat": 0.0}]


def test_the_names_of_the_wikipedia_set_are_known() -> None:
    header = "id,comment_text,toxic,severe_toxic,obscene,threat,insult,identity_hate"

    (row,) = from_csv(f"{header}\n1,hello,1,0,1,0,1,0\n").rows
    assert row.text == "hello"
    assert [label for label, target in row.targets.items() if target] == ["toxicity", "profanity", "insult"]
    assert set(row.targets) == set(LABELS) - {"sexually_explicit", "self_harm", "kindness"}


def test_other_names_are_mapped() -> None:
    read = from_csv("body,rude,insult\nhello,1,0\n", given_names=["body=text", "rude=insult"])

    # What is mapped is read from there and nowhere else.
    assert targets(read) == [{"insult": 1.0}]


def test_a_known_name_can_be_mapped_elsewhere() -> None:
    read = from_json({"text": "hello", "toxic": 1}, given_names=["toxic=severe_toxicity"])

    assert targets(read) == [{"severe_toxicity": 1.0}]


def test_a_name_with_an_equals_sign() -> None:
    assert names("a=b=insult")["a=b"] == "insult"


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    as_json = from_json({"text": "a"}, b"", b"  ", {"text": "b"})
    as_csv = from_csv('text,insult\n"a\nb",1\n\nc,0\nd,x\n')

    assert [row.line for row in as_json.rows] == [1, 4]
    assert [row.line for row in as_csv.rows] == [2, 5]
    assert [bad.line for bad in as_csv.bad] == [6]


def test_a_byte_order_mark_is_no_text() -> None:
    assert from_json(b'\xef\xbb\xbf{"text": "a"}').rows[0].text == "a"
    assert from_csv(b"\xef\xbb\xbftext\na\n").rows[0].text == "a"


def test_groups_are_plain_values() -> None:
    fields: list[dict[str, Any]] = [{"who": "a "}, {"who": 3}, {"who": True}, {"who": None}, {"who": ""}, {}]

    assert [row.groups for row in from_json(*({"text": "t"} | more for more in fields), groups=["who"]).rows] == [
        ("a",),
        ("3",),
        ("true",),
        (None,),
        (None,),
        (None,),
    ]


def test_the_text_is_in_no_representation() -> None:
    assert PRIVATE not in repr(from_json({"text": PRIVATE}))


# ---- what is wrong with a row


@pytest.mark.parametrize("cell", ["2", "-1", "nan", "inf", "1e999", PRIVATE, -0.1, 1.01, 10**400, [1], {"yes": 1}])
def test_a_cell_that_is_no_share(cell: object) -> None:
    read = from_json({"text": "hello", "insult": cell})

    assert why(read) == "insult: not 0, 1, true, false or a share between; empty is for not annotated"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "text: missing or empty"),
        ("", "text: missing or empty"),
        (7, "text: not a string"),
        (PRIVATE * 1000, f"text: longer than {MAX_TEXT_CHARACTERS} characters"),
    ],
)
def test_a_text_that_no_comment_could_have(text: object, reason: str) -> None:
    assert why(from_json({"text": text, "insult": 1})) == reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "meet-me-at-nine"', "not JSON in UTF-8"),
        (b'{"text": "meet-me-at-nine\xff"}', "not JSON in UTF-8"),
        (b'{"text": "meet-me-at-nine \\ud800"}', "not JSON in UTF-8"),
        (b'{"insult": NaN, "text": "meet-me-at-nine"}', "not JSON in UTF-8"),
        (b"[" * 100_000, "not JSON in UTF-8"),
        (b'["meet-me-at-nine"]', "not a JSON object"),
    ],
)
def test_a_line_that_is_no_row(line: bytes, reason: str) -> None:
    assert why(from_json({"text": "fine"}, line)) == reason


def test_two_names_for_one_label_in_a_row() -> None:
    row = {"text": "hello", "toxic": 1, "toxicity": 0}

    assert why(from_json(row)) == "toxicity: given twice, under two names; say which with --map"
    assert targets(from_json(row, given_names=["toxic=toxicity"])) == [{"toxicity": 1.0}]
    assert targets(from_json({**row, "toxicity": None})) == [{"toxicity": 1.0}]


@pytest.mark.parametrize(("row", "cells"), [(f"{PRIVATE},no,1", 3), (PRIVATE, 1)])
def test_cells_that_do_not_match_the_header(row: str, cells: int) -> None:
    assert why(from_csv(f"text,insult\n{row}\n")) == f"{cells} cells under a header of 2"


def test_bytes_in_csv_that_are_not_utf_8() -> None:
    assert why(from_csv(b"text,insult\nmeet-me-at-nine\xff,1\n")) == "text: not UTF-8"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([PRIVATE], "who: not a plain value"),
        (PRIVATE * 10, "who: longer than 64 characters, which is no group's name"),
        (f"{PRIVATE}\x1b[31m", "who: holds what cannot be printed"),
    ],
)
def test_a_group_that_is_none(value: object, reason: str) -> None:
    assert why(from_json({"text": "t", "who": value}, groups=["who"])) == reason


# ---- what is wrong with a file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{PRIVATE},1\n{PRIVATE},0\n", "line 1: the header has no column text; name it with --map THEIRS=text"),
        ("", "line 1: the header has no column text; name it with --map THEIRS=text"),
        ("text,insult,insult\n", "line 1: the header has insult twice"),
        ("text,toxic,toxicity\n", "line 1: both toxic and toxicity would be toxicity; say which with --map"),
        ("text,comment_text\n", "line 1: both text and comment_text would be text; say which with --map"),
        (f'text,insult\nfine,1\n"{PRIVATE},1\n', "line 3: not CSV: unexpected end of data"),
        (f'text,insult\n"{PRIVATE}"s,1\n', "line 2: not CSV: ',' expected after '\"'"),
        (f"text;insult\n{PRIVATE};1\n", "line 1: its columns are separated by semicolons; CSV has commas"),
        (f'"id";"text"\r\n"1";"{PRIVATE}"\r\n', "line 1: its columns are separated by semicolons; CSV has commas"),
        (f"id\tcomment_text\n1\t{PRIVATE}\n", "line 1: its columns are separated by tabs; CSV has commas"),
        *(
            (f"text,insult\r\n{PRIVATE},1\r\n".encode(encoding), UTF_16)
            for encoding in ("utf-16", "utf-16-le", "utf-16-be")
        ),
        (codecs.BOM_UTF16_BE + f'"text"\n"{PRIVATE}"\n'.encode("utf-16-be"), UTF_16),
    ],
)
def test_a_csv_file_that_cannot_be_read(content: bytes | str, message: str) -> None:
    assert refusal(content) == message


def test_a_column_that_was_asked_for_and_is_not_there() -> None:
    assert refusal("text\n", given_names=["rude=insult"]) == "line 1: the header has no column rude"
    assert refusal("text\n", groups=["who"]) == "line 1: the header has no column who"
    with pytest.raises(StartupError, match=re.escape("no row has a field rude, who")):
        from_json({"text": "a"}, given_names=["rude=insult"], groups=["who"])


@pytest.mark.parametrize(
    ("columns", "mistyped"),
    [
        (["Threat ", "severe-toxicity"], {"Threat ": "threat", "severe-toxicity": "severe_toxicity"}),
        (["insults", "toxcity", "identity_hates"], {"insults": "insult", "toxcity": "toxicity"}),
        # Another column is for it.
        (["insult", "insults", "toxic", "toxicity_"], {}),
        # Free ones.
        (["id", "thread", "kind", "identity", "toxicity_annotator_count", "created_at"], {}),
    ],
)
def test_a_column_that_is_named_nearly_like_a_label_is_told(columns: Sequence[str], mistyped: dict[str, str]) -> None:
    assert from_json({"text": "a", **dict.fromkeys(columns, 1)}).mistyped == mistyped
    as_csv = from_csv(f"text,{','.join(columns)}\na{',1' * len(columns)}\n")
    assert as_csv.mistyped == {column.strip(): label for column, label in mistyped.items()}


def test_but_not_one_that_is_used_in_another_way() -> None:
    row = {"text": "a", "insults": 1, "threats": 1}

    assert from_json(row, given_names=["insults=insult"], groups=["threats"]).mistyped == {}


@pytest.mark.parametrize(
    ("given_names", "message"),
    [
        (["rude"], "--map rude: not THEIRS=OURS"),
        (["=insult"], "--map =insult: not THEIRS=OURS"),
        (["rude="], "--map rude=: nothing is none of text, toxicity"),
        (["rude=rudeness"], "--map rude=rudeness: rudeness is none of text, toxicity"),
        (["a=insult", "b=insult"], "--map b=insult: insult is mapped twice"),
        (["a=insult", "a=threat"], "--map a=threat: a is mapped twice"),
    ],
)
def test_a_map_that_is_none(given_names: Sequence[str], message: str) -> None:
    with pytest.raises(StartupError, match=re.escape(message)):
        names(*given_names)


# ---- whatever the rows are

_cells = st.dictionaries(st.sampled_from(LABELS), st.floats(0, 1))
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=50)


@given(st.lists(st.tuples(_texts, _cells), max_size=10))
def test_both_formats_say_the_same(rows: Sequence[tuple[str, Mapping[str, float]]]) -> None:
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, ["text", *LABELS])
    writer.writeheader()
    for text, cells in rows:
        writer.writerow({"text": text, **cells})

    as_csv, as_json = from_csv(written.getvalue()), from_json(*({"text": text, **cells} for text, cells in rows))
    assert [(row.text, row.targets) for row in as_csv.rows] == [(text, cells) for text, cells in rows]
    assert [(row.text, row.targets) for row in as_json.rows] == [(text, cells) for text, cells in rows]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    read_labelled(io.BytesIO(content), is_csv=False, names=names())
    try:
        read_labelled(io.BytesIO(b"text,insult\n" + content), is_csv=True, names=names())
    except StartupError as error:
        assert "not CSV" in str(error)  # noqa: PT017  either is right
