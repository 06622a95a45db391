"""`SCREENER_DELIVERY=transactions`: who reads `read_committed`, as the audit does, sees each outcome exactly once."""

import asyncio
import random
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from tests import workers
from tests.audit import Audit
from tests.comments import comments
from tests.topics import Topics, fresh_topics
from tests.workers import WorkerProcess
from worker.demo.broker import Broker
from worker.demo.comments import demo_records

pytestmark = pytest.mark.kafka_only  # the embedded one has no transactions

SLOWLY: Final = workers.SLOWLY | {"delivery": "transactions"}


async def test_killed_in_mid_transaction_it_repeats_nothing(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    chance = random.Random(5)
    async with Audit(broker, topics) as audit:
        worker = WorkerProcess(broker, topics, tmp_path, **SLOWLY)
        await audit.produce(demo_records(7, 1500))
        for share in (0.1, 0.3, 0.6):
            await worker.start().ready()
            await audit.until(lambda share=share: len(audit.outcomes) > share * 1500, "progress")  # type: ignore[misc]
            await asyncio.sleep(chance.random() / 2)  # not to wait for anything: to be anywhere in a transaction
            worker.kill()
        async with worker:
            await audit.until_complete()
            await audit.until_committed()
            assert await worker.terminate() == 0
        audit.check()
        assert audit.repeats == 0
        assert audit.dead_letters


async def test_frozen_beyond_its_session_it_repeats_nothing(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    async with Audit(broker, topics) as audit:
        async with (
            WorkerProcess(broker, topics, tmp_path, name="frozen", **SLOWLY) as frozen,
            WorkerProcess(broker, topics, tmp_path, name="heir", **SLOWLY) as heir,
        ):
            await audit.produce(comments(1500))
            await audit.until(lambda: len(audit.outcomes) > 200, "progress")
            frozen.freeze()
            try:
                await audit.until_complete()
            finally:
                frozen.thaw()
            await audit.produce(comments(300, seed=2))
            await audit.until_complete()
            await audit.until_committed()
            assert await frozen.terminate() == 0
            assert await heir.terminate() == 0
        audit.check()
        assert audit.repeats == 0


async def test_the_broker_dies_in_mid_transaction_and_comes_back(own_broker: Broker, tmp_path: Path) -> None:
    topics = await fresh_topics(own_broker)
    async with Audit(own_broker, topics) as audit, WorkerProcess(own_broker, topics, tmp_path, **SLOWLY) as worker:
        await audit.produce(comments(1000))
        await audit.until(lambda: len(audit.outcomes) > 100, "progress")
        await asyncio.to_thread(own_broker.kill)
        await asyncio.to_thread(own_broker.start)
        await audit.produce(comments(300, seed=2))
        await audit.until_complete()
        await audit.until_committed()
        assert await worker.terminate() == 0, worker.said()[-2000:]
        audit.check()
        assert audit.repeats == 0


async def test_offsets_in_a_transaction_are_taken_from_anyone(broker: Broker, topics: Topics) -> None:
    """Why a partition's transactional id has to fence its former owner: the group does not.

    Where this fails, aiokafka has learned to send the group's generation, and one producer a worker would do.
    """
    options = {"bootstrap_servers": broker.bootstrap, "group_id": topics.comments, "enable_auto_commit": False}
    transactional = {"bootstrap_servers": broker.bootstrap, "transactional_id": topics.comments}
    tp = TopicPartition(topics.comments, 0)
    async with (
        AIOKafkaConsumer(topics.comments, **options) as member,
        AIOKafkaConsumer(**options) as stranger,
        AIOKafkaProducer(**transactional) as producer,
    ):
        assert tp in member.assignment()
        stranger.assign([tp])
        with pytest.raises(KafkaError):
            await stranger.commit({tp: 5})
        async with producer.transaction():
            await producer.send_offsets_to_transaction({tp: 7}, topics.comments)
        # A commit is over before its offset can be seen; whoever opens the same id waits for that.
        async with AIOKafkaProducer(**transactional):
            assert await member.committed(tp) == 7


async def test_who_opens_a_transactional_id_fences_off_the_last_owner(broker: Broker, topics: Topics) -> None:
    tp = TopicPartition(topics.comments, 0)
    options = {"bootstrap_servers": broker.bootstrap, "transactional_id": topics.comments}
    async with (
        AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=topics.comments) as reader,
        AIOKafkaProducer(**options) as zombie,
    ):
        await zombie.begin_transaction()
        await zombie.send_offsets_to_transaction({tp: 7}, topics.comments)
        async with AIOKafkaProducer(**options) as heir:
            assert await reader.committed(tp) is None
            with pytest.raises(ProducerFenced):
                await zombie.commit_transaction()
            async with heir.transaction():
                await heir.send_offsets_to_transaction({tp: 3}, topics.comments)
        # As above.
        async with AIOKafkaProducer(**options):
            assert await reader.committed(tp) == 3
