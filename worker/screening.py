"""The whole line: decode → normalise → tokenise → batch → classify → policy.

Read this first. Bytes go in, one outcome a record comes out, in the order of the input: a `Decision`, or the `Rejection` of a
record that can never be screened. Errors are values here; an exception means that the world is wrong, not a record. There is no
Kafka in it: the worker and the `screen` command are two edges around the same `Screener`.
"""

import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Protocol

from msgspec import Struct

from worker import shedding
from worker.classifier import Classifier, Found, Piece, Scores
from worker.codec import decode_comment
from worker.errors import FatalError, InvalidRecord, Reason, Stage, TransientError
from worker.language import UNDETERMINED, Detection, Language, settle
from worker.language import VERSION as LANGUAGE_RULES
from worker.normalise import VERSION as NORMALISER
from worker.normalise import normalise, normalise_mapped
from worker.pieces import Batch, batches_of, of_batches, of_texts
from worker.policy import VERSION as POLICY_RULES
from worker.policy import Policy, Verdict
from worker.records import Comment, Decision, Mode, Model, PolicyVersion, Source, Span
from worker.runs import Runs
from worker.scores import ScoreCache, TextCache, Value

PROBE = "Thank you for the lovely video, see you next week."
"""A text that every working model can score: asked at start, and to tell a broken record from a broken model."""


class Record(Struct, frozen=True):
    """One value to be screened, and where it was read. One that is `overdue` is held unscored (`worker.shedding`)."""

    value: bytes
    source: Source | None = None
    overdue: bool = False


class Rejection(Struct, frozen=True):
    """Why a record becomes a dead letter. The message holds no text of the comment."""

    stage: Stage
    reason: Reason
    error_class: str
    message: str


Outcome = Decision | Rejection

Detect = Callable[[Sequence[str]], Sequence[Detection]]
"""Normalised texts → their languages, as far as they can be told: `worker.language.Detector.detect`. Pure and thread-safe."""


class _Reading(Struct, frozen=True):
    """A record that could be read."""

    comment: Comment
    text: str
    """As the model reads it."""
    key: bytes
    """Its digest, under which both memories keep what they know of it."""
    shed: bool
    """The model is not asked."""


class Observer(Protocol):
    """What screening tells about itself; `worker.metrics.Metrics` is one."""

    def stage(self, name: str, seconds: float) -> None:
        """A stage of the flow took this long."""

    def batch(self, size: int, tokens: int, padding: int) -> None:
        """The model ran once."""

    def cache(self, hits: int, misses: int, entries: int) -> None:
        """So many texts were looked up; so many are remembered."""

    def scored(self, scores: Sequence[Scores]) -> None:
        """The comments of a window are decided by these."""

    def bisected(self) -> None:
        """A failing batch was halved."""

    def out_of_memory(self) -> None:
        """There was not enough for a run of the model."""


class Screener:
    """Screens windows of records. Thread-safe: windows share the model's runs, and one is decoded while another is inferred."""

    def __init__(
        self,
        classifier: Classifier,
        policy: Policy,
        *,
        detect: Detect,
        observer: Observer,
        max_batch_tokens: int | None = None,
        cache_entries: int,
        mode: Mode = Mode.LIVE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.model: Model = classifier.model
        self._classifier = classifier
        self._policy = policy
        self._observer = observer
        self.max_batch_tokens = max_batch_tokens or classifier.batch_tokens
        """Padded tokens in one run of the model at most."""
        self._cache = ScoreCache(cache_entries, classifier.model.sha256)
        self._detect = detect
        self._languages = TextCache[Detection](cache_entries, classifier.model.sha256)
        self._mode = mode
        self._now = now
        self._runs = Runs(self._infer, classifier.runs_at_once, self.max_batch_tokens)
        self._counting = Lock()
        self.answers = 0
        """How often the model came back, with scores or with a refusal. It moves while a window takes its time."""

    @property
    def policy(self) -> PolicyVersion:
        """Which policy decides."""
        return self._policy.version

    def adopt(self, policy: Policy) -> None:
        """Decide by this one from the next window on."""
        self._policy = policy

    def screen(self, records: Sequence[Record]) -> list[Outcome]:
        """Screen a window of records: one outcome each, in order.

        Raises:
            TransientError: out of memory; the same window may succeed later.
            FatalError: the model no longer answers at all.
        """
        try:
            return self._screen(records)
        except MemoryError as error:
            raise TransientError("out of memory") from error

    def _screen(self, records: Sequence[Record]) -> list[Outcome]:
        started = time.perf_counter()
        readings = [self._read(record) for record in records]
        wanted = {
            reading.text: reading.key for reading in readings if isinstance(reading, _Reading) and not reading.shed
        }
        told = self._tell(wanted)
        self._observer.stage("decode", time.perf_counter() - started)

        found = self._find({text: key for text, key in wanted.items() if not isinstance(told[text], Rejection)})

        started = time.perf_counter()
        # One for the whole window, verdict and name alike: another may be adopted meanwhile.
        policy, decided_at = self._policy, self._now()
        outcomes: list[Outcome] = []
        decided_by: list[Scores] = []
        for record, reading in zip(records, readings, strict=True):
            if isinstance(reading, Rejection):
                outcomes.append(reading)
            elif reading.shed:
                outcomes.append(self._shed(reading, record.source, policy.version, decided_at))
            elif isinstance(detected := told[reading.text], Rejection):
                outcomes.append(detected)
            elif isinstance(result := found[reading.text], Rejection):
                outcomes.append(result)
            else:
                outcome = self._decide(reading, detected, result, record.source, policy=policy, decided_at=decided_at)
                outcomes.append(outcome)
                if isinstance(outcome, Decision):
                    decided_by.append(result.scores)
        self._observer.scored(decided_by)
        self._observer.stage("decide", time.perf_counter() - started)
        return outcomes

    def _read(self, record: Record) -> _Reading | Rejection:
        try:
            comment = decode_comment(record.value)
        except InvalidRecord as error:
            return Rejection(error.stage, error.reason, type(error).__name__, error.message)
        try:
            text = normalise(comment.text)
            # Scores from memory cost nothing, and are no worse for being late.
            key = self._cache.key(text)
            return _Reading(comment, text, key, record.overdue and self._cache.get(key) is None)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  whatever our rules make of one text
            return _unreadable(error)

    def _tell(self, keys: Mapping[str, bytes]) -> dict[str, Detection | Rejection]:
        """The languages of texts, by their digests."""
        told, _ = _remembering(self._languages, keys, self._detect_each)
        return told

    def _detect_each(self, texts: Sequence[str]) -> Sequence[Detection | Rejection]:
        try:
            return self._detect(texts)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  whatever our rules or a library make of one text
            if len(texts) == 1:
                return [_unreadable(error)]
        # One of them is to blame; alone, it says so itself.
        return [detected for text in texts for detected in self._detect_each([text])]

    def find(self, texts: Sequence[str]) -> dict[str, Found | Rejection]:
        """What is in distinct normalised texts, in those seen before from memory. Errors as in `screen`."""
        return self._find({text: self._cache.key(text) for text in texts})

    def _find(self, keys: Mapping[str, bytes]) -> dict[str, Found | Rejection]:
        """What is in texts, by their digests."""
        found, misses = _remembering(self._cache, keys, self._classify)
        self._observer.cache(len(keys) - misses, misses, len(self._cache))
        return found

    def _classify(self, texts: Sequence[str]) -> list[Found | Rejection]:
        """Tokenise and infer; where that fails, halve until the text to blame stands alone.

        At worst, every text of `n` to blame, that is 3n - 1 runs and n probes, and each text is read log2(n) + 2 times.
        """
        if not texts:
            return []
        try:
            return list(self._run_model(texts))
        except (TransientError, FatalError, MemoryError):
            raise
        except Exception:  # noqa: BLE001  whatever a tokeniser or a runtime throws at one text
            self._answered()
            self._observer.bisected()
        # Outside of the handler, which would keep what the failed run held.
        if len(texts) == 1:
            return [self._classify_alone(texts[0])]
        middle = len(texts) // 2
        return self._classify(texts[:middle]) + self._classify(texts[middle:])

    def _classify_alone(self, text: str) -> Found | Rejection:
        """Once more, when the model has shown that it works: what fails a single time is no fault of the text."""
        self.probe()
        try:
            return self._run_model([text])[0]
        except (TransientError, FatalError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  as in _classify
            self._answered()
            return _unclassifiable("the model cannot score this text", error)

    def probe(self) -> None:
        """Ask the model for something it can surely do.

        Raises:
            FatalError: it cannot.
            TransientError: there is no memory for it now.
        """
        try:
            self._run_model([PROBE])
        except TransientError:
            raise
        except MemoryError as error:
            raise TransientError("out of memory") from error
        except Exception as error:
            raise FatalError(f"the model no longer answers: {type(error).__name__}") from error

    def _run_model(self, texts: Sequence[str]) -> list[Found]:
        started = time.perf_counter()
        pieces_of_text = self._classifier.encode(texts)
        self._observer.stage("tokenise", time.perf_counter() - started)

        pieces = list(chain.from_iterable(pieces_of_text))
        widths = [self._classifier.width(piece) for piece in pieces]
        batches = batches_of(pieces, widths, self.max_batch_tokens)
        found: dict[int, Found] = {}
        for batch, (of_batch, seconds) in self._runs.results(batches, sum(widths)):
            found |= zip(batch.at, of_batch, strict=True)
            self._observer.stage("infer", seconds)
        return of_texts(pieces_of_text, found)

    def _infer(self, batches: Sequence[Batch]) -> list[tuple[list[Found], float]]:
        """What is found in the pieces of each, in order, and its share of the seconds that took. In a thread of its own."""
        started = time.perf_counter()
        pieces = list(chain.from_iterable(batch.pieces for batch in batches))
        found = of_batches(batches, self._score(pieces, batches[0].width))
        seconds = (time.perf_counter() - started) / len(pieces)
        return [(of_batch, seconds * len(of_batch)) for of_batch in found]

    def _score(self, pieces: Sequence[Piece], width: int) -> list[Found]:
        try:
            found = self._classifier.score(pieces)
        except (TransientError, MemoryError):
            self._observer.out_of_memory()
            if len(pieces) == 1:
                raise
        else:
            self._answered()
            tokens = sum(len(piece.tokens) for piece in pieces)
            self._observer.batch(len(pieces), tokens, width * len(pieces) - tokens)
            return found
        # A smaller batch asks for less memory, and scores are the same in any company. Outside of the handler, as above.
        middle = len(pieces) // 2
        return self._score(pieces[:middle], width) + self._score(pieces[middle:], width)

    def _answered(self) -> None:
        with self._counting:
            self.answers += 1

    def _decide(
        self,
        reading: _Reading,
        detected: Detection,
        found: Found,
        source: Source | None,
        *,
        policy: Policy,
        decided_at: datetime,
    ) -> Outcome:
        comment = reading.comment
        language = settle(comment.language, detected)
        verdict = policy.decide(
            found.scores,
            comment.audience_age_band,
            comment.community_id,
            language_supported=language.supported,
            language_undetermined=language.undetermined,
            pointed_at=[span.label for span in found.spans],
        )
        try:
            spans = _in_original(comment.text, found.spans)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  as in _read: the same rules, with a map
            return _unclassifiable("the places in this text cannot be found", error)
        return self._decision(
            comment,
            verdict,
            Found(found.scores, spans),
            language,
            source=source,
            policy=policy.version,
            decided_at=decided_at,
        )

    def _shed(self, reading: _Reading, source: Source | None, policy: PolicyVersion, decided_at: datetime) -> Decision:
        comment = reading.comment
        language = settle(comment.language, UNDETERMINED)
        return self._decision(
            comment,
            shedding.hold(comment.audience_age_band),
            Found({}),
            language,
            source=source,
            policy=policy,
            decided_at=decided_at,
            degraded=True,
        )

    def _decision(
        self,
        comment: Comment,
        verdict: Verdict,
        found: Found,
        language: Language,
        *,
        source: Source | None,
        policy: PolicyVersion,
        decided_at: datetime,
        degraded: bool = False,
    ) -> Decision:
        return Decision(
            decision_id=decision_id(comment, policy, self.model, degraded=degraded),
            comment_id=comment.comment_id,
            action=verdict.action,
            category=verdict.category,
            severity=verdict.severity,
            scores=dict(found.scores),
            spans=list(found.spans),
            reasons=verdict.reasons,
            language=language.tag,
            language_supported=language.supported,
            model=self.model,
            policy=policy,
            mode=self._mode,
            degraded=degraded,
            source=source,
            created_at=comment.created_at,
            decided_at=decided_at,
            author_id=comment.author_id,
            author_age_band=comment.author_age_band,
            content_id=comment.content_id,
            content_owner_id=comment.content_owner_id,
            parent_comment_id=comment.parent_comment_id,
            community_id=comment.community_id,
            audience_age_band=comment.audience_age_band,
        )


def decision_id(comment: Comment, policy: PolicyVersion, model: Model, *, degraded: bool = False) -> str:
    """Name a piece of work: everything that a verdict follows from, and nothing else.

    Audience, community and the producer's language are in it beside id, text, policy and model, since the policy reads them:
    without them one comment, sent again for another audience, would get two verdicts under one name. So are the versions of
    what the model gets to read, of what tells the language and of how a policy is applied; and that of Unicode, since texts are
    read by the interpreter's tables, and each Python has its own. So is whether it was held unscored: screened again in a quieter
    hour it gets another verdict.
    """
    parts = [
        _measured(comment.comment_id),
        _measured(comment.text),
        _measured(comment.audience_age_band or "unknown"),
        _measured(comment.community_id or ""),
        _rules(policy.sha256, model.sha256),
    ]
    if comment.language is not None:
        # Most producers send none; then it is as if nobody had asked.
        parts.append(_measured(comment.language))
    if degraded:
        # Behind an empty part, which no language is.
        parts += (_measured(""), _measured("degraded"))
    return sha256(b"".join(parts)).hexdigest()


def _measured(part: str) -> bytes:
    """With its length before it, which keeps "ab" + "c" and "a" + "bc" apart."""
    encoded = part.encode()
    return len(encoded).to_bytes(4, "big") + encoded


@lru_cache(maxsize=16)
def _rules(policy_sha256: str, model_sha256: str) -> bytes:
    """What is the same for every comment, until the policy changes."""
    versions = (NORMALISER, LANGUAGE_RULES, POLICY_RULES, unicodedata.unidata_version)
    return b"".join(map(_measured, (policy_sha256, model_sha256, *versions)))


def _remembering(
    cache: TextCache[Value], keys: Mapping[str, bytes], work: Callable[[Sequence[str]], Sequence[Value | Rejection]]
) -> tuple[dict[str, Value | Rejection], int]:
    """What follows from texts, by their digests: known from before, or worked out for all others at once, and kept.

    Returns:
        It, and how many were not known.
    """
    results: dict[str, Value | Rejection] = {
        text: known for text, key in keys.items() if (known := cache.get(key)) is not None
    }
    unknown = [text for text in keys if text not in results]
    for text, result in zip(unknown, work(unknown), strict=True):
        results[text] = result
        if not isinstance(result, Rejection):
            cache.put(keys[text], result)
    return results, len(unknown)


def _in_original(text: str, spans: Sequence[Span]) -> tuple[Span, ...]:
    """Spans of the normalised text → the same stretches of the text as it was written."""
    if not spans:
        return ()
    normalised = normalise_mapped(text)
    return tuple(Span(*normalised.original(span.start, span.end), span.label, span.score) for span in spans)


def _unreadable(error: Exception) -> Rejection:
    return _unclassifiable("this text cannot be read", error)


def _unclassifiable(what: str, error: Exception) -> Rejection:
    """The exception by its class and the line that raised it: its message may quote the text."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "nowhere"
    return Rejection(Stage.CLASSIFY, Reason.UNCLASSIFIABLE, type(error).__name__, f"{what}: raised at {place}")
