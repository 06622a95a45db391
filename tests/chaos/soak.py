"""Hours of few comments and some trouble: `python -m tests.chaos.soak --hours 1 --seed 1 --output FOLDER`.

What it saw is in `soak.json` and, drawn, in `soak.png`; the workers' logs lie beside them. Exit 1 where an invariant does not
hold or memory grows.
"""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tests.chaos.cluster import Cluster, start_cluster
from tests.chaos.long_run import RATE, Report, Soak
from tests.chaos.soak_picture import draw
from tests.topics import fresh_topics

_MEAN_PAUSE_S: Final = 45.0
_HOUR_S: Final = 3600.0


def command(
    hours: Annotated[float, typer.Option(help="For how long comments come.", min=0.01)] = 1.0,
    seed: Annotated[int, typer.Option(help="What chance starts from: comments, trouble and its times.")] = 1,
    output: Annotated[Path, typer.Option(help="Folder for the picture, the samples and the logs.")] = Path("soak"),
    rate: Annotated[float, typer.Option(help="Comments a second.", min=0.1, max=200)] = RATE,
    pause: Annotated[
        float, typer.Option(help="Seconds between two pieces of trouble, on average.", min=1)
    ] = _MEAN_PAUSE_S,
) -> None:
    """Run two workers for hours, with kills, stops, freezes and brokers that come and go. Ctrl-C ends it early."""
    console = Console()
    output.mkdir(parents=True, exist_ok=True)
    console.print(f"seed {seed}: {hours:g} h at {rate:g} comments/s, trouble every {pause:.0f} s")
    with tempfile.TemporaryDirectory() as folder, start_cluster(Path(folder)) as cluster:
        report = asyncio.run(
            _soak(cluster, output, console, seed=seed, duration_s=hours * _HOUR_S, rate=rate, pause_s=pause)
        )
    console.print(
        f"{report.records:,} records, {report.outcomes:,} with an outcome, {report.repeats:,} repeats, "
        f"{len(report.events)} pieces of trouble; memory {report.growth_mib:+.0f} MiB"
    )
    for problem in report.problems:
        console.print(problem, style="bold red", highlight=False)
    console.print(f"{output / 'soak.png'} and {output / 'soak.json'}")
    raise typer.Exit(1 if report.problems else 0)


async def _soak(
    cluster: Cluster, output: Path, console: Console, *, seed: int, duration_s: float, rate: float, pause_s: float
) -> Report:
    topics = await fresh_topics(cluster, replication=3)
    with _progress(console, duration_s) as tell:
        soak = Soak(
            cluster, topics, output, seed=seed, duration_s=duration_s, rate=rate, mean_pause_s=pause_s, tell=tell
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, soak.end_early)
        try:
            await soak.run()
        except* Exception as errors:  # noqa: BLE001  after hours, what was seen is worth more than a traceback alone
            console.print_exception()
            soak.report.problems.append(f"it broke off: {errors.exceptions[0]!r}")
        finally:
            (output / "soak.json").write_bytes(msgspec.json.format(msgspec.json.encode(soak.report)))
            (output / "soak.png").write_bytes(draw(soak.report))
    return soak.report


@contextlib.contextmanager
def _progress(console: Console, duration_s: float) -> Iterator[Callable[[Report], None]]:
    columns = (BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=duration_s)
        shown = 0

        def tell(report: Report) -> None:
            nonlocal shown
            for event in report.events[shown:]:
                progress.console.print(
                    f"{event.at_s:7.0f} s  {event.kind}, back after {event.until_s - event.at_s:.0f} s"
                )
            shown = len(report.events)
            if report.samples:
                last = report.samples[-1]
                rss = ", ".join(f"{name} {mib:.0f}" for name, mib in last.rss_mib.items())
                text = f"{report.records:,} records, {report.repeats} repeats, lag {last.lag_messages}, MiB: {rss}"
                progress.update(task, completed=last.at_s, description=text)

        yield tell


if __name__ == "__main__":
    typer.run(command)
