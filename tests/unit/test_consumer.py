"""What the worker's consumer decides otherwise than Faust's. How it fares on a broker is for the tests with one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from faust.types import TP

from worker.app import create_faust_app
from worker.consumer import Consumer
from worker.settings import Settings

PLACE = TP("comments", 0)


@pytest.fixture
async def consumer(tmp_path: Path) -> AsyncIterator[Any]:
    app = create_faust_app(Settings(kafka_bootstrap_servers="127.0.0.1:1"), tmp_path)
    consumer = app._new_consumer()
    yield consumer
    # Never started, so nobody else does.
    consumer._thread.thread_loop.close()


def ack(consumer: Any, *offsets: int) -> None:
    consumer._acked[PLACE].extend(offsets)
    consumer._acked_index[PLACE].update(offsets)


async def test_it_is_the_one_that_the_application_reads_with(consumer: Any) -> None:
    assert isinstance(consumer, Consumer)


async def test_nothing_acked_commits_nothing(consumer: Any) -> None:
    assert consumer._new_offset(PLACE) is None


@pytest.mark.parametrize(
    ("committed", "acked", "expected"),
    [
        (None, [0], 1),
        (None, [0, 7, 8], 9),
        (1, [7, 8, 9], 10),
        (2585, [2585, 2586, 2589], 2590),
        (40, [41], 42),
    ],
    ids=["the first ever", "a hole behind offset 0", "and the commit that follows", "holes", "a marker before it"],
)
async def test_what_was_acked_last_is_committed_whatever_is_missing_in_the_log(
    consumer: Any, committed: int | None, acked: list[int], expected: int
) -> None:
    consumer._committed_offset[PLACE] = committed
    ack(consumer, *acked)

    assert consumer._new_offset(PLACE) == expected


async def test_what_was_committed_once_is_not_held(consumer: Any) -> None:
    for offset in range(0, 1000, 10):
        await consumer._add_gap(PLACE, offset + 1, offset + 10)
        ack(consumer, offset)
        assert consumer._new_offset(PLACE) == offset + 1

    assert consumer._new_offset(PLACE) is None
    assert not any((consumer._acked[PLACE], consumer._acked_index[PLACE], consumer._gap[PLACE]))


async def test_it_reads_what_is_committed_and_shares_partitions_out_one_by_one(consumer: Any) -> None:
    thread = consumer._thread
    client = thread._create_worker_consumer(consumer.transport)

    assert client._isolation_level == "read_committed"
    assert thread._assignor is RoundRobinPartitionAssignor
    await client.stop()
