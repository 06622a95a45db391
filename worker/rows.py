"""Rows of a file that somebody brought: CSV with a header, or JSON Lines.

Below `screen` and `evaluate`, which know what a row has to hold. No error holds anything of the file but the names of columns.
"""

import codecs
import csv
import io
import itertools
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Sequence
from enum import StrEnum
from typing import BinaryIO, Final

from worker.errors import StartupError

_LONGEST_FIELD: Final = 16 * 2**20
_UTF_16: Final = ("\udcff\udcfe", "\udcfe\udcff")
"""Its byte-order marks, as bytes that are not UTF-8 come through."""
_SEPARATORS: Final = {"semicolons": ";", "tabs": "\t"}


class Format(StrEnum):
    """What a file is made of."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"

    def is_csv(self, file: str) -> bool:
        """Whether a file of this name is CSV, else JSON Lines."""
        return self is Format.CSV or (self is Format.AUTO and file.lower().endswith(".csv"))


def json_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank, with its number; no byte-order mark before the first."""
    for number, line in enumerate(stream, start=1):
        content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if value := content.strip(b" \t\r\n"):
            yield number, value


def csv_rows(stream: BinaryIO, needed: Collection[str]) -> Generator[tuple[int, list[str]], None, None]:
    """The header, without spaces around its names, and each row that is not blank, with the line where it starts.

    Bytes that are not UTF-8 come through as surrogates, so that whoever takes a cell can name it. Who may stop before the end
    closes it while the stream is open.

    Args:
        stream: where it is read.
        needed: names of which the header should have one: by them another separator is known.

    Raises:
        StartupError: it is no CSV: in another encoding, with another separator, or from some line on its quotes do not match, and
            one that is never closed would take what follows for one text.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    line = 1
    try:
        first = lines.readline()
        _check_first(first, needed)
        reader = csv.reader(itertools.chain([first], lines), strict=True)
        yield line, [name.strip() for name in next(reader)]
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        # Where the quotes went wrong cannot be known, so neither can where the next row begins.
        raise StartupError(f"line {line}: not CSV: {error}") from None
    finally:
        # Whoever opened the stream closes it.
        lines.detach()


def refuse_twice(header: Sequence[str], used: Collection[str]) -> None:
    """Raises StartupError where a column that is used stands in a file's header twice: which was meant?"""
    counts = Counter(header)
    if twice := sorted(name for name in set(used) if counts[name] > 1):
        raise StartupError(f"line 1: the header has {', '.join(twice)} twice")


def _check_first(line: str, needed: Collection[str]) -> None:
    if _has(needed, line, ","):
        return
    if line.startswith(_UTF_16) or "\0" in line:
        raise StartupError("line 1: not UTF-8, but UTF-16 by the look of it; save it as UTF-8")
    for name, mark in _SEPARATORS.items():
        if _has(needed, line, mark):
            raise StartupError(f"line 1: its columns are separated by {name}; CSV has commas")


def _has(needed: Collection[str], line: str, mark: str) -> bool:
    return any(cell.strip(' "\r\n') in needed for cell in line.split(mark))
