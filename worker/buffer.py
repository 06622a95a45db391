"""What Faust has read ahead of the agent, bounded by records and by bytes.

Faust bounds it by events. Here an event is a fetch (`worker.consumer`) and counts for its records; large ones for more, for 8,192
records of a megabyte each are 8 GB. The queue is full, and the partitions that fill it are paused, in time.
"""

from typing import Any

from mode.utils.queues import ThrowableQueue

from worker.consumer import Fetch


class Buffer(ThrowableQueue):  # type: ignore[misc]  # Faust is untyped
    """Faust's queue of events, in which each counts for its records, or for its share of the bytes.

    Args:
        maxsize: records at most, and one fetch more.
        max_bytes: of them at most, and one fetch more.
        options: as `ThrowableQueue` has them.
    """

    def __init__(self, maxsize: int, *, max_bytes: int, **options: Any) -> None:
        self._bytes_of_one = max(1, max_bytes // maxsize)
        self._weight = 0
        super().__init__(maxsize, **options)

    def qsize(self) -> int:
        """How full it is. Everything that Faust does about a full queue follows from this."""
        return self._weight // self._bytes_of_one

    def clear(self) -> None:
        super().clear()
        self._weight = 0

    def _put(self, item: Any) -> None:
        self._weight += self._weigh(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self._weight -= self._weigh(item)
        return item

    def _weigh(self, event: Any) -> int:
        fetch: Fetch = event.message
        return max(self._bytes_of_one * len(fetch.records), fetch.size)
