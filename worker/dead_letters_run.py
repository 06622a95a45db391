"""What `dead-letters` does when it is told: letters listed, found, put back or put away, and a person told of it.

Between the commands (`worker.cli_dead_letters`) and the topic (`worker.dead_letters_topic`). A run goes batch by batch, at a
rate; cut off, it finishes the batch in hand, and the next run goes on with what is open.
"""

import asyncio
import getpass
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import msgspec
import typer
from rich.console import Console

from worker.connection import client_options
from worker.dead_letters_shown import as_json, cells, empty_table, printable, summary, time_of
from worker.dead_letters_topic import Handling, LettersReader, check_not_compacted, find_topics, open_letters
from worker.errors import StartupError
from worker.publisher import Publisher
from worker.records import Place
from worker.redrive import Letter, Query, State, Survey
from worker.settings import Settings
from worker.terminal import progress

EVERY_STATE: Final = frozenset(State)

_LINES: Final = 20
_BATCH: Final = 100
_BATCH_BYTES: Final = 8 * 2**20
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

Judge = Callable[[Letter], str | None]
"""Why a letter is to be left open; None: it is not."""
Act = Callable[[Sequence[Letter]], Awaitable[list[Letter]]]


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


async def list_letters(settings: Settings, query: Query, rows: int | None, *, in_json: bool) -> None:
    """Print the letters that a query asks for, `rows` of them at most, and how many there are."""
    async with _opened(settings, query) as reader:
        survey = await _survey(reader, query)
        found = survey.found()
        shown = list(found)[:rows]
        # A table takes its widths from all of its rows; lines need not wait for one another.
        table = empty_table()
        async for letter in reader.letters(shown):
            if in_json:
                sys.stdout.write(as_json(letter, found[letter.place].state) + "\n")
            else:
                table.add_row(*cells(letter, found[letter.place].state))
    if shown and not in_json:
        Console().print(table)
    if more := len(found) - len(shown):
        typer.echo(f"and {more} more: --limit", err=True)
    typer.echo(summary(found.values()), err=in_json)
    _tell_rest(survey, settings.dead_letters_topic)


async def find_letter(settings: Settings, query: Query) -> tuple[Letter, State]:
    """The one letter that a query names. Raises StartupError where there is none."""
    async with _opened(settings, query) as reader:
        found = (await reader.survey(query)).found()
        letters = [letter async for letter in reader.letters(found)]
    if not letters:
        raise _no_letter(settings.dead_letters_topic, query.places)
    return letters[0], found[letters[0].place].state


async def handle(
    settings: Settings, query: Query, action: State, judge: Judge, *, rate: float | None, yes: bool
) -> bool:
    """Put letters back or away, or say what would be done.

    Args:
        settings: connection, names of topics.
        query: which letters.
        action: `State.REDRIVEN` or `State.DISCARDED`.
        judge: asked about each.
        rate: letters a second at most; None: as fast as it goes.
        yes: False: nothing is written.

    Returns:
        Whether nothing that was to be done is left undone.
    """
    options, topic = client_options(settings), settings.dead_letters_topic
    # Who puts letters away writes no comment, and need not have a right to.
    written = [settings.comments_topic] if action is State.REDRIVEN else []
    letters, *comments = await find_topics(options, [topic, *written])
    _check_partitions(query, topic, letters)
    await check_not_compacted(options, topic)
    async with open_letters(options, topic, letters) as reader:
        places = await _open_places(reader, query, topic)
        if not yes:
            await _rehearse(reader, places, action, judge)
            return True
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
                comments_partitions=comments[0] if comments else 0,
                by=_whoami(),
            )
            act = handling.redrive if action is State.REDRIVEN else handling.discard
            return await perform(reader.letters(places), len(places), action, judge, act, rate=rate)
        finally:
            await publisher.stop()


async def _open_places(reader: LettersReader, query: Query, topic: str) -> list[Place]:
    """Where the letters are that are to be handled; named ones that are no letters, or were handled, are told."""
    if not query.places:
        survey = await _survey(reader, query)
        _tell_rest(survey, topic)
        return list(survey.found())
    found = (await _survey(reader, msgspec.structs.replace(query, states=EVERY_STATE))).found()
    if missing := query.places - found.keys():
        raise _no_letter(topic, missing)
    for place, letter in found.items():
        if letter.state not in query.states:
            typer.echo(f"{place}: {letter.state} already", err=True)
    return [place for place, letter in found.items() if letter.state in query.states]


async def _rehearse(reader: LettersReader, places: Sequence[Place], action: State, judge: Judge) -> None:
    tally = Tally()
    async for letter in reader.letters(places):
        if (why := judge(letter)) is not None:
            tally.refuse(letter, why)
            continue
        tally.done += 1
        if tally.done <= _LINES:
            tries = f", try {letter.redrives + 1}" if action is State.REDRIVEN else ""
            typer.echo(f"{letter.place}: {printable(letter.reason)}, comment of {time_of(letter)}{tries}")
    if tally.done > _LINES:
        typer.echo(f"and {tally.done - _LINES} more")
    tally.show(f"{tally.done} of {len(places)} letters would be {action}")
    typer.echo("nothing was written: --yes does it")


async def perform(
    letters: AsyncIterator[Letter], total: int, action: State, judge: Judge, act: Act, *, rate: float | None
) -> bool:
    """Handle letters by an act, and say what was done, however it ends. Returns and raises as `handle`."""
    tally, interrupted = Tally(), False
    with progress(Console(stderr=True)) as bar:
        task = bar.add_task(action, total=total)
        try:
            with _cancelled_by_signals():
                await _work_off(
                    letters,
                    judge,
                    act,
                    tally,
                    rate=rate,
                    moved=lambda: bar.update(task, completed=tally.done + tally.left_open),
                )
        except asyncio.CancelledError:
            interrupted = True
        finally:
            bar.stop()
            tally.show(f"{tally.done} of {total} letters {action}")
    if interrupted:
        typer.echo("interrupted: the same command goes on with what is open", err=True)
    return not interrupted and not tally.left_open


async def _work_off(
    letters: AsyncIterator[Letter],
    judge: Judge,
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

    async for batch in batches(letters, _BATCH if rate is None else max(1, min(_BATCH, int(rate)))):
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


async def batches(letters: AsyncIterator[Letter], most: int) -> AsyncIterator[list[Letter]]:
    """Letters in batches of so many, or of fewer where they are large."""
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


@asynccontextmanager
async def _opened(settings: Settings, query: Query) -> AsyncIterator[LettersReader]:
    options, topic = client_options(settings), settings.dead_letters_topic
    (partitions,) = await find_topics(options, [topic])
    _check_partitions(query, topic, partitions)
    async with open_letters(options, topic, partitions) as reader:
        yield reader


async def _survey(reader: LettersReader, query: Query) -> Survey:
    with progress(Console(stderr=True)) as bar:
        task = bar.add_task("reading", total=None)
        return await reader.survey(query, lambda passed, total: bar.update(task, completed=passed, total=total))


def _check_partitions(query: Query, topic: str, partitions: int) -> None:
    if missing := {place for place in query.places if place.partition >= partitions}:
        raise _no_letter(topic, missing)
    if query.partition is not None and query.partition >= partitions:
        raise StartupError(f"--partition {query.partition}: {topic} has {partitions}")


def _no_letter(topic: str, places: Collection[Place]) -> StartupError:
    return StartupError(f"no dead letter at {', '.join(map(str, sorted(places)))} in {topic}")


def _tell_rest(survey: Survey, topic: str) -> None:
    if others := survey.out_of_time():
        typer.echo(f"and {others} more, of comments of another time: --since and --until go by that", err=True)
    if survey.strangers:
        typer.echo(f"passed over {survey.strangers} records in {topic} that are no dead letters", err=True)


def _whoami() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
