"""The Faust edge where outcomes are published and events acked, the default: each at least once.

    window ─► Screener ─► Publisher ─► Watermark ─► position ─► Faust's next commit

The promise that is kept here: a position is told only when the outcomes of all records before it in its partition are
confirmed by the broker.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from worker.agents import Delivery, Pipeline, dead_letter_refused
from worker.publisher import Sink
from worker.screening import Outcome, Screener

log = structlog.get_logger()


class AckingPipeline(Pipeline):
    """A pipeline that publishes a window at a time, and says how far each partition is finished.

    Args:
        publisher: started by whoever made it.
        advance: told a partition and the offset before which all of it is finished.
        arguments: those of `worker.agents.Pipeline`.
    """

    def __init__(
        self, screener: Screener, publisher: Sink, *, advance: Callable[[int, int], None], **arguments: Any
    ) -> None:
        super().__init__(screener, **arguments)
        self._publisher = publisher
        self._advance = advance

    def committing(self) -> Callable[[], None]:
        """A commit of every position told so far begins; what is returned is called when all of them are committed."""
        finished = [(watermark, watermark.finished) for watermark in self._watermarks.values()]

        def committed() -> None:
            for watermark, count in finished:
                watermark.committed = count
            self._changed.set()

        return committed

    def _has_room(self, partition: int) -> bool:
        has_room = super()._has_room(partition)
        if self._shed_lag_s is None or not has_room:
            return has_room
        watermark = self._watermarks.get(partition)
        # What is not committed is read again after a crash, when it would be late enough to be shed: no more than is spared then.
        return watermark is None or watermark.uncommitted < self._spared

    async def _deliver(self, window: Sequence[Delivery], outcomes: Sequence[Outcome | None]) -> None:
        await self._publish(window, outcomes)
        self._finish(window)

    async def _publish(self, window: Sequence[Delivery], outcomes: Sequence[Outcome | None]) -> None:
        started = time.perf_counter()
        lost = {delivery for delivery in window if self._was_dealt_anew(delivery)}
        # Whoever has them now decides them, and edits behind them: written here, the word on an old text could be the last.
        written = [
            (delivery, outcome)
            for delivery, outcome in zip(window, outcomes, strict=True)
            if outcome and delivery not in lost
        ]
        refused = await self._publisher.publish([self._message(delivery, outcome) for delivery, outcome in written])
        if refused:
            written = self._reject(written, refused)
            if again := await self._publisher.publish([self._message(*written[at]) for at in refused]):
                raise dead_letter_refused(written[refused[again[0]]][0].source, self._topics.dead_letters)
        self._metrics.stage("publish", time.perf_counter() - started)
        self._count(written, tombstones=sum(outcome is None for outcome in outcomes))
        if self._tracing is not None:
            self._tracing.lose(list(lost))
            self._tracing.end([delivery for delivery in window if delivery not in lost], written)

    def _finish(self, window: Sequence[Delivery]) -> None:
        settled: list[Delivery] = []
        for delivery in window:
            settled += delivery.watermark.finish(delivery.record.offset)
        # After a rebalance somebody else, or we again, read from the last commit: a position told now would skip ahead of that.
        current = [ready for ready in settled if self._is_current(ready)]
        for partition, position in {each.fetch.partition: each.record.offset + 1 for each in current}.items():
            self._advance(partition, position)
        self._metrics.stale_acks.inc(len(settled) - len(current))
        self.finished += len(window)
        self._let_go(settled)
        first, last = window[0].source, window[-1].source
        log.debug("window finished", records=len(window), first=str(first), last=str(last))
