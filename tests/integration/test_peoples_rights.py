"""What people have to be allowed: the commands of SECURITY.md as they are written, and what can and cannot be done after them."""

import asyncio
import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from tests import commands
from tests.commands import Ended
from tests.letters import dead_letter
from tests.secured_broker import PASSWORD, SecuredBroker
from worker import dead_letters
from worker.access import Rights, check_access
from worker.connection import client_options
from worker.errors import StartupError
from worker.records import Source
from worker.settings import Settings
from worker.topics import create_topics, worker_topics

pytestmark = pytest.mark.kafka_only  # the embedded one asks nobody

DOCUMENT: Final = (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")
REVIEW, REDRIVE = re.findall(r"^\$ (kafka-acls\.sh .+ User:reviewer .+)$", DOCUMENT, re.MULTILINE)
(ERASE,) = re.findall(r"^\$ (echo .+ \| kafka-console-producer\.sh .+)$", DOCUMENT, re.MULTILINE)
COMMENTS, DECISIONS, LETTERS, GROUP = "comments", "moderation.decisions", "moderation.dead-letters", "comment-screener"


OFFSETS: Final = count()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """A broker with the worker's topics, under the names that the commands have."""
    broker = SecuredBroker(tmp_path_factory.mktemp("secured"))
    with broker.open:
        settings = Settings(kafka_bootstrap_servers=broker.open.bootstrap)
        asyncio.run(create_topics(worker_topics(settings, 1, 1), **client_options(settings)))
        yield broker


async def bury(secured: SecuredBroker) -> str:
    """Write a dead letter of a comment of its own, as the worker would; its place."""
    headers = dead_letters.headers(dead_letter(source=Source(COMMENTS, 0, next(OFFSETS))))
    async with AIOKafkaProducer(bootstrap_servers=secured.open.bootstrap) as producer:
        written = await producer.send_and_wait(LETTERS, key=b"c-9", value=b"what somebody wrote", headers=headers)
    return f"{written.partition}/{written.offset}"


def places(listed: Ended) -> set[str]:
    """Of the letters that `list --json` has shown."""
    return {"{partition}/{offset}".format(**json.loads(line)) for line in listed.lines}


async def last(secured: SecuredBroker, topic: str) -> ConsumerRecord[bytes, bytes] | None:
    """The last record of a topic, read through the open door."""
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=secured.open.bootstrap) as consumer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        if end == 0:
            return None
        consumer.seek(partition, end - 1)
        return await consumer.getone()


class Person:
    """Somebody who comes in with a password, and may do what was granted."""

    def __init__(self, secured: SecuredBroker, name: str) -> None:
        secured.admit(name)
        self._settings = secured.sasl("SCRAM-SHA-512", sasl_username=name, sasl_password=PASSWORD)

    async def give(self, *arguments: str) -> Ended:
        """Run `comment-screener dead-letters` as this person."""
        return await commands.give("dead-letters", *arguments, **self._settings)

    async def may_not(self, rights: Rights) -> str:
        """What of these the broker refuses."""
        with pytest.raises(StartupError) as refused:
            await check_access(client_options(Settings(**self._settings)), rights)
        return str(refused.value).removeprefix("Kafka does not allow the worker: ")


async def test_a_reviewer_may_do_what_the_commands_grant_and_no_more(secured: SecuredBroker) -> None:
    reviewer = await asyncio.to_thread(Person, secured, "reviewer")
    place = await bury(secured)
    stranger = await reviewer.give("show", place)
    assert (stranger.code, stranger.out) == (2, ""), stranger.err
    assert stranger.err.startswith(f"comment-screener: no topic {LETTERS} on ")

    await asyncio.to_thread(secured.run, REVIEW)
    listed = await reviewer.give("list", "--json")
    assert (listed.code, place in places(listed)) == (0, True), listed.err
    shown = await reviewer.give("show", place, "--value")
    assert (shown.code, shown.out) == (0, "what somebody wrote"), shown.err
    refused = await reviewer.give("redrive", place, "--yes")
    assert (refused.code, refused.out) == (2, "")
    assert await last(secured, COMMENTS) is None
    assert await reviewer.may_not(Rights(COMMENTS, (COMMENTS, LETTERS), GROUP)) == (
        f"READ on topic {COMMENTS}, WRITE on topic {COMMENTS}, READ on group {GROUP}"
    )

    await asyncio.to_thread(secured.run, REDRIVE)
    redriven = await reviewer.give("redrive", place, "--yes")
    assert (redriven.code, redriven.out) == (0, "1 of 1 letters redriven\n"), redriven.err
    comment = await last(secured, COMMENTS)
    assert comment is not None
    assert (comment.key, comment.value) == (b"c-9", b"what somebody wrote")
    another = await bury(secured)
    discarded = await reviewer.give("discard", another, "--yes")
    assert (discarded.code, discarded.out) == (0, "1 of 1 letters discarded\n"), discarded.err
    assert {place, another}.isdisjoint(places(await reviewer.give("list", "--json")))
    assert await reviewer.may_not(Rights(COMMENTS, (COMMENTS, DECISIONS, LETTERS), GROUP)) == (
        f"READ on topic {COMMENTS}, WRITE on topic {DECISIONS}, READ on group {GROUP}"
    )
    assert await reviewer.may_not(Rights(DECISIONS, (), GROUP)) == (f"READ on topic {DECISIONS}, READ on group {GROUP}")


async def test_who_only_discards_needs_no_right_on_the_comments(secured: SecuredBroker) -> None:
    person = await asyncio.to_thread(Person, secured, "discarder")
    await asyncio.to_thread(secured.run, REVIEW.replace("User:reviewer", "User:discarder"))
    discarded = await person.give("discard", await bury(secured), "--yes")

    assert (discarded.code, discarded.out) == (0, "1 of 1 letters discarded\n"), discarded.err


@pytest.mark.parametrize(
    ("operation", "command", "code", "says"),
    [
        ("Read", ("list",), 1, f"TopicAuthorizationFailedError: {LETTERS}"),
        ("DescribeConfigs", ("discard", "--yes"), 2, "TopicAuthorizationFailedError: grant DescribeConfigs on it"),
        ("Write", ("discard", "--yes"), 1, f"not allowed to write to {LETTERS}: TopicAuthorizationFailedError"),
    ],
    ids=["read", "describe configs", "write"],
)
async def test_each_right_of_a_reviewer_is_needed(
    secured: SecuredBroker, operation: str, command: tuple[str, ...], code: int, says: str
) -> None:
    name = f"without-{operation}"
    person = await asyncio.to_thread(Person, secured, name)
    assert f"--operation {operation} " in REVIEW
    for granted in (REVIEW.replace(f"--operation {operation} ", ""), REDRIVE):
        await asyncio.to_thread(secured.run, granted.replace("User:reviewer", f"User:{name}"))
    place = await bury(secured)
    refused = await person.give(*command)

    assert refused.code == code
    line = refused.err.splitlines()[-1]
    assert (line.startswith("comment-screener: "), line.endswith(says)) == (True, True), line
    untouched = await commands.give("dead-letters", "list", "--json", kafka_bootstrap_servers=secured.open.bootstrap)
    assert place in places(untouched)


async def test_a_decision_is_erased_by_the_command(secured: SecuredBroker) -> None:
    async with AIOKafkaProducer(bootstrap_servers=secured.open.bootstrap) as producer:
        decided = await producer.send_and_wait(DECISIONS, key=b"c-1", value=b"{}")
    await asyncio.to_thread(secured.run, ERASE)

    erased = await last(secured, DECISIONS)
    assert erased is not None
    assert (erased.offset, erased.key, erased.value) == (decided.offset + 1, b"c-1", None)
