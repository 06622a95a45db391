"""What the demo shows: the steps on the way up, every comment as it is decided, and the sum at the end."""

import math
import time
import unicodedata
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Final, Protocol

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from worker.demo.ledger import Ledger, Row
from worker.records import UNSUPPORTED_LANGUAGE, Action
from worker.terminal import STYLES

DEAD_LETTER: Final = "dead letter"
_STYLES: Final = STYLES | {DEAD_LETTER: "blue"}
_MOST_ROWS: Final = 20
_TEXT_CELLS: Final = 100
_HEADER: Final = f"{'action':<11} {'category':<17} {'score':>5} {'because':<17} {'ms':>5}  "
_ZERO_WIDTH_JOINER: Final = "\u200d"


class Step:
    """One thing that a person waits for."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._name = name
        self._started = time.monotonic()

    def done(self, detail: str) -> None:
        """Say what came of it, and how long it took."""
        took = time.monotonic() - self._started
        self._console.print(Text(f"{self._name:<8} {took:5.1f} s   {detail}"), soft_wrap=True)


@contextmanager
def waiting(console: Console, name: str, doing: str) -> Iterator[Step]:
    """Show what is being waited for; the body says what came of it."""
    step = Step(console, name)
    with console.status(Text(doing)):
        yield step


class Display(Protocol):
    """Shows rows as they come."""

    def show(self, row: Row) -> None:
        """One more."""


class LineDisplay:
    """A line a comment, for pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, row: Row) -> None:
        self._console.print(_line(row, _TEXT_CELLS), soft_wrap=True)


class TableDisplay:
    """The latest comments, with the totals under them; drawn again and again in place."""

    def __init__(self, console: Console, ledger: Ledger, where: str) -> None:
        self._ledger = ledger
        self._where = where
        self._text_cells = console.width - len(_HEADER) - 1
        self._latest: deque[Row] = deque(maxlen=max(5, min(_MOST_ROWS, console.height - 9)))

    def show(self, row: Row) -> None:
        self._latest.append(row)

    def __rich__(self) -> RenderableType:
        rows = (_line(row, self._text_cells) for row in self._latest)
        return Group(Text(f"{_HEADER}comment", "bold"), *rows, Text(), totals(self._ledger), Text(self._where, "dim"))


@contextmanager
def live(console: Console, ledger: Ledger, where: str) -> Iterator[Display]:
    """A table on a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield LineDisplay(console)
        return
    display = TableDisplay(console, ledger, where)
    with Live(console=console, get_renderable=display.__rich__, refresh_per_second=8):
        yield display


def totals(ledger: Ledger) -> Text:
    """How many of each, in one line."""
    counted = ledger.totals()
    line = Text(f"{len(ledger.rows)} of {ledger.inputs}")
    for verdict, style in _STYLES.items():
        if counted[verdict]:
            line.append("   ")
            line.append(f"{counted[verdict]} {verdict}", style)
    return line


def print_summary(console: Console, ledger: Ledger) -> None:
    """The sum: what went in, what came out, how quickly, and whether nothing is missing."""
    counted = ledger.totals()
    dead = counted.pop(DEAD_LETTER, 0)
    console.print()
    if counted:
        actions = [f"{counted[action]} {action}" for action in Action if counted[action]]
        console.print(Text(f"decisions     {sum(counted.values()):>6}   {', '.join(actions)}"), soft_wrap=True)
    if dead:
        reasons = [f"{n} {reason}" for reason, n in sorted(ledger.dead_letters().items())]
        console.print(Text(f"dead letters  {dead:>6}   {', '.join(reasons)}"), soft_wrap=True)
    if latencies := ledger.latencies_s():
        p50, p95 = (_percentile(latencies, q) * 1000 for q in (0.50, 0.95))
        console.print(
            f"latency       {p50:>6.0f} ms p50, {p95:.0f} ms p95, from handing a comment to Kafka to reading its decision",
            soft_wrap=True,
        )
        console.print(
            f"throughput    {len(ledger.rows) / max(ledger.duration_s(), 1e-9):>6.1f} comments/s", soft_wrap=True
        )
    if ledger.repeats:
        console.print(f"repeats       {ledger.repeats:>6}   the same outcome again, counted once", soft_wrap=True)
    problems = ledger.problems()
    if not problems:
        line = f"{ledger.inputs} inputs = {sum(counted.values())} decisions + {dead} dead letters: it adds up"
        console.print(Text(line, "bold green"), soft_wrap=True)
        return
    console.print(Text("it does not add up", "bold red"))
    for problem in problems:
        console.print(Text(f"  {problem}", "red"), soft_wrap=True)


def printable(text: str, cells: int) -> str:
    """A stranger's text, safe for a terminal: in one line, what cannot be seen as a dot, no escape sequences.

    Never wider than `cells` on any terminal: where they disagree (marks in Indic scripts, joined emoji), the most is assumed.
    """
    seen = "".join(_visible(character) for character in " ".join(text[: 2 * cells].split()))
    widths = list(accumulate(max(1, cell_len(character)) for character in seen))
    if not widths or widths[-1] <= cells:
        return seen
    return seen[: bisect_right(widths, cells - 1)] + "…"


def _visible(character: str) -> str:
    if character == _ZERO_WIDTH_JOINER:  # it joins emoji
        return character
    return "·" if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn"} else character


def _line(row: Row, text_cells: int) -> Text:
    """One row; the text comes last, so that nothing has to be lined up behind it."""
    record, outcome = row.record, row.outcome
    label = score = why = ""
    if outcome.decision is None:
        why = outcome.dead_reason
    elif reasons := outcome.decision.reasons:
        first = reasons[0]
        if first.score is None:
            of_language = f"language: {outcome.decision.language}"
            label, why = of_language if first.label == UNSUPPORTED_LANGUAGE else first.label, first.age_band
        else:
            label, score, why = first.label, f"{first.score:.2f}", f"≥ {first.threshold:.2f} {first.age_band}"
    else:
        score = f"{outcome.decision.severity or 0:.2f}"
    # Of a record without a text, the bytes.
    text = printable(repr(record.value)[2:-1] if record.text is None else record.text, text_cells) or "(empty)"
    latency = row.latency_s * 1000
    return Text.assemble(
        (f"{outcome.verdict:<11}", _STYLES[outcome.verdict]),
        f" {label:<17} {score:>5} {why:<17} {latency:>5.0f}  ",
        text,
    )


def _percentile(ascending: list[float], share: float) -> float:
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]
