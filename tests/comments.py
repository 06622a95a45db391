"""Comments for a worker to screen: the demo's, without those that no worker could."""

import itertools
from collections.abc import Iterator

from worker.codec import decode_comment
from worker.demo.comments import demo_records
from worker.errors import InvalidRecord

Input = tuple[bytes | None, bytes | None]
"""Key and value of a record."""


def comments(count: int, seed: int = 1) -> list[Input]:
    """Valid ones, each with an id of its own; another seed gives other ids."""
    deck: list[Input] = [(key, value) for key, value in demo_records(seed, count * 2) if is_comment(value)]
    return deck[:count]


def endless_comments(seed: int) -> Iterator[Input]:
    """`comments`, for ever: those of this seed, then those of the next."""
    return itertools.chain.from_iterable(comments(500, each) for each in itertools.count(seed))


def is_comment(value: bytes) -> bool:
    """Whether a worker can screen it."""
    try:
        decode_comment(value)
    except InvalidRecord:
        return False
    return True
