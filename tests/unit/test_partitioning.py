"""A window's keys hashed together: each where Kafka's own clients would write it."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import example, given
from hypothesis import strategies as st

from worker.partitioning import partitions_of


@given(
    keys=st.lists(st.binary(max_size=40) | st.binary(min_size=200, max_size=300), max_size=20),
    partitions=st.integers(1, 50),
)
@example(keys=[b"", b"1", b"12", b"123", b"1234", b"12345", b"\xff" * 256, b"\xff" * 257], partitions=997)
def test_each_is_where_aiokafka_would_write_it(keys: list[bytes], partitions: int) -> None:
    numbers = list(range(partitions))
    partitioner = DefaultPartitioner()
    assert partitions_of(keys, numbers) == [partitioner(key, numbers, numbers) for key in keys]


@pytest.mark.parametrize("company", [0, 20])
def test_java_agrees(company: int) -> None:
    """What Kafka's own test of its `Utils.murmur2` expects."""
    expected = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"abc": 479470107,
    }
    keys = [*expected, *(b"%d more" % at for at in range(company))]
    assert partitions_of(keys, range(2**31))[:5] == [hashed % 2**31 for hashed in expected.values()]


def test_without_a_key_it_is_anywhere() -> None:
    assert set(partitions_of([None] * 300, [3, 5, 9])) == {3, 5, 9}
    assert partitions_of([None, b"key", None], [4]) == [4, 4, 4]
