"""5. All brokers down for two minutes; a slow broker.

`SCREENER_CHAOS_OUTAGE_S` says for how many seconds instead.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import endless_comments
from tests.topics import Topics
from tests.workers import WorkerProcess

OUTAGE_S: Final = float(os.environ.get("SCREENER_CHAOS_OUTAGE_S", "120"))
PUBLISH_TIMEOUT_S: Final = 180.0
SESSION_TIMEOUT_S: Final = 6.0


async def test_all_brokers_are_away_and_come_back(
    cluster: Cluster, topics: Topics, audit: Audit, tmp_path: Path
) -> None:
    async with WorkerProcess(cluster, topics, tmp_path, publish_timeout_s=PUBLISH_TIMEOUT_S) as worker:
        async with audit.producing(20, endless_comments(1)):
            await audit.until_more(100)
            await asyncio.to_thread(cluster.kill_all)
            await asyncio.sleep(OUTAGE_S)  # the scenario itself: that is how long they are away
            await asyncio.to_thread(cluster.start_all)
            await audit.until_more(100)

        await audit.until_rest()
        assert await worker.terminate() == 0, worker.process.tail()
    audit.check()


async def test_a_broker_is_slow_then_silent_then_cut_off(
    cluster: Cluster, topics: Topics, audit: Audit, tmp_path: Path
) -> None:
    async with WorkerProcess(cluster.proxied, topics, tmp_path, session_timeout_s=SESSION_TIMEOUT_S) as worker:
        async with audit.producing(40, endless_comments(1)):
            await audit.until_more(50)
            proxy = cluster.proxies[await cluster.leader_of(topics.decisions, 0)]

            proxy.delay_s, proxy.bytes_per_s = 0.5, 30_000
            await audit.until_more(150)

            proxy.stall()
            await asyncio.sleep(2 * SESSION_TIMEOUT_S)
            await asyncio.to_thread(proxy.heal)
            await audit.until_more(150)

            await asyncio.to_thread(proxy.cut)
            await asyncio.sleep(2 * SESSION_TIMEOUT_S)
            await asyncio.to_thread(proxy.heal)
            await audit.until_more(150)

        await audit.until_rest()
        assert await worker.terminate() == 0, worker.process.tail()
    audit.check()
