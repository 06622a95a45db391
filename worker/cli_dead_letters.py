"""`comment-screener dead-letters`: look at what could not be screened, put it back, or put it away.

For whoever is on call. Mounted by `worker.cli`. What is open is read from the topic each time (`worker.redrive`), so a command
that was cut off is simply given again. A comment's text is printed by `show --value` and by nothing else.
"""

import asyncio
import getpass
import hashlib
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

from worker.connection import client_options
from worker.dead_letters_topic import Handling, LettersReader, check_not_compacted, find_topics, open_letters
from worker.errors import FatalError, Reason, StartupError
from worker.logs import configure_logs
from worker.publisher import Publisher
from worker.records import Place
from worker.redrive import Found, Letter, Query, State, Survey, by_reason, read_place, read_time_ms, refusal
from worker.settings import Settings, load_settings
from worker.terminal import progress

_ROWS: Final = 50
_LINES: Final = 20
_BATCH: Final = 100
_BATCH_BYTES: Final = 8 * 2**20
_REDRIVES: Final = 3
_RATE: Final = 100.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_EVERY_STATE: Final = frozenset(State)

Result = TypeVar("Result")
Act = Callable[[Sequence[Letter]], Awaitable[list[Letter]]]

Places = Annotated[
    list[str] | None,
    typer.Argument(metavar="PARTITION/OFFSET", help="These letters. Default: all that match.", show_default=False),
]
Reasons = Annotated[list[Reason] | None, typer.Option("--reason", help="Only for this reason. May be given again.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only comments from then on: RFC 3339, or an age like 30m, 2h, 7d."),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only comments before then.")]
Versions = Annotated[
    list[str] | None,
    typer.Option(
        "--worker-version",
        metavar="VERSION",
        help="Only letters of this version of the worker; `unknown`: older than the header. May be given again.",
    ),
]
Partition = Annotated[int | None, typer.Option(help="Only this partition of the dead-letters topic.", min=0)]
Yes = Annotated[bool, typer.Option("--yes", help="Do it. Without this nothing is written.")]

app = typer.Typer(help="Look at what could not be screened, put it back, or put it away.", no_args_is_help=True)


class Tally:
    """What a run has done so far."""

    def __init__(self) -> None:
        self.done = 0
        self.left_open = 0
        self._lines: list[str] = []

    def refuse(self, letter: Letter, why: str) -> None:
        """Note that a letter stays open, and why."""
        self.left_open += 1
        if self.left_open <= _LINES:
            self._lines.append(f"{letter.place}: left open: {why}")

    def show(self, done: str) -> None:
        """Which stay open, on standard error, and the sum, a sentence that begins with `done`."""
        for line in self._lines:
            typer.echo(line, err=True)
        if (more := self.left_open - len(self._lines)) > 0:
            typer.echo(f"and {more} more left open", err=True)
        typer.echo(done + (f", {self.left_open} left open" if self.left_open else ""))


@app.command(name="list")
def list_(
    *,
    reason: Reasons = None,
    since: Since = None,
    until: Until = None,
    worker_version: Versions = None,
    partition: Partition = None,
    all_: Annotated[bool, typer.Option("--all", help="Those that were handled, too.")] = False,
    limit: Annotated[
        int | None, typer.Option(help=f"Letters at most. Default: {_ROWS}; with --json all.", min=1, show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the open letters, oldest first in each partition, and how many there are for each reason."""
    query = _query(
        [],
        reasons=reason,
        since=since,
        until=until,
        worker_versions=worker_version,
        partition=partition,
        states=_EVERY_STATE if all_ else frozenset({State.OPEN}),
    )
    settings = _settings()
    rows = limit if limit is not None else None if as_json else _ROWS
    _run(_list(settings, query, rows, as_json=as_json))


@app.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="As `list` gives it.")],
    *,
    value: Annotated[
        bool, typer.Option("--value", help="Print the value and nothing else. It holds the comment's text.")
    ] = False,
) -> None:
    """Show one letter: what the worker said of it, the comment's own headers, its key; its value only with --value."""
    query = _query([place], states=_EVERY_STATE)
    letter, state = _run(_find_one(_settings(), query))
    if not value:
        typer.echo("\n".join(_described(letter, state)))
    elif sys.stdout.isatty():
        # What a stranger wrote is not to steer the terminal.
        typer.echo(_escaped(letter.value))
    else:
        sys.stdout.buffer.write(letter.value)


@app.command()
def redrive(
    places: Places = None,
    *,
    reason: Reasons = None,
    since: Since = None,
    until: Until = None,
    worker_version: Versions = None,
    partition: Partition = None,
    discarded: Annotated[bool, typer.Option("--discarded", help="Those that were discarded, too.")] = False,
    limit: Annotated[int, typer.Option(help="How often one comment may be put back.", min=1)] = _REDRIVES,
    rate: Annotated[
        float, typer.Option(help="Comments a second at most, so that new ones need not wait.", min=0.1)
    ] = _RATE,
    from_topic: Annotated[
        list[str] | None,
        typer.Option(metavar="TOPIC", help="Comments that were read from this topic, too. May be given again."),
    ] = None,
    yes: Yes = False,
) -> None:
    """Put comments back on the comments topic: key, value and headers byte for byte, and a header that counts the tries.

    Says what it would do; --yes does it. Ctrl-C finishes the batch in hand; the same command goes on with what is open. A
    comment that was put back twice gets the same decision twice, under one id. One that its author has edited since is better
    discarded: put back, its old text is decided last.
    """
    states = {State.OPEN, State.DISCARDED} if discarded else {State.OPEN}
    query = _query(
        places or [],
        reasons=reason,
        since=since,
        until=until,
        worker_versions=worker_version,
        partition=partition,
        states=frozenset(states),
    )
    settings = _settings()
    topics = {settings.comments_topic, *(from_topic or ())}

    def judge(letter: Letter) -> str | None:
        why = refusal(letter, topics=topics, limit=limit)
        if why is None:
            return None
        return f"{why} (--limit {limit})" if letter.original_topic in topics else f"{why} (--from-topic)"

    _run(_handle(settings, query, State.REDRIVEN, judge, rate=rate, yes=yes))


@app.command()
def discard(
    places: Places = None,
    *,
    reason: Reasons = None,
    since: Since = None,
    until: Until = None,
    worker_version: Versions = None,
    partition: Partition = None,
    yes: Yes = False,
) -> None:
    """Note that nothing is to be done about letters. They stay in the topic; `list --all` shows them.

    Says what it would do; --yes does it. Ctrl-C finishes the batch in hand; the same command goes on with what is open.
    """
    query = _query(
        places or [],
        reasons=reason,
        since=since,
        until=until,
        worker_versions=worker_version,
        partition=partition,
        states=frozenset({State.OPEN}),
    )
    _run(_handle(_settings(), query, State.DISCARDED, lambda _: None, rate=None, yes=yes))


def _settings() -> Settings:
    settings = load_settings()
    # The commands say themselves what there is to say.
    configure_logs("warning")
    return settings


def _query(
    places: Sequence[str],
    *,
    reasons: Sequence[Reason] | None = None,
    since: str | None = None,
    until: str | None = None,
    worker_versions: Sequence[str] | None = None,
    partition: int | None = None,
    states: frozenset[State],
) -> Query:
    filters = (reasons, since, until, worker_versions, partition)
    if places and any(given is not None and given != [] for given in filters):
        raise typer.BadParameter("give either PARTITION/OFFSET or filters")
    now = datetime.now(UTC)
    try:
        return Query(
            reasons=frozenset(reasons or ()),
            since_ms=None if since is None else read_time_ms(since, now),
            until_ms=None if until is None else read_time_ms(until, now),
            worker_versions=frozenset(worker_versions or ()),
            partition=partition,
            places=frozenset(map(read_place, places)),
            states=states,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        return asyncio.run(work)
    except KafkaError as error:
        raise FatalError(f"Kafka: {type(error).__name__}: {error}") from error


# ---- list and show


async def _list(settings: Settings, query: Query, rows: int | None, *, as_json: bool) -> None:
    options, topic = client_options(settings), settings.dead_letters_topic
    (partitions,) = await find_topics(options, [topic])
    _check_partitions(query, topic, partitions)
    async with open_letters(options, topic, partitions) as reader:
        with progress(Console(stderr=True)) as bar:
            survey = await _survey(reader, query, bar)
        found = survey.found()
        shown = list(found)[:rows]
        # A table takes its widths from all of its rows; lines need not wait for one another.
        table = _empty_table()
        async for letter in reader.letters(shown):
            if as_json:
                sys.stdout.write(_as_json(letter, found[letter.place].state) + "\n")
            else:
                table.add_row(*_cells(letter, found[letter.place].state))
    if shown and not as_json:
        Console().print(table)
    if more := len(found) - len(shown):
        typer.echo(f"and {more} more: --limit", err=True)
    typer.echo(_summary(found.values()), err=as_json)
    _tell_strangers(survey, topic)


async def _find_one(settings: Settings, query: Query) -> tuple[Letter, State]:
    options, topic = client_options(settings), settings.dead_letters_topic
    (partitions,) = await find_topics(options, [topic])
    _check_partitions(query, topic, partitions)
    async with open_letters(options, topic, partitions) as reader:
        found = (await reader.survey(query)).found()
        letters = [letter async for letter in reader.letters(found)]
    if not letters:
        raise _no_letter(topic, query.places)
    return letters[0], found[letters[0].place].state


def _empty_table() -> Table:
    table = Table(box=None)
    for name in ("place", "comment of", "state", "reason", "stage"):
        table.add_column(name, no_wrap=True)
    for name in ("tries", "worker"):
        table.add_column(name)
    table.add_column("message", overflow="fold")
    return table


def _cells(letter: Letter, state: State) -> list[Text]:
    facts = letter.facts
    cells = (str(letter.place), _time(letter), state, letter.reason, facts["stage"])
    counted = (str(letter.redrives), letter.worker_version, facts["error-message"])
    # Text, because a name in square brackets would be read as markup.
    return [Text(_printable(cell)) for cell in (*cells, *counted)]


def _as_json(letter: Letter, state: State) -> str:
    facts = letter.facts
    fields = {
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "time": _time(letter) or None,
        "state": state,
        "redrives": letter.redrives,
        "worker_version": letter.worker_version,
        "value_bytes": len(letter.value),
    }
    written = {name.replace("-", "_"): text for name, text in facts.items()}
    return msgspec.json.encode(written | fields).decode()


def _described(letter: Letter, state: State) -> Iterator[str]:
    rows = {
        "place": str(letter.place),
        "state": state.value,
        "redrives": str(letter.redrives),
        "time": _time(letter),
        **{name: _printable(text) for name, text in letter.facts.items()},
        "key": _escaped(letter.key),
        "value": f"{len(letter.value)} bytes, sha256 {hashlib.sha256(letter.value).hexdigest()}",
    }
    width = max(map(len, rows))
    for name, shown in rows.items():
        yield f"{name:<{width}}  {shown}".rstrip()
    for name, content in letter.headers:
        yield f"{'header':<{width}}  {_printable(name)}: {_escaped(content)}"


def _summary(found: Collection[Found]) -> str:
    states = Counter(letter.state for letter in found)
    parts = [f"{states[state]} {state}" for state in State if states[state] or state is State.OPEN]
    reasons = ", ".join(f"{count} {_printable(reason)}" for reason, count in by_reason(found).most_common())
    return ", ".join(parts) + (f": {reasons}" if reasons else "")


def _time(letter: Letter) -> str:
    if letter.time_ms is None:
        return ""
    try:
        at = datetime.fromtimestamp(letter.time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        # Whoever wrote it counted in other units: no date, and the one trace of what was wrong.
        return f"{letter.time_ms} ms"
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escaped(content: bytes | None) -> str:
    """Bytes as one line; null is not the same as empty."""
    return "null" if content is None else repr(content)[1:]


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


# ---- redrive and discard


async def _handle(
    settings: Settings,
    query: Query,
    action: State,
    judge: Callable[[Letter], str | None],
    *,
    rate: float | None,
    yes: bool,
) -> None:
    """Read what is open, and do it, or say what would be done. Raises typer.Exit where something asked for is left undone."""
    options, topic = client_options(settings), settings.dead_letters_topic
    letters, comments = await find_topics(options, [topic, settings.comments_topic])
    _check_partitions(query, topic, letters)
    await check_not_compacted(options, topic)
    async with open_letters(options, topic, letters) as reader:
        with progress(Console(stderr=True)) as bar:
            places = await _open_places(reader, query, topic, bar)
        if not yes:
            await _rehearse(reader, places, action, judge)
            return
        publisher = Publisher(
            options,
            compression=None if settings.compression == "none" else settings.compression,
            timeout_s=settings.publish_timeout_s,
            retried=lambda _: None,
        )
        await publisher.start()
        try:
            handling = Handling(
                publisher,
                letters_topic=topic,
                comments_topic=settings.comments_topic,
                comments_partitions=comments,
                by=_whoami(),
            )
            act = handling.redrive if action is State.REDRIVEN else handling.discard
            await _perform(reader.letters(places), len(places), action, judge, act, rate=rate)
        finally:
            await publisher.stop()


async def _open_places(reader: LettersReader, query: Query, topic: str, bar: Progress) -> list[Place]:
    """Where the letters are that are to be handled; named ones that are no letters, or were handled, are told."""
    if not query.places:
        survey = await _survey(reader, query, bar)
        _tell_strangers(survey, topic)
        return list(survey.found())
    found = (await _survey(reader, msgspec.structs.replace(query, states=_EVERY_STATE), bar)).found()
    if missing := query.places - found.keys():
        raise _no_letter(topic, missing)
    for place, letter in found.items():
        if letter.state not in query.states:
            typer.echo(f"{place}: {letter.state} already", err=True)
    return [place for place, letter in found.items() if letter.state in query.states]


async def _rehearse(
    reader: LettersReader, places: Sequence[Place], action: State, judge: Callable[[Letter], str | None]
) -> None:
    tally = Tally()
    async for letter in reader.letters(places):
        if (why := judge(letter)) is not None:
            tally.refuse(letter, why)
            continue
        tally.done += 1
        if tally.done <= _LINES:
            tries = f", try {letter.redrives + 1}" if action is State.REDRIVEN else ""
            typer.echo(f"{letter.place}: {_printable(letter.reason)}, comment of {_time(letter)}{tries}")
    if tally.done > _LINES:
        typer.echo(f"and {tally.done - _LINES} more")
    tally.show(f"{tally.done} of {len(places)} letters would be {action}")
    typer.echo("nothing was written: --yes does it")


async def _perform(
    letters: AsyncIterator[Letter],
    total: int,
    action: State,
    judge: Callable[[Letter], str | None],
    act: Act,
    *,
    rate: float | None,
) -> None:
    tally, interrupted = Tally(), False
    with progress(Console(stderr=True)) as bar:
        task = bar.add_task(action, total=total)
        try:
            with _cancelled_by_signals():
                await _work_off(letters, judge, act, tally, rate=rate, moved=lambda: _move(bar, task, tally))
        except asyncio.CancelledError:
            interrupted = True
        finally:
            bar.stop()
            tally.show(f"{tally.done} of {total} letters {action}")
    if interrupted:
        typer.echo("interrupted: the same command goes on with what is open", err=True)
    if interrupted or tally.left_open:
        raise typer.Exit(1)


async def _work_off(
    letters: AsyncIterator[Letter],
    judge: Callable[[Letter], str | None],
    act: Act,
    tally: Tally,
    *,
    rate: float | None,
    moved: Callable[[], None],
) -> None:
    """Batch by batch, at most `rate` letters a second; cancelled, it finishes the batch in hand."""
    loop = asyncio.get_running_loop()
    free_at = loop.time()

    async def finish(batch: Sequence[Letter]) -> None:
        too_large = await act(batch)
        for letter in too_large:
            tally.refuse(letter, "too large for the comments topic with one more header")
        tally.done += len(batch) - len(too_large)
        moved()

    async for batch in _batches(letters, _BATCH if rate is None else max(1, min(_BATCH, int(rate)))):
        may = []
        for letter in batch:
            if (why := judge(letter)) is None:
                may.append(letter)
            else:
                tally.refuse(letter, why)
        await asyncio.sleep(max(0.0, free_at - loop.time()))
        if rate is not None:
            free_at = max(free_at, loop.time()) + len(may) / rate
        await _to_its_end(finish(may))


async def _batches(letters: AsyncIterator[Letter], most: int) -> AsyncIterator[list[Letter]]:
    batch: list[Letter] = []
    size = 0
    async for letter in letters:
        if batch and (len(batch) == most or size + len(letter.value) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += len(letter.value)
    if batch:
        yield batch


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it; cancelled, do the rest of it first."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


@contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    """In the block Ctrl-C and SIGTERM cancel this task, once; the next one ends the process as it always does."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101  for the type checker

    def cancel() -> None:
        restore()
        task.cancel()

    def restore() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, cancel)
    try:
        yield
    finally:
        restore()


# ---- what they share


async def _survey(reader: LettersReader, query: Query, bar: Progress) -> Survey:
    task = bar.add_task("reading", total=None)
    return await reader.survey(query, lambda passed, total: bar.update(task, completed=passed, total=total))


def _move(bar: Progress, task: TaskID, tally: Tally) -> None:
    bar.update(task, completed=tally.done + tally.left_open)


def _check_partitions(query: Query, topic: str, partitions: int) -> None:
    if missing := {place for place in query.places if place.partition >= partitions}:
        raise _no_letter(topic, missing)
    if query.partition is not None and query.partition >= partitions:
        raise StartupError(f"--partition {query.partition}: {topic} has {partitions}")


def _no_letter(topic: str, places: Collection[Place]) -> StartupError:
    return StartupError(f"no dead letter at {', '.join(map(str, sorted(places)))} in {topic}")


def _tell_strangers(survey: Survey, topic: str) -> None:
    if survey.strangers:
        typer.echo(f"passed over {survey.strangers} records in {topic} that are no dead letters", err=True)


def _whoami() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
