"""What probes, gauges and the watchdog are told, also while the brokers are slow to answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from worker.metrics import Metrics
from worker.vitals import Vitals
from worker.watchdog import Watchdog


class SlowMeter:
    """Asks brokers that answer, or fail, when it is allowed to."""

    def __init__(self, error: KafkaError | None) -> None:
        self.beginnings = {3: 1, 4: 2}
        self.gone: dict[int, tuple[int, int]] = {}
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self._error = error

    async def measure(self, *_: Any) -> Mapping[int, int]:
        self.asked.set()
        await self.may_answer.wait()
        if self._error:
            raise self._error
        return {3: 40, 4: 50}


def watching(registry: CollectorRegistry, pipeline: object, watchdog: Watchdog | None = None) -> Vitals:
    vitals = Vitals(Metrics(registry), watchdog or Watchdog(120.0), watchdog_timeout_s=0.2 if watchdog else 120.0)
    vitals.watch(pipeline, SimpleNamespace(failing_s=0))  # type: ignore[arg-type]
    return vitals


@contextlib.asynccontextmanager
async def measuring(vitals: Vitals, meter: SlowMeter) -> AsyncIterator[None]:
    task = asyncio.create_task(vitals.measure(meter))  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("error", [None, KafkaConnectionError()])
async def test_a_partition_that_goes_while_the_brokers_are_asked_leaves_no_gauge(error: KafkaError | None) -> None:
    registry, meter = CollectorRegistry(), SlowMeter(error)
    pipeline = SimpleNamespace(positions=lambda: {3: 7, 4: 9}, oldest=lambda: {3: 0.0, 4: 0.0}, in_flight=1, progress=0)
    vitals = watching(registry, pipeline)
    vitals.assign({3, 4})

    async with measuring(vitals, meter):
        await meter.asked.wait()
        vitals.assign({4})
        meter.may_answer.set()
        await asyncio.sleep(0.01)

    assert registry.get_sample_value("screener_watermark_offset", {"partition": "4"}) == 9
    assert registry.get_sample_value("screener_lag_messages", {"partition": "4"}) == (None if error else 50)
    for gauge in ("watermark_offset", "earliest_offset", "lag_messages", "lag_seconds"):
        assert registry.get_sample_value(f"screener_{gauge}", {"partition": "3"}) is None


async def test_brokers_that_never_answer_are_no_stall_for_an_impatient_watchdog() -> None:
    watchdog, stalled = Watchdog(0.2), []
    vitals = watching(
        CollectorRegistry(), SimpleNamespace(positions=dict, oldest=dict, in_flight=0, progress=0), watchdog
    )

    async with measuring(vitals, SlowMeter(None)):
        for _ in range(40):
            await asyncio.sleep(0.02)
            stalled.append(watchdog.stalled_s)

    # Nothing was ever finished, and it was told again and again that nothing waits.
    assert any(after < before for before, after in pairwise(stalled))


async def test_a_partition_that_comes_back_with_nothing_in_flight_tells_of_no_delay() -> None:
    registry, meter = CollectorRegistry(), SlowMeter(None)
    meter.may_answer.set()
    flight = {"positions": {3: 7, 4: 9}, "oldest": {3: 0.0, 4: 0.0}}
    pipeline = SimpleNamespace(**{of: partial(flight.get, of) for of in flight}, in_flight=1, progress=0)
    vitals = watching(registry, pipeline)
    vitals.assign({3, 4})

    async def metered() -> float | None:
        async with measuring(vitals, meter):
            await asyncio.sleep(0.01)
        return registry.get_sample_value("screener_lag_seconds", {"partition": "3"})

    assert (await metered() or 0) > 1e9
    # The group is dealt out anew, and where its watermarks begin again nothing has come since.
    vitals.assign({3, 4})
    flight |= {"positions": {}, "oldest": {}}
    assert await metered() == 0


async def test_partitions_that_are_dealt_out_are_told_of_at_once() -> None:
    """Not when the next look is due: the objective counts one that nobody tells of as one that nobody serves."""
    registry, meter = CollectorRegistry(), SlowMeter(None)
    meter.may_answer.set()
    vitals = watching(registry, SimpleNamespace(positions=dict, oldest=dict, in_flight=0, progress=0))

    async with measuring(vitals, meter):
        await asyncio.sleep(0.01)
        assert registry.get_sample_value("screener_lag_messages", {"partition": "4"}) is None
        vitals.assign({4})
        await asyncio.sleep(0.01)
        assert registry.get_sample_value("screener_lag_messages", {"partition": "4"}) == 50


async def test_what_was_deleted_unread_is_counted_and_said() -> None:
    registry, meter = CollectorRegistry(), SlowMeter(None)
    meter.may_answer.set()
    meter.gone = {3: (100, 5000), 4: (7, 8)}
    vitals = watching(registry, SimpleNamespace(positions=dict, oldest=dict, in_flight=0, progress=0))

    with capture_logs() as logs:
        async with measuring(vitals, meter):
            await asyncio.sleep(0.01)

    assert registry.get_sample_value("screener_gone_unread_total") == 4901
    assert [(line["partition"], line["first"], line["end"]) for line in logs if line["log_level"] == "error"] == [
        (3, 100, 5000),
        (4, 7, 8),
    ]
