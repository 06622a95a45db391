"""`comment-screener load`: the demo's comments, at a steady rate, into a Kafka that is there already."""

import asyncio
import contextlib
import secrets
import signal
from typing import Annotated

import typer
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from worker.demo.comments import demo_records
from worker.errors import StartupError

_SEED_BITS = 31
_DECK = 500


def command(
    broker: Annotated[str, typer.Option(envvar="SCREENER_KAFKA_BOOTSTRAP_SERVERS", help="Kafka brokers, host:port.")],
    topic: Annotated[str, typer.Option(envvar="SCREENER_COMMENTS_TOPIC", help="Where to put them.")] = "comments",
    rate: Annotated[float, typer.Option(help="Comments a second.", min=0.01, max=1000)] = 20.0,
    count: Annotated[int | None, typer.Option(help="Stop after so many. Default: go on until Ctrl-C.", min=1)] = None,
) -> None:
    """Produce the demo's comments into a Kafka of yours."""
    try:
        sent = asyncio.run(_load(broker, topic, rate, count))
    except KafkaError as error:
        raise StartupError(f"Kafka at {broker}: {error}") from error
    typer.echo(f"sent {sent} comments to {topic}")


async def _load(broker: str, topic: str, rate: float, count: int | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sent = 0
    async with AIOKafkaProducer(bootstrap_servers=broker, compression_type="lz4") as producer:
        started = loop.time()
        while not stop.is_set():
            # Another seed each time round: the same comments in another order, under ids that were never used.
            for key, value in demo_records(secrets.randbits(_SEED_BITS), _DECK):
                if stop.is_set() or sent == count:
                    return sent
                await producer.send_and_wait(topic, key=key, value=value)
                sent += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, started + sent / rate - loop.time())):
                        await stop.wait()
    return sent
