"""How a worker is: what its probes and gauges say of it, and what its watchdog is told."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Final

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import Gauge

from worker.agents import Pipeline
from worker.errors import FatalError
from worker.lag import LagMeter
from worker.ledger import Ledgers
from worker.metrics import Metrics
from worker.publisher import Publisher
from worker.watchdog import Watchdog

log = structlog.get_logger()

_PAUSED_AFTER_S: Final = 5.0
"""A single try that fails is no news, nor is one publication that takes a second."""
_GIVE_UP_AFTER_S: Final = 300.0
"""Longer than an election takes, or a broker's restart. A password or certificate that has changed since is read at start."""
_METER_EVERY_S: Final = 5.0
_METER_TIMEOUT_S: Final = 30.0
_BEAT_EVERY_S: Final = 0.1


class Vitals:
    """Knows from its first moment on why a worker is not ready; of what it watches, it knows more.

    Args:
        metrics: what is told.
        watchdog: likewise, whether work moves.
        watchdog_timeout_s: after which it ends the process.
    """

    def __init__(self, metrics: Metrics, watchdog: Watchdog, *, watchdog_timeout_s: float) -> None:
        self._metrics = metrics
        # What the brokers alone can tell of a partition.
        self._asked_for = (
            metrics.earliest,
            metrics.lag_messages,
            metrics.unstable_messages,
            metrics.unstable_seconds,
        )
        self._watchdog = watchdog
        self._watchdog_timeout_s = watchdog_timeout_s
        self._watched: tuple[Pipeline, Publisher | Ledgers] | None = None
        self._assigned: set[int] | None = None
        self._assigned_anew = asyncio.Event()
        self._asked_in_vain: list[float] = []
        self._finished = 0
        self.model_ready = False

    def watch(self, pipeline: Pipeline, publisher: Publisher | Ledgers) -> None:
        """From now on it is about these."""
        self._watched = pipeline, publisher

    def assign(self, partitions: set[int]) -> None:
        """The group has given the worker these."""
        for gone in (self._assigned or set()) - partitions:
            # A gauge that nobody updates any more would tell of a lag that somebody else has worked off.
            _remove(gone, *self._asked_for, self._metrics.watermark, self._metrics.lag_seconds)
        self._assigned = partitions
        self._metrics.assigned_partitions.set(len(partitions))
        self._metrics.rebalances.inc()
        self._assigned_anew.set()
        log.info("assigned", partitions=sorted(partitions))

    def not_ready(self) -> list[str]:
        """Why the worker is not ready, a line each; empty when it is."""
        reasons = []
        if not self.model_ready:
            reasons.append("the model is loading")
        if self._assigned is None:
            reasons.append("no partitions assigned yet")
        if self._watchdog.stalled_s > self._watchdog_timeout_s / 2:
            reasons.append(f"records are waiting and none was finished for {self._watchdog.stalled_s:.0f} s")
        return reasons + self._paused()

    def _paused(self) -> list[str]:
        """What the world keeps from succeeding; meanwhile no more is read than fits in flight."""
        if self._watched is None:
            return []
        pipeline, publisher = self._watched
        stuck = {
            "the brokers have not answered": self._unanswered_s(),
            "the brokers have confirmed nothing": publisher.waiting_s,
            "there has been no memory to screen with": pipeline.failing_s,
        }
        return [f"{what} for {seconds:.0f} s" for what, seconds in stuck.items() if seconds > _PAUSED_AFTER_S]

    def _unanswered_s(self) -> float:
        """For how long the brokers have not said how far the partitions go: all that is asked of them while nothing comes.

        A worker that has none asks for a commit. Once is no news either: a coordinator may be being elected, a machine starting.
        """
        return time.monotonic() - self._asked_in_vain[0] if len(self._asked_in_vain) > 1 else 0.0

    async def beat(self) -> None:
        """Tell the watchdog that the loop turns, and the metrics how late it was; until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_BEAT_EVERY_S)
            self._metrics.loop_lag_seconds.set(max(0.0, time.monotonic() - before - _BEAT_EVERY_S))
            self._metrics.paused.set(bool(self._paused()))
            self._metrics.ready.set(not self.not_ready())
            self._watchdog.beat()

    async def measure(self, meter: LagMeter) -> None:
        """Compare positions with the partitions' ends, every few seconds and when they are dealt out; until cancelled.

        Raises:
            FatalError: for minutes the brokers have not answered, and nothing is in hand whose publication would end it.
        """
        while True:
            self._assigned_anew.clear()
            await self._measure(meter)
            # A partition that nobody tells of counts as one that nobody serves.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(_METER_EVERY_S, self._watchdog_timeout_s / 4)):
                    await self._assigned_anew.wait()

    async def _measure(self, meter: LagMeter) -> None:
        assert self._watched is not None, "measured before there is anything to watch"  # noqa: S101  a mistake in this code
        pipeline, publisher = self._watched
        positions, now, asked_at = pipeline.positions(), time.time(), time.monotonic()
        oldest = pipeline.oldest()
        waiting = pipeline.in_flight > 0
        try:
            # Sooner than the watchdog takes its silence for a stall.
            async with asyncio.timeout(min(_METER_TIMEOUT_S, self._watchdog_timeout_s / 4)):
                lags = await meter.measure(self._assigned or set(), positions, oldest)
        except (KafkaError, TimeoutError) as error:
            # Without the broker there is nothing to be stalled on: publishing has a bound of its own.
            log.warning("cannot measure lag", error=type(error).__name__)
            self._note_silence(asked_at, pipeline.finished)
            if self._unanswered_s() > _GIVE_UP_AFTER_S and not pipeline.in_flight:
                raise FatalError(f"the brokers have not answered for {self._unanswered_s():.0f} s") from error
            waiting = False
        else:
            waiting = waiting or any(lags.values())
            for partition, lag in self._ours(lags).items():
                self._metrics.lag_messages.labels(str(partition)).set(lag)
                self._metrics.earliest.labels(str(partition)).set(meter.beginnings[partition])
                self._metrics.unstable_messages.labels(str(partition)).set(meter.unstable[partition].messages)
                self._metrics.unstable_seconds.labels(str(partition)).set(meter.unstable[partition].seconds)
            for partition, (first, end) in meter.gone.items():
                log.error("deleted before it was read", partition=partition, first=first, end=end)
                self._metrics.gone_unread.inc(end - first)
            self._asked_in_vain.clear()
        # Likewise where it answers the meter and confirms nothing: that ends after SCREENER_PUBLISH_TIMEOUT_S.
        waiting = waiting and not publisher.failing_s
        for partition, position in self._ours(positions).items():
            self._metrics.watermark.labels(str(partition)).set(position)
        is_cut_off = self._unanswered_s() > _PAUSED_AFTER_S
        # Of all that are ours: one that was given anew and where nothing came since has no position, and nothing in flight.
        for partition in self._assigned or ():
            if is_cut_off:
                # Nobody knows what waits there: a partition that nobody tells of counts as one that nobody serves.
                _remove(partition, *self._asked_for)
            if is_cut_off and partition not in oldest:
                _remove(partition, self._metrics.lag_seconds)
            else:
                age = max(0.0, now - oldest[partition]) if partition in oldest else 0.0
                self._metrics.lag_seconds.labels(str(partition)).set(age)
        self._watchdog.report(progress=pipeline.progress, waiting=waiting)

    def _note_silence(self, asked_at: float, finished: int) -> None:
        if finished != self._finished:
            # They have confirmed something since: it is one of their partitions that has no leader, or the like.
            self._finished = finished
            self._asked_in_vain.clear()
        self._asked_in_vain = [*self._asked_in_vain[:1], asked_at]

    def _ours(self, of: Mapping[int, int]) -> dict[int, int]:
        """What is still ours of it: a partition may have gone while the brokers were asked, and with it its gauges."""
        return {partition: value for partition, value in of.items() if partition in (self._assigned or ())}


def _remove(partition: int, *gauges: Gauge) -> None:
    """Tell of this partition no more by these, where they do."""
    for gauge in gauges:
        with contextlib.suppress(KeyError):
            gauge.remove(str(partition))
