"""`comment-screener demo`: a broker, the worker and a few hundred comments; ends with the sum.

The worker is the real one, in a process of its own. What it made of the comments is read back from Kafka, by a consumer that
knows nothing of the worker, and has to add up. Nothing is left behind: no process, and no topic on a Kafka of yours.
"""

import asyncio
import http.client
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import count as count_from
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.console import Console

from worker.connection import client_options
from worker.demo.broker import KAFKA_VERSION, LOOPBACK, Broker, Kind, available, fetch_kafka, free_port, start_broker
from worker.demo.comments import KafkaRecord, demo_records
from worker.demo.display import live, print_summary, waiting
from worker.demo.exchange import exchange
from worker.demo.interrupts import Interrupts
from worker.demo.ledger import Ledger
from worker.demo.process import Process
from worker.errors import FatalError, StartupError
from worker.settings import Settings, load_settings
from worker.topics import create_topics, worker_topics

DEFAULT_RATE: Final = 40.0
DEFAULT_COUNT: Final = 340

_PARTITIONS: Final = 4
_READY_TIMEOUT_S: Final = 90.0
_WORKER_GRACE_S: Final = 30.0
_INTERRUPTED: Final = 130
# A group waits this long for members that are gone; the embedded broker makes a newcomer wait for half of it.
_SESSION_TIMEOUT_S: Final = "6"
# What a worker elsewhere needs and this one cannot have.
_NOT_HANDED_ON: Final = ("SCREENER_COMMENTS_PARTITIONS", "SCREENER_GROUP_INSTANCE_ID")
_NAMES: Final = {
    Kind.KAFKA: f"Apache Kafka {KAFKA_VERSION}",
    # Faust asks it for records to be had within 1.5 s, and it looks for them only at half of that.
    Kind.EMBEDDED: "the embedded broker (in memory; adds up to 1 s of latency)",
}


def command(
    rate: Annotated[float, typer.Option(help="Comments per second.", min=0.1)] = DEFAULT_RATE,
    count: Annotated[int, typer.Option(help="How many comments.", min=1)] = DEFAULT_COUNT,
    kind: Annotated[
        Kind | None, typer.Option(help="Which broker to start. Default: Kafka where Java and Maven are.")
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="A Kafka of yours instead; the demo's topics are deleted at the end."),
    ] = None,
    *,
    keep_running: Annotated[bool, typer.Option("--keep-running", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show the worker at work: start a broker, send it comments, watch what it decides and why."""
    # The clients' own complaints would tear the table apart, and what matters of them comes as an error.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    code = demo(rate=rate, count=None if keep_running else count, kind=kind, bootstrap=broker)
    raise typer.Exit(code)


def demo(
    *,
    rate: float = DEFAULT_RATE,
    count: int | None = DEFAULT_COUNT,
    kind: Kind | None = None,
    bootstrap: str | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo to its end.

    Args:
        rate: comments per second.
        count: how many; None goes on until Ctrl-C.
        kind: the broker to start; None takes what there is.
        bootstrap: a Kafka to use instead of starting one.
        console: where to show it.

    Returns:
        0 where everything that went in came out, 1 where not, 130 where it was interrupted before that could be said.

    Raises:
        StartupError: there is no broker to be had, or it or the worker does not start.
        FatalError: the worker or the broker stopped in the middle.
    """
    console = console or Console(highlight=False)
    directory = Path(tempfile.mkdtemp(prefix="comment-screener-demo-"))
    interrupts = Interrupts()
    adds_up = False
    try:
        with interrupts, ExitStack() as stack:
            stage = _Stage(console, directory, stack, interrupts)
            own = stage.start_broker(kind) if bootstrap is None else None
            connection = _to_own(own.bootstrap) if own is not None else _to_other(str(bootstrap))
            settings, environment = _configure(connection, directory)
            stage.create_topics(settings, delete=own is None)
            worker = stage.start_worker(settings, environment)
            records = islice(_endless(), count)

            def check() -> None:
                _check_worker(worker)
                if own is not None and own.pid is None:
                    worker.kill()  # it would wait for its broker
                    raise FatalError(f"the broker ended; its log ends with:\n{own.tail()}")

            ledger = asyncio.run(stage.exchange(settings, records, rate, check))
            print_summary(console, ledger)
            adds_up = not ledger.problems()
    except KafkaError as error:
        raise FatalError(f"Kafka: {error!r}") from error
    except KeyboardInterrupt:
        pass
    finally:
        if adds_up or interrupts.raised or not any(directory.rglob("*.log")):
            shutil.rmtree(directory, ignore_errors=True)
        else:
            console.print(f"the logs are in {directory}", soft_wrap=True, markup=False)
    if interrupts.raised:
        console.print("interrupted; everything that was started is stopped")
    if adds_up:
        return 0
    return _INTERRUPTED if interrupts.raised else 1


class _Stage:
    """Brings the demo up, step by step. What is to be taken down hangs on the stack, the last thing first."""

    def __init__(self, console: Console, directory: Path, stack: ExitStack, interrupts: Interrupts) -> None:
        self._console = console
        self._directory = directory
        self._stack = stack
        self._interrupts = interrupts

    def start_broker(self, kind: Kind | None) -> Broker:
        """Start the kind asked for; else Kafka; else, saying why, the embedded one."""
        if kind is None:
            kind = self._choose()
        elif (missing := available(kind)) is not None:
            raise StartupError(missing)
        elif kind is Kind.KAFKA:
            self._fetch_kafka()
        with waiting(self._console, "broker", f"starting {_NAMES[kind]}") as step:
            broker = self._stack.enter_context(start_broker(kind, self._directory / "broker"))
            step.done(f"{_NAMES[kind]}, {broker.bootstrap}")
        self._interrupts.watch(broker)
        return broker

    def create_topics(self, settings: Settings, *, delete: bool) -> None:
        """Create the topics; on somebody else's broker, delete them again at the end."""
        with waiting(self._console, "topics", "creating the topics") as step:
            topics = worker_topics(settings, _PARTITIONS, replication=1)
            created = asyncio.run(create_topics(topics, **client_options(settings)))
            if delete:
                self._stack.callback(_delete_topics, created, client_options(settings))
            step.done(", ".join(topic.name for topic in topics))

    def start_worker(self, settings: Settings, environment: dict[str, str]) -> Process:
        """Start the worker as a supervisor would, and wait until it says that it is ready."""
        worker = Process([sys.executable, "-m", "worker", "run"], self._directory / "worker.log", environment)
        self._stack.callback(worker.stop, _WORKER_GRACE_S)
        self._interrupts.watch(worker)
        with waiting(self._console, "worker", "starting the worker: model, policy, partitions") as step:
            worker.start()
            deadline = time.monotonic() + _READY_TIMEOUT_S
            while (why := _not_ready(settings.http_port)) is not None:
                _check_worker(worker)
                if time.monotonic() > deadline:
                    raise StartupError(f"the worker is not ready after {_READY_TIMEOUT_S:g} s: {why}\n{worker.tail()}")
                time.sleep(0.1)
            step.done(f"ready, metrics on {_metrics_url(settings)}")
        return worker

    async def exchange(
        self, settings: Settings, records: Iterable[KafkaRecord], rate: float, check: Callable[[], None]
    ) -> Ledger:
        """Send, read and show. The first Ctrl-C ends the sending, the second everything."""
        ledger = Ledger()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.call_soon_threadsafe(stop.set)

        where = f"{_metrics_url(settings)}   Ctrl-C ends it"
        try:
            with self._interrupts.gently(end), live(self._console, ledger, where) as display:
                await exchange(
                    records,
                    ledger,
                    settings=settings,
                    partitions=_PARTITIONS,
                    rate=rate,
                    stop=stop,
                    check=check,
                    show=display.show,
                )
        except (FatalError, KafkaError):
            print_summary(self._console, ledger)
            raise
        return ledger

    def _choose(self) -> Kind:
        why_not = available(Kind.KAFKA)
        if why_not is None:
            try:
                self._fetch_kafka()
            except StartupError as error:
                why_not = str(error)
            else:
                return Kind.KAFKA
        if (missing := available(Kind.EMBEDDED)) is not None:
            raise StartupError(f"no Apache Kafka here: {why_not}\n{missing}")
        first_lines = " ".join(why_not.splitlines()[:2])
        self._console.print(f"no Apache Kafka here: {first_lines}", soft_wrap=True, markup=False)
        return Kind.EMBEDDED

    def _fetch_kafka(self) -> None:
        with waiting(self._console, "kafka", "fetching Kafka with Maven, the first time only: 54 MB") as step:
            step.done(f"jars in {fetch_kafka()}")


def _to_own(bootstrap: str) -> dict[str, str]:
    return {"kafka_bootstrap_servers": bootstrap, "security_protocol": "PLAINTEXT"} | _names("")


def _to_other(bootstrap: str) -> dict[str, str]:
    # How to connect (TLS, SASL) comes from the environment, as it does for the worker.
    return {"kafka_bootstrap_servers": bootstrap} | _names(f"demo-{secrets.token_hex(4)}.")


def _names(prefix: str) -> dict[str, str]:
    topics = ("comments_topic", "decisions_topic", "dead_letters_topic")
    names = {name: prefix + Settings.model_fields[name].default for name in topics}
    return names | {"group_id": f"{prefix}comment-screener"}


def _configure(connection: dict[str, str], directory: Path) -> tuple[Settings, dict[str, str]]:
    """Settings for us and, the same, as an environment for the worker. A policy or model of the user's is handed on."""
    given: dict[str, Any] = connection | {
        "http_host": LOOPBACK,
        "http_port": str(free_port()),
        "session_timeout_s": _SESSION_TIMEOUT_S,
    }
    settings = load_settings(**given)
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_HANDED_ON}
    environment |= {f"SCREENER_{name.upper()}": value for name, value in given.items()}
    # A worker that is killed leaves its temporary files: they go with ours.
    return settings, environment | {"TMPDIR": str(directory)}


def _check_worker(worker: Process) -> None:
    if not worker.running:
        raise FatalError(f"the worker ended with exit code {worker.exit_code}; its log ends with:\n{worker.tail()}")


def _not_ready(port: int) -> str | None:
    """None where /readyz says yes, else what it says."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        said = answer.read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    finally:
        connection.close()
    return None if answer.status == http.HTTPStatus.OK else said


def _endless() -> Iterator[KafkaRecord]:
    for seed in count_from(1):
        yield from demo_records(seed, DEFAULT_COUNT)


def _metrics_url(settings: Settings) -> str:
    return f"http://{LOOPBACK}:{settings.http_port}/metrics"


def _delete_topics(names: list[str], options: dict[str, Any]) -> None:
    async def delete() -> None:
        admin = AIOKafkaAdminClient(**options)
        try:
            await admin.start()
            await admin.delete_topics(names)
        finally:
            await admin.close()

    asyncio.run(delete())
