"""What the worker promises when things are killed, stopped and taken away: nothing missing, nothing decided twice."""

import asyncio
import json
import os
import random
import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.error import HTTPError

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from msgspec import structs

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
        # More than fit in flight: what has not been read when SIGTERM comes is not finished.
        await audit.produce(comments(4000))
        worker = WorkerProcess(broker, topics, tmp_path, cache_entries=0, max_in_flight=1000)
        async with worker:
            await audit.until(lambda: len(audit.outcomes) > 300, "progress")
            assert await worker.terminate() == 0
        processed = sum((await audit.committed()).values())
        assert 300 < processed < 4000
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
        ("block-the-loop", 8, "the event loop has not turned", "hang_for_ever"),
        # The same watchdog sees to these: half a minute each.
        pytest.param(
            *("hang-tokeniser", 8, "records are waiting and none was finished", "hang_for_ever"),
            marks=pytest.mark.heavy,
        ),
        # What waits in the loop has no stack of its own.
        pytest.param(
            *("hang-publish", 8, "records are waiting and none was finished", "run_until_complete"),
            marks=pytest.mark.heavy,
        ),
        pytest.param(
            *("no-memory", 100, "screening failed 8 times: out of memory", "run_out"), marks=pytest.mark.heavy
        ),
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


async def test_a_model_that_breaks_ends_the_worker_in_one_line_and_nothing_is_acked(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    deck = comments(20)
    async with Audit(broker, topics) as audit:
        await audit.produce(deck)
        worker = WorkerProcess(broker, topics, tmp_path, program=(str(FAULTS), "broken-model")).start()
        assert await worker.ended() == 1
        assert await audit.committed() == {}
        assert audit.outcomes == {}
    *log, line = worker.said().splitlines()
    assert line == "comment-screener: the model no longer answers: ValueError"
    assert all("event" in json.loads(entry) for entry in log)
    texts = [json.loads(value)["text"] for _, value in deck if value is not None]
    assert [text for text in texts if text in worker.said()] == []


async def test_brokers_that_confirm_nothing_are_told_of_before_the_worker_ends(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    async with Audit(broker, topics) as audit:
        await audit.produce(comments(10))
        worker = WorkerProcess(broker, topics, tmp_path, program=(str(FAULTS), "hang-publish"), publish_timeout_s=20)
        await worker.start().alive()
        await worker.until_measured("screener_paused 1.0")
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
        await worker.until_measured("screener_paused 1.0")
        with pytest.raises(HTTPError) as not_ready:
            worker._get("/readyz")
        with not_ready.value as answer:
            assert b"the brokers have not answered for" in answer.read()
        await worker.until_measured("screener_ready 0.0")
        assert await worker.ended() == 1
        assert "the brokers have not answered for" in worker.said().splitlines()[-1]


async def test_who_is_asked_to_end_while_the_brokers_are_silent_waits_no_longer_than_it_was_told(
    own_broker: Broker, tmp_path: Path
) -> None:
    """Its producer would wait for what is on its way for half a minute, and for each connection."""
    topics = await fresh_topics(own_broker)
    async with (
        WorkerProcess(own_broker, topics, tmp_path, shutdown_timeout_s=2, **SLOWLY) as worker,
        AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap) as producer,
    ):
        for _, value in comments(10_000):
            await producer.send(topics.comments, value=value)
        await worker.until_matched(r"^screener_in_flight [1-9]", 0.02)
        assert own_broker.pid is not None
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            await worker.until_measured("screener_paused 1.0")
            assert await worker.terminate() == 1
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
    assert "records unfinished after SCREENER_SHUTDOWN_TIMEOUT_S" in worker.said().splitlines()[-1]
    assert worker.said().count("the brokers do not answer, disconnected all the same") >= 1


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
        await worker.until_measured('screener_lag_messages{partition="0"} 1.0')
        await worker.until_measured('screener_lag_messages{partition="0"} 0.0')
        # So it does behind what was called off.
        await producer.begin_transaction()
        for key, value in comments(3):
            await producer.send_and_wait(topics.comments, key=key, value=value, partition=0)
        await producer.abort_transaction()
        await worker.until_measured('screener_lag_messages{partition="0"} 5.0')
        await worker.until_measured('screener_lag_messages{partition="0"} 0.0')
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(worker.process.wait, 25.0)
        assert await worker.terminate() == 0


@pytest.mark.kafka_only  # transactions
async def test_a_transaction_that_is_never_ended_is_told_of(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    """What is written behind it is no lag to who reads what is committed, and nobody screens it."""
    async with (
        Audit(broker, topics) as audit,
        WorkerProcess(broker, topics, tmp_path) as worker,
        AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap, transactional_id=topics.comments, transaction_timeout_ms=300_000
        ) as hanging,
        AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer,
    ):
        await hanging.begin_transaction()
        key, value = comments(1)[0]
        await hanging.send_and_wait(topics.comments, key=key, value=value, partition=0)
        behind = comments(4)[1:]
        for key, value in behind:
            sent = await producer.send_and_wait(topics.comments, key=key, value=value, partition=0)
            audit.inputs[0, sent.offset] = key, value
        await worker.until_measured('screener_unstable_messages{partition="0"} 4.0')
        await worker.until_matched(r'^screener_unstable_seconds\{partition="0"\} [1-9]')
        assert 'screener_lag_messages{partition="0"} 0.0' in worker.metrics()
        assert audit.outcomes == {}
        await hanging.abort_transaction()
        await audit.until_complete()
        await worker.until_measured('screener_unstable_messages{partition="0"} 0.0')
        assert await worker.terminate() == 0
    audit.check()


@pytest.mark.kafka_only  # partitions are added, and groups are rebalanced
async def test_partitions_that_are_added_under_a_worker_are_read_from_their_first_record(
    broker: Broker, tmp_path: Path
) -> None:
    """What Faust fetches of them while it prepares for them is thrown away, and nobody has committed anything of them."""
    topics = await fresh_topics(broker, 2)
    program = (str(FAULTS), "slow-to-take-over")
    admin, names = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap), structs.astuple(topics)[:3]
    async with WorkerProcess(broker, topics, tmp_path, program=program) as worker, AsyncExitStack() as stack:
        stack.push_async_callback(admin.close)
        await admin.start()
        async with Audit(broker, topics) as audit:
            await audit.produce(comments(100))
            await audit.until_rest()
        for round_, partitions in enumerate((8, 14)):
            await admin.create_partitions(dict.fromkeys(names, NewPartitions(partitions)))
            async with Audit(broker, structs.replace(topics, partitions=partitions)) as audit:
                deck = comments(40 * partitions, seed=round_ + 2)
                await audit.produce(deck[: len(deck) // 2])
                await worker.until_measured(f"screener_assigned_partitions {partitions}.0")
                await audit.produce(deck[len(deck) // 2 :])
                await audit.until_rest()
                audit.check()


@pytest.mark.kafka_only  # two workers in one group
async def test_a_worker_without_partitions_takes_over_and_loses_nothing(broker: Broker, tmp_path: Path) -> None:
    topics = await fresh_topics(broker, 1)
    program = (str(FAULTS), "slow-to-take-over")
    async with Audit(broker, topics) as audit, WorkerProcess(broker, topics, tmp_path, name="first") as first:
        async with WorkerProcess(broker, topics, tmp_path, name="spare", program=program) as spare:
            async with audit.producing(100, comments(20_000)):
                await audit.until_more(100)
                assert await first.terminate() == 0
                await spare.until_measured("screener_assigned_partitions 1.0")
                await audit.until_more(100)
            await audit.until_rest()
            assert await spare.terminate() == 0
        audit.check()


async def commit(broker: Broker, topics: Topics, place: TopicPartition, offset: int) -> None:
    """As if the group's workers had finished all before it."""
    async with AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap, group_id=topics.comments, enable_auto_commit=False
    ) as consumer:
        consumer.assign([place])
        await consumer.commit({place: offset})


@pytest.mark.kafka_only  # a commit beyond the end
async def test_a_log_that_is_shorter_than_what_was_committed_is_read_from_its_beginning(
    broker: Broker, tmp_path: Path
) -> None:
    """As after an election among replicas that were behind, or in a restored cluster: who knows which comments it holds?"""
    topics = await fresh_topics(broker, 1)
    place = TopicPartition(topics.comments, 0)
    async with Audit(broker, topics) as audit:
        await audit.produce(comments(60))
        await commit(broker, topics, place, 500)
        async with WorkerProcess(broker, topics, tmp_path) as worker:
            await audit.until_complete()
            assert await worker.terminate() == 0
        assert "the log was cut short" in worker.said()
        assert (audit.conflicts(), audit.strangers()) == ([], [])
        await audit.until_committed()
        # What is committed now is where to go on from.
        assert await audit.committed() == {0: 60}


@pytest.mark.kafka_only  # records are deleted
async def test_what_was_deleted_before_it_was_read_is_told(broker: Broker, tmp_path: Path) -> None:
    topics = await fresh_topics(broker, 1)
    place = TopicPartition(topics.comments, 0)
    async with Audit(broker, topics) as audit:
        await audit.produce(comments(60))
        await commit(broker, topics, place, 10)
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        await admin.delete_records({place: RecordsToDelete(30)})
        await admin.close()
        async with WorkerProcess(broker, topics, tmp_path) as worker:
            await audit.until(lambda: len(audit.outcomes) >= 30, "what is left")
            await audit.until_committed()
            await worker.until_measured("screener_gone_unread_total 20.0")
            assert await worker.terminate() == 0
    assert len(audit.missing) == 30
    [line] = [line for line in worker.said().splitlines() if "deleted before it was read" in line]
    assert '"first": 10, "end": 30' in line
