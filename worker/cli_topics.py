"""`comment-screener topics`: create the topics that the worker needs, and check that they are as they should be.

For whoever sets it up, and for what does so unattended: giving a command again changes nothing. Mounted by `worker.cli`.
"""

import asyncio
import re
from typing import Annotated, Final

import typer

from worker.connection import client_options
from worker.errors import StartupError
from worker.provisioning import Did, Step, compare, provision
from worker.settings import Settings, load_settings
from worker.topics import FOREVER_MS, Topic, open_topics, worker_topics

_PARTITIONS: Final = 8
_EXIT_DIFFERENT: Final = 1
_FOREVER: Final = "forever"
_TIME: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_UNITS_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}

app = typer.Typer(help="The topics that the worker needs.", no_args_is_help=True)

Partitions = Annotated[
    int | None,
    typer.Option(
        help=f"Partitions of each topic. Default: SCREENER_COMMENTS_PARTITIONS, or {_PARTITIONS}.",
        min=1,
        show_default=False,
    ),
]
Replication = Annotated[int, typer.Option(help="Copies of each partition.", min=1)]
CommentsRetention = Annotated[
    str, typer.Option(metavar="TIME", help=f"How long comments are kept: like 90m, 12h, 7d, or {_FOREVER}.")
]
DeadLettersRetention = Annotated[str, typer.Option(metavar="TIME", help="How long dead letters are kept.")]
MinInsyncReplicas = Annotated[
    int | None,
    typer.Option(help="Copies that have to confirm what is written. Default: all but one.", min=1, show_default=False),
]
Alter = Annotated[bool, typer.Option("--alter", help="Set the settings of topics that are there as well.")]
Grow = Annotated[
    bool, typer.Option("--grow", help="Add partitions to topics that are there. Keys then change partitions.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done. Nothing is.")]


@app.command()
def create(
    *,
    partitions: Partitions = None,
    replication: Replication = 1,
    comments_retention: CommentsRetention = "7d",
    dead_letters_retention: DeadLettersRetention = _FOREVER,
    min_insync_replicas: MinInsyncReplicas = None,
    alter: Alter = False,
    grow: Grow = False,
    dry_run: DryRun = False,
) -> None:
    """Create the comments, decisions and dead-letter topics, where they are not there yet.

    What is there stays as it is, and what differs is shown.
    """
    settings = load_settings()
    topics = _topics(
        settings,
        partitions=partitions,
        replication=replication,
        comments_retention=comments_retention,
        dead_letters_retention=dead_letters_retention,
        min_insync_replicas=min_insync_replicas,
    )

    async def run() -> None:
        async with open_topics(**client_options(settings)) as kafka:
            async for step in provision(kafka, topics, alter=alter, grow=grow, dry_run=dry_run):
                typer.echo(describe(step, dry_run=dry_run))

    asyncio.run(run())


@app.command()
def check(
    *,
    partitions: Partitions = None,
    replication: Replication = 1,
    comments_retention: CommentsRetention = "7d",
    dead_letters_retention: DeadLettersRetention = _FOREVER,
    min_insync_replicas: MinInsyncReplicas = None,
) -> None:
    """Compare the topics with what they should be: exit 0, or 1 with a line for each difference."""
    settings = load_settings()
    topics = _topics(
        settings,
        partitions=partitions,
        replication=replication,
        comments_retention=comments_retention,
        dead_letters_retention=dead_letters_retention,
        min_insync_replicas=min_insync_replicas,
    )

    async def run() -> list[str]:
        async with open_topics(**client_options(settings)) as kafka:
            return await compare(kafka, topics)

    lines = asyncio.run(run())
    for line in lines:
        typer.echo(line)
    if lines:
        raise typer.Exit(_EXIT_DIFFERENT)
    typer.echo(f"{len(topics)} topics are as they should be")


def describe(step: Step, *, dry_run: bool) -> str:
    """A step in one line."""
    if step.did is Did.NOTHING:
        return f"{step.topic.name} is as it should be"
    verb = (
        f"would {step.did}" if dry_run else {Did.CREATE: "created", Did.CHANGE: "changed", Did.LEAVE: "left"}[step.did]
    )
    topic = step.topic
    settings = ", ".join(f"{key}={value}" for key, value in topic.config.items())
    whole = f"{topic.name}: {topic.partitions} partitions, replication {topic.replication}, {settings}"
    return f"{verb} {whole if step.difference is None else step.difference}"


def read_retention_ms(text: str) -> int:
    """A time as people write it, in milliseconds; -1: for ever. Raises StartupError."""
    if text == _FOREVER:
        return FOREVER_MS
    if match := _TIME.fullmatch(text):
        return int(match[1]) * _UNITS_MS[match[2]]
    raise StartupError(f"no time: {text!r}: like 90m, 12h, 7d, or {_FOREVER}")


def _topics(
    settings: Settings,
    *,
    partitions: int | None,
    replication: int,
    comments_retention: str,
    dead_letters_retention: str,
    min_insync_replicas: int | None,
) -> list[Topic]:
    if min_insync_replicas is not None and min_insync_replicas > replication:
        raise StartupError(
            f"--min-insync-replicas {min_insync_replicas} of --replication {replication}: nothing could be written"
        )
    return worker_topics(
        settings,
        partitions or settings.comments_partitions or _PARTITIONS,
        replication,
        comments_retention_ms=read_retention_ms(comments_retention),
        dead_letters_retention_ms=read_retention_ms(dead_letters_retention),
        min_insync_replicas=min_insync_replicas,
    )
