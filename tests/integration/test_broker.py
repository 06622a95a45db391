"""The brokers of the demo and of these tests: they answer, they can be stopped and started again, they leave nothing behind."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.topics import Topics, fresh_topics
from worker.demo.broker import Broker, Kind, free_port, start_broker, start_kafka
from worker.demo.process import Process
from worker.errors import StartupError
from worker.topics import Topic, create_topics, describe_topics

VALUES = [f"comment {number}".encode() for number in range(20)]


async def produce(broker: Broker, topics: Topics) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        for number, value in enumerate(VALUES):
            await producer.send_and_wait(
                topics.comments, value, key=b"key", partition=number % topics.partitions, headers=[("from", b"test")]
            )


async def consume(broker: Broker, topics: Topics) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topics.comments, number) for number in range(topics.partitions)])
        async with asyncio.timeout(20):
            read = [await consumer.getone() for _ in VALUES]
    assert {message.headers for message in read} == {(("from", b"test"),)}
    return sorted((message.value for message in read), key=VALUES.index)


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_what_is_produced_can_be_consumed(broker: Broker, topics: Topics) -> None:
    await produce(broker, topics)

    assert await consume(broker, topics) == VALUES


async def test_creating_topics_again_changes_nothing(broker: Broker, topics: Topics) -> None:
    again = await create_topics([Topic(topics.comments, 1)], bootstrap_servers=broker.bootstrap)

    described = await describe_topics(bootstrap_servers=broker.bootstrap)
    assert again == []
    assert {described[name] for name in (topics.comments, topics.decisions, topics.dead_letters)} == {topics.partitions}


async def test_a_stopped_broker_is_gone_and_comes_back_on_the_same_port(own_broker: Broker) -> None:
    """Kafka has kept the records; the embedded broker has forgotten even the topics."""
    topics = await fresh_topics(own_broker)
    await produce(own_broker, topics)
    pid, bootstrap = own_broker.pid, own_broker.bootstrap
    assert pid is not None

    await asyncio.to_thread(own_broker.stop)
    assert own_broker.pid is None
    assert not is_there(pid)

    await asyncio.to_thread(own_broker.start)
    assert own_broker.bootstrap == bootstrap
    if own_broker.kind is Kind.KAFKA:
        assert await consume(own_broker, topics) == VALUES
    else:
        assert await describe_topics(bootstrap_servers=bootstrap) == {}


async def test_a_killed_broker_is_reaped_and_comes_back(own_broker: Broker) -> None:
    topics = await fresh_topics(own_broker)
    await produce(own_broker, topics)
    pid = own_broker.pid
    assert pid is not None

    await asyncio.to_thread(own_broker.kill)
    assert not is_there(pid)

    await asyncio.to_thread(own_broker.start)
    if own_broker.kind is Kind.KAFKA:
        assert await consume(own_broker, topics) == VALUES
    else:
        assert await describe_topics(bootstrap_servers=own_broker.bootstrap) == {}


def test_ending_a_broker_twice_is_no_error(own_broker: Broker) -> None:
    own_broker.stop()
    own_broker.stop()
    own_broker.kill()

    assert own_broker.pid is None


def test_a_broker_has_a_session_of_its_own(broker: Broker) -> None:
    """Else Ctrl-C in the terminal would end it before the worker."""
    assert broker.pid is not None
    assert os.getsid(broker.pid) == broker.pid != os.getsid(0)


def test_a_port_that_is_taken_is_not_mistaken_for_the_new_broker(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=f"port {broker.port} is taken"):
        start_broker(broker.kind, tmp_path, port=broker.port)


def test_a_broker_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo no such luck; exit 3"], tmp_path / "log")

    with pytest.raises(StartupError, match=r"ended with exit code 3; .*\n.*no such luck"):
        Broker(Kind.EMBEDDED, free_port(), process, ready_timeout_s=5).start()


def test_a_broker_that_stays_silent_is_ended(tmp_path: Path) -> None:
    process = Process(["sleep", "60"], tmp_path / "log")

    with pytest.raises(StartupError, match=r"does not answer after 0.2 s"):
        Broker(Kind.EMBEDDED, free_port(), process, ready_timeout_s=0.2).start()
    assert process.exit_code == -signal.SIGKILL


@pytest.mark.kafka_only
async def test_properties_of_the_broker_can_be_given(tmp_path: Path) -> None:
    start = asyncio.to_thread(start_kafka, tmp_path, port=free_port(), properties={"auto.create.topics.enable": "true"})
    with await start as broker:
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
            await producer.send_and_wait("conjured", b"value")
        assert "conjured" in await describe_topics(bootstrap_servers=broker.bootstrap)
