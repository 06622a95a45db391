"""Stand-ins for the world: a classifier that answers at once, a publisher that remembers, Kafka's side of an event.

They keep the contracts of what they stand for (`tests/unit/test_classifier.py` holds the classifier to the same suite as the
real one) and can be told to fail in every way that the real ones do.
"""

import asyncio
import json
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import ConsumerRecord
from faust.types import TP

from worker.agents import Event
from worker.classifier import HARM_LABELS, LABELS, Found, Piece
from worker.consumer import Fetch
from worker.errors import FatalError, TransientError
from worker.language import UNDETERMINED, Detection
from worker.publisher import Message
from worker.records import Model, Span
from worker.runs import Runs

NOON: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
"""When everything is decided that these tests decide."""

WORDS: Final = {
    "stupid": ("insult", 0.9),
    "idiot": ("insult", 0.8),
    "damn": ("profanity", 0.7),
    "kill": ("threat", 0.95),
    "thanks": ("kindness", 0.95),
}
"""What the fake classifier knows of language."""

POISON: Final = "poison"
"""A word that no fake classifier told of it can score."""

TONGUES: Final = {"hallo": "de", "bonjour": "fr", "morning": "en"}
"""What the fake detector knows of languages."""

_PIECE: Final = 256
_OVERLAP: Final = 32
_STEP: Final = 8
_START, _END = 0x110000, 0x110001
_PATIENCE_S: Final = 10.0


def comment_value(text: str = "hello", comment_id: str = "c1", **fields: str) -> bytes:
    """A comment as a producer writes it."""
    return json.dumps({"comment_id": comment_id, "text": text, "created_at": "2026-11-24T11:59:00Z"} | fields).encode()


class ManualClock:
    """Monotonic seconds that pass when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeClassifier:
    """Scores by word: each known word gives its label's score, and a harmful one a span.

    Every other score is near zero and follows from the text.

    A token is a character. Thread-safe.

    Args:
        poison: words that make any batch fail that holds them.
        fail_in: where they do: `encode` or `score`.
        transient: so many calls of `score` fail with TransientError before one succeeds.
        fits: so many pieces fit into memory in one run; MemoryError with more.
        labels: what it knows.
        runs_at_once: as a classifier says it of itself.
    """

    def __init__(
        self,
        *,
        poison: Collection[str] = (POISON,),
        fail_in: str = "score",
        transient: int = 0,
        fits: int = 10**9,
        labels: Sequence[str] = LABELS,
        model: Model | None = None,
        runs_at_once: int = 1,
    ) -> None:
        self.model = model or Model("fake", "1", "f" * 64)
        self.runs_at_once = runs_at_once
        self.batch_tokens = 256
        self.labels: Sequence[str] = labels
        self.broken = False
        """Nothing succeeds any more, not even the probe."""
        self.open = threading.Event()
        """Cleared: `score` waits; its thread is busy, as with a slow model."""
        self.open.set()
        self.batches: list[list[str]] = []
        """The texts (of pieces) of each call of `score`, in order of the calls, those that failed too."""
        self.encoded: list[list[str]] = []
        """The texts of each call of `encode`, likewise."""
        self._poison = poison
        self._fail_in = fail_in
        self._transient = transient
        self._fits = fits
        self._changed = threading.Condition()

    @property
    def scored(self) -> list[str]:
        """Every text (of a piece) that it was asked to score, in order."""
        return [text for batch in self.batches for text in batch]

    def encode(self, texts: Sequence[str]) -> list[list[Piece]]:
        with self._changed:
            self.encoded.append(list(texts))
            self._changed.notify_all()
        self._fail("encode", texts)
        return [[_piece(text, start) for start in _starts(text)] for text in texts]

    def width(self, piece: Piece) -> int:
        return -(-len(piece.tokens) // _STEP) * _STEP

    def score(self, pieces: Sequence[Piece]) -> list[Found]:
        texts = ["".join(map(chr, piece.tokens[1:-1])) for piece in pieces]
        with self._changed:
            self.batches.append(texts)
            self._changed.notify_all()
            failing = self._transient > 0
            self._transient -= failing
        if not self.open.wait(_PATIENCE_S):
            raise AssertionError("nobody opened the classifier")
        if failing:
            raise TransientError("out of memory, for once")
        if len(pieces) > self._fits:
            raise MemoryError
        self._fail("score", texts)
        assert len({self.width(piece) for piece in pieces}) == 1, "pieces of different widths in one batch"
        return [
            Found({label: scores[label] for label in self.labels}, _spans(text, piece))
            for text, scores, piece in zip(texts, map(_score, texts), pieces, strict=True)
        ]

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Block until a call of another thread has made it so."""
        with self._changed:
            assert self._changed.wait_for(ready, _PATIENCE_S), "nobody called the classifier"

    def _fail(self, where: str, texts: Sequence[str]) -> None:
        # The text is in the message, as with many a library: it must not get any further.
        if self.broken:
            raise RuntimeError(f"broken; was asked for {texts}")
        if where == self._fail_in:
            for text in texts:
                if any(word in text for word in self._poison):
                    raise ValueError(f"cannot {where} {text}")


def until_waiting(runs: Runs[Any, Any], number: int) -> None:
    """Block until so many batches wait for a run."""
    deadline = time.monotonic() + _PATIENCE_S
    while len(runs._waiting) != number:
        assert time.monotonic() < deadline, f"{len(runs._waiting)} wait, not {number}"
        time.sleep(0.001)


def _starts(text: str) -> Sequence[int]:
    """Where the windows begin, which overlap; the last one ends with the text."""
    return range(0, max(len(text) - _OVERLAP, 1), _PIECE - _OVERLAP)


def _piece(text: str, start: int) -> Piece:
    characters = text[start : start + _PIECE]
    places = [(0, 0, None), *((at, at + 1, at) for at in range(start, start + len(characters))), (0, 0, None)]
    return Piece((_START, *map(ord, characters), _END), lambda: places)


def _spans(text: str, piece: Piece) -> tuple[Span, ...]:
    """Where its known harmful words stand, each at its first occurrence in the piece."""
    places = piece.places()
    return tuple(
        Span(places[1 + at][0], places[len(word) + at][1], label, score)
        for word, (label, score) in WORDS.items()
        if label in HARM_LABELS and (at := text.find(word)) >= 0
    )


def _score(text: str) -> dict[str, float]:
    scores = {
        label: round(zlib.crc32(f"{label} {text}".encode("utf-8", "surrogatepass")) / 2**32 / 20, 4) for label in LABELS
    }
    for word, (label, score) in WORDS.items():
        if word in text:
            scores[label] = score
    return scores


def detect(texts: Sequence[str]) -> list[Detection]:
    """Tell languages by word, as the worker's detector does by more; most texts have none of these."""
    return [_detect(text) for text in texts]


def _detect(text: str) -> Detection:
    return next((Detection(tag, 0.99) for word, tag in TONGUES.items() if word in text), UNDETERMINED)


class RecordingPublisher:
    """Remembers what it published; the broker of a test that goes well.

    Args:
        too_large: which messages the broker refuses for their size.
    """

    def __init__(self, too_large: Callable[[Message], bool] = lambda _: False) -> None:
        self.open = asyncio.Event()
        """Cleared: nothing is confirmed."""
        self.open.set()
        self.attempts: list[list[Message]] = []
        """The messages of each call, when it began."""
        self.published: list[Message] = []
        """What was confirmed, in the order of confirmation."""
        self._too_large = too_large
        self._changed = asyncio.Event()

    async def publish(self, messages: Sequence[Message]) -> list[int]:
        self.attempts.append(list(messages))
        self._changed.set()
        await self.open.wait()
        self.published += [message for message in messages if not self._too_large(message)]
        self._changed.set()
        return [at for at, message in enumerate(messages) if self._too_large(message)]

    def on(self, topic: str) -> list[Message]:
        """What was confirmed on one topic."""
        return [message for message in self.published if message.topic == topic]

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait for a call, or for a confirmation, that makes it so."""
        await _until(ready, self._changed)


class FailingPublisher(RecordingPublisher):
    """A broker that goes away: after some calls that go well none is confirmed any more."""

    def __init__(self, after: int = 0) -> None:
        super().__init__()
        self._after = after

    async def publish(self, messages: Sequence[Message]) -> list[int]:
        if len(self.attempts) < self._after:
            return await super().publish(messages)
        self.attempts.append(list(messages))
        raise FatalError(f"{len(messages)} records not confirmed")


class OneCallIsSlow(RecordingPublisher):
    """This call waits until it is let go; the others overtake it."""

    def __init__(self, slow: int = 0) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self._slow = slow

    async def publish(self, messages: Sequence[Message]) -> list[int]:
        is_slow = len(self.attempts) == self._slow
        self.attempts.append(list(messages))
        self._changed.set()
        if is_slow:
            await self.let_go.wait()
        self.published += messages
        self._changed.set()
        return []


Headers = Sequence[tuple[str, bytes | None]]


def record(
    value: bytes | None,
    offset: int = 0,
    *,
    topic: str = "comments",
    partition: int = 0,
    key: bytes | None = None,
    timestamp_ms: int | None = None,
    headers: Headers = (),
) -> ConsumerRecord[bytes, bytes]:
    """A record as aiokafka hands it out; without a timestamp, as one that was written without."""
    timestamp = -1 if timestamp_ms is None else timestamp_ms
    return ConsumerRecord(topic, partition, offset, timestamp, 0, key, value, None, 0, 0, headers)


@dataclass(eq=False)
class FakeEvent:
    """An event of Faust's."""

    message: Fetch


@dataclass
class FakeConsumer:
    """What a pipeline sees of Kafka: the group's generation, positions told, and fetches that Faust may forget."""

    generation: int | None = 1
    acked: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Offsets of records that a position told lies behind, in order, by partition."""
    released: list[tuple[int, int]] = field(default_factory=list)
    """Partition and offset of records that were let go without it, in order."""
    _held: dict[Fetch, list[ConsumerRecord[bytes, bytes]]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def hand_out(self, *records: ConsumerRecord[bytes, bytes]) -> Fetch:
        """Records of a partition as a fetch of the present generation."""
        fetch = Fetch(TP(records[0].topic, records[0].partition), records, self.generation)
        self._held[fetch] = list(records)
        return fetch

    def fetch(self, partition: int, start: int, *values: bytes | None) -> Fetch:
        """Values at one offset after the other."""
        return self.hand_out(
            *(record(value, offset, partition=partition) for offset, value in enumerate(values, start))
        )

    def advance(self, partition: int, position: int) -> None:
        for fetch, records in self._held.items():
            while fetch.partition == partition and records and records[0].offset < position:
                self.acked[partition].append(records.pop(0).offset)
        self._changed.set()

    def release(self, fetch: Fetch) -> None:
        self.released += [(record.partition, record.offset) for record in self._held.pop(fetch)]
        self._changed.set()

    @property
    def settled(self) -> int:
        """How many records were acked or released."""
        return sum(map(len, self.acked.values())) + len(self.released)

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait for an ack or a release that makes it so."""
        await _until(ready, self._changed)


class FakeStream:
    """Yields events, as Faust's stream does once its automatic acks are off; events asked of it without that are an error."""

    def __init__(self, fetches: Iterable[Fetch]) -> None:
        self._events = [FakeEvent(fetch) for fetch in fetches]
        self._acks_itself = True

    def noack(self) -> "FakeStream":
        self._acks_itself = False
        return self

    async def events(self) -> AsyncIterator[Event]:
        assert not self._acks_itself, "Faust would ack what fails"
        for event in self._events:
            yield event


async def _until(ready: Callable[[], bool], changed: asyncio.Event) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not ready():
            changed.clear()
            await changed.wait()
