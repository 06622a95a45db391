"""What only the composition root does, without a broker: gauges while brokers are slow, and what it says when Faust gives up."""

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError
from faust.types import TP
from structlog.testing import capture_logs

from worker import app
from worker.app import Worker, _crash_of
from worker.errors import FatalError, OutOfMemory, ScreenerError
from worker.settings import Settings


class SlowMeter:
    """Asks brokers that answer, or fail, when it is allowed to."""

    def __init__(self, error: KafkaError | None) -> None:
        self.beginnings = {3: 1, 4: 2}
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self._error = error

    async def measure(self, *_: Any) -> Mapping[int, int]:
        self.asked.set()
        await self.may_answer.wait()
        if self._error:
            raise self._error
        return {3: 40, 4: 50}


@pytest.mark.parametrize("error", [None, KafkaConnectionError()])
async def test_a_partition_that_goes_while_the_brokers_are_asked_leaves_no_gauge(error: KafkaError | None) -> None:
    worker, meter = Worker(Settings(kafka_bootstrap_servers="none")), SlowMeter(error)
    registry = worker._metrics.registry
    pipeline = SimpleNamespace(positions=lambda: {3: 7, 4: 9}, oldest=lambda: {3: 0.0, 4: 0.0}, in_flight=1, progress=0)
    partitions = [TP(Settings.model_fields["comments_topic"].default, at) for at in (3, 4)]
    await worker._note_assignment(None, set(partitions))

    metering = asyncio.create_task(worker._meter(meter, pipeline, SimpleNamespace(failing_s=0)))  # type: ignore[arg-type]
    await meter.asked.wait()
    await worker._note_assignment(None, set(partitions[1:]))
    meter.may_answer.set()
    await asyncio.sleep(0.01)
    metering.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await metering

    assert registry.get_sample_value("screener_watermark_offset", {"partition": "4"}) == 9
    assert registry.get_sample_value("screener_lag_messages", {"partition": "4"}) == (None if error else 50)
    for gauge in ("watermark_offset", "earliest_offset", "lag_messages", "lag_seconds"):
        assert registry.get_sample_value(f"screener_{gauge}", {"partition": "3"}) is None


async def test_brokers_that_never_answer_are_no_stall_for_an_impatient_watchdog() -> None:
    worker = Worker(Settings(kafka_bootstrap_servers="none", watchdog_timeout_s=0.2))
    pipeline = SimpleNamespace(positions=dict, oldest=dict, in_flight=0, progress=0)
    stalled: list[float] = []

    metering = asyncio.create_task(worker._meter(SlowMeter(None), pipeline, SimpleNamespace(failing_s=0)))  # type: ignore[arg-type]
    for _ in range(40):
        await asyncio.sleep(0.02)
        stalled.append(worker._watchdog.stalled_s)
    metering.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await metering

    # Nothing was ever finished, and it was told again and again that nothing waits.
    assert any(after < before for before, after in pairwise(stalled))


async def test_a_partition_that_comes_back_with_nothing_in_flight_tells_of_no_delay() -> None:
    worker, meter = Worker(Settings(kafka_bootstrap_servers="none")), SlowMeter(None)
    meter.may_answer.set()
    registry = worker._metrics.registry
    flight = {"positions": {3: 7, 4: 9}, "oldest": {3: 0.0, 4: 0.0}}
    pipeline = SimpleNamespace(**{of: partial(flight.get, of) for of in flight}, in_flight=1, progress=0)
    partitions = {TP(Settings.model_fields["comments_topic"].default, at) for at in (3, 4)}
    await worker._note_assignment(None, partitions)

    async def metered() -> float | None:
        metering = asyncio.create_task(worker._meter(meter, pipeline, SimpleNamespace(failing_s=0)))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        metering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await metering
        return registry.get_sample_value("screener_lag_seconds", {"partition": "3"})

    assert (await metered() or 0) > 1e9
    # The group is dealt out anew, and where its watermarks begin again nothing has come since.
    await worker._note_assignment(None, partitions)
    flight |= {"positions": {}, "oldest": {}}
    assert await metered() == 0


async def test_a_client_that_never_lets_go_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_DISCONNECT_S", 0.01)
    left = asyncio.Event()

    async def stop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    with capture_logs() as logs:
        await app._disconnect(SimpleNamespace(stop=stop))  # type: ignore[arg-type]

    assert left.is_set()
    assert [line["log_level"] for line in logs] == ["warning"]


VALUE = b"\xffsomebody's words"


def unreadable() -> UnicodeDecodeError:
    try:
        VALUE.decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError("it can be read")


@pytest.mark.parametrize(
    ("reason", "kind", "said"),
    [
        (OutOfMemory("screening failed"), OutOfMemory, "screening failed"),
        (KafkaConnectionError("broker 3 is away"), FatalError, "broker 3 is away"),
        (OSError(28, "No space left"), FatalError, "No space left"),
        (unreadable(), FatalError, "UnicodeDecodeError, raised at"),
        (None, FatalError, "None"),
    ],
)
async def test_it_says_why_faust_gave_up_and_quotes_nobody(
    reason: BaseException | None, kind: type[ScreenerError], said: str
) -> None:
    async def over() -> None:
        """Faust has given up already."""

    with pytest.raises(kind, match=said) as raised:
        await _crash_of(SimpleNamespace(wait=over, crash_reason=reason))  # type: ignore[arg-type]
    assert "words" not in str(raised.value)
