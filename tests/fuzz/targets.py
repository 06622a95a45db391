"""The targets: what is promised of any input, a function each, and what a fuzzer needs to know about it.

A function takes bytes and raises where a promise is broken. `tests.fuzz` looks for such bytes; the cases that it found, and
some that somebody thought of, are run by `tests/unit`. None looks at a clock: how long an input may take is a limit of whoever
calls.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.fakes import NOON
from tests.fuzz.texts import PIECES, SEPARATOR
from worker import dead_letters
from worker.classifier import LABELS
from worker.codec import decode_comment
from worker.demo.comments import demo_records, malformed_values
from worker.errors import InvalidRecord
from worker.policy import KNOWN_BANDS
from worker.policy_file import preset_names, preset_path
from worker.records import AgeBand, Comment

CASES: Final = Path(__file__).with_name("cases")
"""A folder a target: what it once did not stand up to."""


class Target(NamedTuple):
    """What is tried.

    Attributes:
        where: the module of `tests.fuzz` that has the function; models and libraries are loaded for those that need them.
        share: of a run's inputs, in thousandths.
        tokens: what a fuzzer puts in for a change.
        seeds: what it begins with.
        longest: bytes of an input.
    """

    where: str
    share: int
    tokens: Sequence[bytes]
    seeds: Callable[[], Iterator[bytes]]
    longest: int


_JSON: Final = [
    *(f'"{name}":'.encode() for name in Comment.__struct_fields__),
    *(f'"{band}"'.encode() for band in AgeBand),
    *(b'"2026-01-02T03:04:05Z"', b'"\\ud83e"', b"\\u0000", b"\\ud83e\\udd8a", b"1e999", b"null", b"[[[[[[", b'{"a":'),
    *(b" - at `$.text`", b"Object missing required field `x`", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
]
_TEXT: Final = [piece.encode() for piece in PIECES if len(piece.encode()) > 1]
_YAML: Final = [
    *(b"id: ", b"version: ", b"labels:\n  ", b"communities:\n  ", b"unsupported_language: ", b"description: "),
    *(f"{label}: ".encode() for label in LABELS),
    *(f"{band}: ".encode() for band in (*KNOWN_BANDS, "all")),
    *(
        b"{hold: 0.5}",
        b"precision 0.80",
        b" else 0.7",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!binary ",
        b"%YAML 1.1\n",
        b"--- ",
        b"|\n",
    ),
    *(b"? ", b"- ", b'"\\U00110000"', b'"\\n"', b"[[[[", b"{{{{", b"%TAG ! "),
]
_HEADERS: Final = [
    *(name.encode() + b"=" for name in dead_letters._FROM_THE_FIRST),
    *(
        b"screener-worker-version=",
        b"screener-redrives=1",
        b"screener-handled=redriven",
        b"screener-handled-partition=3",
    ),
    *(b"screener-handled-offset=7", SEPARATOR, b"\xff"),
]
_ROWS: Final = [
    b"text,toxicity,group\n",
    b'{"text": "',
    b'"toxic": ',
    b'"group": ',
    b'"""',
    b"\r\n",
    b",,",
    b"1e309",
    b"nan",
]


def _record_seeds() -> Iterator[bytes]:
    yield from (value for _, value in malformed_values("seed").values() if len(value) < 1000)
    yield from (value for _, value in demo_records(1, 60, now=NOON) if value)


def _text_seeds() -> Iterator[bytes]:
    for value in _record_seeds():
        try:
            yield b"\x00" + decode_comment(value).text.encode()
        except InvalidRecord:
            continue
    for at in range(0, len(PIECES), 8):
        yield bytes([0x50, *range(at, min(at + 8, len(PIECES)))])
        yield bytes([0xD0, at, 40, at + 1, 9])


def _window_seeds() -> Iterator[bytes]:
    yield from _record_seeds()
    yield from _text_seeds()
    yield SEPARATOR.join([*_record_seeds()][:5])
    yield SEPARATOR.join([*_text_seeds()][:5])


def _policy_seeds() -> Iterator[bytes]:
    yield from (preset_path(name).read_bytes() for name in preset_names())
    yield b"{id: a, version: 1, labels: {insult: {all: {hold: precision 0.80 else 0.7}}}}"


def _header_seeds() -> Iterator[bytes]:
    yield SEPARATOR.join(token + b"1" for token in _HEADERS[:12])
    yield SEPARATOR.join(_HEADERS[14:18])


def _row_seeds() -> Iterator[bytes]:
    yield b'text,toxicity,group\nhello,1,a\n"a, b",0.5,\n'
    yield b'{"text": "hello", "toxic": true, "group": "a"}\n{"text": "no", "insult": 0.5}\n'


TARGETS: Final[Mapping[str, Target]] = {
    "line": Target("line", 70, [*_JSON, *_TEXT, SEPARATOR], _window_seeds, 1200),
    "normalising": Target("reading", 130, _TEXT, _text_seeds, 400),
    "decode": Target("records", 560, _JSON, _record_seeds, 2048),
    "language": Target("line", 40, [*_TEXT, SEPARATOR, b"und", b"en"], _text_seeds, 400),
    "tokenising": Target("line", 40, [*_TEXT, SEPARATOR], _text_seeds, 600),
    "policy": Target("files", 19, _YAML, _policy_seeds, 1500),
    "letters": Target("records", 80, _HEADERS, _header_seeds, 2048),
    "labelled": Target("files", 60, _ROWS, _row_seeds, 2048),
    "model": Target("line", 1, [*_JSON, *_TEXT, SEPARATOR], _window_seeds, 1200),
}
"""By name. What takes longest stands first, so that two that run side by side end at about the same time."""


def load_check(name: str) -> Callable[[bytes], None]:
    """The function of a target: raises where a promise is broken, and returns nothing."""
    check: Callable[[bytes], None] = getattr(importlib.import_module(f"tests.fuzz.{TARGETS[name].where}"), name)
    return check
