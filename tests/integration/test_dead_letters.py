"""Dead letters listed, shown, put back and put away by the command, beside a worker, on a real broker.

On the embedded one end offsets read low, so what a partition holds cannot be known there.
"""

import asyncio
import json
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from tests import commands
from tests.commands import Ended
from tests.comments import comments
from tests.letters import dead_letter
from tests.topics import PARTITIONS, Topics, fresh_topics
from tests.workers import WorkerProcess
from worker import dead_letters
from worker.demo.broker import Broker
from worker.demo.comments import malformed_values
from worker.records import Source
from worker.topics import Topic, create_topics

pytestmark = pytest.mark.kafka_only

HEADERS: Final = [("trace", b"\x00\xff"), ("trace", b""), ("screener-reason", b"the producer's own")]
PATIENCE_S: Final = 90.0


class Desk:
    """Where somebody on call gives commands, and looks into the topics himself."""

    def __init__(self, broker: Broker, topics: Topics) -> None:
        self.broker = broker
        self.topics = topics
        self._settings = {
            "kafka_bootstrap_servers": broker.bootstrap,
            "comments_topic": topics.comments,
            "dead_letters_topic": topics.dead_letters,
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await commands.start("dead-letters", *arguments, **self._settings)

    async def give(self, *arguments: str) -> Ended:
        """Run one command to its end."""
        return await commands.give("dead-letters", *arguments, **self._settings)

    async def open(self, *filters: str) -> list[dict[str, Any]]:
        """What `list` says is open."""
        ended = await self.give("list", "--json", *filters)
        assert ended.code == 0, ended.err
        return [json.loads(line) for line in ended.out.splitlines()]

    async def records(self, topic: str) -> list[ConsumerRecord]:
        """Everything in a topic."""
        found: list[ConsumerRecord] = []
        async with AIOKafkaConsumer(bootstrap_servers=self.broker.bootstrap, auto_offset_reset="earliest") as consumer:
            partitions = [TopicPartition(topic, number) for number in range(self.topics.partitions)]
            ends = await consumer.end_offsets(partitions)
            consumer.assign(partitions)
            while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
        return sorted(found, key=lambda record: (record.partition, record.offset))

    async def letters(self) -> list[ConsumerRecord]:
        """Every dead letter, the notes left out."""
        return [record for record in await self.records(self.topics.dead_letters) if record.value is not None]

    async def until(self, met: Callable[[Sequence[ConsumerRecord]], bool], topic: str) -> list[ConsumerRecord]:
        async with asyncio.timeout(PATIENCE_S):
            while not met(records := await self.records(topic)):  # noqa: ASYNC110  only asking tells
                await asyncio.sleep(0.2)
        return records

    async def until_letters(self, count: int) -> list[ConsumerRecord]:
        await self.until(
            lambda records: sum(record.value is not None for record in records) >= count, self.topics.dead_letters
        )
        return await self.letters()

    async def produce(self, topic: str, records: Sequence[tuple[bytes | None, bytes]], headers: Any) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap) as producer:
            for key, value in records:
                await producer.send_and_wait(topic, key=key, value=value, headers=headers)

    async def bury(self, records: Sequence[tuple[bytes | None, bytes]], topic: str | None = None) -> None:
        """Write letters of comments that a worker of today can screen, as one that could not has left them."""
        async with AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap) as producer:
            for offset, (key, value) in enumerate(records):
                source = Source(topic or self.topics.comments, 1, offset)
                headers = dead_letters.headers(dead_letter(worker_version="0.0.1", source=source, timestamp_ms=None))
                await producer.send_and_wait(self.topics.dead_letters, key=key, value=value, headers=headers)


@pytest.fixture
def desk(broker: Broker, topics: Topics) -> Desk:
    return Desk(broker, topics)


async def test_what_dies_again_comes_back_with_its_count_until_it_is_refused(desk: Desk, tmp_path: Any) -> None:
    values = malformed_values("m")
    poison = [(None if what == "a list" else what.encode(), value) for what, (_, value) in values.items()]
    reasons = Counter(reason.value for reason, _ in values.values())
    async with WorkerProcess(desk.broker, desk.topics, tmp_path) as worker:
        await desk.produce(desk.topics.comments, poison, HEADERS)
        originals = await desk.records(desk.topics.comments)
        await desk.until_letters(len(poison))

        listed = await desk.open()
        assert Counter(line["reason"] for line in listed) == reasons
        assert {(line["redrives"], line["state"], line["worker_version"]) for line in listed} == {
            (0, "open", dead_letters.WORKER_VERSION)
        }
        assert len(await desk.open("--reason", "invalid_json")) == reasons["invalid_json"]
        assert len(await desk.open("--worker-version", dead_letters.WORKER_VERSION, "--since", "1h")) == len(poison)
        assert await desk.open("--until", "1h") == []
        assert (await desk.give("list", "--until", "1h")).err == (
            "and 10 more, of comments of another time: --since and --until go by that\n"
        )

        before = await desk.records(desk.topics.dead_letters)
        rehearsed = await desk.give("redrive")
        assert (rehearsed.code, rehearsed.out.splitlines()[-2:]) == (
            0,
            ["10 of 10 letters would be redriven", "nothing was written: --yes does it"],
        )
        assert await desk.records(desk.topics.dead_letters) == before
        assert await desk.records(desk.topics.comments) == originals

        for tried in (1, 2, 3):
            redriven = await desk.give("redrive", "--yes")
            assert (redriven.code, redriven.out) == (0, "10 of 10 letters redriven\n"), redriven.err
            await desk.until_letters(len(poison) * (tried + 1))
            again = await desk.open()
            assert Counter(line["reason"] for line in again) == reasons
            assert {line["redrives"] for line in again} == {tried}

        refused = await desk.give("redrive", "--yes")
        assert (refused.code, refused.out) == (1, "0 of 10 letters redriven, 10 left open\n")
        assert refused.err.count("put back 3 times already (--limit 3)") == 10
        assert await worker.terminate() == 0

    everything = await desk.records(desk.topics.comments)
    assert len(everything) == 40
    for tried in (1, 2, 3):
        copies = [record for record in everything if dict(record.headers).get("screener-redrives") == b"%d" % tried]
        assert sorted((c.partition, c.key or b"", c.value, list(c.headers)) for c in copies) == sorted(
            (o.partition, o.key or b"", o.value, [*HEADERS, ("screener-redrives", b"%d" % tried)]) for o in originals
        )
        assert [copy.key for copy in copies].count(None) == 1

    discarded = await desk.give("discard", "--reason", "invalid_json", "--yes")
    assert (discarded.code, discarded.out) == (
        0,
        f"{reasons['invalid_json']} of {reasons['invalid_json']} letters discarded\n",
    )
    assert Counter(line["reason"] for line in await desk.open()) == reasons - Counter(
        {"invalid_json": reasons["invalid_json"]}
    )
    assert Counter(line["state"] for line in await desk.open("--all")) == {
        "redriven": 30,
        "discarded": reasons["invalid_json"],
        "open": 10 - reasons["invalid_json"],
    }
    revived = await desk.give("redrive", "--discarded", "--limit", "4")
    assert revived.out.splitlines()[-2] == "10 of 10 letters would be redriven"


async def test_one_letter_is_shown_and_its_text_only_when_asked_for(desk: Desk) -> None:
    await desk.bury([(b"\x00key", b'{"text": "hello\x1b[31m"}')])
    (line,) = await desk.open()
    place = f"{line['partition']}/{line['offset']}"

    shown = await desk.give("show", place)
    assert shown.code == 0
    assert "hello" not in shown.out
    assert "22 bytes, sha256 " in shown.out
    assert "'\\x00key'" in shown.out
    assert (await desk.give("show", place, "--value")).out == '{"text": "hello\x1b[31m"}'

    assert (await desk.give("discard", place, "--yes")).code == 0
    again = await desk.give("discard", place, "--yes")
    assert (again.code, again.out, again.err) == (0, "0 of 0 letters discarded\n", f"{place}: discarded already\n")
    assert ["state", "discarded"] in [line.split() for line in (await desk.give("show", place)).out.splitlines()]

    for nowhere in (f"{line['partition']}/{line['offset'] + 1}", "99/0"):
        missed = await desk.give("show", nowhere)
        assert (missed.code, missed.err) == (
            2,
            f"comment-screener: no dead letter at {nowhere} in {desk.topics.dead_letters}\n",
        )


async def test_what_a_worker_can_read_by_now_gets_its_decision(desk: Desk, tmp_path: Any) -> None:
    buried = [(key, value) for key, value in comments(30) if value is not None]
    await desk.bury(buried)
    async with WorkerProcess(desk.broker, desk.topics, tmp_path) as worker:
        assert (await desk.give("redrive", "--worker-version", "0.0.1", "--yes")).code == 0
        decisions = await desk.until(lambda records: len(records) >= 30, desk.topics.decisions)
        assert await worker.terminate() == 0

    assert {json.loads(record.value)["comment_id"] for record in decisions} == {
        json.loads(value)["comment_id"] for _, value in buried
    }
    assert await desk.open() == []
    assert len(await desk.letters()) == 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_cut_off_in_the_middle_and_given_again(desk: Desk, number: signal.Signals) -> None:
    buried = [(f"k{at}".encode(), b"value %d" % at) for at in range(120)]
    await desk.bury(buried)
    process = await desk.start("redrive", "--yes", "--rate", "10")
    await desk.until(lambda records: len(records) >= 10, desk.topics.comments)
    process.send_signal(number)
    out, err = await process.communicate()

    halfway = await desk.records(desk.topics.comments)
    left = await desk.open()
    assert 10 <= len(halfway) < 120
    if number is signal.SIGKILL:
        # Killed between the copies and their notes, it leaves copies of letters that are still open.
        assert len(left) >= 120 - len(halfway)
    else:
        assert process.returncode == 1
        assert out.decode() == f"{len(halfway)} of 120 letters redriven\n"
        assert err.decode() == "interrupted: the same command goes on with what is open\n"
        assert len(left) == 120 - len(halfway)

    again = await desk.give("redrive", "--yes", "--rate", "1000")
    assert (again.code, again.out) == (0, f"{len(left)} of {len(left)} letters redriven\n")
    assert await desk.open() == []
    copies = Counter((record.key, record.value) for record in await desk.records(desk.topics.comments))
    assert copies.keys() == set(buried)
    assert copies.total() == 120 + len(left) - (120 - len(halfway))
    assert (await desk.give("redrive", "--yes")).out == "0 of 0 letters redriven\n"


async def test_comments_of_another_topic_go_to_this_one_only_when_asked_for(desk: Desk) -> None:
    await desk.bury([(b"k", b"v")], topic="comments.old")

    refused = await desk.give("redrive", "--yes")
    assert (refused.code, refused.out) == (1, "0 of 1 letters redriven, 1 left open\n")
    assert "left open: its comment was read from comments.old (--from-topic)" in refused.err
    assert await desk.records(desk.topics.comments) == []

    assert (await desk.give("redrive", "--yes", "--from-topic", "comments.old")).code == 0
    assert [record.value for record in await desk.records(desk.topics.comments)] == [b"v"]


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
async def test_a_compacted_topic_is_left_alone(broker: Broker, policy: str) -> None:
    topics = await fresh_topics(broker)
    compacted = Topics(topics.comments, topics.decisions, f"test-{uuid.uuid4().hex[:8]}.compacted", PARTITIONS)
    await create_topics(
        [Topic(compacted.dead_letters, PARTITIONS, 1, {"cleanup.policy": policy})], bootstrap_servers=broker.bootstrap
    )
    desk = Desk(broker, compacted)
    await desk.bury([(b"k", b"one"), (b"k", b"two")])

    for command in (["redrive"], ["redrive", "--yes"], ["discard", "--yes"]):
        refused = await desk.give(*command)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.startswith(
            f"comment-screener: {compacted.dead_letters} is compacted (cleanup.policy={policy}): "
        )
    assert len(await desk.open()) == 2
    assert len(await desk.records(compacted.dead_letters)) == 2


async def test_topics_that_are_not_there(desk: Desk) -> None:
    nowhere = Desk(desk.broker, Topics("nobody-made-this", "nor-this", "nor-that", 1))

    assert (await nowhere.give("list")).err == (
        f"comment-screener: no topic nor-that on {desk.broker.bootstrap}: comment-screener topics create\n"
    )
    assert "no topic nor-that, nobody-made-this on" in (await nowhere.give("redrive")).err


async def test_what_a_transaction_took_back_was_never_a_letter(desk: Desk) -> None:
    await desk.bury([(b"k", b"kept")])
    (kept,) = await desk.letters()
    options = {"bootstrap_servers": desk.broker.bootstrap, "transactional_id": desk.topics.dead_letters}
    async with AIOKafkaProducer(**options) as producer:
        await producer.begin_transaction()
        for partition in range(desk.topics.partitions):
            await producer.send_and_wait(
                desk.topics.dead_letters, value=b"taken back", headers=list(kept.headers), partition=partition
            )
        await producer.abort_transaction()

    assert [(line["partition"], line["offset"]) for line in await desk.open()] == [(kept.partition, kept.offset)]
    assert (await desk.give("redrive", "--yes")).out == "1 of 1 letters redriven\n"
    assert [record.value for record in await desk.records(desk.topics.comments)] == [b"kept"]


async def test_an_empty_topic_has_nothing_open(desk: Desk) -> None:
    listed = await desk.give("list")

    assert (listed.code, listed.out, listed.err) == (0, "0 open\n", "")
    assert (await desk.give("discard", "--yes")).out == "0 of 0 letters discarded\n"
