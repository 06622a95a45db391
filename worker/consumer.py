"""Faust's consumer of the comments topic, where what it decides by itself would be wrong for us, or slow.

It reads what transactions have committed and nothing else. It hands on whole fetches: to Faust each is one event, whose way
through conductor, channel and stream costs more than all that we do with a record. And it commits the positions that it is told
(`worker.watermark`): Faust's own search among acked offsets takes a hole behind offset 0 for unfinished work and never commits
again, and passes over a single unfinished record elsewhere. Whoever waits for a commit can be told to wait no longer, and a
commit that failed is tried again. And no name of a header ends it (`worker.header_names`).

Where to read from is decided by the group's commits alone, of which our own transactions know first (`worker.ledger`). What
Faust fetched in the middle of a rebalance it throws away, and goes back to the commits; in a partition that has none it would
go on behind what it threw away. And what lies before a commit, in a log that was cut short, it would drop without a word until
the log is as long again. Where a group has no commit, it is said that all there is will be decided again.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.transports import SchedulingStrategyT
from faust.types.tuples import ConsumerMessage
from mode.utils.futures import notify

from worker import header_names

log = structlog.get_logger()

_ISOLATION: Final = "read_committed"
_LOOK_AGAIN_S: Final = 0.05
_TELL_S: Final = 5.0
PACE_S: Final = 0.005
"""The least time between two fetches that bring something. A fetch costs what tens of records do, and producers wait as long by
default for others to go with a record: to ask sooner brings one record at a time, at a third of a core."""


class _Asking(NamedTuple):
    """What a broker answers a fetch with, and when."""

    min_bytes: int
    max_wait_ms: int


BUSY: Final = _Asking(64 * 1024, 10)
"""While some of what was fetched is unfinished: what comes sooner would wait here instead of there. It is the broker that waits,
for aiokafka asks it for nothing while an answer of it lies here, and what is written meanwhile would wait twice."""
IDLE: Final = _Asking(1, 1500)
"""Else: Faust's own."""

Records = Sequence[ConsumerRecord[bytes, bytes]]

header_names.Records.install()


class Fetch(ConsumerMessage):  # type: ignore[misc]  # Faust is untyped
    """Records of one partition that were fetched together, at least one: a message without key and value to Faust.

    Args:
        tp: where they come from.
        records: in the order of their offsets, of which Faust knows the first.
        generation_id: the group's, when they were handed on.
    """

    def __init__(self, tp: TP, records: Records, generation_id: int | None) -> None:
        first = records[0]
        super().__init__(
            tp.topic, tp.partition, first.offset, None, None, None, None, None, None, tp=tp, generation_id=generation_id
        )
        self.records = records
        self.sizes = [_size(record) for record in records]
        """Bytes of each."""
        self.size = sum(self.sizes)
        """Bytes of all."""
        self.unfinished = len(records)
        """Records that somebody has yet to finish, or to let go of."""


def _size(record: ConsumerRecord[bytes, bytes]) -> int:
    """The bytes that its producer decides about: of key, value and headers."""
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


class WholeFetches(SchedulingStrategyT):  # type: ignore[misc]
    """All records of a partition at once, where Faust's own takes one of each partition in turn."""

    def iterate(self, records: Mapping[Any, Records]) -> Iterator[tuple[TP, Records]]:
        for tp, fetched in records.items():
            yield TP(tp.topic, tp.partition), fetched


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust is untyped
    """Where aiokafka's consumer lives."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._told: set[Any] = set()
        """Partitions without a commit of which was told."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust asks for it under its exactly-once only. Nobody has said what was called off.
        consumer._isolation_level = _ISOLATION  # noqa: SLF001  it is read when the consumer starts
        return consumer

    async def _fetch_records(self, consumer: Any, *arguments: Any, **options: Any) -> Any:
        if not self.consumer.unacked:
            # What was fetched last came to nobody, and so nobody let go of it.
            _ask(consumer, IDLE)
        records = await super()._fetch_records(consumer, *arguments, **options)
        if records:
            # The next fetch goes out when this task gives way.
            _ask(consumer, BUSY)
        return records

    def rest(self) -> None:
        """Nothing is unfinished. Called from the worker's thread."""
        with contextlib.suppress(RuntimeError):  # where this one has ended
            self.thread_loop.call_soon_threadsafe(_ask, self._consumer, IDLE)

    async def seek_to_committed(self) -> Mapping[Any, int | None]:
        """Go back to the commits of all partitions, and to the beginning of those without one; which these are."""
        committed: Mapping[Any, int | None] = await self.call_thread(self._seek)
        return committed

    async def _seek(self) -> Mapping[Any, int | None]:
        consumer, written = self._ensure_consumer(), self.app.written
        asked = {tp: await consumer.committed(tp) for tp in consumer.assignment()}
        # An answer may be older than what was written meanwhile, and that is not to be written twice.
        committed = {tp: max(offset or 0, written(tp.partition) or 0) or None for tp, offset in asked.items()}
        for tp, offset in committed.items():
            if offset is not None:
                consumer.seek(tp, offset)
        if new := [tp for tp, offset in committed.items() if offset is None]:
            await consumer.seek_to_beginning(*new)
            await self._tell_of_no_commit(consumer, new)
        return committed

    async def _tell_of_no_commit(self, consumer: Any, places: list[Any]) -> None:
        """Once of each partition that holds something: it may be meant so, and it may be an outage that lasted too long."""
        untold = [tp for tp in places if tp not in self._told]
        # It is but a word: no rebalance waits long for it, and none fails.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(_TELL_S):
                first, ends = await consumer.beginning_offsets(untold), await consumer.end_offsets(untold)
            if full := [tp for tp in untold if first[tp] < ends[tp]]:
                self._told.update(full)
                log.warning(
                    "the group has no commits there (it is new, or they have expired): all that lies there is decided as live, "
                    "what was decided before too",
                    topic=full[0].topic,
                    partitions=sorted(tp.partition for tp in full),
                )


def _ask(consumer: Any, asking: _Asking) -> None:
    """Of the brokers, from aiokafka's next fetch on. In its own thread: half of the one and half of the other is a long wait."""
    consumer._fetcher._fetch_min_bytes, consumer._fetcher._fetch_max_wait_ms = asking  # noqa: SLF001


class _NothingRead(dict[Any, Any]):
    """Faust's note of what it has read of each partition, by which it drops what lies before: always nothing."""

    def __getitem__(self, _: Any) -> None:
        return None


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Where whole fetches come from, and positions go to."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._read_offset = _NothingRead()
        self._has_room = asyncio.Event()
        self._fetched_at = -PACE_S
        self._cut_short: dict[TP, int] = {}
        """The commit that a log was shorter than, where that was told."""

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._has_room.set()

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109  Faust's signature
        """What was fetched of the partitions that have room in their buffer.

        Where none has, Faust sleeps for a second, and where some have, it waits as long for these alone. A fast worker has made
        room long before, and is idle.
        """
        if (early := self._fetched_at + PACE_S - time.monotonic()) > 0:
            await asyncio.sleep(early)
        self._has_room.clear()
        if self.flow_active and not self._get_active_partitions():
            await self.wait(self._has_room, timeout=timeout)
            return {}, self._get_active_partitions()
        if self._buffered_partitions:
            timeout = min(timeout, _LOOK_AGAIN_S)
        records, active = await super()._wait_next_records(timeout)
        if records:
            self._fetched_at = time.monotonic()
        return records, active

    def advance(self, tp: TP, position: int) -> None:
        """All records of this partition before this offset are finished: it is committed with the next commit."""
        committed = self._committed_offset[tp]
        if committed is not None and position < committed:
            # The log was cut short. Else nothing would be committed until it is as long again, and whoever reads from the old
            # commit would pass over what is new before it.
            self._committed_offset[tp] = None
        self._acked[tp] = [position]
        notify(self._waiting_for_ack)

    def release(self, fetch: Fetch) -> None:
        """Nobody works on this any more: a rebalance or a stop that waits need not wait for it."""
        self._unacked_messages.discard(fetch)
        if not self._unacked_messages:
            self._thread.rest()
        notify(self._waiting_for_ack)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Records) -> Fetch:
        """What `WholeFetches` yields, as Faust hands it on."""
        first, committed = record[0].offset, self._committed_offset[tp]
        if committed is not None and first < committed and self._cut_short.get(tp) != committed:
            # Once: it is read in many fetches, and the commit stays until something is finished.
            self._cut_short[tp] = committed
            log.error(
                "the log was cut short: read from before the commit", tp=str(tp), first=first, committed=committed
            )
        return Fetch(tp, record, self.app.consumer_generation_id)

    def _new_offset(self, tp: TP) -> int | None:
        """What to commit, if it was not. It stays, so what a failed commit leaves behind is committed by the next."""
        positions = self._acked[tp]
        return positions[0] if positions else None

    async def maybe_wait_for_commit_to_finish(self) -> bool:
        """Wait until no other commit is under way, and then commit, since more may have been finished meanwhile.

        Faust's waits for a future that all share. Cancelled, it cancels that for everybody, and begins a commit all the same,
        for which it waits as long as the brokers like.
        """
        while (under_way := self._commit_fut) is not None:
            await asyncio.wait({under_way})
        return False

    async def _commit_tps(self, tps: Iterable[TP], start_new_transaction: bool) -> bool:  # noqa: ARG002  Faust's signature
        """Commit what was told of these and is still ours.

        Faust's takes what failed to be committed for committed, and does not try again until something else is finished.
        """
        committed = self.app.on_committing()
        committable = self._filter_committable_offsets(tps)
        offsets = {tp: offset for tp, offset in committable.items() if tp in self.assignment()}
        if offsets:
            if not await self._commit(offsets):
                return False
            self._committed_offset.update(offsets)
            self.app.on_committed()
        committed()
        return bool(offsets)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust looks for a livelock here, by statistics that nobody keeps: an error each second for a partition with a backlog.

        Whether work moves is the watchdog's business.
        """

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Holes need no account, and a compacted topic is full of them."""


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's way to Kafka, with this consumer."""

    Consumer = Consumer
