"""A histogram told many amounts at once says what it would have said one at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from worker.histogram import Histogram

BOUNDS = (0.5, 1.0, 2.5)


def scraped(amounts: list[list[float]], *, at_once: bool) -> list[str]:
    registry = CollectorRegistry()
    child = Histogram("h", "H.", ["label"], buckets=BOUNDS, registry=registry).labels("a")
    for together in amounts:
        if at_once:
            child.observe_all(together)
        else:
            for amount in together:
                child.observe(amount)
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


# Eighths: their sums are exact in any order.
AMOUNTS = st.integers(-8, 40).map(lambda eighths: eighths / 8) | st.sampled_from(BOUNDS)


@given(st.lists(st.lists(AMOUNTS, max_size=20), max_size=4))
def test_it_says_the_same(amounts: list[list[float]]) -> None:
    assert scraped(amounts, at_once=True) == scraped(amounts, at_once=False)


def test_without_its_labels_it_takes_nothing_either() -> None:
    with pytest.raises(ValueError, match="label"):
        Histogram("h", "H.", ["label"], registry=CollectorRegistry()).observe_all([1.0])
