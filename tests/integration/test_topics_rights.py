"""What somebody has to be allowed who creates the topics: the rights that deploy/README.md names, and no others."""

import asyncio
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.secured_broker import PASSWORD, USER, SecuredBroker
from worker.connection import client_options
from worker.errors import ScreenerError
from worker.provisioning import Did, provision
from worker.settings import Settings
from worker.topics import Topic, open_topics

pytestmark = pytest.mark.kafka_only  # the embedded one asks nobody

DOCUMENT: Final = (Path(__file__).parents[2] / "deploy/README.md").read_text("utf-8")
COMMANDS: Final = re.findall(r"^ +(kafka-acls\.sh .+User:provisioner.+)$", DOCUMENT, re.MULTILINE)
DAY: Final = {"retention.ms": "86400000"}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    broker = SecuredBroker(tmp_path_factory.mktemp("secured"))
    with broker.open:
        yield broker


class Provisioner:
    """Somebody who may do on one topic what he was allowed."""

    def __init__(self, secured: SecuredBroker) -> None:
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self._secured = secured
        settings = Settings(**secured.sasl("PLAIN", sasl_username=USER, sasl_password=PASSWORD))
        self._options = client_options(settings)

    async def allow(self, command: str) -> None:
        """Give a command as it is written, for this topic and this user."""
        ours = re.sub(r" --topic \S+", "", command).replace("User:provisioner", f"User:{USER}")
        await asyncio.to_thread(self._secured.run, f"{ours} --topic {self.name}")

    async def provision(self, partitions: int = 1, *, alter: bool = False, grow: bool = False) -> list[Did]:
        """What was done to the topic."""
        wanted = [Topic(self.name, partitions, 1, DAY)]
        async with open_topics(**self._options) as topics:
            return [step.did async for step in provision(topics, wanted, alter=alter, grow=grow)]

    async def refusal(self, partitions: int = 1, *, alter: bool = False, grow: bool = False) -> str:
        with pytest.raises(ScreenerError) as refused:
            await self.provision(partitions, alter=alter, grow=grow)
        return str(refused.value).replace(self.name, "TOPIC")


async def test_the_documented_rights_are_enough(secured: SecuredBroker) -> None:
    create, alter, grow = COMMANDS
    user = Provisioner(secured)

    await user.allow(create)
    assert await user.provision() == [Did.CREATE]
    assert await user.provision() == [Did.NOTHING]

    assert (await user.refusal(2, grow=True)).startswith("cannot add partitions to TOPIC: ")
    await user.allow(grow)
    assert await user.provision(2, grow=True) == [Did.CHANGE]

    await asyncio.to_thread(
        secured.run,
        f"kafka-configs.sh --alter --entity-type topics --entity-name {user.name} --add-config retention.ms=1",
    )
    assert (await user.refusal(2, alter=True)).startswith("cannot change TOPIC: TopicAuthorizationFailedError")
    await user.allow(alter)
    assert await user.provision(2, alter=True) == [Did.CHANGE]
    assert await user.provision(2) == [Did.NOTHING]


async def test_each_of_them_is_needed_and_named(secured: SecuredBroker) -> None:
    user = Provisioner(secured)

    assert (await user.refusal()).startswith("cannot create TOPIC: TopicAuthorizationFailedError")
    await user.allow("kafka-acls.sh --add --allow-principal User:provisioner --operation Create --topic T")
    assert await user.provision() == [Did.CREATE]
    assert await user.refusal() == "TOPIC is there and cannot be seen: grant Describe on it"
    await user.allow("kafka-acls.sh --add --allow-principal User:provisioner --operation Describe --topic T")
    assert await user.refusal() == (
        "cannot see the settings of TOPIC: TopicAuthorizationFailedError: grant DescribeConfigs on it"
    )
    await user.allow("kafka-acls.sh --add --allow-principal User:provisioner --operation DescribeConfigs --topic T")
    assert await user.provision() == [Did.NOTHING]
