"""4. A broker bounced cleanly and hard, five times; leaders move."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.audit import Audit
from tests.chaos.cluster import NODES, Cluster
from tests.comments import endless_comments
from tests.topics import Topics
from tests.workers import WorkerProcess

BOUNCES = 5


@pytest.mark.parametrize("how", ["cleanly", pytest.param("hard", marks=pytest.mark.chaos_slice)])
async def test_brokers_are_bounced_one_by_one(  # noqa: PLR0917  fixtures
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path, how: str
) -> None:
    # Each at least once: one of them leads the group, another the controllers.
    nodes = [*range(NODES), *random.Random(seed).sample(range(NODES), BOUNCES - NODES)]
    random.Random(seed).shuffle(nodes)

    async with WorkerProcess(cluster, topics, tmp_path) as worker:
        async with audit.producing(40, endless_comments(1)):
            for turn, node in enumerate(nodes):
                await audit.until_more(50)
                await asyncio.to_thread(cluster.bounce, node, hard=how == "hard")
                await cluster.until_whole()
                if turn % 2:
                    await asyncio.to_thread(cluster.preferred_leaders)
            await audit.until_more(50)

        await audit.until_rest()
        assert await worker.terminate() == 0, worker.process.tail()
    audit.check()
