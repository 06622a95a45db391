"""The audit of a run of hours: the invariants of `tests.audit`, in forty bytes a record.

Pure. Records are known by number, which their producer gave them, and by place. Four sides tell what they see, in any order: the
producer, the log of the comments topic, the outputs, and the group's commits.
"""

from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from tests.audit import Place

_NAMED_AT_MOST: Final = 5


class _Commits(Struct, frozen=True):
    """What the group had committed, and where the outputs ended just afterwards."""

    committed: Mapping[int, int]
    ends: Sequence[int]


class _Partition:
    """By offset. Numbers count from 1, times and digests are never 0, so that 0 is what nobody has told yet."""

    def __init__(self) -> None:
        self.logged = array("Q")
        self.acknowledged = array("d")
        self.decided = array("Q")
        self.written = array("Q")
        self.named = array("Q")
        self.passed = 0
        """Up to where commits have been checked."""
        self.next = 0
        """The next offset to be read of the log."""
        self.end = 0
        """It goes at least up to here: what lies before was acknowledged."""

    def reach(self, offset: int) -> None:
        if (more := offset + 1 - len(self.logged)) > 0:
            for column in (self.logged, self.acknowledged, self.decided, self.written, self.named):
                column.frombytes(bytes(more * column.itemsize))


class Account:
    """Adds up.

    Args:
        partitions: of the comments topic.
        outputs: partitions of decisions and dead letters together; each is named by an index.
    """

    def __init__(self, partitions: int, outputs: int) -> None:
        self.records = self.outcomes = self.repeats = 0
        self._partitions = [_Partition() for _ in range(partitions)]
        self._read = [0] * outputs
        self._digests = array("Q")
        self._pending: deque[_Commits] = deque()
        self._committed: dict[int, int] = {}
        self._latencies_s: list[float] = []
        self._conflicts: list[Place] = []
        self._refused: list[Place] = []
        self._overtaken: list[Place] = []

    # What the four sides tell. Times are of one clock, in seconds.

    def acknowledge(self, place: Place, at: float) -> None:
        """The brokers have confirmed a record to its producer."""
        partition = self._at(place)
        partition.acknowledged[place[1]] = at
        partition.end = max(partition.end, place[1] + 1)
        if partition.decided[place[1]]:
            self._latencies_s.append(0.0)  # its decision was read first

    def log(self, place: Place, number: int) -> None:
        """A record was read from the comments topic."""
        partition = self._at(place)
        partition.logged[place[1]] = number + 1
        partition.next = place[1] + 1
        self.records += 1

    def read(self, output: int, position: int) -> None:
        """An output was read up to here; what ends a transaction has an offset, and no record that anybody gets."""
        self._read[output] = max(self._read[output], position)

    def decide(self, place: Place, number: int, digest: int, written: tuple[int, int], at: float) -> None:
        """An outcome was read.

        Args:
            place: of which record it says it is.
            number: likewise.
            digest: 64 bits of what has to be the same each time, not 0.
            written: where it was read: index of the output, and offset.
            at: when.
        """
        partition, offset = self._at(place), place[1]
        self._read[written[0]] = written[1] + 1
        if len(self._digests) <= number:
            self._digests.frombytes(bytes((number + 1 - len(self._digests)) * self._digests.itemsize))
        if self._digests[number] not in {0, digest}:
            self._conflicts.append(place)
        self._digests[number] = digest
        if partition.decided[offset]:
            self.repeats += 1
            return
        self.outcomes += 1
        partition.decided[offset] = digest
        partition.named[offset] = number + 1
        partition.written[offset] = written[0] << 48 | written[1]
        if sent_at := partition.acknowledged[offset]:
            self._latencies_s.append(max(0.0, at - sent_at))

    def refuse(self, place: Place) -> None:
        """This is a comment that could be screened, and its outcome is a dead letter."""
        self._refused.append(place)

    def commit(self, committed: Mapping[int, int], ends: Sequence[int]) -> None:
        """The group's offsets, and the ends of the outputs, asked for in this order."""
        self._committed.update(committed)
        self._pending.append(_Commits(committed, ends))

    # What follows.

    def check_commits(self) -> None:
        """Check those commits of which everything before them has been read."""
        while self._pending and self._is_read(self._pending[0]):
            commits = self._pending.popleft()
            for at, commit in commits.committed.items():
                partition = self._partitions[at]
                for offset in range(partition.passed, commit):
                    if partition.logged[offset] and not _is_written(partition, offset, commits.ends):
                        self._overtaken.append((at, offset))
                partition.passed = max(partition.passed, commit)

    def take_latencies_s(self) -> list[float]:
        """From acknowledged to read back as a decision, ascending; of what came since the last call."""
        taken, self._latencies_s = sorted(self._latencies_s), []
        return taken

    @property
    def lag(self) -> int:
        """Offsets between the commits and the end of the log."""
        return sum(each.next - self._committed.get(at, 0) for at, each in enumerate(self._partitions))

    def lag_s(self, now: float) -> float:
        """The age of the oldest acknowledged record that is not committed; 0 where there is none."""
        oldest = now
        for at, partition in enumerate(self._partitions):
            waiting = (
                sent_at
                for offset in range(self._committed.get(at, 0), partition.next)
                if (sent_at := partition.acknowledged[offset])
            )
            oldest = min(oldest, next(waiting, now))
        return now - oldest

    def is_at_rest(self) -> bool:
        """Whether all that was acknowledged has been read, has its outcome, and is committed."""
        has_read = all(partition.next >= partition.end for partition in self._partitions)
        return has_read and self.outcomes >= self.records and self.lag <= 0 and not self._pending

    def problems(self) -> list[str]:
        """What does not add up, a line each; at rest, once everything has been read."""
        unlogged, missing, strangers = list[Place](), list[Place](), list[Place]()
        for at, partition in enumerate(self._partitions):
            for offset, logged in enumerate(partition.logged):
                if partition.acknowledged[offset] and not logged:
                    unlogged.append((at, offset))
                if logged and not partition.decided[offset]:
                    missing.append((at, offset))
                if partition.decided[offset] and partition.named[offset] != logged:
                    strangers.append((at, offset))
        found = (
            ("acknowledged and not in the log", unlogged),
            ("I1: without an outcome", missing),
            ("I1: a comment among the dead letters", self._refused),
            ("I2: an outcome that is not of the record that it names", strangers),
            ("I3: two verdicts", self._conflicts),
            ("I4: no outcome when a commit had passed it", self._overtaken),
        )
        lines = [
            f"{what}: {len(places)} records, {', '.join(f'{at}/{offset}' for at, offset in places[:_NAMED_AT_MOST])}"
            for what, places in found
            if places
        ]
        return lines + ([f"I5: {self.lag} records not committed"] if self.lag > 0 else [])

    def _at(self, place: Place) -> _Partition:
        partition = self._partitions[place[0]]
        partition.reach(place[1])
        return partition

    def _is_read(self, commits: _Commits) -> bool:
        return all(read >= end for read, end in zip(self._read, commits.ends, strict=True)) and all(
            self._partitions[at].next >= commit for at, commit in commits.committed.items()
        )


def _is_written(partition: _Partition, offset: int, ends: Sequence[int]) -> bool:
    """Whether the first outcome of a record stood before those ends."""
    output, at = divmod(partition.written[offset], 1 << 48)
    return bool(partition.decided[offset]) and at < ends[output]
