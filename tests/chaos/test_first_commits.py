"""Scenario 11: the first commit ever, windows that are done out of order, and offsets that are not there.

Faust's own search for what may be committed is off by one, and skips any gap where nothing, or 0, was committed before. The
worker acks in the order of the offsets it has read, so neither a window that is late nor a hole in the log moves a commit.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.chaos.topic_configs import configure
from tests.comments import Input, comments
from tests.topics import Topics, fresh_topics
from tests.workers import WorkerProcess

_STUCK: Final = Path(__file__).with_name("stuck_worker.py")
_WINDOW: Final = 16
_COMMENTS: Final = 600
_KEYS: Final = 200
_EPOCH_MS: Final = 1_700_000_000_000
_PATIENCE_S: Final = 120.0


@pytest.mark.acks_only  # in a transaction the outcomes wait for one another, not the acks
@pytest.mark.parametrize("before", [pytest.param("nothing", marks=pytest.mark.chaos_slice), "zero", "some"])
async def test_no_commit_passes_a_window_that_is_late(  # noqa: PLR0917  fixtures
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path, before: str
) -> None:
    deck = comments(_COMMENTS, seed)
    committed: dict[int, int] = {}
    if before == "zero":
        await _commit_zero(cluster, topics)
    if before == "some":
        async with WorkerProcess(cluster, topics, tmp_path, name="earlier") as earlier:
            await audit.produce(deck[:100])
            await audit.until_rest()
            assert await earlier.terminate() == 0
            committed = await audit.committed()
        deck = deck[100:]
    # All in one partition: whatever comes behind the first window is behind it in the log as well.
    await audit.produce([(b"one key", value) for _, value in deck])
    stuck = WorkerProcess(
        cluster,
        topics,
        tmp_path,
        name="stuck",
        program=(str(_STUCK), "hold-the-first-window"),
        max_window=_WINDOW,
        commit_interval_s=0.1,
    ).start()
    try:
        await audit.until(lambda: 0 < len(audit.missing) <= _WINDOW, "all but the first window")
        late = min(audit.missing)
        assert late[1] == committed.get(late[0], 0)
        assert await audit.committed() == committed
    finally:
        stuck.kill()
    async with WorkerProcess(cluster, topics, tmp_path) as worker:
        await audit.until_rest()
        assert await worker.terminate() == 0
    audit.check()


async def test_markers_and_aborted_transactions_between_the_comments(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    deck = comments(_COMMENTS, seed)
    async with WorkerProcess(cluster, topics, tmp_path, cache_entries=0, max_window=_WINDOW) as worker:
        async with asyncio.TaskGroup() as group:
            group.create_task(_produce_in_transactions(cluster, topics, deck))
            await audit.until(lambda: len(audit.outcomes) >= _COMMENTS // 3, "progress")
            worker.kill()
            await worker.start().ready()
        await audit.until(lambda: len(audit.log) == _COMMENTS, "all that was not called off")
        await audit.until_rest()
        assert await worker.terminate() == 0
    # What was called off was never said: it has no decision.
    audit.check()
    assert len(audit.outcomes) == _COMMENTS


@pytest.fixture
async def compacted(cluster: Cluster, seed: int) -> Topics:
    """Topics of one partition each; that of the comments has holes, and gets no more."""
    topics = await fresh_topics(cluster, 1, replication=3)
    config = {"cleanup_policy": "compact", "segment_ms": "100", "min_cleanable_dirty_ratio": "0.01"}
    await configure(cluster, topics.comments, min_insync_replicas="2", **config)
    await _produce_compacted(cluster, topics, random.Random(seed))
    return topics


async def test_holes_that_compaction_has_left(cluster: Cluster, compacted: Topics, tmp_path: Path) -> None:
    async with (
        Audit(cluster, compacted) as audit,
        WorkerProcess(cluster, compacted, tmp_path, cache_entries=0, max_window=_WINDOW) as worker,
    ):
        await audit.until(lambda: len(audit.outcomes) >= _KEYS // 3, "progress")
        worker.kill()
        await worker.start().ready()
        await audit.until_rest()
        assert await worker.terminate() == 0
        audit.check()
        offsets = [offset for _, offset in audit.log]
        assert len(offsets) < max(offsets) - min(offsets)


async def _commit_zero(cluster: Cluster, topics: Topics) -> None:
    """As if a worker had started and ended before the first comment."""
    consumer = AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap, group_id=topics.comments, enable_auto_commit=False)
    async with consumer:
        partitions = [TopicPartition(topics.comments, partition) for partition in range(topics.partitions)]
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, 0))


async def _produce_in_transactions(cluster: Cluster, topics: Topics, deck: Sequence[Input]) -> None:
    """Twenty comments at a time. Every other transaction is called off at first, and done again."""
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, transactional_id=topics.comments) as producer:
        for number, start in enumerate(range(0, len(deck), 20)):
            for end in (producer.abort_transaction,) * (number % 2) + (producer.commit_transaction,):
                await producer.begin_transaction()
                for key, value in deck[start : start + 20]:
                    await producer.send(topics.comments, key=key, value=value)
                await producer.flush()
                await end()


async def _produce_compacted(cluster: Cluster, topics: Topics, chance: random.Random) -> None:
    """Comments of few keys, of each of which only the last is left when this returns; and some more that nobody has cleaned."""
    deck = [
        (_key(number, chance), value) for number, (_, value) in enumerate(comments(_COMMENTS, chance.randrange(10**6)))
    ]
    tail = [
        (b"tail %d" % number, value) for number, (_, value) in enumerate(comments(_WINDOW, chance.randrange(10**6)))
    ]
    # Confirmed by all: what only the leader has is not counted below.
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all") as producer:
        # Their times say when a segment is full. The one that is written to is never compacted: the tail has it to itself.
        for at_ms, (key, value) in [*enumerate(deck), *enumerate(tail, start=10_000)]:
            await producer.send_and_wait(topics.comments, key=key, value=value, timestamp_ms=_EPOCH_MS + 2 * at_ms)
    left = len({key for key, _ in [*deck, *tail]})
    async with asyncio.timeout(_PATIENCE_S):
        while await _count(cluster, topics) > left:  # noqa: ASYNC110  only asking tells
            await asyncio.sleep(1)


def _key(number: int, chance: random.Random) -> bytes:
    """Of the first five records the first and the last are left: where Faust begins to count, 0, is for it as good as nothing."""
    if number < 5:
        return b"second" if number else b"first"
    return b"key %d" % chance.randrange(_KEYS)


async def _count(cluster: Cluster, topics: Topics) -> int:
    """Records that a reader gets of the one partition."""
    partition = TopicPartition(topics.comments, 0)
    async with AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap) as consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        count = 0
        while await consumer.position(partition) < end:
            count += sum(len(records) for records in (await consumer.getmany(timeout_ms=500)).values())
        return count
