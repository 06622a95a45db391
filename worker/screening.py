"""The whole line: decode → normalise → tokenise → batch → classify → policy.

Read this first. Bytes go in, one outcome a record comes out, in the order of the input: a `Decision`, or the `Rejection` of a
record that can never be screened. Errors are values here; an exception means that the world is wrong, not a record. There is no
Kafka in it: the worker and the `screen` command are two edges around the same `Screener`.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from threading import Lock
from typing import Protocol

from msgspec import Struct

from worker.batching import cut
from worker.classifier import Classifier, Scores, Tokens, combine
from worker.codec import decode_comment
from worker.errors import FatalError, InvalidRecord, Reason, Stage, TransientError
from worker.normalise import normalise
from worker.policy import Policy
from worker.records import Comment, Decision, Mode, Model, PolicyVersion, Source
from worker.scores import ScoreCache

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
        self._observer.stage("decode", time.perf_counter() - started)

        valid = [text for text, comment in zip(texts, decoded, strict=True) if not isinstance(comment, Rejection)]
        scores = self.score(list(dict.fromkeys(valid)))

        started = time.perf_counter()
        outcomes: list[Outcome] = []
        for record, comment, text in zip(records, decoded, texts, strict=True):
            if isinstance(comment, Rejection):
                outcomes.append(comment)
            elif isinstance(scored := scores[text], Rejection):
                outcomes.append(scored)
            else:
                outcomes.append(self._decide(comment, scored, record.source))
        self._observer.stage("decide", time.perf_counter() - started)
        return outcomes

    def score(self, texts: Sequence[str]) -> dict[str, Scores | Rejection]:
        """Score distinct normalised texts, those seen before from memory. Errors as in `screen`."""
        keys = {text: self._cache.key(text) for text in texts}
        known = {text: scores for text, key in keys.items() if (scores := self._cache.get(key)) is not None}
        unknown = [text for text in texts if text not in known]
        results: dict[str, Scores | Rejection] = dict(known)
        for text, scored in zip(unknown, self._classify(unknown), strict=True):
            results[text] = scored
            if not isinstance(scored, Rejection):
                self._cache.put(keys[text], scored)
        self._observer.cache(len(known), len(unknown), len(self._cache))
        return results

    def _classify(self, texts: Sequence[str]) -> list[Scores | Rejection]:
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

    def _run_model(self, texts: Sequence[str]) -> list[Scores]:
        started = time.perf_counter()
        pieces_of_text = self._classifier.encode(texts)
        pieces = [(index, piece) for index, of_text in enumerate(pieces_of_text) for piece in of_text]
        self._observer.stage("tokenise", time.perf_counter() - started)

        widths = [self._classifier.width(piece) for _, piece in pieces]
        scored: dict[int, Scores] = {}
        with self._inferring:
            for batch in cut(widths, self._max_batch_tokens):
                scored |= zip(batch, self._infer([pieces[at][1] for at in batch], widths[batch[0]]), strict=True)

        of_text_scores: list[list[Scores]] = [[] for _ in texts]
        for at, (index, _) in enumerate(pieces):
            of_text_scores[index].append(scored[at])
        return [combine(of_text) for of_text in of_text_scores]

    def _infer(self, batch: Sequence[Tokens], width: int) -> list[Scores]:
        started = time.perf_counter()
        scores = self._classifier.score(batch)
        self._observer.stage("infer", time.perf_counter() - started)
        tokens = sum(len(piece) for piece in batch)
        self._observer.batch(len(batch), tokens, width * len(batch) - tokens)
        return scores

    def _decide(self, comment: Comment, scores: Scores, source: Source | None) -> Decision:
        verdict = self._policy.decide(scores, comment.audience_age_band, comment.community_id)
        return Decision(
            decision_id=decision_id(comment, self.policy, self.model),
            comment_id=comment.comment_id,
            action=verdict.action,
            category=verdict.category,
            severity=verdict.severity,
            scores=dict(scores),
            spans=[],
            reasons=verdict.reasons,
            language=comment.language,
            language_supported=None if comment.language is None else _primary_subtag(comment.language) == "en",
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

    Audience and community are in it beside id, text, policy and model, since the policy reads them: without them one comment,
    sent again for another audience, would get two verdicts under one name.
    """
    digest = sha256()
    for part in (
        comment.comment_id,
        comment.text,
        comment.audience_age_band or "unknown",
        comment.community_id or "",
        policy.sha256,
        model.sha256,
    ):
        encoded = part.encode()
        # Lengths keep "ab" + "c" and "a" + "bc" apart.
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.hexdigest()


def _decode(value: bytes) -> Comment | Rejection:
    try:
        return decode_comment(value)
    except InvalidRecord as error:
        return Rejection(error.stage, error.reason, type(error).__name__, error.message)


def _primary_subtag(language: str) -> str:
    return language.replace("_", "-").split("-")[0].lower()
