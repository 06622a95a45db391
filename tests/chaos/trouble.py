"""What happens to workers and brokers in a long run: one thing at a time, in an order that the seed gives."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from enum import StrEnum
from typing import Final

from tests.chaos.cluster import Cluster
from tests.workers import WorkerProcess

_DOWN_S: Final = (0.0, 3.0)
_FROZEN_S: Final = (1.0, 12.0)
"""The session times out after six: some are taken for dead, some are not."""


class Kind(StrEnum):
    """One kind of trouble."""

    KILL = "worker killed"
    SIGTERM = "worker stopped"
    FREEZE = "worker frozen"
    BOUNCE = "broker stopped"
    BROKER_KILL = "broker killed"


def troubles(chance: random.Random, mean_pause_s: float) -> Iterator[tuple[float, Kind]]:
    """Pauses and what comes after each, for ever. No kind comes again before all have come."""
    while True:
        for kind in chance.sample(list(Kind), len(Kind)):
            yield mean_pause_s * chance.uniform(0.5, 1.5), kind


class Troublemaker:
    """Does it, and waits until everything that it has hurt is back.

    Args:
        cluster: whose nodes it stops and kills.
        steady: a worker that is frozen and never ended, so that its memory tells of hours.
        victim: one that is ended and started again.
        chance: how long, and which node.
    """

    def __init__(self, cluster: Cluster, steady: WorkerProcess, victim: WorkerProcess, chance: random.Random) -> None:
        self._cluster = cluster
        self._steady = steady
        self._victim = victim
        self._chance = chance

    async def make(self, kind: Kind) -> None:
        """Raises AssertionError where a worker does not end as it should, or does not come back."""
        makers: dict[Kind, Callable[[], Awaitable[None]]] = {
            Kind.KILL: self._kill,
            Kind.SIGTERM: self._stop,
            Kind.FREEZE: self._freeze,
            Kind.BOUNCE: lambda: self._bounce(hard=False),
            Kind.BROKER_KILL: lambda: self._bounce(hard=True),
        }
        await makers[kind]()

    async def _kill(self) -> None:
        self._victim.kill()
        await asyncio.sleep(self._chance.uniform(*_DOWN_S))
        await self._victim.start().ready()

    async def _stop(self) -> None:
        assert await self._victim.terminate() == 0, self._victim.process.tail()
        await asyncio.sleep(self._chance.uniform(*_DOWN_S))
        await self._victim.start().ready()

    async def _freeze(self) -> None:
        worker = self._chance.choice([self._steady, self._victim])
        worker.freeze()
        try:
            await asyncio.sleep(self._chance.uniform(*_FROZEN_S))
        finally:
            worker.thaw()
        await worker.ready()

    async def _bounce(self, *, hard: bool) -> None:
        index = self._chance.randrange(len(self._cluster.brokers))
        await asyncio.to_thread(self._cluster.bounce, index, hard=hard)
        await self._cluster.until_whole()
