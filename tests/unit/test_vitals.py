"""What probes, gauges and the watchdog are told, also while the brokers are slow to answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from functools import partial
from itertools import count, pairwise, repeat
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.fakes import ManualClock
from worker import lag
from worker import vitals as of_vitals
from worker.errors import FatalError
from worker.lag import LagMeter, Unstable
from worker.metrics import Metrics
from worker.vitals import Vitals
from worker.watchdog import Watchdog


class SlowMeter:
    """Asks brokers that answer, or fail, when it is allowed to."""

    def __init__(self, error: KafkaError | None) -> None:
        self.beginnings = {3: 1, 4: 2}
        self.lags = {3: 40, 4: 50}
        self.unstable = {3: Unstable(0, 0.0), 4: Unstable(60, 400.0)}
        self.gone: dict[int, tuple[int, int]] = {}
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.error = error

    async def measure(self, partitions: Collection[int], *_: Any) -> Mapping[int, int]:
        self.asked.set()
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return {partition: self.lags[partition] for partition in partitions}


class Holding:
    """A pipeline that has these in hand, a partition and its oldest's timestamp each; it finishes as many as are counted."""

    def __init__(self, oldest: Mapping[int, float], finished: Iterator[int] = repeat(0)) -> None:  # noqa: B008  endless
        self._oldest, self._finished = oldest, finished
        self.in_flight, self.progress, self.failing_s = len(oldest), 0, 0.0

    @property
    def finished(self) -> int:
        return next(self._finished)

    def positions(self) -> Mapping[int, int]:
        return {3: 7, 4: 9}

    def oldest(self) -> Mapping[int, float]:
        return self._oldest


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it waits for seconds, it waits for hundredths."""
    monkeypatch.setattr(of_vitals, "_METER_EVERY_S", 0.01)
    monkeypatch.setattr(of_vitals, "_PAUSED_AFTER_S", 0.02)
    monkeypatch.setattr(of_vitals, "_GIVE_UP_AFTER_S", 0.1)


def watching(
    registry: CollectorRegistry, pipeline: object, watchdog: Watchdog | None = None, *, failing_s: float = 0.0
) -> Vitals:
    vitals = Vitals(Metrics(registry), watchdog or Watchdog(120.0), watchdog_timeout_s=0.2 if watchdog else 120.0)
    vitals.watch(pipeline, SimpleNamespace(failing_s=failing_s, waiting_s=0))  # type: ignore[arg-type]
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
    vitals = watching(registry, Holding({3: 0.0, 4: 0.0}))
    vitals.assign({3, 4})

    async with measuring(vitals, meter):
        await meter.asked.wait()
        vitals.assign({4})
        meter.may_answer.set()
        await asyncio.sleep(0.01)

    assert registry.get_sample_value("screener_watermark_offset", {"partition": "4"}) == 9
    assert registry.get_sample_value("screener_lag_messages", {"partition": "4"}) == (None if error else 50)
    for gauge in (
        "watermark_offset",
        "earliest_offset",
        "lag_messages",
        "lag_seconds",
        "unstable_messages",
        "unstable_seconds",
    ):
        assert registry.get_sample_value(f"screener_{gauge}", {"partition": "3"}) is None


async def test_brokers_that_never_answer_are_no_stall_for_an_impatient_watchdog() -> None:
    watchdog, stalled = Watchdog(0.2), []
    vitals = watching(
        CollectorRegistry(), SimpleNamespace(positions=dict, oldest=dict, in_flight=0, progress=0, finished=0), watchdog
    )

    async with measuring(vitals, SlowMeter(None)):
        for _ in range(40):
            await asyncio.sleep(0.02)
            stalled.append(watchdog.stalled_s)

    # Nothing was ever finished, and it was told again and again that nothing waits.
    assert any(after < before for before, after in pairwise(stalled))


LAG, NO_LAG = {3: 0, 4: 50}, {3: 0, 4: 0}


@pytest.mark.parametrize(
    ("oldest", "lags", "error", "failing_s", "is_stall"),
    [
        pytest.param({4: 0.0}, LAG, None, 0.0, True, id="both"),
        pytest.param({}, LAG, None, 0.0, True, id="nothing in hand, but more to read"),
        pytest.param({4: 0.0}, NO_LAG, None, 0.0, True, id="nothing more to read, but some in hand"),
        pytest.param({}, NO_LAG, None, 0.0, False, id="neither"),
        pytest.param({4: 0.0}, LAG, KafkaConnectionError(), 0.0, False, id="brokers that do not answer"),
        pytest.param({4: 0.0}, LAG, None, 1.0, False, id="brokers that answer, and confirm nothing"),
    ],
)
async def test_what_the_watchdog_is_told_waits_for_the_worker_and_not_for_the_brokers(
    oldest: Mapping[int, float],
    lags: dict[int, int],
    error: KafkaError | None,
    failing_s: float,
    *,
    is_stall: bool,
) -> None:
    clock, meter = ManualClock(), SlowMeter(error)
    meter.lags = lags
    meter.may_answer.set()
    watchdog = Watchdog(120.0, clock=clock)
    vitals = watching(CollectorRegistry(), Holding(oldest), watchdog, failing_s=failing_s)
    vitals.assign({3, 4})
    clock.advance(100.0)

    async with measuring(vitals, meter):
        await meter.asked.wait()
        await asyncio.sleep(0.01)

    assert watchdog.stalled_s == (100.0 if is_stall else 0.0)


def test_a_stall_makes_it_unready_long_before_it_ends_it() -> None:
    clock = ManualClock()
    vitals = Vitals(Metrics(CollectorRegistry()), Watchdog(120.0, clock=clock), watchdog_timeout_s=120.0)
    vitals.model_ready = True
    vitals.assign({3})

    clock.advance(60.0)
    assert vitals.not_ready() == []
    clock.advance(1.0)
    assert vitals.not_ready() == ["records are waiting and none was finished for 61 s"]


async def test_a_partition_that_comes_back_with_nothing_in_flight_tells_of_no_delay() -> None:
    registry, meter = CollectorRegistry(), SlowMeter(None)
    meter.may_answer.set()
    flight = {"positions": {3: 7, 4: 9}, "oldest": {3: 0.0, 4: 0.0}}
    pipeline = SimpleNamespace(**{of: partial(flight.get, of) for of in flight}, in_flight=1, progress=0, finished=0)
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
    vitals = watching(registry, SimpleNamespace(positions=dict, oldest=dict, in_flight=0, progress=0, finished=0))

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
    vitals = watching(registry, SimpleNamespace(positions=dict, oldest=dict, in_flight=0, progress=0, finished=0))

    with capture_logs() as logs:
        async with measuring(vitals, meter):
            await asyncio.sleep(0.01)

    assert registry.get_sample_value("screener_gone_unread_total") == 4901
    assert [(line["partition"], line["first"], line["end"]) for line in logs if line["log_level"] == "error"] == [
        (3, 100, 5000),
        (4, 7, 8),
    ]


async def test_what_open_transactions_keep_back_is_told_and_nothing_that_waits_for_the_worker() -> None:
    registry, meter, clock = CollectorRegistry(), SlowMeter(None), ManualClock()
    meter.may_answer.set()
    meter.lags = {3: 0, 4: 0}
    watchdog = Watchdog(120.0, clock=clock)
    vitals = watching(registry, Holding({}), watchdog)
    vitals.assign({3, 4})
    clock.advance(100.0)

    async with measuring(vitals, meter):
        await asyncio.sleep(0.01)

    def told(of: str) -> list[float | None]:
        return [registry.get_sample_value(f"screener_unstable_{of}", {"partition": partition}) for partition in "34"]

    assert (told("messages"), told("seconds")) == ([0, 60], [0, 400])
    assert watchdog.stalled_s == 0


@pytest.mark.usefixtures("_hurried")
async def test_a_worker_that_is_cut_off_tells_of_no_lag_until_the_brokers_answer() -> None:
    """What it told last would count its partitions as served; how old what it holds is, it knows by itself."""
    registry, meter = CollectorRegistry(), SlowMeter(None)
    meter.may_answer.set()
    vitals = watching(registry, Holding({4: 0.0}))
    vitals.assign({3, 4})

    def told(partition: int) -> dict[str, bool]:
        gauges = ("lag_messages", "earliest_offset", "unstable_messages", "lag_seconds", "watermark_offset")
        values = {of: registry.get_sample_value(f"screener_{of}", {"partition": str(partition)}) for of in gauges}
        return {of: value is not None for of, value in values.items()}

    async with measuring(vitals, meter):
        await asyncio.sleep(0.01)
        assert all({*told(3).values(), *told(4).values()})

        meter.error = KafkaConnectionError()
        await asyncio.sleep(0.2)
        gone = {"lag_messages": False, "earliest_offset": False, "unstable_messages": False}
        assert told(3) == gone | {"lag_seconds": False, "watermark_offset": True}
        assert told(4) == gone | {"lag_seconds": True, "watermark_offset": True}
        assert [reason for reason in vitals.not_ready() if "the brokers have not answered for" in reason]

        meter.error = None
        await asyncio.sleep(0.05)
        assert all({*told(3).values(), *told(4).values()})


@pytest.mark.usefixtures("_hurried")
async def test_a_worker_that_is_cut_off_for_minutes_with_nothing_in_hand_ends() -> None:
    """A new start reads the new password. With something in hand it is publishing that ends it, after a time of its own."""
    meter = SlowMeter(KafkaConnectionError())
    meter.may_answer.set()

    with pytest.raises(FatalError, match="the brokers have not answered for"):
        async with asyncio.timeout(5):
            await watching(CollectorRegistry(), Holding({})).measure(meter)  # type: ignore[arg-type]

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await watching(CollectorRegistry(), Holding({4: 0.0})).measure(meter)  # type: ignore[arg-type]


@pytest.mark.usefixtures("_hurried")
async def test_so_does_a_spare_one_that_waits_for_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the place of another one, if it could."""

    async def fail(_: TopicPartition) -> int:
        raise KafkaConnectionError

    def connect(**_: Any) -> SimpleNamespace:
        return SimpleNamespace(committed=fail)

    monkeypatch.setattr(lag, "AIOKafkaConsumer", connect)
    vitals = watching(CollectorRegistry(), Holding({}))
    vitals.model_ready = True
    vitals.assign(set())
    assert vitals.not_ready() == []

    with pytest.raises(FatalError, match="the brokers have not answered for"):
        async with asyncio.timeout(5):
            await vitals.measure(LagMeter({}, topic="comments", group_id="g"))
    [reason] = vitals.not_ready()
    assert "the brokers have not answered for" in reason


@pytest.mark.usefixtures("_hurried")
async def test_brokers_that_confirm_what_is_published_do_answer() -> None:
    """Of one of their partitions they may not be able to say how far it goes, for want of a leader."""
    registry, meter = CollectorRegistry(), SlowMeter(None)
    meter.may_answer.set()
    vitals = watching(registry, Holding({}, count()))
    vitals.assign({3, 4})

    async with measuring(vitals, meter):
        await asyncio.sleep(0.01)
        meter.error = KafkaConnectionError()
        await asyncio.sleep(0.3)
        assert registry.get_sample_value("screener_lag_messages", {"partition": "3"}) == 40
        assert not [reason for reason in vitals.not_ready() if "the brokers" in reason]
