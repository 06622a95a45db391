"""Outcomes and the offset behind them in one Kafka transaction: a ledger for each partition that is read.

    outcomes of a run of offsets ─► Ledger ─► one transaction: decisions, dead letters, the group's offset

The transactional id is the partition's. Who opens a ledger gets a new epoch from the brokers, which ends what the former owner
had begun and lets it begin nothing more; only then is the offset asked for. Each transaction starts where the last one ended.
So there is one writer, whatever the consumer group believes: aiokafka commits offsets in a transaction without the group's
generation, and Kafka takes them from anyone.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    ProducerFenced,
    TransactionalIdAuthorizationFailed,
)

from worker.backoff import Backoff
from worker.errors import FatalError
from worker.publisher import (
    FORBIDDEN,
    TOO_LARGE,
    Message,
    acceptable,
    forbidden,
    producer_options,
    send,
    unconfirmed,
)

log = structlog.get_logger()

Result = TypeVar("Result")

_BROKEN: Final = (KafkaError, OSError, AssertionError, TimeoutError)
"""What a producer may fail with. That it is dead already it says with an AssertionError."""
_REFUSED: Final = (TransactionalIdAuthorizationFailed, GroupAuthorizationFailedError)
_CLOSE_S: Final = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_TRANSACTION_S: Final = 60.0
"""Of a transaction that nobody ends: later the broker gives it up. A worker that is taken over has its own ended at once."""
_TRY_S: Final = 20.0
"""Of one try. A producer that waits for a coordinator that is gone can wait for good; a new one finds the next."""


def transactional_id(group_id: str, topic: str, partition: int) -> str:
    """Under which a partition's outcomes are written.

    No topic's name has a slash in it, so no other group, topic and partition have the same. It begins with the group and a dot,
    as rights on it are granted.
    """
    return f"{group_id}.{partition}/{topic}"


class Lost(Exception):  # noqa: N818  named for what happened
    """The partition is somebody else's by now: nothing of this was written here, and all of it will be there."""


class Ledger:
    """One partition's transactions, in the order in which they are asked for.

    Args:
        tp: the partition that is read.
        group_id: whose offset it is.
        create_producer: a transactional one, with this partition's transactional id.
        committed: asks for the group's offset.
        backoff: shared by all ledgers, so that somebody may ask for how long any has been failing.
        timeout_s: how long to go on trying one transaction.
        fence_wait_s: how long a worker that was fenced waits before it asks whether it still owns the partition: long enough
            for a heartbeat to be answered.
        retried: told how many messages are sent again.
    """

    def __init__(
        self,
        tp: TopicPartition,
        group_id: str,
        *,
        create_producer: Callable[[], AIOKafkaProducer],
        committed: Callable[[TopicPartition], Awaitable[int | None]],
        backoff: Backoff,
        timeout_s: float,
        fence_wait_s: float,
        retried: Callable[[int], None],
    ) -> None:
        self._tp = tp
        self._group_id = group_id
        self._create_producer = create_producer
        self._committed = committed
        self._backoff = backoff
        self._timeout_s = timeout_s
        self._fence_wait_s = fence_wait_s
        self._retried = retried
        self._producer: AIOKafkaProducer | None = None
        self._trying: asyncio.Timeout | None = None
        self._lost = False
        self.turn = asyncio.Lock()
        """Whoever holds it may commit; given in the order in which it is asked for."""
        self.position: int | None = None
        """Where the next transaction starts; None where the group never committed."""

    async def open(self) -> None:
        """Take the partition over. Raises FatalError where the brokers do not answer in time."""

        async def attempt() -> None:
            self._producer = await self._start_producer()
            self.position = await self._committed(self._tp)

        await self._persist(attempt, owned=lambda: True, records=0)
        log.debug("ledger opened", partition=self._tp.partition, position=self.position)

    async def close(self) -> None:
        """Commit nothing more. What is in the middle of a transaction is lost, and hears of it at once."""
        self._lost = True
        if self._trying is not None and not self._trying.expired():
            # What a producer has promised it neither keeps nor breaks once it is discarded.
            self._trying.reschedule(asyncio.get_running_loop().time())
        await self._discard_producer()

    async def commit(self, messages: Sequence[Message], position: int, owned: Callable[[], bool]) -> list[int]:
        """Write messages and commit an offset, all or nothing.

        Args:
            messages: outcomes of all records from the last position to this one.
            position: the next offset to be read.
            owned: whether the group will still give this partition to us, as far as we know: after a failure, or all is lost.

        Returns:
            Indices of the messages that are too large; where there are any, nothing was written.

        Raises:
            Lost: the partition is somebody else's.
            FatalError: not confirmed in time, or not allowed.
        """
        messages = list(messages)

        async def attempt() -> list[int]:
            if self._lost:
                raise Lost
            if self._producer is None:
                self._producer = await self._start_producer()
                # By now the last attempt has ended one way or the other, even if its answer never came.
                committed = await self._committed(self._tp)
                if committed == position:
                    return []
                if committed != self.position:
                    self._check_behind(committed)
            return await self._transact(self._producer, messages, position)

        try:
            refused = await self._persist(attempt, owned=owned, records=len(messages))
        except Lost:
            await self.close()
            raise
        if refused:
            # The next attempt is a new producer's, because this one has used up sequence numbers that Kafka never saw.
            await self._discard_producer()
        else:
            self.position = position
        return refused

    def _check_behind(self, committed: int | None) -> None:
        """What the group has committed is not where this ledger stands: is it an heir's, or not all of ours yet?

        Raises:
            Lost: nobody but an heir gets further.
            KafkaError: a coordinator that has just come back knows less than it confirmed, for a moment.
        """
        log.warning(
            "another offset is committed", partition=self._tp.partition, committed=committed, ours=self.position
        )
        if self.position is None or (committed is not None and committed > self.position):
            raise Lost
        raise CoordinatorNotAvailableError

    async def _transact(self, producer: AIOKafkaProducer, messages: list[Message], position: int) -> list[int]:
        """One try. Of what was not taken, `messages` holds what to try next."""
        await producer.begin_transaction()
        results = await send(producer, messages)
        broken = []
        for at, error in enumerate(results):
            if isinstance(error, FORBIDDEN):
                raise forbidden(messages[at].topic, error) from error
            if error is not None and not isinstance(error, TOO_LARGE):
                messages[at] = acceptable(messages[at], error)
                broken.append(error)
        if broken:
            raise broken[0]
        if refused := [at for at, error in enumerate(results) if error is not None]:
            return refused
        await producer.send_offsets_to_transaction({self._tp: position}, self._group_id)
        await producer.commit_transaction()
        return []

    async def _persist(
        self, attempt: Callable[[], Awaitable[Result]], *, owned: Callable[[], bool], records: int
    ) -> Result:
        """Try until it succeeds; a producer that failed is replaced, never repaired."""
        deadline = time.monotonic() + self._timeout_s
        with self._backoff.tries() as pauses:
            while True:
                try:
                    return await self._try(attempt, min(_TRY_S, max(0.0, deadline - time.monotonic())))
                except _REFUSED as error:
                    raise FatalError(f"not allowed to commit as {self._group_id}: {type(error).__name__}") from error
                except _BROKEN as error:
                    broken = error
                await self._discard_producer()
                if self._lost:
                    raise Lost from broken
                fenced = isinstance(broken, ProducerFenced)
                pause = max(next(pauses), self._fence_wait_s if fenced else 0.0)
                name = type(broken).__name__
                if time.monotonic() + pause > deadline:
                    raise unconfirmed(records, self._timeout_s, name) from broken
                log.warning("publish failed, trying again", partition=self._tp.partition, records=records, error=name)
                self._retried(records)
                # Fenced by an heir, or by a broker that waited too long? Who was taken for dead hears so in a heartbeat.
                await asyncio.sleep(pause)
                if not owned():
                    raise Lost from broken

    async def _try(self, attempt: Callable[[], Awaitable[Result]], timeout_s: float) -> Result:
        try:
            async with asyncio.timeout(timeout_s) as self._trying:
                return await attempt()
        finally:
            self._trying = None

    async def _start_producer(self) -> AIOKafkaProducer:
        producer = self._create_producer()
        try:
            await producer.start()
        except BaseException:
            await _discard(producer)
            raise
        return producer

    async def _discard_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _discard(producer)


class Ledgers:
    """Opens ledgers. Connected from `start` to `stop`.

    Args:
        options: connection (`worker.connection.client_options`).
        topic, group_id: what is read, and as whom.
        compression: aiokafka's name for it, or None.
        timeout_s, fence_wait_s, retried: as in `Ledger`.
    """

    def __init__(
        self,
        options: dict[str, Any],
        *,
        topic: str,
        group_id: str,
        compression: str | None,
        timeout_s: float,
        fence_wait_s: float,
        retried: Callable[[int], None],
    ) -> None:
        self._topic = topic
        self._group_id = group_id
        self._producer_options = producer_options(options, compression) | {
            "transaction_timeout_ms": round(_TRANSACTION_S * 1000)
        }
        self._timeout_s = timeout_s
        self._fence_wait_s = fence_wait_s
        self._retried = retried
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._open: dict[int, Ledger] = {}
        # In the group only to read its commits: it subscribes to nothing, so it never joins.
        self._consumer = AIOKafkaConsumer(**options, group_id=group_id, enable_auto_commit=False)

    @property
    def waiting_s(self) -> float:
        """As `worker.publisher.Publisher.waiting_s`."""
        return self._backoff.working_s

    @property
    def failing_s(self) -> float:
        """As `worker.publisher.Publisher.failing_s`."""
        return self._backoff.failing_s

    def position(self, partition: int) -> int | None:
        """The offset before which all of a partition is written; None where it is not ours, or nothing was ever committed."""
        ledger = self._open.get(partition)
        return None if ledger is None else ledger.position

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnect. A transaction that is open is ended by whoever opens its ledger next."""
        await self._close()
        await self._consumer.stop()

    async def assign(self, partitions: Collection[int]) -> dict[int, Ledger]:
        """Close all ledgers and take these partitions over, at once. Raises FatalError."""
        await self._close()
        self._open = {partition: self._ledger(partition) for partition in partitions}
        await asyncio.gather(*(ledger.open() for ledger in self._open.values()))
        return self._open

    async def _close(self) -> None:
        await asyncio.gather(*(ledger.close() for ledger in self._open.values()))

    def _ledger(self, partition: int) -> Ledger:
        name = transactional_id(self._group_id, self._topic, partition)
        return Ledger(
            TopicPartition(self._topic, partition),
            self._group_id,
            create_producer=lambda: AIOKafkaProducer(**self._producer_options, transactional_id=name),
            committed=self._consumer.committed,
            backoff=self._backoff,
            timeout_s=self._timeout_s,
            fence_wait_s=self._fence_wait_s,
            retried=self._retried,
        )


async def _discard(producer: AIOKafkaProducer) -> None:
    """Disconnect a producer with all that it still holds: its `stop` would first wait until that is written."""
    producer._closed = True  # noqa: SLF001
    if (sender := producer._sender.sender_task) is not None:  # noqa: SLF001
        sender.cancel()
        _, pending = await asyncio.wait({sender}, timeout=_CLOSE_S)
        for task in pending:
            # It waits for a request of its own, which a second time is cancelled with it.
            task.cancel()
    with contextlib.suppress(*_BROKEN):
        await producer.client.close()
