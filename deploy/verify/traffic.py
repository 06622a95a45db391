"""What a worker lives through in a few minutes, so that each panel has something to show.

A real broker, real workers, the demo's comments at a steady rate, with its malformed ones among them; tombstones, and comments
that are traced; once a burst that is sent faster than it is screened; a second worker that joins and leaves; retention that
deletes what has been read. And then, for another picture, an incident.
"""

import asyncio
import os
import secrets
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from msgspec import Struct

from deploy.verify.starting import start
from worker.connection import client_options
from worker.demo.broker import LOOPBACK, Broker, free_port
from worker.demo.comments import demo_records
from worker.demo.process import Process
from worker.errors import FatalError
from worker.settings import Settings
from worker.topics import create_topics, worker_topics

PARTITIONS: Final = 8  # as in docker-compose.yml
_RATE: Final = 20  # as in docker-compose.yml
_BURST: Final = 150
_BURST_RATE: Final = 1000
_READY_S: Final = 180.0
_GRACE_S: Final = 40.0
_TOMBSTONES: Final = 3
_TRACED: Final = 20  # some of them are malformed
_DELETED: Final = 10  # of each partition
_SESSION_TIMEOUT_S: Final = "6"
# Fewer than the demo has texts: with room for all of them the model would have nothing more to do after a minute.
_CACHE_ENTRIES: Final = "150"

# Where in the time each thing happens.
_RARE_AT: Final = (0.1, 0.6)
_BURST_AT: Final = 0.3
_DELETES_AT: Final = 0.45
_JOINS_AT: Final = 0.5
_LEAVES_AT: Final = 0.75


class Worker:
    """One worker process, at an address that is known before it runs.

    Args:
        settings: where its broker is.
        folder: for its log and its temporary files.
        name: of its log.
    """

    def __init__(self, settings: Settings, folder: Path, name: str) -> None:
        self.address = f"{LOOPBACK}:{free_port()}"
        clean = {variable: value for variable, value in os.environ.items() if not variable.startswith("SCREENER_")}
        own = {
            "SCREENER_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "SCREENER_HTTP_HOST": LOOPBACK,
            "SCREENER_HTTP_PORT": self.address.rpartition(":")[2],
            "SCREENER_SESSION_TIMEOUT_S": _SESSION_TIMEOUT_S,
            "SCREENER_CACHE_ENTRIES": _CACHE_ENTRIES,
            # For the exemplars. Nobody listens there: the traces themselves are lost.
            "SCREENER_TRACING": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:{free_port()}",
            "TMPDIR": str(folder),
        }
        self.process = Process([sys.executable, "-m", "worker", "run"], folder / f"{name}.log", clean | own)

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            StartupError: it ends or does not get ready, with the last lines of its log.
        """
        start(self.process, lambda: self._get("/readyz") == "ok\n", _READY_S, "the worker")

    def stop(self) -> None:
        """SIGTERM, as an orchestrator would. Raises FatalError where it does not end as it should."""
        if (code := self.process.stop(_GRACE_S)) != 0:
            raise FatalError(f"the worker ended with exit code {code}:\n{self.process.tail()}")

    def metrics(self) -> str:
        """What /metrics says."""
        return self._get("/metrics")

    def _get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""


class Scene(Struct, frozen=True):
    """Who takes part."""

    first: Worker
    second: Worker
    settings: Settings
    folder: Path
    found: Callable[[list[str]], None]
    """Told of the workers that are there now, as a discovery would be."""


def scene(broker: Broker, folder: Path, found: Callable[[list[str]], None]) -> Scene:
    """Two workers for a broker, neither of them started."""
    settings = Settings(kafka_bootstrap_servers=broker.bootstrap)
    return Scene(Worker(settings, folder, "first"), Worker(settings, folder, "second"), settings, folder, found)


def create(settings: Settings) -> None:
    """Create the worker's topics."""
    topics = worker_topics(settings, PARTITIONS, replication=1)
    asyncio.run(create_topics(topics, **client_options(settings)))


@contextmanager
def load(scene: Scene) -> Iterator[None]:
    """Comments come in, at a steady rate."""
    process = _load(scene, "load", "--rate", str(_RATE))
    try:
        process.start()
        yield
    finally:
        process.stop(_GRACE_S)


def play(scene: Scene, seconds: float, say: Callable[[str], None], wait: Callable[[float], None]) -> None:
    """Let it all happen that happens on a good day. The first worker is ready before and runs on after, under load.

    Args:
        scene: who takes part.
        seconds: how long.
        say: told of each event, for the one who watches.
        wait: blocks until so many seconds have passed since the beginning, and raises where somebody has died.
    """
    burst = _load(scene, "burst", "--rate", str(_BURST_RATE), "--count", str(_BURST))
    try:
        say(f"one worker, {_RATE} comments a second, one in thirty malformed")
        wait(_RARE_AT[0] * seconds)
        asyncio.run(_rare(scene.settings))
        wait(_BURST_AT * seconds)
        say(f"{_BURST} comments at once")
        burst.start()
        wait(_DELETES_AT * seconds)
        asyncio.run(_delete(scene.settings))
        wait(_JOINS_AT * seconds)
        say("a second worker joins")
        scene.second.start()
        scene.found([scene.first.address, scene.second.address])
        wait(_RARE_AT[1] * seconds)
        asyncio.run(_rare(scene.settings))
        wait(_LEAVES_AT * seconds)
        say("it leaves")
        scene.found([scene.first.address])
        scene.second.stop()
        wait(seconds)
    finally:
        for process in (burst, scene.second.process):
            process.stop(_GRACE_S)


@contextmanager
def broken_down(scene: Scene) -> Iterator[None]:
    """Decisions cannot be written: somebody has deleted their topic, and in the end creates it again."""
    asyncio.run(_delete_topic(scene.settings, scene.settings.decisions_topic))
    yield
    create(scene.settings)


def _load(scene: Scene, name: str, *arguments: str) -> Process:
    command = [sys.executable, "-m", "worker", "load", "--broker", scene.settings.kafka_bootstrap_servers, *arguments]
    return Process(command, scene.folder / f"{name}.log")


async def _delete(settings: Settings) -> None:
    """What retention would do after some days: the first few records of each partition go."""
    async with _admin(settings) as admin:
        await admin.delete_records(
            {TopicPartition(settings.comments_topic, number): RecordsToDelete(_DELETED) for number in range(PARTITIONS)}
        )


async def _delete_topic(settings: Settings, name: str) -> None:
    async with _admin(settings) as admin:
        await admin.delete_topics([name])


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _rare(settings: Settings) -> None:
    """Comments that were withdrawn, and comments whose producer traces."""
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        for number in range(_TOMBSTONES):
            await producer.send_and_wait(settings.comments_topic, key=f"withdrawn-{number}".encode(), value=None)
        for key, value in demo_records(secrets.randbits(31), _TRACED):
            await producer.send_and_wait(settings.comments_topic, key=key, value=value, headers=[_traceparent()])


def _traceparent() -> tuple[str, bytes]:
    """A trace of its own, sampled."""
    return "traceparent", f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01".encode()
