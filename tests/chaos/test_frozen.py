"""6. SIGSTOP beyond the session timeout: a stale generation never commits."""

import asyncio
import random
from pathlib import Path

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import comments, endless_comments
from tests.topics import Topics
from tests.workers import SLOWLY, WorkerProcess

FREEZES = 3


async def test_who_was_frozen_does_not_commit_over_its_heir(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    frozen, heir = (WorkerProcess(cluster, topics, tmp_path, name=name, **SLOWLY) for name in ("frozen", "heir"))
    await audit.produce(comments(500))

    async with frozen, heir:
        async with audit.producing(40, endless_comments(2)):
            for _ in range(FREEZES):
                await audit.until_more(100)
                await asyncio.sleep(chance.random() / 2)  # not to wait for anything: to be anywhere in a batch
                assignments, handovers = assigned(frozen), assigned(heir)
                frozen.freeze()
                try:
                    await until_assigned_again(heir, handovers)
                    # What lies in partitions of the frozen one comes only from its heir.
                    await until_done_with(audit, set(audit.log))
                finally:
                    frozen.thaw()
                await until_assigned_again(frozen, assignments)

        await audit.until_rest()
        assert await frozen.terminate() == 0
        assert await heir.terminate() == 0
    audit.check()
    assert audit.regressions() == []


async def until_done_with(audit: Audit, places: set[tuple[int, int]]) -> None:
    await audit.until(lambda: places <= audit.outcomes.keys(), "what the frozen one had")


def assigned(worker: WorkerProcess) -> int:
    return worker.said().count('"event": "assigned"')


async def until_assigned_again(worker: WorkerProcess, before: int) -> None:
    await worker.until(lambda: assigned(worker) > before)
