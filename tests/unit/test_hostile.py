"""Hostile input: what was found once is tried again, what is like it is tried a little, and nothing grows past its bounds."""

import io
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import worker
from tests.fuzz.promises import Broken
from tests.fuzz.targets import CASES, TARGETS, Target, load_check
from tests.fuzz.texts import UNITS, repeated
from worker.codec import decode_comment
from worker.errors import InvalidRecord, StartupError
from worker.labelled import column_names, read_labelled
from worker.language import Detector, Ranked
from worker.normalise import normalise, normalise_mapped
from worker.policy_file import read_policy
from worker.records import MAX_TEXT_CHARACTERS

KEPT: Final = sorted(path for path in CASES.glob("*/*") if path.is_file())
WORKER: Final = str(Path(worker.__file__).parent)


@pytest.mark.parametrize("case", KEPT, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_what_was_found_once_is_not_found_again(case: Path) -> None:
    load_check(case.parent.name)(case.read_bytes())


def test_every_case_belongs_to_a_target() -> None:
    assert {case.parent.name for case in KEPT} <= TARGETS.keys()


def _hostile(target: Target) -> st.SearchStrategy[bytes]:
    """A seed, or anything, with some of it cut out and something else put in."""
    changes = st.tuples(st.floats(0, 1), st.integers(0, 8), st.sampled_from(target.tokens) | st.binary(max_size=8))

    def change(parts: tuple[bytes, list[tuple[float, int, bytes]]]) -> bytes:
        content, made = parts
        for where, cut, instead in made:
            at = round(where * len(content))
            content = content[:at] + instead + content[at + cut :]
        return content

    starts = st.sampled_from([*target.seeds()]) | st.binary(max_size=80)
    return st.tuples(starts, st.lists(changes, max_size=6)).map(change)


@pytest.mark.parametrize("name", TARGETS)
def test_every_promise_holds_for_what_is_like_it(name: str) -> None:
    check = load_check(name)

    # The fuzzer does the rest.
    @settings(max_examples=20 if TARGETS[name].where == "line" else 150)
    @given(_hostile(TARGETS[name]))
    def holds(data: bytes) -> None:
        check(data)

    holds()


@pytest.mark.parametrize("text", ["ab", "a b", "  "])
def test_a_broken_promise_is_seen(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.reading.normalise", lambda text: text + " ")

    with pytest.raises(Broken):
        load_check("normalising")(b"\x00" + text.encode())


# ---- bombs: small to send, and no larger to read

MIB: Final = 2**20
SIZE: Final = 16 * MIB
COMMENT: Final = b'{"comment_id":"a","created_at":"2026-01-02T03:04:05Z",'
SCRAPS: Final = 2**13


def _peak(read: Callable[[bytes], object], value: bytes) -> float:
    """The most memory at a time, in bytes for each byte of the value. An answer, whatever it is, counts as one."""
    tracemalloc.start()
    try:
        read(value)
    except (InvalidRecord, StartupError):
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak / len(value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"[" * SIZE, id="lists in lists"),
        pytest.param(b'{"a":' * (SIZE // 5), id="objects in objects"),
        pytest.param(COMMENT + b'"text":"t","n":' + b"[" * SIZE, id="lists in an unknown field"),
        pytest.param(COMMENT + b'"text":"t","n":' + b"9" * SIZE + b"}", id="a number"),
        pytest.param(COMMENT + b'"text":"' + "🦊".encode() * (SIZE // 4) + b'"}', id="a text"),
        pytest.param(COMMENT + b'"text":"' + b"\\u0001" * (SIZE // 6) + b'"}', id="escapes"),
        pytest.param(COMMENT + b'"text":"' + b"\\ud83e" * (SIZE // 6) + b'"}', id="halves of surrogates"),
        pytest.param(COMMENT + b'"text":"a",' * (SIZE // 11) + b'"text":"t"}', id="one field again and again"),
        pytest.param(COMMENT + b'"text":"t","audience_age_band":"' + b"y" * SIZE + b'"}', id="an age band"),
        pytest.param(COMMENT + b'"text":"t","' + b"k" * SIZE + b'":1}', id="the name of a field"),
        pytest.param(bytes(SIZE), id="NULs"),
        pytest.param(b"\xff" * SIZE, id="no UTF-8"),
    ],
)
def test_a_record_takes_memory_in_proportion(value: bytes) -> None:
    assert _peak(decode_comment, value) < 8


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[" + b"a," * (SCRAPS // 2) + b"]", id="a list"),
        pytest.param(b"".join(b"a%d: b\n" % at for at in range(SCRAPS // 8)), id="unknown fields"),
        pytest.param(b"- " * (SCRAPS // 2), id="lists in lists"),
        pytest.param(b"a: &a [x]\nb: [" + b"*a," * (SCRAPS // 3) + b"]", id="aliases"),
        pytest.param(
            b"".join(
                b"a%d: &a%d [%s]\n" % (at, at, b",".join([b"*a%d" % (at - 1)] * 9) if at else b"x") for at in range(99)
            ),
            id="aliases of aliases",
        ),
        pytest.param(b"k" * 1000 + b":\n" + b"  a: 1\n" * (SCRAPS // 7), id="twins under a long key"),
        pytest.param(b'id: "' + b"\\x41" * (SCRAPS // 4) + b'"', id="escapes"),
        pytest.param(b"labels: {insult: {all: {hold: 'precision x" + b" " * SCRAPS + b"y'}}}", id="spaces"),
    ],
)
def test_a_policy_takes_memory_in_proportion(content: bytes) -> None:
    # A value of one letter is a node with its place, some 600 bytes; a policy file is at most a MiB.
    assert _peak(lambda value: read_policy(value, "bomb.yaml"), content) < 600


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(b'text\n"' + b"x" * SIZE, id="a cell"),
        pytest.param(b"text," * (MIB // 5), id="one column again and again"),
        pytest.param(b"text\n" + b"," * MIB, id="cells"),
        pytest.param(b"text\n" + b"a\n" * (MIB // 64), id="rows"),
    ],
)
def test_rows_take_memory_in_proportion(rows: bytes) -> None:
    names = column_names([], {})

    assert _peak(lambda value: read_labelled(io.BytesIO(value), is_csv=True, names=names), rows) < 200


# ---- work: lines of the worker that are run, which no busy machine makes more of


def _lines_run(call: Callable[[str], object], text: str) -> int:
    lines = 0

    def count(_: FrameType, event: str, __: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    def enter(frame: FrameType, _: str, __: Any) -> Any:
        return count if frame.f_code.co_filename.startswith(WORKER) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        call(text)
    finally:
        sys.settrace(before)
    return lines


def _detect(text: str) -> object:
    return Detector(lambda texts: [Ranked(0.5, "en", 0.5)] * len(texts)).detect([text])


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("call", [normalise, normalise_mapped, _detect], ids=["plain", "mapped", "language"])
def test_four_times_the_text_is_four_times_the_work(call: Callable[[str], object], unit: str) -> None:
    # The shorter is longer than all that is only looked at up to some length.
    short, long = repeated(unit, 240), repeated(unit, 960)
    call(long)  # what is remembered from text to text

    # Sixteen times would be quadratic.
    assert _lines_run(call, long) < 6 * _lines_run(call, short) + 200


def test_work_that_grows_is_seen() -> None:
    def growing(text: str) -> None:
        for at in range(len(text)):
            for _ in text[:at]:
                pass

    code = growing.__code__.replace(co_filename=f"{WORKER}/growing.py")
    growing.__code__ = code

    assert _lines_run(growing, "a" * 400) > 12 * _lines_run(growing, "a" * 100)


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_the_longest_comment_stays_of_bounded_length(unit: str) -> None:
    assert len(normalise(repeated(unit, MAX_TEXT_CHARACTERS))) <= 6 * MAX_TEXT_CHARACTERS
