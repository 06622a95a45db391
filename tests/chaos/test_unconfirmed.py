"""Scenario 10: a decision is made, and nobody takes it.

Where too few replicas are in sync, or two nodes of three are gone, nothing is confirmed, so nothing is acked. The worker goes on
trying for as long as it is told to; then it ends, and the next one does the work again.
"""

import asyncio
import random
from pathlib import Path
from typing import Final

from tests.audit import Audit
from tests.chaos.cluster import NODES, Cluster
from tests.chaos.topic_configs import configure
from tests.comments import comments
from tests.topics import Topics
from tests.workers import DELIVERY, SLOWLY, WorkerProcess

_COMMENTS: Final = 1200


async def test_too_few_replicas_in_sync_nothing_is_acked_until_they_are(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    await configure(cluster, topics.decisions, cleanup_policy="compact", min_insync_replicas=str(NODES))
    gone = random.Random(seed).choice(cluster.brokers)
    async with WorkerProcess(cluster, topics, tmp_path, **SLOWLY) as worker:
        await audit.produce(comments(_COMMENTS, seed))
        await audit.until_more(_COMMENTS // 10)
        await asyncio.to_thread(gone.stop)
        # A transaction may have to wait for the end of the one before it, which no broker says anything of.
        await worker.until_logged("NotEnoughReplicas", "publish failed, trying again")
        committed = sum((await audit.committed()).values())
        # In a transaction the offset may be seen before the outcomes, which are promised by then.
        assert DELIVERY == "transactions" or committed <= len(audit.outcomes)
        assert len(audit.outcomes) < _COMMENTS
        await asyncio.to_thread(gone.start)
        await audit.until_rest()
        assert await worker.terminate() == 0
    audit.check()


async def test_two_nodes_of_three_gone_and_back(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    gone = random.Random(seed).sample(cluster.brokers, 2)
    async with WorkerProcess(cluster, topics, tmp_path, publish_timeout_s=180, **SLOWLY) as worker:
        await audit.produce(comments(_COMMENTS, seed))
        await audit.until_more(_COMMENTS // 10)
        for broker in gone:
            broker.kill()
        await worker.until_logged("publish failed, trying again")
        assert len(audit.outcomes) < _COMMENTS
        await asyncio.to_thread(cluster.start_all)
        await audit.until_rest()
        assert await worker.terminate() == 0
    audit.check()


async def test_not_confirmed_in_time_it_ends_without_an_ack_and_the_next_one_carries_on(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    await configure(cluster, topics.decisions, cleanup_policy="compact", min_insync_replicas=str(NODES))
    gone = random.Random(seed).choice(cluster.brokers)
    worker = WorkerProcess(cluster, topics, tmp_path, publish_timeout_s=5, **SLOWLY)
    async with worker:
        await audit.produce(comments(_COMMENTS, seed))
        await audit.until_more(_COMMENTS // 10)
        await asyncio.to_thread(gone.stop)
        assert await worker.ended() == 1
        assert "records not confirmed within 5 s" in worker.said().splitlines()[-1]
        assert sum((await audit.committed()).values()) <= len(audit.outcomes) < _COMMENTS
        await asyncio.to_thread(gone.start)
        await worker.start().ready()
        await audit.until_rest()
        assert await worker.terminate() == 0
    audit.check()
