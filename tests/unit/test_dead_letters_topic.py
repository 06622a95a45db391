"""The dead-letters topic with no Kafka: the order of writes, where copies go, how far it is read."""

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition

from tests.fakes import NOON, FailingPublisher, RecordingPublisher
from tests.unit.test_redrive import TopicRecord, letter, letter_headers, note, numbered, record
from worker.dead_letters_topic import Handling, LettersReader
from worker.errors import FatalError
from worker.publisher import Message
from worker.records import Place, Source
from worker.redrive import Letter, Query, read_record

LETTERS, COMMENTS = "dead-letters", "comments"


def handling(sink: RecordingPublisher, partitions: int = 4) -> Handling:
    return Handling(
        sink,
        letters_topic=LETTERS,
        comments_topic=COMMENTS,
        comments_partitions=partitions,
        by="ann@desk",
        clock=lambda: NOON,
    )


# ---- what is written


async def test_a_redrive_writes_the_comment_as_it_was_and_then_the_note() -> None:
    publisher = RecordingPublisher()
    own = [("trace", b"\xff"), ("trace", None)]
    buried = letter(own)

    assert await handling(publisher).redrive([buried]) == []
    assert publisher.published == [
        Message(COMMENTS, b"key", b"value", [*own, ("screener-redrives", b"1")], None, 2),
        Message(
            LETTERS,
            b"0/0",
            None,
            [
                ("screener-handled", b"redriven"),
                ("screener-handled-partition", b"0"),
                ("screener-handled-offset", b"0"),
                ("screener-handled-by", b"ann@desk"),
                ("screener-handled-at", b"2026-11-24T12:00:00.000Z"),
                ("screener-handled-original-topic", b"comments"),
                ("screener-handled-original-partition", b"2"),
                ("screener-handled-original-offset", b"41"),
                ("screener-handled-original-timestamp", b"1795000000123"),
            ],
            None,
            0,
        ),
    ]


@pytest.mark.parametrize("key", [None, b"", b"\x00"])
@pytest.mark.parametrize("value", [b"", b"\x00"])
async def test_null_and_empty_stay_what_they_are(key: bytes | None, value: bytes) -> None:
    publisher = RecordingPublisher()
    read = read_record(TopicRecord(0, 0, key=key, value=value, headers=letter_headers()))
    assert isinstance(read, Letter)
    await handling(publisher).redrive([read])

    assert [(message.key, message.value) for message in publisher.published] == [(key, value), (b"0/0", None)]


@pytest.mark.parametrize(
    ("source", "partition"),
    [(Source(COMMENTS, 3, 0), 3), (Source(COMMENTS, 4, 0), None), (Source("elsewhere", 3, 0), None), (None, None)],
)
async def test_a_comment_goes_to_its_partition_where_there_still_is_one(
    source: Source | None, partition: int | None
) -> None:
    publisher = RecordingPublisher()
    await handling(publisher, partitions=4).redrive([letter(source=source)])

    assert publisher.on(COMMENTS)[0].partition == partition


async def test_without_a_confirmation_no_note_is_written() -> None:
    publisher = FailingPublisher()
    with pytest.raises(FatalError):
        await handling(publisher).redrive(numbered(3))

    assert [message.topic for attempt in publisher.attempts for message in attempt] == [COMMENTS] * 3


async def test_a_comment_too_large_for_its_topic_stays_open() -> None:
    first, _, third = numbered(3)
    (large,) = numbered(1, value=b"large")
    publisher = RecordingPublisher(too_large=lambda message: message.value == b"large")

    assert await handling(publisher).redrive([first, large, third]) == [large]
    assert [message.key for message in publisher.on(LETTERS)] == [b"0/0", b"0/2"]


async def test_a_discard_writes_notes_alone() -> None:
    publisher = RecordingPublisher()
    assert await handling(publisher).discard(numbered(2)) == []

    assert [(message.topic, message.partition, message.headers[0][1]) for message in publisher.published] == [
        (LETTERS, 0, b"discarded"),
        (LETTERS, 1, b"discarded"),
    ]


# ---- how the topic is read


class FakeConsumer:
    """One topic in memory, given out two records at a time; `silent_at`: from this offset on there is no answer."""

    def __init__(self, records: Sequence[TopicRecord], silent_at: int = 10**6) -> None:
        self._records = records
        self._silent_at = silent_at
        self._at: dict[TopicPartition, int] = {}
        self.read: list[Place] = []

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._at = dict.fromkeys(partitions, 0)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._at[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self._at[tp]

    async def getmany(self, tp: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[TopicRecord]]:
        assert timeout_ms > 0
        await asyncio.sleep(0.001)
        ahead = [each for each in self._records if each.partition == tp.partition and each.offset >= self._at[tp]]
        given = [each for each in ahead[:2] if each.offset < self._silent_at]
        if given:
            self._at[tp] = given[-1].offset + 1
        self.read += [Place(each.partition, each.offset) for each in given]
        return {tp: given} if given else {}


def reader(consumer: FakeConsumer, beginnings: dict[int, int], ends: dict[int, int]) -> LettersReader:
    return LettersReader(consumer, LETTERS, beginnings=beginnings, ends=ends, patience_s=0.05)


async def test_nothing_past_the_end_that_was_taken_is_read() -> None:
    topic = FakeConsumer([record(0), record(1), record(2), note(0, 3), record(4)])
    survey = await reader(topic, {0: 0, 1: 0}, {0: 3, 1: 0}).survey(Query())

    assert list(survey.found()) == [Place(0, 0), Place(0, 1), Place(0, 2)]


async def test_a_partition_begins_where_retention_left_it_and_may_have_holes() -> None:
    topic = FakeConsumer([record(3), record(7), note(3, 8), record(9)])
    letters = reader(topic, {0: 3}, {0: 10})
    seen: list[tuple[int, int]] = []

    survey = await letters.survey(Query(), lambda passed, total: seen.append((passed, total)))
    assert list(survey.found()) == [Place(0, 7), Place(0, 9)]
    assert seen[-1] == (7, 7)
    assert [each.place async for each in letters.letters(survey.found())] == [Place(0, 7), Place(0, 9)]


async def test_letters_come_from_their_partitions_and_others_are_not_read() -> None:
    topic = FakeConsumer([record(at, partition) for partition in range(3) for at in range(6)])
    wanted = [Place(2, 1), Place(0, 3), Place(0, 5)]

    read = [
        each.place
        async for each in reader(topic, dict.fromkeys(range(3), 0), dict.fromkeys(range(3), 6)).letters(wanted)
    ]
    assert read == [Place(0, 3), Place(0, 5), Place(2, 1)]
    assert {place.partition for place in topic.read} == {0, 2}
    assert min(place.offset for place in topic.read if place.partition == 0) == 3


async def test_a_broker_that_falls_silent_is_not_waited_for_for_ever() -> None:
    topic = FakeConsumer([record(at) for at in range(6)], silent_at=3)

    with pytest.raises(FatalError, match=r"nothing from Kafka for 0.05 s at dead-letters/0/3, before its end"):
        await reader(topic, {0: 0}, {0: 6}).survey(Query())
