"""A plain aiokafka loop, a peer: `python -m bench.aiokafka_peer`. Told by the worker's environment.

Fetch, screen with what answers at once, send, wait for the confirmations, commit; one after the other. It keeps the worker's
promise as long as nothing goes wrong: there is no second try, no dead letter, no bound, and nothing is said of what it does.
"""

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.instant import instant_screener
from worker import codec
from worker.publisher import producer_options
from worker.records import Decision, Source
from worker.screening import Record
from worker.settings import Settings, load_settings

_BATCH: Final = 500


def main() -> None:
    """Run until it is ended."""
    asyncio.run(run(load_settings()))


async def run(settings: Settings) -> None:
    """For ever."""
    where: dict[str, Any] = {"bootstrap_servers": settings.kafka_bootstrap_servers}
    screen = instant_screener().screen
    consumer = AIOKafkaConsumer(
        settings.comments_topic,
        **where,
        group_id=settings.group_id,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer, AIOKafkaProducer(**producer_options(where, "zstd")) as producer:
        while True:
            fetched = await consumer.getmany(timeout_ms=1000, max_records=_BATCH)
            messages = [message for of_partition in fetched.values() for message in of_partition]
            if not messages:
                continue
            records = [Record(at.value, Source(at.topic, at.partition, at.offset)) for at in messages]
            confirmations = []
            for outcome in screen(records):
                assert isinstance(outcome, Decision), outcome  # noqa: S101  no text of the benchmark's is rejected
                confirmations.append(
                    await producer.send(
                        settings.decisions_topic, key=outcome.comment_id.encode(), value=codec.encode(outcome)
                    )
                )
            await asyncio.gather(*confirmations)
            await consumer.commit()


if __name__ == "__main__":
    main()
