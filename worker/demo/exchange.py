"""Comments in at one end, decisions and dead letters out at the other, both through Kafka and past the worker.

Everything that is sent and read goes into the ledger; whether it adds up is decided there.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from worker import dead_letters
from worker.connection import client_options
from worker.demo.comments import KafkaRecord
from worker.demo.ledger import Ledger, Outcome, Row
from worker.errors import FatalError
from worker.records import Decision, Place
from worker.settings import Settings

_PATIENCE_S: Final = 30.0
"""After the last comment: how long to wait for one more outcome before what is missing is called missing."""
_POLL_MS: Final = 100
_FETCH_WAIT_MS: Final = 50
"""The embedded broker looks for new records only now and then within this time; Kafka answers at once."""
_STOP_TIMEOUT_S: Final = 2.0
_REQUEST_TIMEOUT_MS: Final = 10_000


async def exchange(
    records: Iterable[KafkaRecord],
    ledger: Ledger,
    *,
    settings: Settings,
    partitions: int,
    rate: float,
    stop: asyncio.Event,
    check: Callable[[], None],
    show: Callable[[Row], None],
) -> None:
    """Produce until the records end or `stop` is set, and read until each has an outcome or none comes any more.

    Args:
        records: what to produce; may be endless.
        ledger: told of both sides.
        settings: names of the topics, connection.
        partitions: of the topics that are read.
        rate: records per second.
        stop: set to produce no more.
        check: raises where the worker is gone.
        show: told of each record that has its outcome.

    Raises:
        KafkaError: the broker does not take or give records.
        FatalError: something in the output topics is not what it should be.
    """
    options = client_options(settings) | {"request_timeout_ms": _REQUEST_TIMEOUT_MS}
    consumer = AIOKafkaConsumer(**options, auto_offset_reset="earliest", fetch_max_wait_ms=_FETCH_WAIT_MS)
    producer = AIOKafkaProducer(**options)
    async with _started(consumer), _started(producer):
        # No group: the reader shares nothing with anybody, and leaves nothing behind.
        outputs = (settings.decisions_topic, settings.dead_letters_topic)
        consumer.assign([TopicPartition(topic, number) for topic in outputs for number in range(partitions)])
        producing = asyncio.create_task(
            _produce(producer, settings.comments_topic, records, ledger, rate=rate, stop=stop)
        )
        try:
            await _read(consumer, settings, ledger, producing=producing, check=check, show=show)
        finally:
            producing.cancel()
            await asyncio.gather(producing, return_exceptions=True)


@asynccontextmanager
async def _started(client: AIOKafkaConsumer | AIOKafkaProducer) -> AsyncIterator[None]:
    """Start a client, and stop it within a bound: without a broker, stopping may hang or raise CancelledError."""
    try:
        await client.start()
        yield
    finally:
        stopping = asyncio.create_task(client.stop())
        await asyncio.wait({stopping}, timeout=_STOP_TIMEOUT_S)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)


async def _produce(
    producer: AIOKafkaProducer,
    topic: str,
    records: Iterable[KafkaRecord],
    ledger: Ledger,
    *,
    rate: float,
    stop: asyncio.Event,
) -> None:
    """Send at an even rate; return when Kafka has confirmed everything."""
    started = time.monotonic()
    try:
        async with asyncio.TaskGroup() as confirmations:
            for number, (key, value) in enumerate(records):
                await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
                if stop.is_set():
                    break
                confirmations.create_task(_send(producer, topic, key, value, ledger))
    except* KafkaError as errors:
        raise errors.exceptions[0] from None


async def _send(producer: AIOKafkaProducer, topic: str, key: bytes | None, value: bytes, ledger: Ledger) -> None:
    sent_at = time.monotonic()
    confirmed = await producer.send_and_wait(topic, key=key, value=value)
    ledger.record_input(Place(confirmed.partition, confirmed.offset), value, sent_at)


async def _read(
    consumer: AIOKafkaConsumer,
    settings: Settings,
    ledger: Ledger,
    *,
    producing: asyncio.Task[None],
    check: Callable[[], None],
    show: Callable[[Row], None],
) -> None:
    shown = 0
    news_at = time.monotonic()
    while not (producing.done() and ledger.complete):
        fetched = await consumer.getmany(timeout_ms=_POLL_MS)
        now = time.monotonic()
        for messages in fetched.values():
            for message in messages:
                # Without a value: the note that a dead letter was handled.
                if message.value is not None:
                    ledger.record_outcome(*_read_outcome(message, settings, now))
        for row in ledger.rows[shown:]:
            show(row)
        if len(ledger.rows) > shown or not producing.done():
            news_at = now
        shown = len(ledger.rows)
        if producing.done():
            producing.result()
        check()
        if now - news_at > _PATIENCE_S:
            return
    producing.result()


def _read_outcome(message: Any, settings: Settings, read_at: float) -> tuple[Place, Outcome]:
    if message.topic == settings.decisions_topic:
        decision = msgspec.json.decode(message.value, type=Decision)
        if decision.source is None:
            raise FatalError(f"a decision at {message.partition}/{message.offset} names no source")
        return Place(decision.source.partition, decision.source.offset), Outcome(read_at, decision=decision)
    if (parts := dead_letters.split(message.headers)) is None:
        raise FatalError(f"what stands at {message.partition}/{message.offset} is no dead letter")
    _, facts = parts
    place = Place(int(facts["original-partition"]), int(facts["original-offset"]))
    return place, Outcome(read_at, dead_reason=facts["reason"])
