"""Which offset is safe to commit: the head of the unbroken run of finished records.

Pure, one instance per partition and assignment. Faust's own search for that head has an off-by-one that passes a single
missing offset, so nothing is acked out of order: an item leaves here only when everything before it is finished.
"""

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Watermark(Generic[Item]):
    """Records of one partition, in offset order, from read to finished.

    Offsets may have gaps (compaction, transactions); what counts is the order in which they were read.
    """

    def __init__(self) -> None:
        self._open: deque[tuple[int, Item]] = deque()
        self._finished: set[int] = set()
        self.position: int | None = None
        """The next offset to be finished: every record before it is. None until the first record was read."""
        self.taken = 0
        """How many records were read and not dropped."""
        self.committed = 0
        """How many of them are committed, as far as anybody has told."""

    @property
    def finished(self) -> int:
        """How many records are finished, with all before them."""
        return self.taken - len(self._open)

    @property
    def uncommitted(self) -> int:
        """How many records were read and are not committed."""
        return self.taken - self.committed

    @property
    def oldest(self) -> Item | None:
        """The first unfinished record."""
        return self._open[0][1] if self._open else None

    @property
    def last(self) -> int:
        """The last offset that was read and not dropped; before the first, one that lies before all."""
        if self._open:
            return self._open[-1][0]
        return -1 if self.position is None else self.position - 1

    def read(self, offset: int, item: Item) -> None:
        """Note a record as read.

        Raises:
            ValueError: an offset that does not lie behind all earlier ones: the caller lost track of an assignment.
        """
        if offset <= self.last:
            raise ValueError(f"offset {offset} was read after {self.last}")
        if self.position is None:
            self.position = offset
        self._open.append((offset, item))
        self.taken += 1

    def finish(self, offset: int) -> list[Item]:
        """Note a record as finished; return, in order, those that may now be acked."""
        self._finished.add(offset)
        ready = []
        while self._open and self._open[0][0] in self._finished:
            head, item = self._open.popleft()
            self._finished.remove(head)
            self.position = head + 1
            ready.append(item)
        return ready

    def drop(self, offset: int) -> None:
        """Forget this record and all behind it: they will not be finished here, and are read again by whoever owns them."""
        while self._open and self._open[-1][0] >= offset:
            last, _ = self._open.pop()
            self.taken -= 1
            self._finished.discard(last)
