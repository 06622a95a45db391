"""How many decisions come twice: `python -m tests.chaos.duplicates`. The README carries its table.

One kind of event at a time, again and again at moments that the seed gives, while comments come in at a steady rate. What is
counted are outcomes past the first of each record: from the event until nothing is left to do.
"""

import asyncio
import random
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec import Struct
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.audit import Audit
from tests.chaos.cluster import Cluster, start_cluster
from tests.comments import comments
from tests.topics import Topics, fresh_topics
from tests.workers import WorkerProcess

TIMES: Final = 7
RATE: Final = 100.0
_BEFORE_S: Final = (3.0, 6.0)
_AFTER_S: Final = 3.0
_MOST: Final = 20_000


class Repeats(Struct, frozen=True):
    """What one kind of event has cost. `inputs` and `repeats`: of each time that it happened."""

    event: str
    inputs: list[int]
    repeats: list[int]

    @property
    def share(self) -> float:
        return sum(self.repeats) / sum(self.inputs)


Event = Callable[[WorkerProcess, WorkerProcess], Awaitable[None]]
"""Something that happens to a worker, beside which another one may appear; at its end the first runs, alone."""


async def join_and_leave(_: WorkerProcess, visitor: WorkerProcess) -> None:
    """Two rebalances that nobody dies in."""
    await visitor.start().ready()
    assert await visitor.terminate() == 0, visitor.process.tail()


async def stop(worker: WorkerProcess, _: WorkerProcess) -> None:
    """SIGTERM, and the next one."""
    assert await worker.terminate() == 0, worker.process.tail()
    await worker.start().ready()


async def kill(worker: WorkerProcess, _: WorkerProcess) -> None:
    """SIGKILL, and the next one."""
    worker.kill()
    await worker.start().ready()


EVENTS: Final[dict[str, Event]] = {
    "a worker joins and leaves": join_and_leave,
    "SIGTERM under load": stop,
    "kill -9 under load": kill,
}


async def measure(
    cluster: Cluster, topics: Topics, folder: Path, *, event: str, seed: int, times: int, rate: float
) -> Repeats:
    """Let it happen so many times. Raises AssertionError where an invariant does not hold.

    Args:
        cluster: whole.
        topics: empty.
        folder: for the workers' logs.
        event: one of `EVENTS`.
        seed: when it happens, and which comments come.
        times: how often.
        rate: comments a second.
    """
    chance = random.Random(seed)
    inputs, repeats = list[int](), list[int]()
    # No scores from memory: as much is in the middle of something as with texts that nobody has seen.
    worker, visitor = (
        WorkerProcess(cluster, topics, folder, name=name, cache_entries=0) for name in ("worker", "visitor")
    )
    async with Audit(cluster, topics) as audit, worker:
        try:
            for turn in range(times):
                inputs_before, repeats_before = len(audit.inputs), audit.repeats
                async with audit.producing(rate, comments(_MOST, seed * 1000 + turn)):
                    await asyncio.sleep(chance.uniform(*_BEFORE_S))
                    await EVENTS[event](worker, visitor)
                    await asyncio.sleep(_AFTER_S)
                await audit.until_rest()
                inputs.append(len(audit.inputs) - inputs_before)
                repeats.append(audit.repeats - repeats_before)
        finally:
            visitor.kill()
        assert await worker.terminate() == 0, worker.process.tail()
        audit.check()
    return Repeats(event, inputs, repeats)


def table(found: list[Repeats], rate: float) -> Table:
    """A row for each kind of event."""
    drawn = Table(title=f"outcomes that came twice, at {rate:g} comments a second")
    for name in ("event", "times", "inputs", "repeats per event, median", "max", "share of inputs"):
        drawn.add_column(name, justify="left" if name == "event" else "right")
    for each in found:
        median, most = statistics.median(each.repeats), max(each.repeats)
        numbers = (str(len(each.repeats)), f"{sum(each.inputs):,}", f"{median:g}", str(most), f"{each.share:.2%}")
        drawn.add_row(each.event, *numbers)
    return drawn


def command(
    seed: Annotated[int, typer.Option(help="When things happen, and which comments come.")] = 1,
    times: Annotated[int, typer.Option(help="How often each thing happens.", min=1)] = TIMES,
    rate: Annotated[float, typer.Option(help="Comments a second.", min=1)] = RATE,
) -> None:
    """Count the decisions that come twice, for each kind of event, and print a table."""
    console = Console()
    console.print(f"seed {seed}, on Apache Kafka: three nodes, everything kept three times")
    found = []
    with tempfile.TemporaryDirectory() as folder, start_cluster(Path(folder) / "cluster") as cluster:
        for number, event in enumerate(track(EVENTS, console=console, description="events")):
            workers = Path(folder) / str(number)
            workers.mkdir()
            found.append(
                asyncio.run(_measure_on_fresh_topics(cluster, workers, event=event, seed=seed, times=times, rate=rate))
            )
            console.print(f"{event}: {found[-1].repeats}")
    console.print(table(found, rate))


async def _measure_on_fresh_topics(
    cluster: Cluster, folder: Path, *, event: str, seed: int, times: int, rate: float
) -> Repeats:
    topics = await fresh_topics(cluster, replication=3)
    return await measure(cluster, topics, folder, event=event, seed=seed, times=times, rate=rate)


if __name__ == "__main__":
    typer.run(command)
