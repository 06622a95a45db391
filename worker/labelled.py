"""Labelled rows in: JSON Lines or CSV → texts with what is known about each.

Pure. No error holds a text, a cell or the name of a column that nobody named on the command line, unless it is nearly a
label's: a file without a header has a comment for its first line.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, BinaryIO, Final

import msgspec

from worker.classifier import LABELS
from worker.errors import StartupError
from worker.records import MAX_TEXT_CHARACTERS
from worker.rows import csv_rows, json_lines, refuse_twice

TEXT: Final = "text"
LONGEST_GROUP: Final = 64

_TEXT_NAMES: Final = {TEXT: TEXT, "comment_text": TEXT}
_NEAR: Final = 0.84
"""How much alike two names are that may be one, mistyped: a `thread` is no `threat`."""
_WORDS: Final = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One text and what its annotators said.

    `targets` holds a share in [0, 1] for each label that they answered; a label that is absent is unknown. `groups` holds one
    value for each column that was asked for; None: none given.
    """

    line: int
    text: str = field(repr=False)
    targets: Mapping[str, float]
    groups: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used. `line` is where it starts; `why` holds nothing that the row held."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """A whole file, in its order."""

    rows: Sequence[LabelledRow]
    bad: Sequence[BadRow]
    mistyped: Mapping[str, str]
    """Columns that were passed over → labels that they seem to be meant for."""


class _WrongError(Exception):
    """What is wrong with a row."""


def column_names(given: Sequence[str], common: Mapping[str, str]) -> dict[str, str]:
    """The names of columns → `text` or a label of ours.

    Args:
        given: `theirs=ours`, as on the command line. They come first: what they name is read from there and nowhere else.
        common: names that public data sets use → labels.

    Raises:
        StartupError: one of them is not such a pair, names no label of ours, or says it again.
    """
    explicit: dict[str, str] = {}
    for pair in given:
        theirs, equals, ours = pair.rpartition("=")
        if not equals or not theirs:
            raise StartupError(f"--map {pair}: not THEIRS=OURS")
        if ours not in (TEXT, *LABELS):
            raise StartupError(f"--map {pair}: {ours or 'nothing'} is none of {TEXT}, {', '.join(LABELS)}")
        if theirs in explicit or ours in explicit.values():
            raise StartupError(f"--map {pair}: {theirs if theirs in explicit else ours} is mapped twice")
        explicit[theirs] = ours
    known = {**_TEXT_NAMES, **common, **{label: label for label in LABELS}}
    taken = set(explicit.values())
    return {theirs: ours for theirs, ours in known.items() if ours not in taken and theirs not in explicit} | explicit


def read_labelled(
    stream: BinaryIO,
    *,
    is_csv: bool,
    names: Mapping[str, str],
    groups: Sequence[str] = (),
    required: Collection[str] = (),
) -> Labelled:
    """Read a file to its end.

    Args:
        stream: where it is read.
        is_csv: CSV with a header, else JSON Lines.
        names: columns → `text` or a label; others are not looked at.
        groups: columns whose values name groups of rows.
        required: columns that have to occur.

    Raises:
        StartupError: the file as a whole cannot be read: as in `worker.rows`, or a column is missing or stands twice.
    """
    required = {*groups, *required}
    seen: set[str] = set()
    lines = _csv_rows(stream, seen, names, groups, required) if is_csv else _json_rows(stream, seen)
    good, bad = [], []
    for line, fields in lines:
        try:
            if isinstance(fields, str):
                raise _WrongError(fields)  # noqa: TRY301  one place that makes bad rows
            good.append(_row(line, fields, names, groups))
        except _WrongError as wrong:
            bad.append(BadRow(line, str(wrong)))
    # Where no row could be read there is a better thing to say.
    if good and (missing := sorted(required - seen)):
        raise StartupError(f"no row has a field {', '.join(missing)}")
    return Labelled(good, bad, _mistyped(seen.difference(groups), names))


def _row(line: int, fields: Mapping[str, Any], names: Mapping[str, str], groups: Sequence[str]) -> LabelledRow:
    cells: dict[str, Any] = {}
    for theirs, ours in names.items():
        if (value := fields.get(theirs)) is not None and value != "":
            if ours in cells:
                raise _WrongError(f"{ours}: given twice, under two names; say which with --map")
            cells[ours] = value
    text = _read_text(cells.pop(TEXT, None))
    targets: dict[str, float] = {}
    for label, cell in cells.items():
        if (target := _read_target(label, cell)) is not None:
            targets[label] = target
    return LabelledRow(line, text, targets, tuple(_read_group(name, fields.get(name)) for name in groups))


def _read_text(value: object) -> str:
    """The same limits as those of a comment on Kafka."""
    if value is None:
        raise _WrongError("text: missing or empty")
    if not isinstance(value, str):
        raise _WrongError("text: not a string")
    if len(value) > MAX_TEXT_CHARACTERS:
        raise _WrongError(f"text: longer than {MAX_TEXT_CHARACTERS} characters")
    _check_unicode("text", value)
    return value


def _read_target(label: str, value: object) -> float | None:
    """A share; None for a cell of spaces, which says nothing."""
    if isinstance(value, str):
        value = value.strip().lower()
        if not value:
            return None
        value = _WORDS.get(value, value)
    if isinstance(value, str | int | float):
        try:
            target = float(value)
        except (ValueError, OverflowError):  # JSON allows integers of any length
            target = -1.0
        if 0 <= target <= 1:  # and not nan
            return target
    raise _WrongError(f"{label}: not 0, 1, true, false or a share between; empty is for not annotated")


def _read_group(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | int | float):
        raise _WrongError(f"{name}: not a plain value")
    # As JSON writes them.
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    if len(text) > LONGEST_GROUP:
        raise _WrongError(f"{name}: longer than {LONGEST_GROUP} characters, which is no group's name")
    if not text.isprintable():
        raise _WrongError(f"{name}: holds what cannot be printed")
    return text or None


def _check_unicode(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _WrongError(f"{name}: not UTF-8") from None


def _json_rows(stream: BinaryIO, seen: set[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line numbers with a row's fields, or with what is wrong with it. `seen` gathers the names of fields."""
    decode = msgspec.json.Decoder().decode
    for line, value in json_lines(stream):
        try:
            fields = decode(value)
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
            yield line, "not JSON in UTF-8"
            continue
        if not isinstance(fields, dict):
            yield line, "not a JSON object"
            continue
        seen.update(fields)
        yield line, fields


def _csv_rows(
    stream: BinaryIO, seen: set[str], names: Mapping[str, str], groups: Sequence[str], required: Collection[str]
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The same for CSV. A row whose cells do not match the header may have them in the wrong columns: it is wrong."""
    with closing(csv_rows(stream, {theirs for theirs, ours in names.items() if ours == TEXT})) as rows:
        _, header = next(rows)
        refuse_twice(header, {*names, *groups})
        _check_header(header, names, required)
        seen.update(header)
        for line, cells in rows:
            if len(cells) != len(header):
                yield line, f"{len(cells)} cells under a header of {len(header)}"
            else:
                yield line, dict(zip(header, cells, strict=True))


def _check_header(header: Sequence[str], names: Mapping[str, str], required: Collection[str]) -> None:
    if missing := sorted(set(required) - set(header)):
        raise StartupError(f"line 1: the header has no column {', '.join(missing)}")
    columns: dict[str, str] = {}
    for theirs in header:
        if (ours := names.get(theirs)) is None:
            continue
        if ours in columns:
            raise StartupError(f"line 1: both {columns[ours]} and {theirs} would be {ours}; say which with --map")
        columns[ours] = theirs
    if TEXT not in columns:
        raise StartupError(f"line 1: the header has no column {TEXT}; name it with --map THEIRS={TEXT}")


def _mistyped(columns: Collection[str], names: Mapping[str, str]) -> dict[str, str]:
    """Columns that are not looked at → labels that no other column is for and that they are named nearly like."""
    absent = set(LABELS) - {names.get(column) for column in columns}
    found = {}
    for column in sorted(set(columns) - names.keys()):
        name = column.strip().lower().replace(" ", "_").replace("-", "_")
        if column.isprintable() and (near := get_close_matches(name, absent, n=1, cutoff=_NEAR)):
            found[column] = near[0]
    return found
