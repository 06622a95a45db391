"""Topics as they should be against topics as they are: what is missing, what differs, and what may be done about it.

Nothing that is there is changed unasked. Settings are set where somebody asked for it (`alter`). Partitions are only ever
added, and only where somebody asked for that (`grow`), because the partition of a key follows from their number: from then on
a key's records go elsewhere, and what is written last need not be read last. Copies are for Kafka's own tools to move.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct

from worker.errors import FatalError
from worker.topics import Existing, Topic

PARTITIONS: Final = "partitions"
REPLICATION: Final = "replication"


class Topics(Protocol):
    """Where topics are. What it raises is described at `worker.topics.KafkaTopics`."""

    async def find(self, names: Mapping[str, Collection[str]]) -> dict[str, Existing]:
        """Those that are there; the settings to look up are given for each."""

    async def create(self, topic: Topic, *, dry_run: bool = False) -> bool:
        """Create one; False: it is there."""

    async def alter(self, name: str, config: Mapping[str, str], *, dry_run: bool = False) -> None:
        """Set these settings and no others."""

    async def grow(self, name: str, partitions: int, *, dry_run: bool = False) -> None:
        """Add partitions until there are so many."""


class Difference(Struct, frozen=True):
    """One thing that is not as it should be."""

    topic: str
    what: str
    """`partitions`, `replication`, or the name of a setting."""
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, should be {self.wanted}"


class Did(StrEnum):
    """What became of a topic, or of one thing that differs."""

    CREATE = "create"
    CHANGE = "change"
    LEAVE = "leave"
    """It differs, and stays as it is."""
    NOTHING = "nothing"
    """It is as it should be."""


class Step(Struct, frozen=True):
    """One thing done, or with a dry run one that would be."""

    did: Did
    topic: Topic
    difference: Difference | None = None


def differences(topic: Topic, existing: Existing) -> list[Difference]:
    """What is not as it should be: partitions, copies, settings, in this order."""
    found = {PARTITIONS: str(existing.partitions), REPLICATION: str(existing.replication), **existing.config}
    told = {what: value for what, value in topic.expected.items() if what in existing.config}
    wanted = {PARTITIONS: str(topic.partitions), REPLICATION: str(topic.replication), **topic.config, **told}
    return [
        Difference(topic.name, what, found.get(what, "not known"), value)
        for what, value in wanted.items()
        if not _is_same(found.get(what), value)
    ]


async def compare(topics: Topics, wanted: Sequence[Topic]) -> list[str]:
    """All that is not as it should be, a line each. Errors: see `Topics`."""
    existing = await topics.find(_settings_of(wanted))
    lines: list[str] = []
    for topic in wanted:
        if topic.name in existing:
            lines += map(str, differences(topic, existing[topic.name]))
        else:
            lines.append(f"{topic.name}: is not there")
    return lines


async def provision(
    topics: Topics, wanted: Sequence[Topic], *, alter: bool = False, grow: bool = False, dry_run: bool = False
) -> AsyncIterator[Step]:
    """Create what is missing, and change what may be changed; each step when it is done.

    Args:
        topics: where.
        wanted: what there should be.
        alter: set settings of topics that are there.
        grow: add partitions to topics that are there.
        dry_run: the broker says whether it would, and does nothing.

    Raises:
        FatalError: the broker refuses something. What was done before stays, and the next run goes on from there.
    """
    existing = await topics.find(_settings_of(wanted))
    for topic in wanted:
        if topic.name not in existing:
            if await topics.create(topic, dry_run=dry_run):
                yield Step(Did.CREATE, topic)
                continue
            # Somebody else was faster.
            existing |= await topics.find(_settings_of([topic]))
            if topic.name not in existing:
                raise FatalError(f"{topic.name} is there and cannot be seen: grant Describe on it")
        found = differences(topic, existing[topic.name])
        if not found:
            yield Step(Did.NOTHING, topic)
        added = [difference for difference in found if grow and _may_grow(difference)]
        changed = [difference for difference in found if alter and difference.what in _settings(topic)]
        if added:
            await topics.grow(topic.name, topic.partitions, dry_run=dry_run)
        if changed:
            await topics.alter(topic.name, {one.what: one.wanted for one in changed}, dry_run=dry_run)
        for difference in found:
            yield Step(Did.CHANGE if difference in added + changed else Did.LEAVE, topic, difference)


def _may_grow(difference: Difference) -> bool:
    return difference.what == PARTITIONS and int(difference.wanted) > int(difference.found)


def _settings_of(wanted: Sequence[Topic]) -> dict[str, Collection[str]]:
    return {topic.name: _settings(topic) for topic in wanted}


def _settings(topic: Topic) -> Collection[str]:
    return {**topic.config, **topic.expected}


def _is_same(found: str | None, wanted: str) -> bool:
    """Whether two values mean the same: `compact,delete` is a set."""
    return found is not None and set(found.split(",")) == set(wanted.split(","))
