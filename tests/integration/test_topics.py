"""`comment-screener topics` on a real broker: made once, changed only where asked, compared setting by setting.

The embedded broker tells nobody the settings of a topic, changes none, and takes a dry run in earnest.
"""

import uuid
from pathlib import Path
from typing import Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from msgspec import structs

from tests import commands
from tests.audit import Audit
from tests.commands import Ended
from tests.comments import comments
from tests.topics import fresh_topics
from tests.workers import WorkerProcess
from worker.demo.broker import Broker
from worker.errors import FatalError
from worker.topics import Topic, create_topics, describe_topics, open_topics

DAY: Final = "86400000"
WEEK: Final = "604800000"


class Provisioner:
    """Who sets up three topics that nobody else has."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        prefix = f"test-{uuid.uuid4().hex[:8]}."
        self.comments, self.decisions, self.letters = (
            f"{prefix}{name}" for name in ("comments", "decisions", "letters")
        )

    async def give(self, *arguments: str, **settings: str) -> Ended:
        """Run one command to its end."""
        ours = {
            "kafka_bootstrap_servers": self.broker.bootstrap,
            "comments_topic": self.comments,
            "decisions_topic": self.decisions,
            "dead_letters_topic": self.letters,
        }
        return await commands.give("topics", *arguments, **ours | settings)

    async def partitions(self) -> dict[str, int]:
        """Of those of the three that are there."""
        described = await describe_topics(bootstrap_servers=self.broker.bootstrap)
        return {name: described[name] for name in (self.comments, self.decisions, self.letters) if name in described}

    async def setting(self, topic: str, name: str) -> str:
        """One setting, as the broker tells it to anybody."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        try:
            await admin.start()
            [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: None})])
        finally:
            await admin.close()
        [(*_, entries)] = answer.resources
        [(_, value, *_)] = entries
        return str(value)


@pytest.fixture
def kafka(broker: Broker) -> Provisioner:
    return Provisioner(broker)


async def test_topics_are_made_as_they_should_be_on_any_broker(kafka: Provisioner) -> None:
    made = await kafka.give("create", "--partitions", "3")

    assert (made.code, made.err) == (0, "")
    assert [line.split(":")[0] for line in made.lines] == [
        f"created {topic}" for topic in (kafka.comments, kafka.decisions, kafka.letters)
    ]
    assert await kafka.partitions() == dict.fromkeys((kafka.comments, kafka.decisions, kafka.letters), 3)


@pytest.mark.kafka_only
async def test_making_them_again_changes_nothing_and_the_check_is_content(kafka: Provisioner) -> None:
    await kafka.give("create", comments_partitions="5")
    again = await kafka.give("create", comments_partitions="5")
    checked = await kafka.give("check", "--partitions", "5")

    assert set((await kafka.partitions()).values()) == {5}
    assert (again.code, again.err) == (0, "")
    assert again.lines == [f"{topic} is as it should be" for topic in (kafka.comments, kafka.decisions, kafka.letters)]
    assert (checked.code, checked.lines, checked.err) == (0, ["3 topics are as they should be"], "")
    assert await kafka.setting(kafka.decisions, "cleanup.policy") == "compact"
    assert await kafka.setting(kafka.decisions, "max.compaction.lag.ms") == WEEK
    assert await kafka.setting(kafka.decisions, "delete.retention.ms") == WEEK
    assert await kafka.setting(kafka.letters, "retention.ms") == "-1"


@pytest.mark.kafka_only
async def test_a_dry_run_makes_nothing(kafka: Provisioner) -> None:
    told = await kafka.give("create", "--partitions", "2", "--dry-run")

    assert (told.code, told.err) == (0, "")
    assert [line.split(":")[0] for line in told.lines] == [
        f"would create {topic}" for topic in (kafka.comments, kafka.decisions, kafka.letters)
    ]
    assert await kafka.partitions() == {}


@pytest.mark.kafka_only
async def test_topics_that_are_not_there_are_a_difference(kafka: Provisioner) -> None:
    checked = await kafka.give("check")

    assert (checked.code, checked.err) == (1, "")
    assert checked.lines == [f"{topic}: is not there" for topic in (kafka.comments, kafka.decisions, kafka.letters)]


@pytest.mark.kafka_only
async def test_what_is_there_is_changed_only_where_that_is_asked_for(kafka: Provisioner) -> None:
    await create_topics(
        [Topic(kafka.comments, 2, 1, {"retention.ms": DAY, "segment.ms": "7200000"})],
        bootstrap_servers=kafka.broker.bootstrap,
    )
    shorter = f"{kafka.comments}: partitions is 2, should be 4"
    sooner = f"{kafka.comments}: retention.ms is {DAY}, should be {WEEK}"

    assert (await kafka.give("create", "--partitions", "4")).lines[:2] == [
        f"left {shorter}",
        f"left {sooner}",
    ]
    checked = await kafka.give("check", "--partitions", "4")
    assert (checked.code, checked.lines) == (1, [shorter, sooner])
    dry = await kafka.give("create", "--partitions", "4", "--alter", "--grow", "--dry-run")
    assert dry.lines[:2] == [f"would change {shorter}", f"would change {sooner}"]
    assert (await kafka.give("check", "--partitions", "4")).lines == [shorter, sooner]

    altered = await kafka.give("create", "--partitions", "4", "--alter")
    assert altered.lines[:2] == [f"left {shorter}", f"changed {sooner}"]
    grown = await kafka.give("create", "--partitions", "4", "--grow")
    assert grown.lines[0] == f"changed {shorter}"
    assert (await kafka.give("check", "--partitions", "4")).code == 0
    # What nobody spoke of is as it was.
    assert await kafka.setting(kafka.comments, "segment.ms") == "7200000"


@pytest.mark.kafka_only
@pytest.mark.parametrize("dry_run", [["--dry-run"], []])
async def test_more_copies_than_brokers_are_refused_in_a_line_by_a_dry_run_too(
    kafka: Provisioner, dry_run: list[str]
) -> None:
    refused = await kafka.give("create", "--replication", "2", *dry_run)

    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith(f"comment-screener: cannot create {kafka.comments}: InvalidReplicationFactorError ")
    assert refused.err.count("\n") == 1


@pytest.mark.kafka_only
async def test_a_change_that_the_broker_refuses_is_one_line(kafka: Provisioner) -> None:
    await kafka.give("create", "--partitions", "2")
    async with open_topics(bootstrap_servers=kafka.broker.bootstrap) as topics:
        with pytest.raises(FatalError, match=f"^cannot change {kafka.comments}: InvalidConfigurationError .*soon"):
            await topics.alter(kafka.comments, {"retention.ms": "soon"})
        with pytest.raises(FatalError, match=f"^cannot add partitions to {kafka.comments}: .*InvalidPartitionsError"):
            await topics.grow(kafka.comments, 1)


@pytest.mark.kafka_only
async def test_added_partitions_are_read_from_their_beginning_once_the_workers_are_restarted(
    broker: Broker, kafka: Provisioner, tmp_path: Path
) -> None:
    topics = await fresh_topics(broker, 2)
    kafka.comments, kafka.decisions, kafka.letters = topics.comments, topics.decisions, topics.dead_letters
    async with WorkerProcess(broker, topics, tmp_path) as worker:
        async with Audit(broker, topics) as audit:
            await audit.produce(comments(60))
            await audit.until_rest()
        assert (await kafka.give("create", "--partitions", "4", "--grow")).code == 0
        grown = structs.replace(topics, partitions=4)
        async with Audit(broker, grown) as audit:
            await audit.produce(comments(120, seed=2))
            assert await worker.terminate() == 0
            async with WorkerProcess(broker, grown, tmp_path, name="restarted"):
                await audit.until_rest()
                audit.check()

    assert {partition for partition, _ in audit.inputs} == {0, 1, 2, 3}
