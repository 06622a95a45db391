"""Headers' names that are no UTF-8, as clients of other languages write them and aiokafka's own cannot."""

import struct
from typing import Final

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c_py

NAME: Final = "name"
"""Stands in a batch until it is spoilt."""
READ_AS: Final = "na\\xffe"
RAW: Final = b"na\xffe"
_CRC: Final = slice(17, 21)
_COVERED: Final = slice(21, None)


def spoilt(batch: bytes) -> bytes:
    """A batch that is not compressed, with a byte that is no UTF-8 in the place of a letter of each `NAME`; its checksum fits."""
    return sealed(batch.replace(NAME.encode(), RAW))


def sealed(batch: bytes) -> bytes:
    """A batch with the checksum of what is in it."""
    changed = bytearray(batch)
    changed[_CRC] = struct.pack(">I", calc_crc32c_py(bytes(changed[_COVERED])))
    return bytes(changed)


class SpoilingBuilder(BatchBuilder):  # type: ignore[misc]  # aiokafka is untyped
    """What a producer has its batches made by, to send such headers."""

    def _build(self) -> bytes:
        fresh = self._buffer is None
        batch: bytes = super()._build()
        self._buffer: bytes | None = spoilt(batch) if fresh else batch
        return self._buffer or b""
