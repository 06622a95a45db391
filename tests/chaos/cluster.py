"""Three nodes of Apache Kafka on loopback, each behind a proxy for those who want to be cut off.

Everything is kept three times and confirmed twice: one node may go at any time, and nothing that was confirmed is gone.

    bootstrap ──► node                 the way of tests and audits
    proxied   ──► proxy ──► node       the way of workers in scenarios about the network: whoever comes in by the proxies is
                                       told of the proxies' addresses only
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.chaos.proxy import Proxy
from worker.demo.broker import (
    LOOPBACK,
    Broker,
    Kind,
    fetch_kafka,
    free_port,
    kafka_available,
    new_cluster_id,
    run_kafka_tool,
    start_kafka,
)
from worker.errors import StartupError

NODES: Final = 3
_HEAP: Final = "320m"
_PATIENCE_S: Final = 90.0


class Cluster:
    """The nodes and what can be done to them. What blocks is for `asyncio.to_thread`; coroutines ask the admin interface.

    Attributes:
        brokers: by index; node id is index + 1.
        proxies: the one in front of each.
    """

    kind: Final = Kind.KAFKA

    def __init__(self, brokers: list[Broker], proxies: list[Proxy]) -> None:
        self.brokers = brokers
        self.proxies = proxies
        self._frozen: set[int] = set()

    @property
    def bootstrap(self) -> str:
        """The nodes' own addresses."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    @property
    def proxied(self) -> str:
        """The proxies' addresses."""
        return ",".join(f"{LOOPBACK}:{proxy.listen_port}" for proxy in self.proxies)

    def freeze(self, index: int) -> None:
        """SIGSTOP: its connections stay open, and nothing comes back."""
        self._signal(index, signal.SIGSTOP)
        self._frozen.add(index)

    def thaw(self, index: int) -> None:
        """SIGCONT, after `freeze`."""
        self._frozen.discard(index)
        self._signal(index, signal.SIGCONT)

    def bounce(self, index: int, *, hard: bool = False) -> None:
        """Stop (or kill) one node and start it again. Blocks until it answers."""
        broker = self.brokers[index]
        if hard:
            broker.kill()
        else:
            broker.stop()
        broker.start()

    def kill_all(self) -> None:
        """SIGKILL, all of them."""
        for broker in self.brokers:
            broker.kill()

    def start_all(self) -> None:
        """Start what is down. Blocks until all answer."""
        # Together: none answers before there are two.
        with ThreadPoolExecutor(NODES) as pool:
            list(pool.map(lambda broker: broker.start(), self.brokers))

    def restore(self) -> None:
        """Undo whatever was done to it. Blocks until each node serves what it leads."""
        for index in list(self._frozen):
            self.thaw(index)
        for proxy in self.proxies:
            proxy.heal()
        self.start_all()
        asyncio.run(self.until_whole())

    async def until_whole(self) -> None:
        """Wait until all nodes have joined and all replicas are in sync."""
        async with asyncio.timeout(_PATIENCE_S):
            while not await self._is_whole():  # noqa: ASYNC110  only asking tells
                await asyncio.sleep(0.2)

    async def leader_of(self, topic: str, partition: int) -> int:
        """The index of the node that leads a partition. Waits while nobody does, as for a moment of each election."""
        async with asyncio.timeout(_PATIENCE_S), _admin(self.bootstrap) as admin:
            while True:
                described = await admin.describe_topics([topic])
                leaders = {each["partition"]: each["leader"] for each in described[0]["partitions"]}
                if (leader := leaders.get(partition, -1)) >= 0:
                    return int(leader) - 1
                await asyncio.sleep(0.2)

    def preferred_leaders(self) -> None:
        """Give every partition back to the node that is first in its list; nodes that came back lead nothing. Blocks."""
        arguments = ("--bootstrap-server", self.bootstrap, "--election-type", "preferred", "--all-topic-partitions")
        run_kafka_tool("LeaderElectionCommand", *arguments)

    def _signal(self, index: int, number: signal.Signals) -> None:
        if (pid := self.brokers[index].pid) is not None:
            os.kill(pid, number)

    async def _is_whole(self) -> bool:
        try:
            async with _admin(self.bootstrap) as admin:
                nodes = (await admin.describe_cluster())["brokers"]
                topics = await admin.describe_topics()
        except (KafkaError, OSError):
            return False
        partitions = [partition for topic in topics for partition in topic["partitions"]]
        return len(nodes) == NODES and all(
            partition["leader"] > 0 and len(partition["isr"]) == len(partition["replicas"]) for partition in partitions
        )


@contextlib.contextmanager
def start_cluster(directory: Path) -> Iterator[Cluster]:
    """Start three nodes and their proxies; end them afterwards.

    Args:
        directory: an empty folder for their data and logs.

    Raises:
        StartupError: they cannot be started, with the reason.
    """
    if (why := kafka_available()) is not None:
        raise StartupError(f"these tests need Apache Kafka: {why}")
    fetch_kafka()
    ports = set[int]()
    while len(ports) < 4 * NODES:
        ports.add(free_port())
    direct, behind, controllers, in_front = (list(ports)[at : at + NODES] for at in range(0, 4 * NODES, NODES))
    cluster_id = new_cluster_id()

    def start_node(index: int) -> Broker:
        listeners = {"BROKER": direct[index], "PROXIED": behind[index], "CONTROLLER": controllers[index]}
        advertised = {"BROKER": direct[index], "PROXIED": in_front[index]}
        properties = {
            "node.id": str(index + 1),
            "controller.quorum.voters": ",".join(
                f"{node}@{LOOPBACK}:{port}" for node, port in enumerate(controllers, start=1)
            ),
            "listeners": _addresses(listeners),
            "advertised.listeners": _addresses(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
            **_KEPT_THREE_TIMES,
        }
        return start_kafka(
            directory / f"node-{index}",
            port=direct[index],
            properties=properties,
            cluster_id=cluster_id,
            heap=_HEAP,
            ready_timeout_s=_PATIENCE_S,
        )

    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(in_front[index], behind[index])) for index in range(NODES)]
        pool = stack.enter_context(ThreadPoolExecutor(NODES))
        starting = [pool.submit(start_node, index) for index in range(NODES)]
        try:
            cluster = Cluster([future.result() for future in starting], proxies)
            asyncio.run(cluster.until_whole())
            yield cluster
        finally:
            for future in starting:
                if future.exception() is None:
                    # What they would write down at a clean end nobody is going to read.
                    future.result().kill()


_KEPT_THREE_TIMES: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "transaction.state.log.num.partitions": "3",
    # Moved when a scenario says so.
    "auto.leader.rebalance.enable": "false",
    # On a small machine three of them and two workers start at once: long enough not to be taken for dead, short enough that
    # a scenario does not wait for it.
    "broker.session.timeout.ms": "5000",
}


def _addresses(ports: dict[str, int]) -> str:
    return ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())


@contextlib.asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    try:
        await client.start()
        yield client
    finally:
        await client.close()
