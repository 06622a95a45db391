"""More than the worker can take: it reads no more than it can hold, misses no heartbeat, and drops nothing."""

import asyncio
import json
import re
from pathlib import Path
from typing import Final

import pytest

from tests.audit import Audit
from tests.comments import Input, comments
from tests.topics import Topics
from tests.workers import WorkerProcess
from worker.demo.broker import Broker

FAULTY: Final = Path(__file__).with_name("faulty_worker.py")
MEGABYTE: Final = 2**20
ONCE_ASSIGNED: Final = "screener_rebalances_total 1.0"
"""A heartbeat that is missed costs the worker its partitions, and it gets them back by a second one."""


def large_comments(count: int, size: int) -> list[Input]:
    """Valid ones, short to read and long to hold: producers may send fields of their own."""
    padding = b"x" * size
    small = (
        {"comment_id": f"large-{number}", "text": f"comment {number}", "created_at": "2026-11-24T10:00:00Z"}
        for number in range(count)
    )
    return [
        (comment["comment_id"].encode(), b'{"padding":"%s",%s' % (padding, json.dumps(comment).encode()[1:]))
        for comment in small
    ]


class Memory:
    """Samples how much a worker has resident, in bytes."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self.first = self.most = self._now()

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            self.most = max(self.most, await asyncio.to_thread(self._now))
            await asyncio.sleep(0.2)

    @property
    def growth(self) -> int:
        return self.most - self.first

    def _now(self) -> int:
        found = re.search(r"^process_resident_memory_bytes (\S+)$", self._worker.metrics(), re.MULTILINE)
        assert found is not None
        return int(float(found[1]))


@pytest.mark.kafka_only  # the embedded one holds everything in memory, too
async def test_a_backlog_of_the_largest_records_does_not_fill_its_memory(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    """135 MB wait and are read far faster than they are screened; 16 may be held, and what is on the way."""
    slow = (str(FAULTY), "slow-model")
    async with (
        Audit(broker, topics) as audit,
        WorkerProcess(broker, topics, tmp_path, program=slow, max_in_flight_bytes=8 * MEGABYTE) as worker,
    ):
        # The model has run once, so that what it takes for itself is there.
        await audit.produce(comments(50))
        await audit.until_complete()
        memory = Memory(worker)
        watching = asyncio.create_task(memory.watch())
        await audit.produce(large_comments(150, 900_000))
        await audit.until_complete()
        await audit.until_committed()
        watching.cancel()
        assert ONCE_ASSIGNED in await asyncio.to_thread(worker.metrics)
        assert await worker.terminate() == 0
        audit.check()
    assert memory.growth < 80 * MEGABYTE


async def test_a_burst_is_worked_off_without_a_heartbeat_missed(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    async with Audit(broker, topics) as audit, WorkerProcess(broker, topics, tmp_path, cache_entries=0) as worker:
        await audit.produce(comments(4000))
        await audit.until_complete()
        await audit.until_committed()
        assert ONCE_ASSIGNED in await asyncio.to_thread(worker.metrics)
        assert await worker.terminate() == 0
        audit.check()
        assert audit.repeats == 0


async def test_what_has_waited_too_long_is_held_for_a_person_and_not_dropped(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    async with Audit(broker, topics) as audit:
        await audit.produce(comments(200))
        # All of them are older than that by the time that the worker has started.
        async with WorkerProcess(
            broker, topics, tmp_path, shed_lag_s=0.001, max_in_flight=5, cache_entries=0
        ) as worker:
            await audit.until_complete()
            await audit.until_committed()
            metrics = await asyncio.to_thread(worker.metrics)
            assert await worker.terminate() == 0
        audit.check()
    assert len(audit.decisions) == 200
    assert {decision["action"] for decision in audit.decisions if decision["degraded"]} == {"hold"}
    # Of each partition's first ten nobody knows whether they were decided before.
    screened = [decision["source"] for decision in audit.decisions if not decision["degraded"]]
    assert {source["offset"] for source in screened} == set(range(10))
    assert len(screened) == 10 * len({source["partition"] for source in screened})
    assert f"screener_shed_total {200 - len(screened)}.0" in metrics
