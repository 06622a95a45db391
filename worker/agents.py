"""The Faust edge: fetches in, windows through the screener, outcomes and what is said of them.

    agent ─► admit ─► queue ─► window ─► Screener (in a thread) ─► outcomes ─► AckingPipeline or TransactionalPipeline

An event is a whole fetch (`worker.consumer`); from the queue on there are records. Knows nothing of models. A promise that is
kept here: nothing that is wrong with the world is mistaken for a wrong record; it ends the process, with what is unfinished
uncommitted. What becomes of outcomes and offsets is the subclasses' (`worker.acking`, `worker.transactional`).
"""

import abc
import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Final, Protocol

import structlog
from msgspec import Struct

from worker import codec, dead_letters
from worker.backoff import Backoff
from worker.errors import FatalError, OutOfMemory, Reason, ScreenerError, Stage, TransientError
from worker.metrics import NO_CATEGORY, SUPPORT, Metrics
from worker.publisher import Message
from worker.records import Action, AgeBand, DeadLetter, Decision, Source
from worker.redrive import redrives_of
from worker.screening import Outcome, Record, Rejection, Screener
from worker.shedding import is_overdue
from worker.turns import Turn, Turns
from worker.watermark import Watermark

log = structlog.get_logger()

_SCREENING_DEPTH: Final = 3
"""Windows under way at once: while one waits for the model, the next is decoded and tokenised, and one long comment holds up
neither. A fourth would only make them smaller."""
_RUNNERS: Final = _SCREENING_DEPTH + 1
"""And one more, whose window is being published."""
_ATTEMPTS: Final = 8
_LONGEST_PAUSE_S: Final = 5.0
_WINDOW_BYTES: Final = 64 * 1024
"""Of values in one window at most, but for its first. A window of the longest comments would keep the model busy for minutes:
longer than a shutdown may take, and long enough for the watchdog to think it dead."""
_REPEATS: Final = 2
"""Times what may be in flight: where records are shed, so many of a partition may be read and not committed, and so many of a new
assignment are not shed. They may have been decided before, and that would put "nobody looked" in the place of what was found."""
_LONG_BYTES: Final = 2048
"""A value from here on is a window of its own: it takes several runs of the model, and whoever shared its window would wait for
all of them."""


class KafkaRecord(Protocol):
    """What is used of aiokafka's records."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    """Milliseconds; None or negative where it has none."""
    headers: Sequence[tuple[str, bytes | None]]
    key: bytes | None
    value: bytes | None


class Fetch(Protocol):
    """What is used of a `worker.consumer.Fetch`."""

    partition: int
    generation_id: int | None
    records: Sequence[KafkaRecord]
    sizes: Sequence[int]
    unfinished: int


class Event(Protocol):
    """What is used of a Faust event."""

    @property
    def message(self) -> Fetch:
        """What was fetched."""


class EventStream(Protocol):
    """What is used of a Faust stream."""

    def noack(self) -> "EventStream":
        """Leave acks to us: the automatic one also acks what failed."""

    def events(self) -> AsyncIterator[Event]:
        """The events, with their messages."""


class Trace(Protocol):
    """What is used of one comment's trace."""

    @property
    def exemplar(self) -> dict[str, str] | None:
        """What links a measurement to it; None where there is nothing to be linked to."""

    def publish(self, topic: str) -> dead_letters.Headers:
        """Its outcome is written to this topic now. Headers that carry the trace on."""


class Delivery(Struct, eq=False):
    """One record on its way through the worker."""

    record: KafkaRecord
    fetch: Fetch
    watermark: "Watermark[Delivery]"
    read_at: float
    size: int
    """Bytes."""
    may_be_shed: bool = True
    assignment: int = 0
    """Which of the worker's it was read in."""
    trace: Trace | None = None

    @property
    def counts(self) -> bool:
        """Towards the limit of dead letters: not what somebody has put back, and may put back no more often than he said."""
        return not redrives_of(self.record.headers)

    @property
    def source(self) -> Source:
        record = self.record
        return Source(record.topic, record.partition, record.offset)

    @property
    def written_at(self) -> float | None:
        """Its Kafka timestamp, in epoch seconds; None where it has none."""
        timestamp = self.record.timestamp
        return None if timestamp is None or timestamp < 0 else timestamp / 1000


class Tracing(Protocol):
    """What is used of `worker.tracing`."""

    def take(self, window: Sequence[Delivery], now_s: float) -> None:
        """These have left the queue; those to be traced get a trace. `now_s` as `time.perf_counter` has it."""

    def watch(
        self, window: Sequence[Delivery], screen: Callable[[Sequence[Record]], list[Outcome]], records: Sequence[Record]
    ) -> list[Outcome]:
        """Screen a window's records, and note its stages."""

    def end(self, window: Sequence[Delivery], written: Sequence[tuple[Delivery, Outcome]]) -> None:
        """What was written of a window is confirmed; the rest of it are tombstones."""

    def lose(self, window: Sequence[Delivery]) -> None:
        """Nothing was written of these: they are somebody else's now."""


class Topics(Struct, frozen=True):
    """Where outcomes go."""

    decisions: str
    dead_letters: str


class Pipeline(abc.ABC):
    """Takes records up to a bound, screens them in windows, delivers the outcomes.

    Args:
        screener: shared with nothing else in this process.
        limit: how many dead letters are too many.
        generation: the consumer group's generation now; an ack of an older one is dropped.
        release: tells Faust to wait no longer for a fetch: nothing of it is held here any more. Faust itself holds the last
            one in a frame of its own, and would wait for it for ever.
        max_window, batch_wait_s, max_in_flight, max_in_flight_bytes, shed_lag_s: as in `worker.settings`.
        worker: this worker's name, for dead letters.
        retry_pause_s: before the second try of a window that failed for want of memory; each next pause is twice as long.
        now: epoch seconds, as records have them.
        tracing: None: nothing is traced.
    """

    def __init__(
        self,
        screener: Screener,
        *,
        topics: Topics,
        metrics: Metrics,
        limit: dead_letters.Limit,
        generation: Callable[[], int | None],
        release: Callable[[Fetch], None],
        max_window: int,
        batch_wait_s: float,
        max_in_flight: int,
        max_in_flight_bytes: int,
        shed_lag_s: float | None,
        worker: str,
        retry_pause_s: float = 0.2,
        now: Callable[[], float] = time.time,
        tracing: Tracing | None = None,
    ) -> None:
        self._screener = screener
        self._topics = topics
        self._metrics = metrics
        self._limit = limit
        self._generation = generation
        self._release = release
        self._max_window = max_window
        self._batch_wait_s = batch_wait_s
        self._max_in_flight = max_in_flight
        self._max_in_flight_bytes = max_in_flight_bytes
        self._shed_lag_s = shed_lag_s
        self._spared = _REPEATS * max_in_flight
        self._worker = worker
        self._backoff = Backoff(retry_pause_s, _LONGEST_PAUSE_S)
        self._now = now
        self._tracing = tracing

        self._queue: deque[Delivery] = deque()
        self._watermarks: dict[int, Watermark[Delivery]] = {}
        self._assignment = 0
        self._accepting = True
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._screening = 0
        self._changed = asyncio.Event()
        self._taking = asyncio.Lock()
        self._turns = Turns()
        self._executor = ThreadPoolExecutor(_SCREENING_DEPTH, thread_name_prefix="screening")
        self.finished = 0
        """Records finished since the start."""
        # Looked at when somebody asks, and not at each record.
        metrics.in_flight.set_function(lambda: self._in_flight)
        metrics.in_flight_bytes.set_function(lambda: self._in_flight_bytes)
        metrics.queue_length.set_function(lambda: len(self._queue))

    @property
    def in_flight(self) -> int:
        """Records read and neither acked nor dropped: one that is finished waits here for those before it."""
        return self._in_flight

    @property
    def progress(self) -> int:
        """A number that moves while work does: records finished and answers of the model. The watchdog looks at it."""
        return self.finished + self._screener.answers

    @property
    def failing_s(self) -> float:
        """For how long a window has been failing for want of memory; 0 where none does."""
        return self._backoff.failing_s

    def positions(self) -> dict[int, int]:
        """The next offset to be finished, for each partition that anything was read from."""
        return {
            partition: watermark.position
            for partition, watermark in self._watermarks.items()
            if watermark.position is not None
        }

    def oldest(self) -> dict[int, float]:
        """The Kafka timestamp, in epoch seconds, of the oldest unfinished record of each partition that has one."""
        heads = {partition: watermark.oldest for partition, watermark in self._watermarks.items()}
        return {
            partition: head.written_at
            for partition, head in heads.items()
            if head is not None and head.written_at is not None
        }

    # Records in.

    async def agent(self, stream: EventStream) -> None:
        """The agent's body. No exception leaves it: Faust would ack past it or stall."""
        async for event in stream.noack().events():
            await self.admit(event.message)

    async def admit(self, fetch: Fetch) -> None:
        """Take in a fetch, as much of it at a time as there is room for; waits while too much is unfinished."""
        taken = 0
        while taken < len(fetch.records):
            await self._until(lambda: self._has_room(fetch.partition) or not self._accepting)
            # One of an older generation waited here through a whole rebalance: its partition is read again from the last commit.
            if not self._accepting or fetch.generation_id != self._generation():
                self._leave(fetch, len(fetch.records) - taken)
                return
            taken += self._queue_up(fetch, taken)

    def _queue_up(self, fetch: Fetch, start: int) -> int:
        """Put its records from this one on into the queue while there is room; how many."""
        watermark = self._watermarks.get(fetch.partition)
        if watermark is None or fetch.records[start].offset <= watermark.last:
            # Anew also where the log was cut short and is read from its beginning: what was read of the old one can ack nothing.
            watermark = self._watermarks[fetch.partition] = Watermark()
        now, before = time.perf_counter(), len(self._queue)
        for record, size in islice(zip(fetch.records, fetch.sizes, strict=True), start, None):
            if not self._has_room(fetch.partition):
                break
            delivery = Delivery(record, fetch, watermark, now, size, watermark.taken >= self._spared, self._assignment)
            watermark.read(record.offset, delivery)
            self._queue.append(delivery)
            self._in_flight += 1
            self._in_flight_bytes += size
        taken = len(self._queue) - before
        self._metrics.read_of(fetch.partition).inc(taken)
        if not before or before < self._max_window <= len(self._queue):
            # Only then may somebody begin who could not before, and waking them for each fetch costs more than all else here.
            self._changed.set()
        return taken

    def _has_room(self, partition: int) -> bool:  # noqa: ARG002  of which a subclass may have read enough
        """Before a record is taken in, so it is exceeded by less than one: the largest goes through as well."""
        return self._in_flight < self._max_in_flight and self._in_flight_bytes < self._max_in_flight_bytes

    def pause(self) -> None:
        """Take up nothing more, and let go of what was not begun; it is read again. What was begun is finished."""
        self._accepting = False
        dropped = list(reversed(self._queue))
        self._queue.clear()
        for delivery in dropped:
            delivery.watermark.drop(delivery.record.offset)
        self._let_go(dropped)

    def resume(self) -> None:
        """Start over with a new assignment. Deliveries of the old one keep their old watermarks, and cannot ack by them."""
        self._watermarks = {}
        self._accepting = True
        self._assignment += 1

    async def assign(self, partitions: Collection[int]) -> None:  # noqa: ARG002  all the same to this one
        """Called with each new assignment, before any of its offsets is asked for."""
        self.resume()

    # Windows through.

    async def run(self) -> None:
        """Screen until cancelled.

        Raises:
            ScreenerError: the process has to end; nothing that is unfinished was acked.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_RUNNERS):
                    group.create_task(self._run_windows())
        except* Exception as errors:  # noqa: BLE001  raised again, one of them
            # One reason is enough to end: the first, with what caused it and without the group.
            first = errors.exceptions[0]
            raise first from first.__cause__
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run_windows(self) -> None:
        while True:
            window, turn = await self._take()
            try:
                outcomes = await self._screen(window)
            finally:
                self._screening -= 1
                self._changed.set()
            # Before anything is written: a topic full of wrong records must not be moved into the dead letters.
            self._limit.note(
                [
                    outcome.reason if isinstance(outcome, Rejection) else None
                    for delivery, outcome in zip(window, outcomes, strict=True)
                    if outcome and delivery.counts
                ]
            )
            async with self._turns.take(turn):
                await self._deliver(window, outcomes)

    async def _take(self) -> tuple[list[Delivery], Turn]:
        """The next window and its turn: at once when there is a full one or nothing else to do: the model waits for no timer.

        An idle worker waits a moment, from the first record, for others to share the batch.
        """
        async with self._taking:
            await self._until(self._may_take)
            if len(self._queue) < self._max_window and self._batch_wait_s:
                age = time.perf_counter() - self._queue[0].read_at
                try:
                    async with asyncio.timeout(max(0.0, self._batch_wait_s - age)):
                        await self._until(lambda: len(self._queue) >= self._max_window)
                except TimeoutError:
                    # The queue may have been dropped meanwhile.
                    await self._until(self._may_take)
            window = self._pop_window()
            turn = self._turns.line_up(
                (delivery.fetch.partition, comment_id)
                for delivery in window
                if (comment_id := codec.comment_id(delivery.record.value)) is not None
            )
            self._screening += 1
        now = time.perf_counter()
        self._metrics.stages("queue", [now - delivery.read_at for delivery in window])
        if self._tracing is not None:
            self._tracing.take(window, now)
        return window, turn

    def _pop_window(self) -> list[Delivery]:
        window: list[Delivery] = []
        room = _WINDOW_BYTES
        while self._queue and len(window) < self._max_window:
            size = len(self._queue[0].record.value or b"")
            room -= size
            is_long = size >= _LONG_BYTES
            if window and (is_long or room < 0):
                break
            window.append(self._queue.popleft())
            if is_long:
                break
        return window

    def _may_take(self) -> bool:
        return bool(self._queue) and self._screening < _SCREENING_DEPTH

    async def _screen(self, window: Sequence[Delivery]) -> list[Outcome | None]:
        """One outcome a delivery, in order; None for a tombstone."""
        now = self._now()
        records = [
            Record(
                value,
                delivery.source,
                delivery.may_be_shed and is_overdue(delivery.written_at, now, self._shed_lag_s),
            )
            for delivery in window
            if (value := delivery.record.value) is not None
        ]
        screen = self._screener.screen
        if self._tracing is not None:
            screen = partial(self._tracing.watch, window, screen)
        outcomes = iter(await self._screen_records(screen, records))
        return [None if delivery.record.value is None else next(outcomes) for delivery in window]

    async def _screen_records(
        self, screen: Callable[[Sequence[Record]], list[Outcome]], records: Sequence[Record]
    ) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        attempt = 0
        with self._backoff.tries() as pauses:
            while True:
                attempt += 1
                try:
                    return await loop.run_in_executor(self._executor, screen, records)
                except TransientError as error:
                    log.warning("screening failed", error=str(error), attempt=attempt, attempts=_ATTEMPTS)
                    if attempt == _ATTEMPTS:
                        raise OutOfMemory(f"screening failed {_ATTEMPTS} times: {error}") from error
                await asyncio.sleep(next(pauses))

    # Outcomes out.

    @abc.abstractmethod
    async def _deliver(self, window: Sequence[Delivery], outcomes: Sequence[Outcome | None]) -> None:
        """Publish outcomes, then let the offsets be committed. Another window may overtake it; none with a comment of it does."""

    def _reject(
        self, written: Sequence[tuple[Delivery, Outcome]], refused: Sequence[int]
    ) -> list[tuple[Delivery, Outcome]]:
        """A decision too large for its topic becomes a dead letter; a dead letter too large needs a person."""
        result = list(written)
        for at in refused:
            delivery, outcome = written[at]
            if isinstance(outcome, Rejection):
                raise dead_letter_refused(delivery.source, self._topics.dead_letters)
            rejection = Rejection(
                Stage.PUBLISH,
                Reason.DECISION_REFUSED,
                "MessageSizeTooLargeError",
                "the decision is too large for its topic",
            )
            result[at] = (delivery, rejection)
        self._limit.refuse(Reason.DECISION_REFUSED, sum(written[at][0].counts for at in refused))
        return result

    def _message(self, delivery: Delivery, outcome: Outcome) -> Message:
        topic = self._topics.decisions if isinstance(outcome, Decision) else self._topics.dead_letters
        trace = () if delivery.trace is None else delivery.trace.publish(topic)
        if isinstance(outcome, Decision):
            return Message(topic, outcome.comment_id.encode(), codec.encode(outcome), trace)
        original = delivery.record
        letter = DeadLetter(
            stage=outcome.stage,
            reason=outcome.reason,
            error_class=outcome.error_class,
            error_message=outcome.message,
            attempts=1,
            worker=self._worker,
            worker_version=dead_letters.WORKER_VERSION,
            model=self._screener.model,
            policy=self._screener.policy,
            source=delivery.source,
            timestamp_ms=None if delivery.written_at is None else original.timestamp,
            key=original.key,
            value=original.value or b"",
            headers=list(original.headers),
        )
        # Without ours: the record's own headers, which stay as they are, carry the producer's trace.
        return Message(
            topic,
            letter.key,
            letter.value,
            dead_letters.headers(letter),
            letter.timestamp_ms,
            # What is put back one day is put back in the order in which it came.
            lane=delivery.source.partition,
        )

    def _count(self, written: Sequence[tuple[Delivery, Outcome]], *, tombstones: int) -> None:
        metrics, now = self._metrics, self._now()
        metrics.tombstones.inc(tombstones)
        kinds: Counter[tuple[Action, str, AgeBand, str, bool]] = Counter()
        ages: list[float] = []
        for delivery, outcome in written:
            if isinstance(outcome, Rejection):
                metrics.dead_letters.labels(outcome.reason).inc()
                continue
            band = outcome.audience_age_band or AgeBand.UNKNOWN
            support = SUPPORT[outcome.language_supported]
            kinds[outcome.action, outcome.category or NO_CATEGORY, band, support, outcome.degraded] += 1
            if (written_at := delivery.written_at) is None:
                continue
            age = max(0.0, now - written_at)
            if delivery.trace is not None and (exemplar := delivery.trace.exemplar):
                metrics.end_to_end_seconds.observe(age, exemplar)
            else:
                ages.append(age)
        metrics.end_to_end_seconds.observe_all(ages)
        # Most of a window are of few kinds.
        for (action, category, band, support, degraded), count in kinds.items():
            metrics.comments.labels(action).inc(count)
            metrics.decisions.labels(category, band).inc(count)
            metrics.languages.labels(support).inc(count)
            metrics.shed.inc(count * degraded)

    # Ends.

    def _is_current(self, delivery: Delivery) -> bool:
        fetch = delivery.fetch
        return self._watermarks.get(fetch.partition) is delivery.watermark and fetch.generation_id == self._generation()

    def _was_dealt_anew(self, delivery: Delivery) -> bool:
        """Whether the group has dealt its partition out since it was read: whoever has it reads it again.

        Not the same as one that may not be acked: what a log that was cut short has lost is read by nobody any more.
        """
        return delivery.assignment != self._assignment or delivery.fetch.generation_id != self._generation()

    def _let_go(self, deliveries: Sequence[Delivery]) -> None:
        """They are in flight no more, whatever became of them."""
        self._in_flight -= len(deliveries)
        self._in_flight_bytes -= sum(delivery.size for delivery in deliveries)
        for delivery in deliveries:
            self._leave(delivery.fetch, 1)
        self._changed.set()

    def _leave(self, fetch: Fetch, records: int) -> None:
        """So many of its records are held here no more."""
        fetch.unfinished -= records
        if not fetch.unfinished:
            self._release(fetch)

    async def _until(self, ready: Callable[[], bool]) -> None:
        """Wait until something changed that makes it so. One event serves all who wait: each looks for itself."""
        while not ready():
            self._changed.clear()
            await self._changed.wait()


def dead_letter_refused(source: Source, topic: str) -> ScreenerError:
    return FatalError(
        f"the dead letter for {source.topic}/{source.partition}/{source.offset} is too large for {topic}: "
        "raise that topic's max.message.bytes above the comments topic's"
    )
