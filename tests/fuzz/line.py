"""The whole line with the shipped tokenizer and detector, and its parts that need a model."""

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np

from tests.fakes import NOON
from tests.fuzz.promises import promise
from tests.fuzz.texts import SEPARATOR, read_text
from tests.silence import Silence
from worker.classifier import LABELS, Classifier, Found, Piece
from worker.codec import decode_comment, encode
from worker.errors import InvalidRecord
from worker.langid import open_detector
from worker.language import Detector, settle
from worker.model_source import SHIPPED
from worker.normalise import normalise
from worker.onnx import OnnxClassifier, Pointer, point
from worker.operating_points import operating_points_of
from worker.policy_file import load_policy
from worker.records import AgeBand, Comment, Decision, Source
from worker.screening import Outcome, Record, Rejection, Screener
from worker.tokenizer import MAX_PIECE_TOKENS

_LONGEST_WINDOW: Final = 6


@cache
def _detector() -> Detector:
    return open_detector()


def language(data: bytes) -> None:
    """Any text has a language or has not; how sure it is, is a probability; what the producer says changes neither."""
    declared, _, rest = data.partition(SEPARATOR)
    text = normalise(read_text(rest or declared))
    detected = _detector().detect([text])[0]
    promise(0 <= detected.confidence <= 1, "a probability")
    promise((detected.language is None) == (detected.confidence == 0), "nothing is nothing")
    settled = settle(declared.decode(errors="replace")[:35] or None, detected)
    promise((settled.tag is None) == (settled.supported is None), "a tag is supported or not, no tag is neither")
    promise(detected.language is None or settled.supported is not None, "what the text says counts")


@cache
def _shipped() -> OnnxClassifier:
    return OnnxClassifier(SHIPPED / "default", threads=1)


def tokenising(data: bytes) -> None:
    """Every text becomes pieces that fit the model, in the text's order, that leave nothing of it out."""
    texts = [normalise(read_text(part)) for part in data.split(SEPARATOR)[:_LONGEST_WINDOW]]
    classifier = _shipped()
    pieces_of_text = classifier.encode(texts)
    promise(len(pieces_of_text) == len(texts), "a list of pieces a text")
    for text, pieces in zip(texts, pieces_of_text, strict=True):
        promise(1 <= len(pieces) <= 1 + len(text), "at least one piece, and no more than characters")
        for piece in pieces:
            _check_piece(text, piece, classifier.width(piece))


def _check_piece(text: str, piece: Piece, width: int) -> None:
    promise(len(piece.tokens) <= width <= MAX_PIECE_TOKENS, "a piece fits the model")
    places = [(start, end) for start, end, word in piece.places() if word is not None]
    promise(all(0 <= start <= end <= len(text) for start, end in places), "tokens stand in the text")
    promise(all(a <= b for a, b in pairwise(start for start, _ in places)), "tokens stand in order")


class StubScores:
    """The shipped tokenizer with scores that cost nothing: they follow from the tokens, as do the places that it points at."""

    labels: Sequence[str] = LABELS
    runs_at_once = 1
    batch_tokens = 256
    _POINTER: Final = Pointer(("toxicity", "insult"), 0.5)

    def __init__(self, tokenizer: OnnxClassifier) -> None:
        self.model = tokenizer.model
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> list[list[Piece]]:
        return self._tokenizer.encode(texts)

    def width(self, piece: Piece) -> int:
        return self._tokenizer.width(piece)

    def score(self, pieces: Sequence[Piece]) -> list[Found]:
        return [self._score(piece) for piece in pieces]

    def _score(self, piece: Piece) -> Found:
        digest = zlib.crc32(repr(piece.tokens).encode())
        scores = {label: (digest >> at) % 101 / 100 for at, label in enumerate(LABELS)}
        found = np.array([token % 3 == 0 for token in piece.tokens])
        marks = np.repeat(found[:, None], 2, axis=1) * 0.9
        return Found(scores, point(self._POINTER, piece.places(), marks, found) if found.any() else ())


def make_screener(classifier: Classifier) -> Screener:
    """The worker's own line: the shipped policy, the real detector, a cache small enough to be full."""
    return Screener(
        classifier,
        load_policy("default", operating_points_of("default")),
        detect=_detector().detect,
        observer=Silence(),
        max_batch_tokens=1024,
        cache_entries=64,
        now=lambda: NOON,
    )


@cache
def _stubbed() -> Screener:
    return make_screener(StubScores(_shipped()))


@cache
def _real() -> Screener:
    return make_screener(_shipped())


def line(data: bytes) -> None:
    """One outcome a record, in order: what can be read gets a decision, the rest is refused, and neither holds a text."""
    _check_window(_stubbed(), read_window(data))


def model(data: bytes) -> None:
    """The same with the shipped model."""
    _check_window(_real(), read_window(data))


def read_window(data: bytes) -> list[Record]:
    """Values between separators: one that begins with a brace is as it stands, of others the text of a comment is made."""
    records = []
    for at, part in enumerate(data.split(SEPARATOR)[:_LONGEST_WINDOW]):
        value = part if part[:1] in b"{" else _comment(at, part)
        records.append(Record(value, Source("comments", 0, at), overdue=part[-1:] == b"\x7f"))
    return records


def _comment(at: int, part: bytes) -> bytes:
    bands = (None, *AgeBand)
    fields = {
        "comment_id": f"c{at}",
        "text": read_text(part),
        "created_at": datetime(2026, 11, 24, tzinfo=UTC),
        "audience_age_band": bands[len(part) % len(bands)],
        "community_id": "late-night-trivia",
    }
    return msgspec.json.encode(fields)


def _check_window(screener: Screener, records: Sequence[Record]) -> None:
    outcomes = screener.screen(records)
    promise(len(outcomes) == len(records), "one outcome a record")
    for record, outcome in zip(records, outcomes, strict=True):
        try:
            comment = decode_comment(record.value)
        except InvalidRecord as error:
            promise(
                isinstance(outcome, Rejection) and outcome.message == error.message,
                "what cannot be read is refused, in its place",
            )
        else:
            _check_decision(comment, record, outcome)


def _check_decision(comment: Comment, record: Record, outcome: Outcome) -> None:
    promise(isinstance(outcome, Decision), "what can be read is decided")
    assert isinstance(outcome, Decision)
    promise(outcome.source == record.source and outcome.comment_id == comment.comment_id, "outcomes are in order")
    written = encode(outcome)
    promise(msgspec.json.decode(written, type=Decision) == outcome, "a decision can be written and read")
    promise(len(written) <= 64 * len(record.value) + 4096, "a decision is no larger than its record by far")
    text = comment.text
    promise(all(0 <= span.start < span.end <= len(text) for span in outcome.spans), "spans are in the text")
    promise(all(a.start <= b.start for a, b in pairwise(outcome.spans)), "spans are in order")
    others = msgspec.structs.replace(comment, text="-")
    if len(text) > 12 and text.encode() not in msgspec.json.encode(others):
        promise(text.encode() not in written, "a decision holds no text")
