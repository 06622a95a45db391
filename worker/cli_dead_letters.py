"""`comment-screener dead-letters`: look at what could not be screened, put it back, or put it away.

For whoever is on call. Mounted by `worker.cli`. What is open is read from the topic each time (`worker.redrive`), so a command
that was cut off is simply given again. A comment's text is printed by `show --value` and by nothing else.
"""

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import typer
from aiokafka.errors import KafkaError

from worker.dead_letters_run import EVERY_STATE, Judge, find_letter, handle, list_letters
from worker.dead_letters_shown import described, escaped
from worker.errors import FatalError, Reason
from worker.logs import configure_logs
from worker.redrive import Letter, Query, State, read_place, read_time_ms, refusal
from worker.settings import Settings, load_settings

_ROWS: Final = 50
_REDRIVES: Final = 3
_RATE: Final = 100.0

Result = TypeVar("Result")

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
        states=EVERY_STATE if all_ else frozenset({State.OPEN}),
    )
    settings = _settings()
    rows = limit if limit is not None else None if as_json else _ROWS
    _run(list_letters(settings, query, rows, in_json=as_json))


@app.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="As `list` gives it.")],
    *,
    value: Annotated[
        bool, typer.Option("--value", help="Print the value and nothing else. It holds the comment's text.")
    ] = False,
) -> None:
    """Show one letter: what the worker said of it, the comment's own headers, its key; its value only with --value."""
    query = _query([place], states=EVERY_STATE)
    letter, state = _run(find_letter(_settings(), query))
    if not value:
        typer.echo("\n".join(described(letter, state)))
    elif sys.stdout.isatty():
        # What a stranger wrote is not to steer the terminal.
        typer.echo(escaped(letter.value))
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

    _handle(settings, query, State.REDRIVEN, judge, rate=rate, yes=yes)


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
    _handle(_settings(), query, State.DISCARDED, lambda _: None, rate=None, yes=yes)


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


def _handle(settings: Settings, query: Query, action: State, judge: Judge, *, rate: float | None, yes: bool) -> None:
    if not _run(handle(settings, query, action, judge, rate=rate, yes=yes)):
        raise typer.Exit(1)
