"""The dead-letters topic at the edge: read from its beginning to the end that it had when it was opened, and noted in.

What is written meanwhile, new letters and our own notes, lies behind that end: a run never chases its own tail.
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from worker.errors import FatalError, StartupError
from worker.publisher import Message, Sink
from worker.records import Place
from worker.redrive import Letter, Query, State, Survey, note_headers, read_record, redriven_headers
from worker.topics import check_topics_exist, describe_topics, open_topics

_POLL_MS: Final = 200
_PATIENCE_S: Final = 30.0
_CLEANUP: Final = "cleanup.policy"


class LettersReader:
    """Reads one partition at a time, so no more than a fetch of one partition is in memory.

    Args:
        consumer: started, in no group, with `auto_offset_reset="earliest"`.
        topic: the dead-letters topic.
        beginnings, ends: of each partition; nothing from its end on is read.
        patience_s: how long the broker may give nothing before the end is reached.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        topic: str,
        *,
        beginnings: dict[int, int],
        ends: dict[int, int],
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._beginnings = beginnings
        self._ends = ends
        self._patience_s = patience_s

    async def survey(self, query: Query, seen: Callable[[int, int], None] = lambda *_: None) -> Survey:
        """Find what a query asks for.

        Args:
            query: which letters.
            seen: told how many offsets were passed, and of how many.

        Raises:
            FatalError: the broker stopped answering.
        """
        survey = Survey(query)
        starts = {
            partition: max(beginning, query.first_offset(partition))
            for partition, beginning in sorted(self._beginnings.items())
            if query.may_be_in(partition)
        }
        total = sum(max(0, self._ends[partition] - start) for partition, start in starts.items())
        passed = 0
        for partition, start in starts.items():
            async for record in self._records(partition, start, self._ends[partition]):
                survey.note(record)
                seen(passed + record.offset + 1 - start, total)
            passed += max(0, self._ends[partition] - start)
        return survey

    async def letters(self, places: Collection[Place]) -> AsyncIterator[Letter]:
        """The letters at these places, in order. One that retention took meanwhile is left out. Errors as above."""
        wanted: defaultdict[int, set[int]] = defaultdict(set)
        for place in places:
            wanted[place.partition].add(place.offset)
        for partition, offsets in sorted(wanted.items()):
            async for record in self._records(partition, min(offsets), max(offsets) + 1):
                if record.offset in offsets and isinstance(letter := read_record(record), Letter):
                    yield letter

    async def _records(self, partition: int, start: int, end: int) -> AsyncIterator[Any]:
        if start >= end:
            return
        tp = TopicPartition(self._topic, partition)
        self._consumer.assign([tp])
        self._consumer.seek(tp, start)
        position, silent_s = start, 0.0
        while position < end:
            # Only the broker's time is counted: whoever reads may take his between two records.
            asked_at = time.monotonic()
            fetched = await self._consumer.getmany(tp, timeout_ms=_POLL_MS)
            silent_s += time.monotonic() - asked_at
            for record in fetched.get(tp, ()):
                if record.offset >= end:
                    return
                yield record
            before, position = position, await self._consumer.position(tp)
            if position > before:
                silent_s = 0.0
            elif silent_s > self._patience_s:
                raise FatalError(
                    f"nothing from Kafka for {self._patience_s:g} s at {self._topic}/{partition}/{position}, before its end"
                )


class Handling:
    """Puts letters back, or away, and notes it behind each in its partition.

    The order keeps every comment: a note is written only when the copies are confirmed. Cut off in between, the letters are still
    open and are put back once more, which changes nothing: the same comment gets the same decision under the same id.

    Args:
        sink: started by whoever made it.
        letters_topic: where notes go.
        comments_topic: where copies go.
        comments_partitions: how many it has; 0 where none is put back.
        by: who does it.
        clock: now, with a zone.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        letters_topic: str,
        comments_topic: str,
        comments_partitions: int,
        by: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._sink = sink
        self._letters_topic = letters_topic
        self._comments_topic = comments_topic
        self._comments_partitions = comments_partitions
        self._by = by
        self._clock = clock

    async def redrive(self, letters: Sequence[Letter]) -> list[Letter]:
        """Put comments back.

        Returns:
            The letters whose comments are too large for the topic, which stay open.

        Raises:
            FatalError: not confirmed in time, or not allowed.
        """
        refused = set(await self._sink.publish([self._copy(letter) for letter in letters]))
        await self._note([letter for at, letter in enumerate(letters) if at not in refused], State.REDRIVEN)
        return [letters[at] for at in sorted(refused)]

    async def discard(self, letters: Sequence[Letter]) -> list[Letter]:
        """Note that nothing more is to be done. Returns and errors as above: no letter is too large for that."""
        await self._note(letters, State.DISCARDED)
        return []

    def _copy(self, letter: Letter) -> Message:
        """The comment as it was, but for its time.

        With its first one, retention could take it before the worker has read it, and the worker would count years of delay.
        """
        partition = letter.original_partition
        # Where its producer had put it, which no key need tell us; unless it was another topic, or this has lost that partition.
        known = (
            letter.original_topic == self._comments_topic
            and partition is not None
            and partition < self._comments_partitions
        )
        return Message(
            self._comments_topic,
            letter.key,
            letter.value,
            redriven_headers(letter),
            partition=partition if known else None,
        )

    async def _note(self, letters: Sequence[Letter], state: State) -> None:
        now = self._clock()
        notes = [
            Message(
                self._letters_topic,
                # Not the letter's own, which it need not have: should somebody compact the topic one day, a record without a
                # value would erase every letter of that key.
                str(letter.place).encode(),
                None,
                note_headers(letter.place, state, by=self._by, at=now, original=letter.original),
                partition=letter.place.partition,
            )
            for letter in letters
        ]
        if refused := await self._sink.publish(notes):
            raise FatalError(f"the note for {letters[refused[0]].place} is too large for {self._letters_topic}")


@asynccontextmanager
async def open_letters(options: dict[str, Any], topic: str, partitions: int) -> AsyncIterator[LettersReader]:
    """Connect, and take the ends of the partitions.

    Args:
        options: connection (`worker.connection.client_options`).
        topic: the dead-letters topic.
        partitions: how many it has.

    Raises:
        KafkaError: no answer.
    """
    # In no group: it commits nothing and takes no partition from anybody. What a transaction took back was never a letter.
    consumer = AIOKafkaConsumer(
        **options, auto_offset_reset="earliest", enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        await consumer.start()
        places = [TopicPartition(topic, number) for number in range(partitions)]
        beginnings = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        yield LettersReader(
            consumer,
            topic,
            beginnings={at.partition: offset for at, offset in beginnings.items()},
            ends={at.partition: offset for at, offset in ends.items()},
        )
    finally:
        await consumer.stop()


async def find_topics(options: dict[str, Any], topics: Sequence[str]) -> list[int]:
    """How many partitions each has.

    Args:
        options: connection (`worker.connection.client_options`).
        topics: their names.

    Raises:
        StartupError: no answer, or one is not there.
    """
    servers = options["bootstrap_servers"]
    try:
        partitions = await describe_topics(**options)
    except KafkaError as error:
        raise StartupError(f"no answer from Kafka at {servers}: {error}") from error
    check_topics_exist(topics, partitions, servers)
    return [partitions[topic] for topic in topics]


async def check_not_compacted(options: dict[str, Any], topic: str) -> None:
    """Make sure that notes stay: compaction drops records without a value, and what was handled would be open again.

    Raises:
        StartupError: it is compacted, or the broker does not say.
    """
    async with open_topics(**options) as kafka:
        found = (await kafka.find({topic: [_CLEANUP]})).get(topic)
    if found is None or _CLEANUP not in found.config:
        raise StartupError(f"cannot see whether {topic} is compacted")
    if "compact" in (policy := found.config[_CLEANUP]):
        raise StartupError(
            f"{topic} is compacted ({_CLEANUP}={policy}): it forgets older letters of a key, and the notes of what was handled. "
            f"Set {_CLEANUP}=delete first"
        )
