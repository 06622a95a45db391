"""Records with header names that are no UTF-8: aiokafka refuses all that was fetched with one; we read them."""

import gzip
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from tests.raw_headers import NAME, RAW, READ_AS, sealed, spoilt
from worker import consumer
from worker.header_names import Records

PLAIN, GZIP, ZSTD = 0, 1, 4
Headers = Sequence[tuple[str, bytes | None]]


def batch(first_offset: int, headers: Sequence[Headers], compression: int = PLAIN) -> bytes:
    """A batch of one record for each list of headers, as a producer writes it."""
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 100_000)
    for at, of_record in enumerate(headers):
        builder.append(at, 1_700_000_000_000 + at, b"k%d" % at, b"v%d" % at, list(of_record))
    data = bytearray(builder.build())
    data[:8] = struct.pack(">q", first_offset)
    return bytes(data)


def read(records: Any) -> list[Any]:
    found = []
    while records.has_next():
        of_batch = records.next_batch()
        assert of_batch.validate_crc()
        found += [
            (r.offset, r.timestamp, r.timestamp_type, r.key, r.value, list(r.headers), r.checksum) for r in of_batch
        ]
    return found


def test_aiokafka_refuses_them() -> None:
    with pytest.raises(UnicodeDecodeError):
        read(MemoryRecords(spoilt(batch(0, [[(NAME, b"x")]]))))


def test_a_name_that_cannot_be_read_is_written_out_and_all_else_is_as_it_was() -> None:
    headers: list[Headers] = [[("ok", b"1")], [(NAME, b"\xfe"), ("ok", None)], [], [("é", b"2")], [(NAME, b"3")]]
    data = batch(7, headers)

    whole = read(MemoryRecords(data))
    found = read(Records(spoilt(data)))

    assert [record[:5] for record in found] == [record[:5] for record in whole]
    assert [record[5] for record in found] == [
        [(READ_AS if name == NAME else name, value) for name, value in of_record] for of_record in headers
    ]


@pytest.mark.parametrize("compression", [PLAIN, GZIP, ZSTD])
def test_nothing_else_is_read_otherwise(compression: int) -> None:
    data = b"".join(batch(first, [[("a", b"1")], [], [("é", None)]], compression) for first in (0, 3, 9))

    assert read(Records(data)) == read(MemoryRecords(data))
    assert Records(data).size_in_bytes() == len(data)


def test_a_compressed_batch_can_be_read() -> None:
    head = batch(5, [[(NAME, b"x")], [(NAME, b"y")]])
    # Spoil what is inside, and compress it as a producer would.
    body = gzip.compress(head[61:].replace(NAME.encode(), RAW))
    data = bytearray(head[:61] + body)
    data[8:12] = struct.pack(">i", len(data) - 12)
    data[21:23] = struct.pack(">h", GZIP)

    assert [(record[0], record[5]) for record in read(Records(sealed(bytes(data))))] == [
        (5, [(READ_AS, b"x")]),
        (6, [(READ_AS, b"y")]),
    ]


def test_batches_around_it_are_read_too_and_half_a_batch_is_left() -> None:
    data = batch(0, [[("a", b"1")]]) + spoilt(batch(1, [[(NAME, b"2")]])) + batch(2, [[("b", b"3")]])

    records = Records(data + batch(3, [[]])[:20])

    assert [record[0] for record in read(records)] == [0, 1, 2]
    assert records.next_batch() is None


def test_the_workers_consumer_reads_so() -> None:
    assert consumer.Transport.Consumer is consumer.Consumer
    assert fetcher.MemoryRecords is Records
