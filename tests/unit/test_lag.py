"""What was deleted before anybody read it and what open transactions keep back, as the broker's offsets tell."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from tests.fakes import ManualClock
from worker import lag
from worker.lag import LagMeter, Unstable


class Broker:
    """One partition: where it begins and ends, and what the group has committed; or it is cut off."""

    def __init__(self, *, beginning: int, end: int, committed: int | None = None) -> None:
        self.beginning, self.end, self.committed = beginning, end, committed
        self.written_meanwhile = 0
        """Records that arrive and are committed between two questions."""
        self.open: int | None = None
        """Where a transaction began that nobody has ended."""
        self.is_away = False

    def client(self, *, isolation_level: str, **_: Any) -> "Client":
        return Client(self, isolation_level)


class Client:
    """Asks the broker, as its isolation level has it."""

    def __init__(self, broker: Broker, isolation: str) -> None:
        self._broker, self._isolation = broker, isolation
        self.is_connected = False

    async def start(self) -> None:
        self.is_connected = True

    async def stop(self) -> None:
        self.is_connected = False

    async def beginning_offsets(self, places: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(places, self._broker.beginning)

    async def end_offsets(self, places: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        broker = self._broker
        end = broker.end if self._isolation == "read_uncommitted" or broker.open is None else broker.open
        broker.end += broker.written_meanwhile
        return dict.fromkeys(places, end)

    async def committed(self, _: TopicPartition) -> int | None:
        if self._broker.is_away:
            raise KafkaConnectionError
        return self._broker.committed


def meter(monkeypatch: pytest.MonkeyPatch, broker: Broker, clock: ManualClock | None = None) -> LagMeter:
    monkeypatch.setattr(lag, "AIOKafkaConsumer", broker.client)
    return LagMeter({}, topic="comments", group_id="g", clock=clock or ManualClock())


async def test_what_lies_between_a_commit_and_the_beginning_was_deleted_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(beginning=5000, end=6000, committed=100)
    made = meter(monkeypatch, broker)

    assert await made.measure({0}, {}, ()) == {0: 1000}
    assert made.gone == {0: (100, 5000)}
    # It is told once; more of it is news.
    await made.measure({0}, {}, (0,))
    assert made.gone == {}
    broker.beginning = 5500
    await made.measure({0}, {}, ())
    assert made.gone == {0: (5000, 5500)}


async def test_it_is_told_once_also_where_no_partition_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    made = meter(monkeypatch, Broker(beginning=500, end=6000, committed=100))
    await made.measure({0}, {}, ())

    assert await made.measure((), {}, ()) == {}
    assert made.gone == {}


async def test_and_not_taken_for_told_where_the_broker_then_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    made = meter(monkeypatch, Broker(beginning=500, end=6000, committed=100))

    async def fail(_: Collection[int]) -> list[int]:
        raise KafkaConnectionError

    with monkeypatch.context() as failing:
        failing.setattr(made, "_read_to_the_end", fail)
        with pytest.raises(KafkaConnectionError):
            await made.measure({0}, {}, ())
    await made.measure({0}, {}, {0})

    assert made.gone == {0: (100, 500)}


async def test_so_was_what_lies_before_a_worker_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    made = meter(monkeypatch, Broker(beginning=500, end=6000))

    await made.measure({0}, {0: 300}, ())

    assert made.gone == {0: (300, 500)}


@pytest.mark.parametrize(("committed", "positions"), [(None, {}), (500, {}), (700, {}), (100, {0: 500})])
async def test_what_was_read_or_never_the_groups_is_not_gone(
    monkeypatch: pytest.MonkeyPatch, committed: int | None, positions: dict[int, int]
) -> None:
    made = meter(monkeypatch, Broker(beginning=500, end=6000, committed=committed))

    await made.measure({0}, positions, ())

    assert made.gone == {}


async def test_an_end_without_records_is_no_loss_when_it_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(beginning=0, end=103)
    made = meter(monkeypatch, broker)

    async def nothing_ahead(partitions: Collection[int]) -> list[int]:
        return list(partitions)

    monkeypatch.setattr(made, "_read_to_the_end", nothing_ahead)
    assert [await made.measure({0}, {0: 100}, ()) for _ in range(2)] == [{0: 3}, {0: 0}]
    broker.beginning = 103
    await made.measure({0}, {0: 100}, ())
    assert made.gone == {}
    broker.beginning, broker.end = 110, 110
    await made.measure({0}, {0: 100}, ())
    assert made.gone == {0: (103, 110)}


async def test_what_an_open_transaction_keeps_back_is_told_and_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """To who reads what is committed there is no more, so there is no lag; but there are comments, and more come."""
    broker, clock = Broker(beginning=0, end=140), ManualClock()
    broker.open = 100
    made = meter(monkeypatch, broker, clock)

    assert await made.measure({0}, {0: 100}, ()) == {0: 0}
    assert made.unstable == {0: Unstable(40, 0.0)}
    clock.advance(400.0)
    broker.end = 150
    assert await made.measure({0}, {0: 100}, ()) == {0: 0}
    assert made.unstable == {0: Unstable(50, 400.0)}


async def test_transactions_that_end_keep_nothing_back_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is always one under way, something is always kept back, and never the same."""
    broker, clock = Broker(beginning=0, end=140), ManualClock()
    made = meter(monkeypatch, broker, clock)
    for begun in (100, 120, 130):
        broker.open = begun
        await made.measure({0}, {0: 90}, ())
        assert made.unstable == {0: Unstable(140 - begun, 0.0)}
        clock.advance(5.0)

    broker.open = None
    await made.measure({0}, {0: 90}, ())
    assert made.unstable == {0: Unstable(0, 0.0)}
    # Nothing was written for an hour, and nothing kept back: the next transaction begins when it begins.
    clock.advance(3600.0)
    broker.open, broker.end = 140, 141
    await made.measure({0}, {0: 90}, {0})
    assert made.unstable == {0: Unstable(1, 0.0)}


async def test_what_is_written_while_it_asks_is_not_taken_for_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(beginning=0, end=140)
    broker.written_meanwhile = 3
    made = meter(monkeypatch, broker)

    assert await made.measure({0}, {0: 140}, {0}) == {0: 3}
    assert made.unstable == {0: Unstable(0, 0.0)}


async def test_who_has_no_partitions_notices_as_well_that_the_broker_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(beginning=0, end=140)
    made = meter(monkeypatch, broker)
    assert await made.measure((), {}, ()) == {}

    broker.is_away = True
    with pytest.raises(KafkaConnectionError):
        await made.measure((), {}, ())


async def test_all_that_it_connects_it_disconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, clients = Broker(beginning=0, end=140), list[Client]()

    def connect(**options: Any) -> Client:
        clients.append(broker.client(**options))
        return clients[-1]

    monkeypatch.setattr(lag, "AIOKafkaConsumer", connect)
    made = LagMeter({}, topic="comments", group_id="g")

    await made.start()
    assert [client.is_connected for client in clients] == [True, True]
    await made.stop()
    assert [client.is_connected for client in clients] == [False, False]
