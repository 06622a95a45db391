"""What the worker promises when things are killed, stopped and taken away: nothing missing, nothing decided twice."""

import asyncio
import random
import re
from pathlib import Path
from urllib.error import HTTPError

import pytest
from aiokafka import AIOKafkaProducer

from tests.audit import Audit
from tests.comments import comments
from tests.topics import Topics, fresh_topics
from tests.workers import SLOWLY, WorkerProcess
from worker.demo.broker import Broker

FAULTS = Path(__file__).with_name("faulty_worker.py")


async def test_killed_in_mid_batch_and_started_again(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    chance = random.Random(5)
    async with Audit(broker, topics) as audit:
        worker = WorkerProcess(broker, topics, tmp_path, **SLOWLY)
        await audit.produce(comments(2000))
        for share in (0.1, 0.3, 0.6):
            await worker.start().ready()
            await audit.until(lambda share=share: len(audit.outcomes) > share * 2000, "progress")  # type: ignore[misc]
            await asyncio.sleep(chance.random() / 2)  # not to wait for anything: to be anywhere in a batch
            worker.kill()
        async with worker:
            await audit.until_complete()
            await audit.until_committed()
            assert await worker.terminate() == 0
        audit.check()


async def test_sigterm_under_load_finishes_what_was_begun_and_repeats_nothing(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    async with Audit(broker, topics) as audit:
        await audit.produce(comments(2000))
        worker = WorkerProcess(broker, topics, tmp_path, cache_entries=0)
        async with worker:
            await audit.until(lambda: len(audit.outcomes) > 300, "progress")
            assert await worker.terminate() == 0
        processed = sum((await audit.committed()).values())
        assert 300 < processed < 2000
        await audit.until(lambda: len(audit.outcomes) >= processed, "what was committed")
        async with worker:
            await audit.until_complete()
            await audit.until_committed()
            assert await worker.terminate() == 0
        audit.check()
        assert audit.repeats == 0


async def test_a_bad_deploy_of_a_producer_stops_the_worker_instead_of_draining_the_topic(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    async with Audit(broker, topics) as audit:
        await audit.produce((None, b"{") for _ in range(2000))
        worker = WorkerProcess(broker, topics, tmp_path).start()
        assert await worker.ended() == 1
        assert "dead letters in a row (SCREENER_DEAD_LETTERS_IN_A_ROW)" in worker.said().splitlines()[-1]
        assert sum((await audit.committed()).values()) < 100
        assert len(audit.dead_letters) < 100


@pytest.mark.parametrize(
    ("fault", "timeout_s", "why", "where"),
    [
        ("hang", 8, "records are waiting and none was finished", "hang_for_ever"),
        ("hang-tokeniser", 8, "records are waiting and none was finished", "hang_for_ever"),
        # What waits in the loop has no stack of its own.
        ("hang-publish", 8, "records are waiting and none was finished", "run_until_complete"),
        ("block-the-loop", 8, "the event loop has not turned", "hang_for_ever"),
        ("no-memory", 100, "screening failed 8 times: out of memory", "run_out"),
    ],
)
async def test_what_hangs_ends_the_process_with_its_stacks_and_a_restart_carries_on(
    broker: Broker, topics: Topics, tmp_path: Path, *, fault: str, timeout_s: int, why: str, where: str
) -> None:
    async with Audit(broker, topics) as audit:
        await audit.produce(comments(100))
        program = (str(FAULTS), fault)
        worker = WorkerProcess(broker, topics, tmp_path, program=program, watchdog_timeout_s=timeout_s).start()
        assert await worker.ended() == 70
        assert f"watchdog: {why}" in worker.said()
        assert where in worker.said()
        assert await audit.committed() == {}
        assert audit.dead_letters == []
        async with WorkerProcess(broker, topics, tmp_path, name="again") as again:
            await audit.until_complete()
            await audit.until_committed()
            assert await again.terminate() == 0
        audit.check()


async def test_brokers_that_confirm_nothing_are_told_of_before_the_worker_ends(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    async with Audit(broker, topics) as audit:
        await audit.produce(comments(10))
        worker = WorkerProcess(broker, topics, tmp_path, program=(str(FAULTS), "hang-publish"), publish_timeout_s=20)
        await worker.start().alive()
        await asyncio.to_thread(worker.until_said, "screener_paused 1.0")
        with pytest.raises(HTTPError) as not_ready:
            worker._get("/readyz")
        with not_ready.value as answer:
            assert b"the brokers have confirmed nothing for" in answer.read()
        assert await worker.ended() == 1
        assert re.search(r"comment-screener: \d+ records not confirmed within 20 s: no answer", worker.said())
        assert (await audit.committed(), audit.dead_letters) == ({}, [])


async def test_a_worker_with_nothing_to_do_tells_of_brokers_that_are_away(own_broker: Broker, tmp_path: Path) -> None:
    topics = await fresh_topics(own_broker)
    async with WorkerProcess(own_broker, topics, tmp_path, program=(str(FAULTS), "impatient")) as worker:
        await worker.ready()
        await asyncio.to_thread(own_broker.stop)
        await asyncio.to_thread(worker.until_said, "screener_paused 1.0")
        with pytest.raises(HTTPError) as not_ready:
            worker._get("/readyz")
        with not_ready.value as answer:
            assert b"the brokers have not answered for" in answer.read()
        await asyncio.to_thread(worker.until_said, "screener_ready 0.0")


@pytest.mark.kafka_only  # transactions
async def test_a_lag_of_markers_alone_is_no_stall(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    async with (
        Audit(broker, topics) as audit,
        WorkerProcess(broker, topics, tmp_path, watchdog_timeout_s=14) as worker,
        AIOKafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id=topics.comments) as producer,
    ):
        async with producer.transaction():
            key, value = comments(1)[0]
            sent = await producer.send_and_wait(topics.comments, key=key, value=value, partition=0)
        audit.inputs[0, sent.offset] = key, value
        await audit.until_complete()
        # The end of the partition lies behind the marker, and no commit ever gets there.
        await asyncio.to_thread(worker.until_said, 'screener_lag_messages{partition="0"} 1.0')
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(worker.process.wait, 25.0)
        assert await worker.terminate() == 0


@pytest.mark.mutation
@pytest.mark.kafka_only  # commits and ends are compared, which needs ends that are right
@pytest.mark.parametrize("fault", ["ack-before-publish", "ack-out-of-order", "send-unconfirmed"])
async def test_the_audit_finds(broker: Broker, topics: Topics, tmp_path: Path, fault: str) -> None:
    async with Audit(broker, topics) as audit:
        worker = WorkerProcess(broker, topics, tmp_path, program=(str(FAULTS), fault), **SLOWLY)
        await audit.produce(comments(1500))
        await worker.start().ready()
        await audit.until(lambda: len(audit.outcomes) > 100, "progress")
        worker.kill()
        async with worker:
            # What was acked too early and lost never comes, so it is the commits that say when it is over.
            await audit.until_committed()
            assert audit.missing or audit.overtakings()
