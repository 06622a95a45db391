"""Which partition a key belongs to, as Kafka's own clients have it: murmur2, then the remainder.

aiokafka hashes a key in Python, which costs more than all else that is done to write a record; here a window's keys are hashed
together. Austin Appleby's MurmurHash2, with the seed of org.apache.kafka.common.utils.Utils.
"""

import random
from collections.abc import Sequence
from typing import Final

from aiokafka.partitioner import murmur2

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_LONGEST: Final = 256
"""Bytes of a key that is hashed with others: all are as wide as the widest."""
_FEWEST: Final = 8
"""Keys that are hashed together; with fewer it costs more."""


def partitions_of(keys: Sequence[bytes | None], partitions: Sequence[int]) -> list[int]:
    """The partition of each key; any for one that is None.

    Args:
        partitions: of the topic, ascending.
    """
    together = {key for key in keys if key is not None and len(key) <= _LONGEST}
    known = _hashes(list(together)) if len(together) >= _FEWEST else {}
    return [
        random.choice(partitions)  # noqa: S311  as good as any
        if key is None
        else partitions[(known.get(key) or murmur2(key)) % 2**31 % len(partitions)]
        for key in keys
    ]


def _hashes(keys: Sequence[bytes]) -> dict[bytes, int]:
    import numpy as np  # noqa: PLC0415  a tenth of a second that most commands have no use for

    m = np.uint32(_M)
    lengths = np.fromiter(map(len, keys), np.uint32, len(keys))
    whole = lengths // 4
    # One word more than the longest fills: what is left over of each, padded with zeros, stands behind its whole words.
    width = int(whole.max()) + 1
    words = np.frombuffer(b"".join(key.ljust(4 * width, b"\0") for key in keys), "<u4").reshape(len(keys), width)
    hashed = np.uint32(_SEED) ^ lengths
    for at in range(width - 1):
        mixed = words[:, at] * m
        mixed = (mixed ^ mixed >> np.uint32(24)) * m
        hashed = np.where(at < whole, hashed * m ^ mixed, hashed)
    hashed = np.where(lengths % 4 > 0, (hashed ^ words[np.arange(len(keys)), whole]) * m, hashed)
    hashed = (hashed ^ hashed >> np.uint32(13)) * m
    return dict(zip(keys, (hashed ^ hashed >> np.uint32(15)).tolist(), strict=True))
