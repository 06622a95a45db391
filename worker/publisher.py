"""Records out, confirmed.

An aiokafka producer of our own: Faust's `topic.send` costs five times as much and only logs a send that failed. Idempotence is
off on purpose (an idempotent aiokafka producer can wedge after an outage); repeats carry the same id and the same verdict.
What goes to one partition goes as one batch: one confirmation to wait for, where a record at a time has one each.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from msgspec import Struct
from msgspec.structs import replace

from worker.backoff import Backoff
from worker.errors import FatalError
from worker.partitioning import partitions_of

log = structlog.get_logger()

TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
FORBIDDEN = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
# The broker has the last word on size (`max.message.bytes`); ours only has to be out of its way.
_MAX_REQUEST_BYTES = 64 * 2**20
_REQUEST_TIMEOUT_MS = 30_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class Message(Struct, frozen=True):
    """One record to be written."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int | None = None
    partition: int | None = None
    """None: whichever the key says."""
    lane: int | None = None
    """Without a key: those of one lane go to one partition, in order."""

    @property
    def in_order_with(self) -> bytes | int | None:
        """Messages of one topic that have the same stay in order; None: nobody's."""
        if self.key is not None:
            return self.key
        return self.lane if self.partition is None else self.partition


class Sink(Protocol):
    """What is used of a `Publisher`."""

    async def publish(self, messages: Sequence[Message]) -> list[int]:
        """Write messages; indices of those that are too large. Raises FatalError where not confirmed in time."""


def producer_options(options: dict[str, Any], compression: str | None) -> dict[str, Any]:
    """What any producer of ours is made with."""
    return options | {
        "acks": "all",
        "compression_type": compression,
        "linger_ms": 5,
        "max_batch_size": 256 * 1024,
        "max_request_size": _MAX_REQUEST_BYTES,
        "request_timeout_ms": _REQUEST_TIMEOUT_MS,
    }


class Publisher:
    """Writes messages and says what became of each.

    Args:
        options: connection (`worker.connection.client_options`).
        compression: aiokafka's name for it, or None.
        timeout_s: how long to go on trying one call's messages.
        retried: told how many messages are sent again.
        create_producer: aiokafka's producer, or a stand-in for it.
        jitter: as in `worker.backoff`.
    """

    def __init__(
        self,
        options: dict[str, Any],
        *,
        compression: str | None,
        timeout_s: float,
        retried: Callable[[int], None],
        create_producer: Callable[..., AIOKafkaProducer] = AIOKafkaProducer,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._options = producer_options(options, compression)
        self._timeout_s = timeout_s
        self._retried = retried
        self._create_producer = create_producer
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, jitter=jitter)
        self._producer: AIOKafkaProducer | None = None

    @property
    def waiting_s(self) -> float:
        """For how long the messages that have waited longest have been unconfirmed; 0 where none are."""
        return self._backoff.working_s

    @property
    def failing_s(self) -> float:
        """For how long messages have been sent again and again; 0 where none are."""
        return self._backoff.failing_s

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        producer = self._create_producer(**self._options)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def stop(self) -> None:
        """Disconnect. Everything that `publish` returned from is with the broker already."""
        if self._producer is not None:
            await self._producer.stop()

    async def publish(self, messages: Sequence[Message]) -> list[int]:
        """Write messages; return when each is confirmed by all in-sync replicas, or refused for its size.

        Returns:
            Indices of the messages that the broker will never take because they are too large.

        Raises:
            FatalError: not confirmed in time, or not allowed. Some may have been written; none may be acked.
        """
        try:
            # Beside the deadline between two tries: for a broker that takes a message and never says another word.
            async with asyncio.timeout(self._timeout_s):
                with self._backoff.tries() as pauses:
                    return await self._publish(messages, pauses)
        except TimeoutError:
            raise unconfirmed(len(messages), self._timeout_s, "no answer") from None

    async def _publish(self, messages: Sequence[Message], pauses: Iterator[float]) -> list[int]:
        deadline = time.monotonic() + self._timeout_s
        refused: list[int] = []
        messages, pending = list(messages), list(range(len(messages)))
        while True:
            assert self._producer is not None, "publish before start"  # noqa: S101  a mistake in this code, not in the world
            results = await send_in_batches(self._producer, [messages[at] for at in pending])
            failed = []
            for at, error in zip(pending, results, strict=True):
                if error is None:
                    continue
                if isinstance(error, TOO_LARGE):
                    refused.append(at)
                elif isinstance(error, FORBIDDEN):
                    raise forbidden(messages[at].topic, error) from error
                else:
                    failed.append((at, error))
                    messages[at] = acceptable(messages[at], error)
            if not failed:
                return refused
            pending, last = in_order([at for at, _ in failed], messages, refused), failed[-1][1]
            pause = next(pauses)
            if time.monotonic() + pause > deadline:
                raise unconfirmed(len(pending), self._timeout_s, type(last).__name__) from last
            log.warning("publish failed, trying again", records=len(pending), error=type(last).__name__)
            self._retried(len(pending))
            await asyncio.sleep(pause)


def in_order(failed: Sequence[int], messages: Sequence[Message], refused: Sequence[int]) -> list[int]:
    """What to send again, so that of each key the last message is the last one written: what failed, and what is behind it."""
    first = {(messages[at].topic, messages[at].in_order_with): at for at in reversed(failed)}
    behind = (
        at
        for at, message in enumerate(messages)
        if message.in_order_with is not None and first.get((message.topic, message.in_order_with), at) < at
    )
    return sorted({*failed, *behind} - set(refused))


def acceptable(message: Message, error: KafkaError) -> Message:
    """The message to try again with. A topic may take no time that lies far from now: then it has that of its writing.

    Only dead letters carry another, and those say it in a header as well.
    """
    return replace(message, timestamp_ms=None) if isinstance(error, InvalidTimestampError) else message


def forbidden(topic: str, error: Exception) -> FatalError:
    """Why a write that the broker does not allow ends the process."""
    return FatalError(f"not allowed to write to {topic}: {type(error).__name__}")


def unconfirmed(records: int, timeout_s: float, why: str) -> FatalError:
    """Why a write that the brokers do not confirm does."""
    return FatalError(f"{records} records not confirmed within {timeout_s:g} s: {why}")


async def send(producer: AIOKafkaProducer, messages: Sequence[Message]) -> list[KafkaError | None]:
    """One try for each: None where it was confirmed, else what went wrong."""
    confirmations: list[Any] = []
    for message in messages:
        try:
            confirmations.append(
                await producer.send(
                    message.topic,
                    key=message.key,
                    value=message.value,
                    headers=message.headers,
                    timestamp_ms=message.timestamp_ms,
                    partition=message.partition
                    if message.key is not None
                    else _told(message, await _partitions(producer, message.topic)),
                )
            )
        except KafkaError as error:
            confirmations.append(error)
    results: list[KafkaError | None] = []
    for confirmation in confirmations:
        if isinstance(confirmation, KafkaError):
            results.append(confirmation)
            continue
        try:
            await confirmation
            results.append(None)
        except KafkaError as error:
            results.append(error)
    return results


async def _partitions(producer: AIOKafkaProducer, topic: str) -> list[int]:
    return sorted(await producer.partitions_for(topic))


def _told(message: Message, partitions: Sequence[int]) -> int | None:
    """Where it is told to go; None: wherever its key belongs."""
    if message.partition is None and message.key is None and message.lane is not None:
        return partitions[message.lane % len(partitions)]
    return message.partition


class _Batch(Struct):
    """Some of a call's messages, for one partition."""

    partition: int
    builder: BatchBuilder
    places: list[int]
    """Which of the messages."""


async def send_in_batches(producer: AIOKafkaProducer, messages: Sequence[Message]) -> list[KafkaError | None]:
    """As `send`, in as few batches as hold them. Not within a transaction: what is refused goes again."""
    results: list[KafkaError | None] = [None] * len(messages)
    await _send_together(producer, messages, range(len(messages)), results)
    # The broker judges a batch as a whole: which of its records are too large, or too old, shows when each goes alone.
    refused = [at for at, error in enumerate(results) if isinstance(error, (*TOO_LARGE, InvalidTimestampError))]
    if len(refused) > 1:
        # What was written of a key behind them goes once more: the last word on a comment stays the last.
        for at in in_order(refused, messages, ()):
            await _send_together(producer, messages, [at], results)
    return results


async def _send_together(
    producer: AIOKafkaProducer, messages: Sequence[Message], places: Sequence[int], results: list[KafkaError | None]
) -> None:
    """Send these of the messages; what became of each stands in its place in `results` afterwards."""
    by_topic: dict[str, list[int]] = {}
    for at in places:
        by_topic.setdefault(messages[at].topic, []).append(at)
        results[at] = None
    sent: list[tuple[_Batch, Any]] = []
    for topic, those in by_topic.items():
        try:
            partitions = await _partitions(producer, topic)
        except KafkaError as error:
            _note(results, those, error)
            continue
        for batch in _pack(producer, messages, those, partitions):
            try:
                sent.append((batch, await producer.send_batch(batch.builder, topic, partition=batch.partition)))
            except KafkaError as error:
                _note(results, batch.places, error)
    for batch, confirmation in sent:
        try:
            await confirmation
        except KafkaError as error:
            _note(results, batch.places, error)


def _pack(
    producer: AIOKafkaProducer, messages: Sequence[Message], places: Sequence[int], partitions: Sequence[int]
) -> list[_Batch]:
    """These of the messages, all of one topic, in batches. One that is larger than any batch has one to itself."""
    batches: list[_Batch] = []
    last: dict[int, _Batch] = {}
    for at, by_key in zip(places, partitions_of([messages[at].key for at in places], partitions), strict=True):
        message = messages[at]
        partition = by_key if (told := _told(message, partitions)) is None else told
        batch = last.get(partition)
        while batch is None or not batch.builder.append(
            timestamp=message.timestamp_ms, key=message.key, value=message.value, headers=list(message.headers)
        ):
            batch = last[partition] = _Batch(partition, producer.create_batch(), [])
            batches.append(batch)
        batch.places.append(at)
    for batch in batches:
        # Nothing is added to it any more, so it need not linger.
        batch.builder.close()
    return batches


def _note(results: list[KafkaError | None], places: Sequence[int], error: KafkaError) -> None:
    for at in places:
        results[at] = error
