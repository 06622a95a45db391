"""Scenario 13: far more comments than the worker can screen, all at once.

What it has read and not finished is bounded in records and in bytes, so its memory is; it goes on telling the group that it is
there; and in the end everything has been dealt with.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.chaos.resident import Resident
from tests.comments import comments
from tests.topics import Topics
from tests.workers import WorkerProcess

_BURST: Final = 12_000
"""More than the worker takes in and Faust reads ahead together, 2,048 and 8,192; put in at once, which is far more than ten times
as fast as it screens."""
_HEAVY: Final = 1000
_HEAVY_BYTES: Final = 150_000
_MORE_MIB: Final = 96
"""Above what it has at rest: 32 MiB that may be in flight, as much that may be read ahead of it, and as much again for what the
model's arena and the allocator keep."""
_DRAIN_S: Final = 400.0


@pytest.mark.chaos_slice
async def test_a_burst_into_one_partition(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    deck = [(b"hot" if number % 10 else key, value) for number, (key, value) in enumerate(comments(_BURST, seed))]
    async with overloaded(WorkerProcess(cluster, topics, tmp_path, cache_entries=0), audit, seed):
        await audit.produce(deck)


async def test_a_burst_of_records_that_are_mostly_ballast(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    deck = [(key, _with_ballast(value)) for key, value in comments(_HEAVY, seed)]
    async with overloaded(WorkerProcess(cluster, topics, tmp_path, cache_entries=0), audit, seed):
        await audit.produce(deck)


async def test_a_burst_and_slow_brokers(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    async with overloaded(WorkerProcess(cluster.proxied, topics, tmp_path, cache_entries=0), audit, seed):
        for proxy in cluster.proxies:
            proxy.delay_s, proxy.bytes_per_s = 0.2, 200_000
        await audit.produce(comments(_BURST // 4, seed))


@asynccontextmanager
async def overloaded(worker: WorkerProcess, audit: Audit, seed: int) -> AsyncIterator[None]:
    """Start a worker, let it screen a little, let the body overload it, and see that it has borne it."""
    async with worker, Resident(lambda: worker.process.pid) as resident:
        # As many as make full windows: the model's memory grows with the first large batch.
        await audit.produce(comments(1000, seed + 1))
        await audit.until_rest()
        rest_mib, said, rebalances = resident.samples[-1], len(worker.said()), await _rebalances(worker)
        resident.samples.clear()
        yield
        await audit.until(lambda: not audit.missing, "an outcome for every input", _DRAIN_S)
        await audit.until_rest()
        more_mib = resident.peak_mib - rest_mib
        print(f"{rest_mib:.0f} MiB at rest, at most {more_mib:.0f} more under load")  # noqa: T201
        since = worker.said()[said:].lower()
        rebalances_after = await _rebalances(worker)
        assert await worker.terminate() == 0
    audit.check()
    assert audit.repeats == 0
    assert more_mib < _MORE_MIB
    assert rebalances_after == rebalances
    assert [line for line in since.splitlines() if "heartbeat" in line] == []


async def _rebalances(worker: WorkerProcess) -> list[str]:
    metrics = await asyncio.to_thread(worker.metrics)
    return [line for line in metrics.splitlines() if line.startswith("screener_rebalances_total")]


def _with_ballast(value: bytes | None) -> bytes:
    """A field that the worker does not know, and passes over."""
    return json.dumps(json.loads(value or b"{}") | {"attachment": "x" * _HEAVY_BYTES}).encode()
