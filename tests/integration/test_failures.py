"""What the worker promises when things are killed, stopped and taken away: nothing missing, nothing decided twice."""

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.audit import Audit
from tests.integration.test_worker import comments
from tests.topics import Topics, fresh_topics
from tests.workers import WorkerProcess
from worker.demo.broker import Broker

FAULTS = Path(__file__).with_name("faulty_worker.py")
SLOWLY: dict[str, Any] = {"cache_entries": 0, "max_window": 16, "max_in_flight": 128}
"""No repeats from memory, and small windows: something is always in the middle of something."""


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


async def test_one_of_two_workers_killed_the_other_takes_over(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    async with Audit(broker, topics) as audit:
        async with (
            WorkerProcess(broker, topics, tmp_path, name="one", **SLOWLY) as one,
            WorkerProcess(broker, topics, tmp_path, name="two", **SLOWLY) as two,
        ):
            await audit.produce(comments(1500))
            await audit.until(lambda: len(audit.outcomes) > 300, "progress")
            one.kill()
            await audit.until_complete()
            await audit.until_committed()
            assert await two.terminate() == 0
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


async def test_rebalances_while_batches_are_in_flight(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    async with Audit(broker, topics) as audit:
        async with WorkerProcess(broker, topics, tmp_path, name="stays", **SLOWLY) as stays:
            await audit.produce(comments(2500))
            for turn in range(3):
                visitor = WorkerProcess(broker, topics, tmp_path, name=f"visitor-{turn}", **SLOWLY)
                async with visitor:
                    assert await visitor.terminate() == 0
            await audit.until_complete()
            await audit.until_committed()
            assert await stays.terminate() == 0
        audit.check()


async def test_frozen_beyond_its_session_it_does_not_commit_over_its_heir(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    async with Audit(broker, topics) as audit:
        async with (
            WorkerProcess(broker, topics, tmp_path, name="frozen", **SLOWLY) as frozen,
            WorkerProcess(broker, topics, tmp_path, name="heir", **SLOWLY) as heir,
        ):
            await audit.produce(comments(1500))
            await audit.until(lambda: len(audit.outcomes) > 200, "progress")
            pid = frozen.process.pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            try:
                await audit.until_complete()
            finally:
                os.kill(pid, signal.SIGCONT)
            await audit.produce(comments(300, seed=2))
            await audit.until_complete()
            await audit.until_committed()
            assert await frozen.terminate() == 0
            assert await heir.terminate() == 0
        audit.check()


@pytest.mark.kafka_only  # the embedded one forgets everything when it goes
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_the_broker_goes_away_and_comes_back(own_broker: Broker, tmp_path: Path, how: str) -> None:
    topics = await fresh_topics(own_broker)
    async with Audit(own_broker, topics) as audit, WorkerProcess(own_broker, topics, tmp_path, **SLOWLY) as worker:
        await audit.produce(comments(1000))
        await audit.until(lambda: len(audit.outcomes) > 100, "progress")
        await asyncio.to_thread(own_broker.stop if how == "stop" else own_broker.kill)
        await asyncio.to_thread(own_broker.start)
        await audit.produce(comments(300, seed=2))
        await audit.until_complete()
        await audit.until_committed()
        assert await worker.terminate() == 0, worker.said()[-2000:]
        audit.check()


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


async def test_a_model_that_hangs_ends_the_process_with_its_stacks(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    async with Audit(broker, topics) as audit:
        await audit.produce(comments(10))
        worker = WorkerProcess(broker, topics, tmp_path, program=(str(FAULTS), "hang"), watchdog_timeout_s=8).start()
        assert await worker.ended() == 70
        assert "watchdog: records are waiting and none was finished" in worker.said()
        assert "hang_for_ever" in worker.said()
        assert await audit.committed() == {}


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


@pytest.mark.kafka_only  # the embedded one takes a static member that comes back for a stranger
async def test_under_static_membership_a_quick_restart_moves_no_partition(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    one = WorkerProcess(broker, topics, tmp_path, name="one", group_instance_id="one", session_timeout_s=20)
    two = WorkerProcess(broker, topics, tmp_path, name="two", group_instance_id="two", session_timeout_s=20)
    async with Audit(broker, topics) as audit, one, two:
        await audit.produce(comments(200))
        await audit.until_complete()
        before = two.said().count('"event": "assigned"')
        one.kill()
        await one.start().ready()
        await audit.produce(comments(200, seed=2))
        await audit.until_complete()
        await audit.until_committed()
        assert two.said().count('"event": "assigned"') == before
        audit.check()


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
