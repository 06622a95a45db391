"""Scenario 9: a producer is deployed that makes every record wrong.

The worker stops before it has moved the topic into the dead letters, however often it is started again, until a person has
looked. Then there are two ways on: let all of them become dead letters, or delete them.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from tests.audit import Audit, Place
from tests.chaos.cluster import Cluster
from tests.comments import comments
from tests.topics import Topics
from tests.workers import WorkerProcess

_GOOD: Final = 300
_BAD: Final = 2000
_IN_A_ROW: Final = 100
_STARTS: Final = 3


@pytest.mark.parametrize("way", ["raise-the-limit", "delete-them"])
async def test_a_bad_deploy_stops_the_worker_until_somebody_has_looked(  # noqa: PLR0917  fixtures
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path, way: str
) -> None:
    async with WorkerProcess(cluster, topics, tmp_path, dead_letters_in_a_row=_IN_A_ROW) as worker:
        await audit.produce(comments(_GOOD, seed))
        await audit.until_rest()
        good = set(audit.inputs)
        await audit.produce((f"bad-{number}".encode(), b'{"text": ') for number in range(_BAD))
        assert await worker.ended() == 1
        # Whoever supervises it starts it again: it comes to the same end each time.
        for _ in range(_STARTS - 1):
            assert await worker.start().ended() == 1
        assert "look at what the producers send before starting again" in worker.said().splitlines()[-1]
    assert sum((await audit.committed()).values()) < _GOOD + _STARTS * _IN_A_ROW
    await _until_read(audit)
    assert len(audit.dead_letters) < _STARTS * _IN_A_ROW

    bad = audit.inputs.keys() - good
    await audit.produce(comments(_GOOD, seed + 1))  # the producer is mended
    settings: dict[str, Any] = {}
    if way == "raise-the-limit":
        settings = {"dead_letters_in_a_row": 2 * _BAD, "dead_letters_ratio": 1.0}
    else:
        await _delete(cluster, topics, audit, bad)
    async with WorkerProcess(cluster, topics, tmp_path, name="mended", **settings) as mended:
        await audit.until_rest()
        assert await mended.terminate() == 0
    audit.check()
    assert len({decision["comment_id"] for decision in audit.decisions}) == 2 * _GOOD
    if way == "raise-the-limit":
        assert {letter.key for letter in audit.dead_letters} == {f"bad-{number}".encode() for number in range(_BAD)}


async def _until_read(audit: Audit) -> None:
    """Until the audit knows all that the worker has written before its end."""
    async with asyncio.timeout(60):
        while not await audit._has_read_all():  # noqa: ASYNC110  only asking tells
            await asyncio.sleep(0.1)


async def _delete(cluster: Cluster, topics: Topics, audit: Audit, bad: set[Place]) -> None:
    """Delete them, and all before them, from the topic. The worker's commits then point at what is no more."""
    await _until_read(audit)
    ends = {
        partition: max((offset + 1 for of, offset in bad if of == partition), default=0)
        for partition in range(topics.partitions)
    }
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(topics.comments, partition): RecordsToDelete(end) for partition, end in ends.items() if end}
        )
    finally:
        await admin.close()
    # Nobody is going to read them; those that were read already have their dead letters.
    for place in bad - audit.outcomes.keys():
        del audit.inputs[place], audit.log[place]
