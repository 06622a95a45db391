"""What came out, as a table for people and as JSON for whoever compares two runs.

Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from rich.table import Table

from bench.rounds import middle, ratios

PER_S: Final = "comments/s"
TIMES: Final = "times"
_FEW: Final = 10.0
_MANY: Final = 100.0


class Row(Struct, frozen=True):
    """One figure.

    Attributes:
        part: which part of the benchmark took it.
        name: what was measured.
        unit: of the values; `times` for a ratio.
        values: one a round; none where it could not be measured, and the note says why.
        note: what has to be known to read it.
    """

    part: str
    name: str
    unit: str
    values: Sequence[float]
    note: str = ""

    @property
    def median(self) -> float | None:
        """None where it could not be measured."""
        return middle(self.values) if self.values else None


def compare(part: str, names: tuple[str, str], one: Sequence[float], other: Sequence[float]) -> Row:
    """One contestant ÷ another, round by round. Without values of both, the note says whose are missing."""
    missing = [name for name, values in zip(names, (one, other), strict=True) if not values]
    if missing:
        return Row(part, " ÷ ".join(names), TIMES, [], f"no figure for: {', '.join(missing)}")
    return Row(part, " ÷ ".join(names), TIMES, ratios(one, other))


def table(rows: Iterable[Row], footnotes: Sequence[str] = ()) -> Table:
    """Medians with their spread, a section for each part."""
    drawn = Table(title="bench: medians of interleaved rounds", caption="\n".join(footnotes), caption_justify="left")
    for heading in ("part", "what", "median", "spread", "unit", "note"):
        drawn.add_column(heading, justify="right" if heading in ("median", "spread") else "left", overflow="fold")
    before = None
    for row in rows:
        if before not in (None, row.part):
            drawn.add_section()
        drawn.add_row("" if row.part == before else row.part, row.name, *_figures(row), row.unit, row.note)
        before = row.part
    return drawn


def to_json(rows: Iterable[Row], machine: Mapping[str, str], footnotes: Sequence[str], **run: Any) -> bytes:
    """Everything, the rounds' single values too."""
    content = {
        "run": run,
        "machine": machine,
        "rows": [msgspec.structs.asdict(row) | {"median": row.median} for row in rows],
        "footnotes": footnotes,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _figures(row: Row) -> tuple[str, str]:
    if not row.values:
        return "-", ""
    low, high = min(row.values), max(row.values)
    return number(middle(row.values)), "" if len(row.values) == 1 else f"{number(low)} to {number(high)}"


def number(value: float) -> str:
    """With as many digits as mean anything."""
    if value and abs(value) < _FEW:
        return f"{value:.2f}"
    return f"{value:.1f}" if value and abs(value) < _MANY else f"{value:,.0f}"
