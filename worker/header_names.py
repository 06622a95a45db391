r"""Records as aiokafka reads them, but for one thing: a header's name that is no UTF-8 does not end the worker.

Kafka takes any bytes for a name, and clients exist that send them; aiokafka decodes names strictly, before anybody sees a record.
Whoever owns the partition would end at that record, start again, and end. Here such a name has `\xNN` for each byte that cannot
be read. Key, value and the headers' values are as they were written.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH: Final = struct.Struct(">8xi")
"""Of a batch, behind its first offset: the bytes that follow."""


class _Readable(bytearray):
    """Bytes of which text can be made whatever they are; so are their slices."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Readable(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002  aiokafka asks for strict
        return super().decode(encoding, "backslashreplace")


class _ReadableBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka is untyped
    """A batch of which every header's name can be read; slower than aiokafka's own, which is compiled."""

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _Readable(self._buffer)


class _Batch:
    """What aiokafka makes of a batch, and the batch itself should that not do."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                yield record
                read += 1
        except UnicodeDecodeError:
            yield from islice(_ReadableBatch(bytearray(self._data)), read, None)


class Records:
    """The batches of a fetch, in the place of aiokafka's `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._batches = MemoryRecords(data)
        self._at = 0

    def size_in_bytes(self) -> Any:
        return self._batches.size_in_bytes()

    def has_next(self) -> Any:
        return self._batches.has_next()

    def next_batch(self) -> _Batch | None:
        batch = self._batches.next_batch()
        if batch is None:
            return None
        start = self._at
        self._at += _LENGTH.size + _LENGTH.unpack_from(self._data, start)[0]
        return _Batch(batch, self._data[start : self._at])

    @classmethod
    def install(cls) -> None:
        """Have every consumer of this process read so. aiokafka takes the class from its module, and from nowhere else."""
        fetcher.MemoryRecords = cls
