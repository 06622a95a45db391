"""1. SIGKILL in bursts; then SIGTERM and SIGINT."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import comments, endless_comments
from tests.topics import Topics
from tests.workers import SLOWLY, WorkerProcess

BURSTS = 3
KILLS = 3


@pytest.mark.chaos_slice
async def test_killed_in_bursts_then_asked_to_stop(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    one, two = (WorkerProcess(cluster, topics, tmp_path, name=name, **SLOWLY) for name in ("one", "two"))
    await audit.produce(comments(1000))

    async with one, two, audit.producing(40, endless_comments(2)):
        for _ in range(BURSTS):
            await audit.until_more(100)
            for _ in range(KILLS):
                await asyncio.sleep(chance.random() / 2)  # not to wait for anything: to be anywhere in a batch
                victim = chance.choice((one, two))
                victim.kill()
                victim.start()
        await one.ready()
        await two.ready()
        await audit.until_more(100)

        assert await one.terminate() == 0
        assert await two.interrupt() == 0

    async with one, two:
        await audit.until_rest()
        assert await one.interrupt() == 0
        assert await two.terminate() == 0
    audit.check()
