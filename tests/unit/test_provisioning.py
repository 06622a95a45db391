"""Topics made and compared, on a Kafka that is a dictionary. The real one: tests/integration/test_topics.py."""

from collections.abc import Collection, Mapping
from typing import Final

import pytest
from msgspec import structs

from worker.errors import FatalError
from worker.provisioning import Did, Difference, Step, compare, differences, provision
from worker.settings import Settings
from worker.topics import Existing, Topic, worker_topics

SETTINGS: Final = Settings(kafka_bootstrap_servers="kafka:9092")
COMMENTS: Final = Topic("comments", 8, 3, {"cleanup.policy": "delete", "retention.ms": "604800000"})
DECISIONS: Final = Topic("decisions", 8, 3, {"cleanup.policy": "compact"})


class FakeTopics:
    """Topics in a dictionary.

    Args:
        there: those that exist at first.
        hidden: those that exist and are not shown, for want of a right.
        refused: names of topics that it will not create.
    """

    def __init__(self, *there: Topic, hidden: Collection[str] = (), refused: Collection[str] = ()) -> None:
        self.there = {topic.name: topic for topic in there}
        self.hidden = hidden
        self.refused = refused
        self.made_by_others: list[Topic] = []

    async def find(self, names: Mapping[str, Collection[str]]) -> dict[str, Existing]:
        shown = {
            name: Existing(
                topic.partitions,
                topic.replication,
                {key: topic.config[key] for key in names[name] if key in topic.config},
            )
            for name, topic in self.there.items()
            if name in names and name not in self.hidden
        }
        self.there |= {topic.name: topic for topic in self.made_by_others}
        return shown

    async def create(self, topic: Topic, *, dry_run: bool = False) -> bool:
        if topic.name in self.refused:
            raise FatalError(f"cannot create {topic.name}")
        if topic.name in self.there:
            return False
        if not dry_run:
            self.there[topic.name] = topic
        return True

    async def alter(self, name: str, config: Mapping[str, str], *, dry_run: bool = False) -> None:
        if not dry_run:
            self.there[name] = structs.replace(self.there[name], config={**self.there[name].config, **config})

    async def grow(self, name: str, partitions: int, *, dry_run: bool = False) -> None:
        if partitions <= self.there[name].partitions:
            raise FatalError(f"cannot add partitions to {name}")
        if not dry_run:
            self.there[name] = structs.replace(self.there[name], partitions=partitions)


async def steps(
    topics: FakeTopics, *wanted: Topic, alter: bool = False, grow: bool = False, dry_run: bool = False
) -> list[Step]:
    return [step async for step in provision(topics, wanted, alter=alter, grow=grow, dry_run=dry_run)]


def changed(topic: Topic, **config: str) -> Topic:
    """A topic with other settings, dots for underscores."""
    return structs.replace(
        topic, config={**topic.config, **{key.replace("_", "."): value for key, value in config.items()}}
    )


def test_what_a_worker_needs() -> None:
    comments, decisions, letters = worker_topics(
        SETTINGS, 8, 3, comments_retention_ms=1000, dead_letters_retention_ms=-1
    )

    assert comments == Topic(
        "comments",
        8,
        3,
        {
            "cleanup.policy": "delete",
            "retention.ms": "1000",
            "max.message.bytes": "1048588",
            "min.insync.replicas": "2",
        },
        {"unclean.leader.election.enable": "false"},
    )
    assert decisions.config == {
        "cleanup.policy": "compact",
        "max.message.bytes": "1048588",
        "min.insync.replicas": "2",
        "max.compaction.lag.ms": "604800000",
        "delete.retention.ms": "604800000",
    }
    assert comments.expected == decisions.expected == letters.expected
    assert (letters.config["cleanup.policy"], letters.config["retention.ms"]) == ("delete", "-1")
    assert int(letters.config["max.message.bytes"]) > int(comments.config["max.message.bytes"])
    assert "message.timestamp.type" not in letters.config


def test_letters_that_are_not_kept_for_ever_are_kept_from_when_they_were_written() -> None:
    """By the time of a comment that is older than that, its letter would be gone before anybody has seen it."""
    *_, letters = worker_topics(SETTINGS, 8, 3, dead_letters_retention_ms=1000)

    assert letters.config["retention.ms"] == "1000"
    assert letters.config["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize(
    ("replication", "asked", "confirming"), [(1, None, "1"), (2, None, "1"), (3, None, "2"), (3, 3, "3")]
)
def test_one_broker_may_be_down_unless_told_otherwise(replication: int, asked: int | None, confirming: str) -> None:
    topics = worker_topics(SETTINGS, 1, replication, min_insync_replicas=asked)

    assert {topic.config["min.insync.replicas"] for topic in topics} == {confirming}


async def test_what_is_missing_is_created_and_the_second_time_nothing_is_left_to_do() -> None:
    topics = FakeTopics()

    assert await steps(topics, COMMENTS, DECISIONS) == [Step(Did.CREATE, COMMENTS), Step(Did.CREATE, DECISIONS)]
    assert topics.there == {"comments": COMMENTS, "decisions": DECISIONS}
    assert await steps(topics, COMMENTS, DECISIONS) == [Step(Did.NOTHING, COMMENTS), Step(Did.NOTHING, DECISIONS)]
    assert await compare(topics, [COMMENTS, DECISIONS]) == []


async def test_what_is_there_stays_as_it_is_and_what_differs_is_told() -> None:
    old = changed(structs.replace(COMMENTS, partitions=4, replication=1), retention_ms="1")
    topics = FakeTopics(old)

    assert await steps(topics, COMMENTS) == [
        Step(Did.LEAVE, COMMENTS, Difference("comments", "partitions", "4", "8")),
        Step(Did.LEAVE, COMMENTS, Difference("comments", "replication", "1", "3")),
        Step(Did.LEAVE, COMMENTS, Difference("comments", "retention.ms", "1", "604800000")),
    ]
    assert topics.there == {"comments": old}
    assert await compare(topics, [COMMENTS, DECISIONS]) == [
        "comments: partitions is 4, should be 8",
        "comments: replication is 1, should be 3",
        "comments: retention.ms is 1, should be 604800000",
        "decisions: is not there",
    ]


async def test_settings_are_set_where_that_is_asked_for_and_nothing_else() -> None:
    old = changed(structs.replace(COMMENTS, partitions=4), retention_ms="1", segment_ms="7")
    topics = FakeTopics(old)

    assert await steps(topics, COMMENTS, alter=True) == [
        Step(Did.LEAVE, COMMENTS, Difference("comments", "partitions", "4", "8")),
        Step(Did.CHANGE, COMMENTS, Difference("comments", "retention.ms", "1", "604800000")),
    ]
    assert topics.there == {"comments": changed(old, retention_ms="604800000")}


async def test_partitions_are_added_where_that_is_asked_for_and_nothing_else() -> None:
    old = changed(structs.replace(COMMENTS, partitions=4), retention_ms="1")
    topics = FakeTopics(old)

    assert [step.did for step in await steps(topics, COMMENTS, grow=True)] == [Did.CHANGE, Did.LEAVE]
    assert topics.there == {"comments": structs.replace(old, partitions=8)}


async def test_partitions_are_never_taken_away_and_copies_are_not_ours_to_move() -> None:
    old = structs.replace(COMMENTS, partitions=16, replication=2)
    topics = FakeTopics(old)

    assert [step.did for step in await steps(topics, COMMENTS, alter=True, grow=True)] == [Did.LEAVE, Did.LEAVE]
    assert topics.there == {"comments": old}


async def test_a_dry_run_says_the_same_and_does_nothing() -> None:
    old = changed(structs.replace(COMMENTS, partitions=4), retention_ms="1")
    topics = FakeTopics(old)
    told = await steps(topics, COMMENTS, DECISIONS, alter=True, grow=True, dry_run=True)

    assert topics.there == {"comments": old}
    assert told == await steps(topics, COMMENTS, DECISIONS, alter=True, grow=True)
    assert topics.there == {"comments": COMMENTS, "decisions": DECISIONS}


async def test_two_at_once_both_find_it_made() -> None:
    topics = FakeTopics()
    topics.made_by_others = [changed(DECISIONS, cleanup_policy="delete")]

    assert await steps(topics, DECISIONS) == [
        Step(Did.LEAVE, DECISIONS, Difference("decisions", "cleanup.policy", "delete", "compact"))
    ]


async def test_a_topic_that_is_there_and_not_shown_is_no_topic_as_it_should_be() -> None:
    with pytest.raises(FatalError, match="decisions is there and cannot be seen: grant Describe"):
        await steps(FakeTopics(DECISIONS, hidden={"decisions"}), DECISIONS)


async def test_what_was_done_before_a_refusal_stays_and_was_told() -> None:
    topics = FakeTopics(refused={"decisions"})
    run = provision(topics, [COMMENTS, DECISIONS])

    assert await anext(run) == Step(Did.CREATE, COMMENTS)
    with pytest.raises(FatalError, match="cannot create decisions"):
        await anext(run)
    assert topics.there == {"comments": COMMENTS}


def test_a_cleanup_policy_is_a_set() -> None:
    topic = Topic("t", 1, 1, {"cleanup.policy": "compact,delete"})

    assert differences(topic, Existing(1, 1, {"cleanup.policy": "delete,compact"})) == []
    assert differences(topic, Existing(1, 1, {"cleanup.policy": "compact"})) != []


def test_a_setting_that_a_broker_does_not_know_is_a_difference() -> None:
    topic = Topic("t", 1, 1, {"min.insync.replicas": "1"})

    assert [str(one) for one in differences(topic, Existing(1, 1))] == [
        "t: min.insync.replicas is not known, should be 1"
    ]


async def test_what_brokers_do_by_themselves_is_not_said_at_creation_and_seen_where_they_do_not() -> None:
    wanted = Topic("t", 1, 1, {"retention.ms": "1"}, {"unclean.leader.election.enable": "false"})
    silent, careful, careless = (
        FakeTopics(Topic("t", 1, 1, {"retention.ms": "1", **more}))
        for more in ({}, wanted.expected, {"unclean.leader.election.enable": "true"})
    )

    assert await compare(silent, [wanted]) == await compare(careful, [wanted]) == []
    assert await compare(careless, [wanted]) == ["t: unclean.leader.election.enable is true, should be false"]
    assert [step.did for step in await steps(careless, wanted)] == [Did.LEAVE]
    assert [step.did for step in await steps(careless, wanted, alter=True)] == [Did.CHANGE]
    assert await compare(careless, [wanted]) == []
