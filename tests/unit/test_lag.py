"""What was deleted before anybody read it, as the broker's offsets tell."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from worker import lag
from worker.lag import LagMeter


class Broker:
    """One partition: where it begins and ends, and what the group has committed."""

    def __init__(self, *, beginning: int, end: int, committed: int | None = None) -> None:
        self.beginning, self.end, self._committed = beginning, end, committed

    async def beginning_offsets(self, places: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(places, self.beginning)

    async def end_offsets(self, places: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(places, self.end)

    async def committed(self, _: TopicPartition) -> int | None:
        return self._committed


def meter(monkeypatch: pytest.MonkeyPatch, broker: Broker) -> LagMeter:
    def create(**_: Any) -> Broker:
        return broker

    monkeypatch.setattr(lag, "AIOKafkaConsumer", create)
    return LagMeter({}, topic="comments", group_id="g")


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
