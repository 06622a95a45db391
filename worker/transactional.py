"""The Faust edge where outcomes and offsets are one transaction: `SCREENER_DELIVERY=transactions`.

    window ─► Screener ─► Watermark ─► run of outcomes ─► Ledger of their partition

The watermark holds back outcomes here, as it holds back acks in `worker.acking`. Nothing is acked, so Faust never commits.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Any

import structlog

from worker.agents import Delivery, Pipeline
from worker.errors import FatalError
from worker.ledger import Ledger, Ledgers, Lost
from worker.screening import Outcome, Screener

log = structlog.get_logger()


class TransactionalPipeline(Pipeline):
    """A pipeline that commits each partition's outcomes in offset order, together with the offset.

    Args:
        ledgers: started by whoever made it.
        patience_s: how long the group may take to say who has a partition that somebody else has written for.
        arguments: those of `worker.agents.Pipeline`.
    """

    def __init__(self, screener: Screener, ledgers: Ledgers, *, patience_s: float, **arguments: Any) -> None:
        super().__init__(screener, **arguments)
        self._ledgers = ledgers
        self._patience_s = patience_s
        self._open: dict[int, Ledger] = {}
        self._outcomes: dict[Delivery, Outcome | None] = {}

    async def assign(self, partitions: Collection[int]) -> None:
        """Take partitions over, before Faust asks for their offsets."""
        self._open = {}  # what is unfinished of the last assignment is lost
        self._open = await self._ledgers.assign(partitions)
        self.resume()

    async def _deliver(self, window: Sequence[Delivery], outcomes: Sequence[Outcome | None]) -> None:
        self._outcomes.update(zip(window, outcomes, strict=True))
        runs: dict[int, list[Delivery]] = {}
        for delivery in window:
            record = delivery.record
            runs.setdefault(record.partition, []).extend(delivery.watermark.finish(record.offset))
        await asyncio.gather(*(self._commit(run) for run in runs.values() if run))

    async def _commit(self, run: Sequence[Delivery]) -> None:
        started = time.perf_counter()
        outcomes = [self._outcomes.pop(delivery) for delivery in run]
        try:
            written = await self._write(run, outcomes)
        except Lost:
            await self._until_lost(run[0])
            log.warning("partition lost", first=str(run[0].source), records=len(run))
            self._metrics.stale_acks.inc(len(run))
            if self._tracing is not None:
                self._tracing.lose(run)
        else:
            self._metrics.last_commit_seconds.set_to_current_time()
            self._count(written, tombstones=len(run) - len(written))
            if self._tracing is not None:
                self._tracing.end(run, written)
        self._metrics.stage("publish", time.perf_counter() - started)
        self.finished += len(run)
        self._let_go(run)

    async def _write(
        self, run: Sequence[Delivery], outcomes: Sequence[Outcome | None]
    ) -> list[tuple[Delivery, Outcome]]:
        first, last = run[0], run[-1].source
        if not self._is_current(first) or (ledger := self._open.get(last.partition)) is None:
            raise Lost
        written = [(delivery, outcome) for delivery, outcome in zip(run, outcomes, strict=True) if outcome]
        async with ledger.turn:
            while refused := await ledger.commit(
                [self._message(*each) for each in written], last.offset + 1, lambda: self._owns(first)
            ):
                written = self._reject(written, refused)
        return written

    def _owns(self, delivery: Delivery) -> bool:
        """Whether its partition is ours in this assignment and will stay so, as far as the group has told.

        What was begun is finished while it is ours at all; what has failed is tried again only where it stays so.
        """
        return self._accepting and self._is_current(delivery)

    async def _until_lost(self, delivery: Delivery) -> None:
        """Wait for the group to say so too. Raises FatalError where it does not: here nothing would ever be committed again."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._until(lambda: not self._owns(delivery))
        except TimeoutError:
            raise FatalError(
                f"{delivery.source.topic}/{delivery.source.partition} is written for by somebody who is not in the group: "
                "is the transactional id used elsewhere?"
            ) from None
