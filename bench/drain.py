"""A backlog, and who works it off: one round of one contestant on Kafka."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from bench import kafka
from bench.plan import Plan
from bench.processes import WORKER, check_running, new_name, process
from tests.topics import Topics
from tests.workers import WorkerProcess

_PATIENCE_S: Final = 120.0

Beside = Callable[[WorkerProcess, Topics], Coroutine[Any, Any, None]]
"""Something to do while a process works, told of it and of its topics."""


class IncompleteError(Exception):
    """Not every comment got its decision."""


class Backlog:
    """Comments that lie in a topic, to be read from their start as often as somebody wants to.

    Args:
        bootstrap: the broker.
        plan: where logs go.
        values: the comments, produced at once.
    """

    def __init__(self, bootstrap: str, plan: Plan, values: Iterable[bytes]) -> None:
        self._bootstrap = bootstrap
        self._folder = plan.folder
        self._values = list(values)
        self.count = len(self._values)
        self._topics = asyncio.run(self._produce())

    def drain(
        self,
        program: Sequence[str],
        *,
        look: Callable[[WorkerProcess], None] = lambda _: None,
        beside: Beside | None = None,
        **settings: Any,
    ) -> kafka.Drained:
        """One process works all of it off, from a standing start; how fast, once it is under way.

        Args:
            program: what python runs.
            look: called when it is done, while it still runs.
            beside: done while it works; the process lives until this is over.
            settings: the worker's.

        Raises:
            IncompleteError: decisions are missing.
        """
        return asyncio.run(self._drain(program, look, beside, settings))

    async def _produce(self) -> Topics:
        topics = await kafka.fresh_topics(self._bootstrap, new_name("backlog"))
        await kafka.produce(self._bootstrap, topics.comments, self._values)
        return topics

    async def _drain(
        self,
        program: Sequence[str],
        look: Callable[[WorkerProcess], None],
        beside: Beside | None,
        settings: dict[str, Any],
    ) -> kafka.Drained:
        name = new_name("drain")
        topics = await kafka.fresh_topics(self._bootstrap, name, self._topics.comments)
        worker = process(program, self._bootstrap, topics, name, self._folder, **settings).start()
        try:
            async with asyncio.TaskGroup() as group:
                if beside is not None:
                    group.create_task(beside(worker, topics))
                await _all_decided(self._bootstrap, topics, self.count, [worker])
            look(worker)
        finally:
            worker.kill()
        return await _measured(self._bootstrap, topics)


def drain_together(bootstrap: str, plan: Plan, values: Sequence[bytes], workers: int, **settings: Any) -> kafka.Drained:
    """Workers of one group are ready before the first comment comes, so that all of the time is everybody's."""
    return asyncio.run(_drain_together(bootstrap, plan, values, workers, settings))


async def _drain_together(
    bootstrap: str, plan: Plan, values: Sequence[bytes], workers: int, settings: dict[str, Any]
) -> kafka.Drained:
    name = new_name("together")
    topics = await kafka.fresh_topics(bootstrap, name)
    with contextlib.ExitStack() as stack:
        group = []
        for number in range(workers):
            worker = process(
                WORKER,
                bootstrap,
                topics,
                f"{name}-{number}",
                plan.folder,
                **settings | {"group_id": name},
            )
            group.append(worker.start())
            stack.callback(worker.kill)
        for worker in group:
            await worker.ready()
        # The last to join has moved partitions: nothing is produced before everybody has his own.
        share = kafka.PARTITIONS // workers
        for worker in group:
            await worker.until_measured(f"screener_assigned_partitions {share}.0")
        places = await kafka.produce(bootstrap, topics.comments, values)
        await _all_decided(bootstrap, topics, len(values), group)
    return await _measured(bootstrap, topics, topics.comments, since_ms=min(place.written_ms for place in places))


async def _all_decided(bootstrap: str, topics: Topics, count: int, workers: Sequence[WorkerProcess]) -> None:
    def check() -> None:
        for worker in workers:
            check_running(worker)

    written = await kafka.until_written(bootstrap, topics, count, check=check, patience_s=_PATIENCE_S)
    if written < count:
        raise IncompleteError(f"{written} of {count} comments decided: {workers[0].log}")


async def _measured(bootstrap: str, topics: Topics, *gone: str, since_ms: int | None = None) -> kafka.Drained:
    drained = await kafka.drained(bootstrap, topics.decisions, since_ms)
    await kafka.delete_topics(bootstrap, topics.decisions, topics.dead_letters, *gone)
    return drained
