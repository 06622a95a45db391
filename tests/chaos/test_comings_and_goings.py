"""2. Instances started and stopped at random, no more than half a second apart, while comments come in."""

import asyncio
import random
from pathlib import Path

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import comments, endless_comments
from tests.topics import Topics
from tests.workers import SLOWLY, WorkerProcess

INSTANCES = 3
LIVES = 4
LONGEST_S = 0.5


async def test_instances_come_and_go_at_random(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    async def come_and_go(name: str) -> None:
        chance = random.Random(f"{seed} {name}")
        worker = WorkerProcess(cluster, topics, tmp_path, name=name, **SLOWLY)
        try:
            for _ in range(LIVES):
                worker.start()
                # Some go before they have got anywhere.
                await (worker.ready() if chance.random() < 0.7 else worker.alive())
                await asyncio.sleep(LONGEST_S * chance.random())
                if chance.random() < 0.5:
                    worker.kill()
                else:
                    assert await worker.terminate() == 0, worker.process.tail()
                await asyncio.sleep(LONGEST_S * chance.random())
        finally:
            worker.kill()

    await audit.produce(comments(500))
    async with audit.producing(40, endless_comments(2)), asyncio.TaskGroup() as instances:
        for number in range(INSTANCES):
            instances.create_task(come_and_go(f"instance-{number}"))

    async with WorkerProcess(cluster, topics, tmp_path, name="last", **SLOWLY) as last:
        await audit.until_rest()
        assert await last.terminate() == 0
    audit.check()
