"""Dead letters as they are shown: a row of a table, a line of JSON, a page on one, and the sum of many.

Pure. None of it holds a letter's value, and what a stranger wrote in a header steers no terminal.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import UTC, datetime

import msgspec
from rich.table import Table
from rich.text import Text

from worker.redrive import Found, Letter, State, by_reason


def empty_table() -> Table:
    """For rows of `cells`."""
    table = Table(box=None)
    for name in ("place", "comment of", "state", "reason", "stage"):
        table.add_column(name, no_wrap=True)
    for name in ("tries", "worker"):
        table.add_column(name)
    table.add_column("message", overflow="fold")
    return table


def cells(letter: Letter, state: State) -> list[Text]:
    """A row of the table."""
    facts = letter.facts
    known = (str(letter.place), time_of(letter), state, letter.reason, facts["stage"])
    counted = (str(letter.redrives), letter.worker_version, facts["error-message"])
    # Text, because a name in square brackets would be read as markup.
    return [Text(printable(cell)) for cell in (*known, *counted)]


def as_json(letter: Letter, state: State) -> str:
    """A line for programs."""
    facts = letter.facts
    fields = {
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "time": time_of(letter) or None,
        "state": state,
        "redrives": letter.redrives,
        "worker_version": letter.worker_version,
        "value_bytes": len(letter.value),
    }
    written = {name.replace("-", "_"): text for name, text in facts.items()}
    return msgspec.json.encode(written | fields).decode()


def described(letter: Letter, state: State) -> Iterator[str]:
    """All that there is to say of it, a line each."""
    rows = {
        "place": str(letter.place),
        "state": state.value,
        "redrives": str(letter.redrives),
        "time": time_of(letter),
        **{name: printable(text) for name, text in letter.facts.items()},
        "key": escaped(letter.key),
        "value": f"{len(letter.value)} bytes, sha256 {hashlib.sha256(letter.value).hexdigest()}",
    }
    width = max(map(len, rows))
    for name, shown in rows.items():
        yield f"{name:<{width}}  {shown}".rstrip()
    for name, content in letter.headers:
        yield f"{'header':<{width}}  {printable(name)}: {escaped(content)}"


def summary(found: Collection[Found]) -> str:
    """How many in each state, and for which reasons."""
    states = Counter(letter.state for letter in found)
    parts = [f"{states[state]} {state}" for state in State if states[state] or state is State.OPEN]
    reasons = ", ".join(f"{count} {printable(reason)}" for reason, count in by_reason(found).most_common())
    return ", ".join(parts) + (f": {reasons}" if reasons else "")


def time_of(letter: Letter) -> str:
    """When its comment was written; empty where nobody says."""
    if letter.time_ms is None:
        return ""
    try:
        at = datetime.fromtimestamp(letter.time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        # Whoever wrote it counted in other units: no date, and the one trace of what was wrong.
        return f"{letter.time_ms} ms"
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def escaped(content: bytes | None) -> str:
    """Bytes as one line; null is not the same as empty."""
    return "null" if content is None else repr(content)[1:]


def printable(text: str) -> str:
    """Text with all that a terminal would act on escaped."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
