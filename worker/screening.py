"""The whole line: decode → normalise → tokenise → batch → classify → policy.

Read this first. Bytes go in, one outcome a record comes out, in the order of the input: a `Decision`, or the `Rejection` of a
record that can never be screened. Errors are values here; an exception means that the world is wrong, not a record. There is no
Kafka in it: the worker and the `screen` command are two edges around the same `Screener`.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from threading import Lock
from typing import Protocol

from msgspec import Struct

from worker.batching import cut
from worker.classifier import Classifier, Found, Piece, Scores, combine
from worker.codec import decode_comment
from worker.errors import FatalError, InvalidRecord, Reason, Stage, TransientError
from worker.language import UNDETERMINED, Detection, settle
from worker.language import VERSION as LANGUAGE_RULES
from worker.normalise import VERSION as NORMALISER
from worker.normalise import normalise, normalise_mapped
from worker.policy import Policy
from worker.records import Comment, Decision, Mode, Model, PolicyVersion, Source, Span
from worker.scores import ScoreCache, TextCache

PROBE = "Thank you for the lovely video, see you next week."
"""A text that every working model can score: asked at start, and to tell a broken record from a broken model."""


class Record(Struct, frozen=True):
    """One value to be screened, and where it was read."""

    value: bytes
    source: Source | None = None


class Rejection(Struct, frozen=True):
    """Why a record becomes a dead letter. The message holds no text of the comment."""

    stage: Stage
    reason: Reason
    error_class: str
    message: str


Outcome = Decision | Rejection

Detect = Callable[[str], Detection]
"""A normalised text → its language, as far as that can be told: `worker.language.Detector.detect`. Pure and thread-safe."""


class Observer(Protocol):
    """What screening tells about itself; `worker.metrics.Metrics` is one."""

    def stage(self, name: str, seconds: float) -> None:
        """A stage of the flow took this long."""

    def batch(self, size: int, tokens: int, padding: int) -> None:
        """The model ran once."""

    def cache(self, hits: int, misses: int, entries: int) -> None:
        """So many texts were looked up; so many are remembered."""

    def bisected(self) -> None:
        """A failing batch was halved."""


class Screener:
    """Screens windows of records. Thread-safe; while one window is inferred, another may be decoded and tokenised."""

    def __init__(
        self,
        classifier: Classifier,
        policy: Policy,
        *,
        detect: Detect,
        observer: Observer,
        max_batch_tokens: int,
        cache_entries: int,
        mode: Mode = Mode.LIVE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.model: Model = classifier.model
        self.policy: PolicyVersion = policy.version
        self._classifier = classifier
        self._policy = policy
        self._observer = observer
        self._max_batch_tokens = max_batch_tokens
        self._cache = ScoreCache(cache_entries, classifier.model.sha256)
        self._detect = detect
        self._languages = TextCache[Detection](cache_entries, classifier.model.sha256)
        self._mode = mode
        self._now = now
        # One run of the model at a time: two would only share the same cores.
        self._inferring = Lock()

    def screen(self, records: Sequence[Record]) -> list[Outcome]:
        """Screen a window of records: one outcome each, in order.

        Raises:
            TransientError: the model ran out of something; the same window may succeed later.
            FatalError: the model no longer answers at all.
        """
        started = time.perf_counter()
        decoded = [_decode(record.value) for record in records]
        texts = ["" if isinstance(comment, Rejection) else normalise(comment.text) for comment in decoded]
        languages = self._detect_all(text for text in texts if text)
        self._observer.stage("decode", time.perf_counter() - started)

        valid = [text for text, comment in zip(texts, decoded, strict=True) if not isinstance(comment, Rejection)]
        found = self._find(list(dict.fromkeys(valid)))

        started = time.perf_counter()
        outcomes: list[Outcome] = []
        for record, comment, text in zip(records, decoded, texts, strict=True):
            if isinstance(comment, Rejection):
                outcomes.append(comment)
            elif isinstance(result := found[text], Rejection):
                outcomes.append(result)
            else:
                outcomes.append(self._decide(comment, result, languages.get(text, UNDETERMINED), record.source))
        self._observer.stage("decide", time.perf_counter() - started)
        return outcomes

    def _detect_all(self, texts: Iterable[str]) -> dict[str, Detection]:
        """The languages of normalised texts, those seen before from memory."""
        found: dict[str, Detection] = {}
        for text in dict.fromkeys(texts):
            key = self._languages.key(text)
            if (known := self._languages.get(key)) is None:
                known = self._detect(text)
                self._languages.put(key, known)
            found[text] = known
        return found

    def score(self, texts: Sequence[str]) -> dict[str, Scores | Rejection]:
        """Score distinct normalised texts, those seen before from memory. Errors as in `screen`."""
        found = self._find(texts)
        return {text: result if isinstance(result, Rejection) else result.scores for text, result in found.items()}

    def _find(self, texts: Sequence[str]) -> dict[str, Found | Rejection]:
        keys = {text: self._cache.key(text) for text in texts}
        known = {text: found for text, key in keys.items() if (found := self._cache.get(key)) is not None}
        unknown = [text for text in texts if text not in known]
        results: dict[str, Found | Rejection] = dict(known)
        for text, result in zip(unknown, self._classify(unknown), strict=True):
            results[text] = result
            if not isinstance(result, Rejection):
                self._cache.put(keys[text], result)
        self._observer.cache(len(known), len(unknown), len(self._cache))
        return results

    def _classify(self, texts: Sequence[str]) -> list[Found | Rejection]:
        """Tokenise and infer; where that fails, halve until the text to blame stands alone."""
        if not texts:
            return []
        try:
            return list(self._run_model(texts))
        except (TransientError, FatalError):
            raise
        except Exception as error:  # noqa: BLE001  whatever a tokeniser or a runtime throws at one text
            self._observer.bisected()
            if len(texts) > 1:
                middle = len(texts) // 2
                return self._classify(texts[:middle]) + self._classify(texts[middle:])
            self.probe()
            return [
                Rejection(
                    Stage.CLASSIFY, Reason.UNCLASSIFIABLE, type(error).__name__, "the model cannot score this text"
                )
            ]

    def probe(self) -> None:
        """Ask the model for something it can surely do.

        Raises:
            FatalError: it cannot.
        """
        try:
            self._run_model([PROBE])
        except TransientError:
            raise
        except Exception as error:
            raise FatalError(f"the model no longer answers: {type(error).__name__}") from error

    def _run_model(self, texts: Sequence[str]) -> list[Found]:
        started = time.perf_counter()
        pieces_of_text = self._classifier.encode(texts)
        pieces = [(index, piece) for index, of_text in enumerate(pieces_of_text) for piece in of_text]
        self._observer.stage("tokenise", time.perf_counter() - started)

        widths = [self._classifier.width(piece) for _, piece in pieces]
        found: dict[int, Found] = {}
        with self._inferring:
            for batch in cut(widths, self._max_batch_tokens):
                found |= zip(batch, self._infer([pieces[at][1] for at in batch], widths[batch[0]]), strict=True)

        by_text: list[list[Found]] = [[] for _ in texts]
        for at, (index, _) in enumerate(pieces):
            by_text[index].append(found[at])
        return [combine(of_text) for of_text in by_text]

    def _infer(self, batch: Sequence[Piece], width: int) -> list[Found]:
        started = time.perf_counter()
        found = self._classifier.score(batch)
        self._observer.stage("infer", time.perf_counter() - started)
        tokens = sum(len(piece.tokens) for piece in batch)
        self._observer.batch(len(batch), tokens, width * len(batch) - tokens)
        return found

    def _decide(self, comment: Comment, found: Found, detected: Detection, source: Source | None) -> Decision:
        language = settle(comment.language, detected)
        verdict = self._policy.decide(
            found.scores, comment.audience_age_band, comment.community_id, language_supported=language.supported
        )
        return Decision(
            decision_id=decision_id(comment, self.policy, self.model),
            comment_id=comment.comment_id,
            action=verdict.action,
            category=verdict.category,
            severity=verdict.severity,
            scores=dict(found.scores),
            spans=_in_original(comment.text, found.spans),
            reasons=verdict.reasons,
            language=language.tag,
            language_supported=language.supported,
            model=self.model,
            policy=self.policy,
            mode=self._mode,
            degraded=False,
            source=source,
            created_at=comment.created_at,
            decided_at=self._now(),
            author_id=comment.author_id,
            author_age_band=comment.author_age_band,
            content_id=comment.content_id,
            content_owner_id=comment.content_owner_id,
            parent_comment_id=comment.parent_comment_id,
            community_id=comment.community_id,
            audience_age_band=comment.audience_age_band,
        )


def decision_id(comment: Comment, policy: PolicyVersion, model: Model) -> str:
    """Name a piece of work: everything that a verdict follows from, and nothing else.

    Audience, community and the producer's language are in it beside id, text, policy and model, since the policy reads them:
    without them one comment, sent again for another audience, would get two verdicts under one name. So are the versions of
    what the model gets to read and of what tells the language.
    """
    digest = sha256()
    for part in (
        comment.comment_id,
        comment.text,
        comment.audience_age_band or "unknown",
        comment.community_id or "",
        policy.sha256,
        model.sha256,
        NORMALISER,
        LANGUAGE_RULES,
        # Most producers send none; then it is as if nobody had asked.
        *(() if comment.language is None else (comment.language,)),
    ):
        encoded = part.encode()
        # Lengths keep "ab" + "c" and "a" + "bc" apart.
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.hexdigest()


def _in_original(text: str, spans: Sequence[Span]) -> list[Span]:
    """Spans of the normalised text → the same stretches of the text as it was written."""
    if not spans:
        return []
    normalised = normalise_mapped(text)
    return [Span(*normalised.original(span.start, span.end), span.label, span.score) for span in spans]


def _decode(value: bytes) -> Comment | Rejection:
    try:
        return decode_comment(value)
    except InvalidRecord as error:
        return Rejection(error.stage, error.reason, type(error).__name__, error.message)
