"""What commands show on a terminal, alike: how far they are, tables, and the colours of actions."""

from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from worker.records import Action

STYLES: Final[dict[str, str]] = {
    Action.HIGHLIGHT: "green",
    Action.ALLOW: "dim",
    Action.NUDGE: "cyan",
    Action.LIMIT: "yellow",
    Action.HOLD: "magenta",
    Action.REMOVE: "red",
    Action.ESCALATE: "bold red",
}
_PLAIN_WIDTH: Final = 4000
"""Wide enough that no line is broken where a program may read it."""


def unbroken(console: Console) -> Console:
    """The same console, which breaks no line where nobody watches."""
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    return console


def progress(console: Console, *last: ProgressColumn) -> Progress:
    """A bar that is drawn only where somebody watches; `last` stands behind the count, instead of the time that is left."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, *(last or (TimeRemainingColumn(),)), console=console, disable=not console.is_terminal)
