"""The line through the middle: one outcome a record, in order, the same in any company, and never the text."""

import json
import random
import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.fakes import NOON, POISON, FakeClassifier, comment_value, detect, until_waiting
from tests.strategies import comments
from worker import codec, screening
from worker.classifier import Found, Piece, Scores
from worker.errors import FatalError, Reason, Stage, TransientError
from worker.language import STRANGE, Detection
from worker.policy_file import read_policy
from worker.records import Action, AgeBand, Comment, Decision, Mode, Model, PolicyVersion, ReasonGiven, Source, Span
from worker.screening import PROBE, Detect, Outcome, Record, Rejection, Screener, decision_id

PRIVATE = "xyzzy"
POLICY = read_policy(
    b"{id: test, version: 7, labels: {insult: {under_13: {hold: 0.5, remove: 0.85}, all: {nudge: 0.5}},"
    b" threat: {all: {escalate: 0.9}}, kindness: {all: {highlight: 0.9}}},"
    b" communities: {boxing: {labels: {insult: {all: {}}}}}}",
    "test.yaml",
)
OTHER_MODEL = Model("other", "1", "e" * 64)


class RecordingObserver:
    """Remembers what screening told about itself."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.batches: list[tuple[int, int, int]] = []
        self.lookups: list[tuple[int, int, int]] = []
        self.scores: list[Scores] = []
        self.bisections = 0
        self.memory_failures = 0

    def stage(self, name: str, seconds: float) -> None:
        assert seconds >= 0
        self.stages.append(name)

    def batch(self, size: int, tokens: int, padding: int) -> None:
        self.batches.append((size, tokens, padding))

    def cache(self, hits: int, misses: int, entries: int) -> None:
        self.lookups.append((hits, misses, entries))

    def scored(self, scores: Sequence[Scores]) -> None:
        self.scores += scores

    def bisected(self) -> None:
        self.bisections += 1

    def out_of_memory(self) -> None:
        self.memory_failures += 1


def make(
    classifier: FakeClassifier | None = None,
    observer: RecordingObserver | None = None,
    *,
    cache_entries: int = 1000,
    max_batch_tokens: int = 256,
    mode: Mode = Mode.LIVE,
    detect: Detect = detect,
    now: Callable[[], datetime] = lambda: NOON,
) -> Screener:
    return Screener(
        classifier or FakeClassifier(),
        POLICY,
        detect=detect,
        observer=observer or RecordingObserver(),
        max_batch_tokens=max_batch_tokens,
        cache_entries=cache_entries,
        mode=mode,
        now=now,
    )


def screen(screener: Screener, *texts: str, **fields: str) -> list[Outcome]:
    return screener.screen([Record(comment_value(text, f"c{at}", **fields)) for at, text in enumerate(texts)])


def actions(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.action if isinstance(outcome, Decision) else outcome.reason for outcome in outcomes]


def decide(screener: Screener, text: str, **fields: str) -> Decision:
    (outcome,) = screen(screener, text, **fields)
    assert isinstance(outcome, Decision)
    return outcome


def test_one_outcome_a_record_in_order_errors_among_them() -> None:
    outcomes = make().screen(
        [
            Record(comment_value("you are stupid", "a")),
            Record(b"no json"),
            Record(comment_value("thanks", "b")),
            Record(comment_value("the weather is nice", "c")),
            Record(b"[]"),
        ]
    )

    assert actions(outcomes) == ["remove", "invalid_json", "highlight", "allow", "not_an_object"]
    assert [outcome.comment_id for outcome in outcomes if isinstance(outcome, Decision)] == ["a", "b", "c"]


def test_a_decision_says_everything() -> None:
    source = Source("comments", 3, 17)
    record = Record(
        comment_value("STUPID… no: stupid", audience_age_band="under_13", author_id="a1", language="en"), source
    )

    (decision,) = make(mode=Mode.SHADOW).screen([record])

    assert isinstance(decision, Decision)
    insult, first = decision.scores["insult"], decision.reasons[0]
    assert (insult, first.label, first.score, first.threshold, first.age_band, first.action, first.rule) == (
        0.9,
        "insult",
        0.9,
        0.85,
        AgeBand.UNDER_13,
        Action.REMOVE,
        "labels.insult.under_13.remove",
    )
    assert (decision.action, decision.category, decision.severity) == (Action.REMOVE, "insult", 0.9)
    assert (decision.source, decision.mode, decision.degraded) == (source, Mode.SHADOW, False)
    assert decision.spans == [Span(12, 18, "insult", 0.9)]
    assert (decision.model, decision.policy) == (FakeClassifier().model, POLICY.version)
    assert (decision.created_at, decision.decided_at) == (datetime(2026, 11, 24, 11, 59, tzinfo=UTC), NOON)
    assert decision.author_id == "a1"


def test_a_refused_record_says_where_and_why() -> None:
    assert make().screen([Record(b"{}")]) == [
        Rejection(Stage.DECODE, Reason.MISSING_FIELD, "InvalidRecord", "comment_id: missing")
    ]


def test_no_records_no_outcomes_and_the_model_is_not_asked() -> None:
    classifier = FakeClassifier()

    assert make(classifier).screen([]) == []
    assert make(classifier).screen([Record(b"")]) != []
    assert classifier.batches == []


# ---- scores


def test_one_text_is_scored_once_in_a_window() -> None:
    classifier = FakeClassifier()

    outcomes = screen(make(classifier), "thanks", "hello", "thanks", "tha\u200bnks")

    assert sorted(classifier.scored) == ["hello", "thanks"]
    assert actions(outcomes) == ["highlight", "allow", "highlight", "highlight"]


def test_and_remembered_for_the_next() -> None:
    classifier, observer = FakeClassifier(), RecordingObserver()
    screener = make(classifier, observer)
    first = screen(screener, "thanks", "hello")
    again = screen(screener, "thanks", "new")

    assert sorted(classifier.scored) == ["hello", "new", "thanks"]
    assert observer.lookups == [(0, 2, 2), (1, 1, 3)]
    assert again[0] == first[0]


def test_without_a_cache_it_is_scored_again_to_the_same() -> None:
    classifier = FakeClassifier()
    screener = make(classifier, cache_entries=0)

    assert screen(screener, "thanks") == screen(screener, "thanks")
    assert classifier.scored == ["thanks", "thanks"]


def test_the_model_reads_normalised_text() -> None:
    classifier = FakeClassifier()
    screen(make(classifier), "  \uff53tu\u00adpid\n!!!!!! ")

    assert classifier.scored == ["stupid !!!"]


def test_text_of_which_nothing_is_left_is_scored_all_the_same() -> None:
    assert actions(screen(make(), "\u200b\u200b")) == ["allow"]


def test_a_long_text_is_judged_by_its_worst_piece_and_its_kindness_on_average() -> None:
    filler = "the weather is nice today. " * 40
    decision = decide(make(), f"{filler} thanks. {filler} you are stupid")

    assert decision.scores["insult"] == 0.9
    assert 0.95 / 20 < decision.scores["kindness"] < 0.95


def test_batches_keep_to_one_width_and_the_budget() -> None:
    observer = RecordingObserver()
    screen(make(observer=observer, max_batch_tokens=32), *(f"text {number:02}" for number in range(5)), "x" * 60)

    # 7 characters and 2 marks are 9 tokens, 16 wide; 60 become 3 by normalising, 5 tokens, 8 wide.
    assert observer.batches == [(1, 5, 3), (2, 18, 14), (2, 18, 14), (1, 9, 7)]


def test_the_stages_are_told_apart() -> None:
    observer = RecordingObserver()
    screen(make(observer=observer), "hello")

    assert observer.stages == ["decode", "tokenise", "infer", "decide"]


def test_scores_are_told_of_what_is_decided_by_them_remembered_ones_too() -> None:
    observer = RecordingObserver()
    screener = make(observer=observer)
    decided = [
        outcome.scores
        for outcome in screen(screener, "thanks", POISON, "thanks") + screen(screener, "thanks")
        if isinstance(outcome, Decision)
    ]
    screener.screen([Record(b"{"), Record(comment_value("held"), overdue=True)])

    assert observer.scores == decided
    assert len(decided) == 3


def test_labels_that_a_model_does_not_know_are_absent() -> None:
    decision = decide(make(FakeClassifier(labels=("insult", "threat"))), "thanks, stupid")

    assert decision.scores.keys() == {"insult", "threat"}


# ---- when the model fails


@pytest.mark.parametrize("fail_in", ["encode", "score"])
@pytest.mark.parametrize("at", [0, 3, 6])
def test_poison_costs_itself_and_nobody_else_anything(fail_in: str, at: int) -> None:
    classifier, observer = FakeClassifier(fail_in=fail_in), RecordingObserver()
    texts = [f"text {number}" for number in range(7)]
    texts[at] = f"{POISON} {PRIVATE}"

    outcomes = screen(make(classifier, observer), *texts)

    assert actions(outcomes) == ["unclassifiable" if number == at else "allow" for number in range(7)]
    refused = outcomes[at]
    assert isinstance(refused, Rejection)
    assert (refused.stage, refused.reason, refused.error_class) == (
        Stage.CLASSIFY,
        Reason.UNCLASSIFIABLE,
        "ValueError",
    )
    assert re.fullmatch(r"the model cannot score this text: raised at fakes\.py:\d+", refused.message)
    assert 3 <= observer.bisections <= 4


@pytest.mark.parametrize("window", [["hello"], ["hello", "stupid", "hi"]])
def test_what_failed_once_is_no_fault_of_the_text(window: list[str]) -> None:
    class FailsOnce(FakeClassifier):
        def score(self, pieces: Sequence[Piece]) -> list[Found]:
            found = super().score(pieces)
            if "hello" in self.batches[-1] and sum("hello" in batch for batch in self.batches) <= failures:
                raise RuntimeError
            return found

    # As often as the text is tried while the window is halved.
    failures = 1 if len(window) == 1 else 2

    assert not any(isinstance(outcome, Rejection) for outcome in screen(make(FailsOnce()), *window))


def test_several_poisoned_texts_are_all_found() -> None:
    outcomes = screen(make(), *(f"{POISON} {number}" if number % 3 == 0 else f"text {number}" for number in range(10)))

    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Rejection)] == [0, 3, 6, 9]


@pytest.mark.parametrize("fail_in", ["encode", "score"])
@pytest.mark.parametrize("every", [1, 2, 5])
def test_however_many_are_poisoned_the_cost_has_a_bound(fail_in: str, every: int) -> None:
    classifier, observer = FakeClassifier(fail_in=fail_in), RecordingObserver()
    size = 256
    texts = [f"{POISON} {number}" if number % every == 0 else f"text {number}" for number in range(size)]

    outcomes = screen(make(classifier, observer, max_batch_tokens=10**6), *texts)

    assert actions(outcomes).count("unclassifiable") == -(-size // every)
    assert observer.bisections < 2 * size
    assert len(classifier.encoded) < 4 * size
    assert sum(map(len, classifier.encoded)) <= size * (8 + 2) + size


def test_while_it_halves_it_shows_that_the_model_still_answers() -> None:
    """So that whoever watches does not take a window that takes its time for one that hangs."""
    seen: list[int] = []

    class Watched(FakeClassifier):
        def score(self, pieces: Sequence[Piece]) -> list[Found]:
            seen.append(screener.answers)
            return super().score(pieces)

    screener = make(Watched())
    screen(screener, *(f"{POISON} {number}" for number in range(16)))

    assert len(seen) > 30
    assert all(before < after for before, after in pairwise(seen))


def test_every_record_with_a_poisoned_text_is_refused() -> None:
    assert actions(screen(make(), POISON, "hello", POISON)) == ["unclassifiable", "allow", "unclassifiable"]


def test_a_refusal_is_not_remembered() -> None:
    classifier = FakeClassifier()
    screener = make(classifier)
    screen(screener, POISON)
    classifier._poison = ()

    assert actions(screen(screener, POISON)) == ["allow"]


def test_the_probe_tells_a_broken_record_from_a_broken_model() -> None:
    classifier = FakeClassifier()
    screen(make(classifier), POISON)

    assert classifier.scored == [POISON, PROBE, POISON]


@pytest.mark.parametrize("texts", [["hello"], ["hello", "thanks", POISON]])
def test_a_broken_model_is_fatal_and_makes_no_dead_letters(texts: list[str]) -> None:
    classifier = FakeClassifier()
    screener = make(classifier)
    classifier.broken = True

    with pytest.raises(FatalError, match=r"^the model no longer answers: RuntimeError$"):
        screen(screener, *texts)


def test_a_broken_model_does_not_pass_the_probe() -> None:
    classifier = FakeClassifier()
    make(classifier).probe()
    classifier.broken = True

    with pytest.raises(FatalError, match=r"^the model no longer answers: RuntimeError$"):
        make(classifier).probe()


def test_running_out_of_memory_is_nobodys_fault() -> None:
    screener = make(FakeClassifier(transient=1))

    with pytest.raises(TransientError):
        screen(screener, "hello")
    assert actions(screen(screener, "hello")) == ["allow"]


def test_a_batch_that_does_not_fit_into_memory_is_scored_in_smaller_ones_to_the_same() -> None:
    texts = [f"text {number}" for number in range(10)]
    classifier, observer = FakeClassifier(fits=3), RecordingObserver()

    assert screen(make(classifier, observer), *texts) == screen(make(), *texts)
    # 10 fit in no more than 5 and 5, then 2 and 3 of each.
    assert [len(batch) for batch in classifier.batches] == [10, 5, 2, 3, 5, 2, 3]
    assert (observer.memory_failures, observer.bisections) == (3, 0)


def test_where_not_even_one_piece_fits_the_world_is_to_blame_and_soon() -> None:
    classifier, observer = FakeClassifier(fits=0), RecordingObserver()

    with pytest.raises(TransientError, match=r"^out of memory$"):
        screen(make(classifier, observer), *(f"text {number}" for number in range(8)))
    assert [len(batch) for batch in classifier.batches] == [8, 4, 2, 1]


class Forgetful(FakeClassifier):
    """Has no memory left for the tokeniser."""

    def encode(self, texts: Sequence[str]) -> list[list[Piece]]:
        raise MemoryError(len(texts))


def no_memory(texts: Sequence[str]) -> list[Detection]:
    raise MemoryError(len(texts))


@pytest.mark.parametrize(
    "screener", [make(Forgetful()), make(detect=no_memory)], ids=["while tokenising", "while reading"]
)
def test_no_memory_anywhere_else_is_the_worlds_fault_too(screener: Screener) -> None:
    with pytest.raises(TransientError, match=r"^out of memory$"):
        screen(screener, "hello", POISON)


def test_no_memory_to_tell_a_language_is_not_asked_for_again_and_again() -> None:
    asked: list[Sequence[str]] = []

    def run_out(texts: Sequence[str]) -> list[Detection]:
        asked.append(texts)
        raise MemoryError(len(texts))

    with pytest.raises(TransientError):
        screen(make(detect=run_out), "hello", "hallo", "bonjour")

    assert asked == [["hello", "hallo", "bonjour"]]


def test_a_text_that_our_own_rules_cannot_read_is_refused_alone() -> None:
    def stumble(texts: Sequence[str]) -> list[Detection]:
        for text in texts:
            if POISON in text:
                raise KeyError(text)
        return detect(texts)

    outcomes = screen(make(FakeClassifier(poison=()), detect=stumble), "hello", f"{POISON} {PRIVATE}", "hallo")

    assert actions(outcomes) == ["allow", "unclassifiable", "hold"]
    refused = outcomes[1]
    assert isinstance(refused, Rejection)
    assert (refused.error_class, PRIVATE in repr(refused)) == ("KeyError", False)
    assert re.fullmatch(r"this text cannot be read: raised at test_screening\.py:\d+", refused.message)


def test_so_is_one_whose_places_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(text: str) -> Any:
        raise IndexError(text)

    monkeypatch.setattr("worker.screening.normalise_mapped", stumble)

    assert actions(screen(make(), "hello", "stupid")) == ["allow", "unclassifiable"]


def test_nor_is_it_while_probing() -> None:
    with pytest.raises(TransientError):
        make(FakeClassifier(transient=1)).probe()


# ---- what a decision depends on


def test_the_audience_and_the_community_choose_the_rules() -> None:
    screener = make()

    assert decide(screener, "stupid", audience_age_band="under_13").action == "remove"
    assert decide(screener, "stupid", audience_age_band="adult").action == "nudge"
    assert decide(screener, "stupid").action == "remove"
    assert decide(screener, "stupid", community_id="boxing").action == "allow"


def test_severity_is_there_whatever_the_policy_says() -> None:
    assert decide(make(), "stupid", community_id="boxing").severity == 0.9


@pytest.mark.parametrize(
    ("text", "declared", "tag", "supported"),
    [
        ("hello", None, None, None),
        ("hello", "en-GB", "en-GB", True),
        ("hello", "de", "de", False),
        ("hallo", None, "de", False),
        ("hallo", "en", "de", False),
        ("good morning", "de", "en", True),
    ],
)
def test_a_decision_says_which_language_was_gone_by_and_whether_the_model_knows_it(
    text: str, declared: str | None, tag: str | None, supported: bool | None
) -> None:
    decision = decide(make(), text, **({} if declared is None else {"language": declared}))

    assert (decision.language, decision.language_supported) == (tag, supported)


def test_a_language_that_the_model_does_not_know_is_the_policys_to_judge() -> None:
    child = decide(make(), "hallo, thanks", audience_age_band="under_13")

    assert (child.action, child.category) == ("hold", "unsupported_language")
    assert child.reasons == [
        ReasonGiven("unsupported_language", None, None, AgeBand.UNDER_13, Action.HOLD, "unsupported_language.default")
    ]
    assert child.scores["kindness"] == 0.95
    assert decide(make(), "hallo, thanks", audience_age_band="adult").action == "allow"
    guessed = decide(make(), "hallo, stupid", audience_age_band="under_13")
    assert (guessed.action, guessed.category) == ("hold", "insult")
    assert decide(make(), "stupid", audience_age_band="under_13").action == "remove"


def test_a_language_that_cannot_be_told_is_the_policys_to_judge() -> None:
    screener = make(detect=lambda texts: [STRANGE] * len(texts))
    assert decide(screener, "ta gueule", audience_age_band="under_13").action == "allow"

    screener.adopt(
        read_policy(
            b"{id: careful, version: 1, labels: {insult: {all: {hold: 0.5}}}, undetermined_language: {under_13: hold}}",
            "careful.yaml",
        )
    )

    child = decide(screener, "ta gueule", audience_age_band="under_13")
    assert (child.action, child.category) == ("hold", "undetermined_language")
    assert (child.language, child.language_supported) == (None, None)
    assert [reason.rule for reason in child.reasons] == ["undetermined_language.under_13"]
    assert decide(screener, "ta gueule", audience_age_band="adult").action == "allow"
    assert decide(screener, "ta gueule", audience_age_band="under_13", language="en").action == "allow"


def test_a_language_is_told_once_for_each_normalised_text_and_remembered() -> None:
    asked: list[str] = []

    def remember(texts: Sequence[str]) -> list[Detection]:
        asked.extend(texts)
        return detect(texts)

    screener = make(detect=remember)
    screen(screener, "hallo", " hal\u00adlo", "\u200b", "hello")
    again = screen(screener, "hallo")

    assert sorted(asked) == ["", "hallo", "hello"]
    assert [outcome.language for outcome in again if isinstance(outcome, Decision)] == ["de"]


REFERENCES = {
    "author_id": "a1",
    "author_age_band": "under_13",
    "content_id": "v1",
    "content_owner_id": "o1",
    "parent_comment_id": "c0",
    "community_id": "club",
    "audience_age_band": "13_15",
}


def test_references_are_handed_on() -> None:
    written = json.loads(codec.encode(decide(make(), "hello", **REFERENCES)))

    assert {name: written[name] for name in REFERENCES} == REFERENCES


COMMENT = Comment(comment_id="c1", text="hello", created_at=NOON)
POLICY_VERSION = PolicyVersion("test", "1", "a" * 64)
MODEL = Model("fake", "1", "b" * 64)


UnicodeIs = Callable[[str], None]


@pytest.fixture
def unicode_is(monkeypatch: pytest.MonkeyPatch) -> Iterator[UnicodeIs]:
    """Has the worker run on an interpreter with this version of Unicode."""

    def change(version: str) -> None:
        monkeypatch.setattr(screening, "unicodedata", SimpleNamespace(unidata_version=version))
        screening._rules.cache_clear()

    yield change
    screening._rules.cache_clear()


def test_the_same_work_has_the_same_id(unicode_is: UnicodeIs) -> None:
    # As Python 3.11 has it, whichever runs this.
    unicode_is("14.0.0")

    # Literal, because with any change of it what is replayed no longer overwrites itself.
    assert (
        decision_id(COMMENT, POLICY_VERSION, MODEL)
        == "59d9ffeb20aa7e7cfd64fe2e6153bb60b797d265b2223780d293799de6640cff"
    )


def test_texts_that_are_read_by_another_unicode_have_another_id(unicode_is: UnicodeIs) -> None:
    """Each Python has its own tables: of two workers in a group, one may read a text as the other does not."""
    ids = set()
    for version in ("14.0.0", "15.0.0", "15.1.0"):
        unicode_is(version)
        ids.add(decision_id(COMMENT, POLICY_VERSION, MODEL))

    assert len(ids) == 3


def test_the_unicode_in_an_id_is_the_interpreters(unicode_is: UnicodeIs) -> None:
    mine = decision_id(COMMENT, POLICY_VERSION, MODEL)
    unicode_is(unicodedata.unidata_version)

    assert decision_id(COMMENT, POLICY_VERSION, MODEL) == mine


@pytest.mark.parametrize(
    ("comment", "policy", "model"),
    [
        (structs.replace(COMMENT, comment_id="c2"), POLICY_VERSION, MODEL),
        (structs.replace(COMMENT, text="hello "), POLICY_VERSION, MODEL),
        (structs.replace(COMMENT, audience_age_band=AgeBand.ADULT), POLICY_VERSION, MODEL),
        (structs.replace(COMMENT, community_id="club"), POLICY_VERSION, MODEL),
        (structs.replace(COMMENT, language="en"), POLICY_VERSION, MODEL),
        (COMMENT, structs.replace(POLICY_VERSION, sha256="c" * 64), MODEL),
        (COMMENT, POLICY_VERSION, structs.replace(MODEL, sha256="c" * 64)),
        (structs.replace(COMMENT, comment_id="c1h", text="ello"), POLICY_VERSION, MODEL),
        (structs.replace(COMMENT, comment_id="hello", text="c1"), POLICY_VERSION, MODEL),
    ],
)
def test_other_work_has_another(comment: Comment, policy: PolicyVersion, model: Model) -> None:
    assert decision_id(comment, policy, model) != decision_id(COMMENT, POLICY_VERSION, MODEL)


@pytest.mark.parametrize(
    "comment",
    [
        structs.replace(COMMENT, audience_age_band=AgeBand.UNKNOWN),
        structs.replace(COMMENT, author_id="a1", author_age_band=AgeBand.ADULT, content_id="v1"),
        structs.replace(COMMENT, created_at=datetime(2020, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_no_verdict_follows_from_is_not_in_the_id(comment: Comment) -> None:
    assert decision_id(comment, POLICY_VERSION, MODEL) == decision_id(COMMENT, POLICY_VERSION, MODEL)


@settings(max_examples=60)
@given(comments())
def test_an_id_keeps_to_its_alphabet(comment: Comment) -> None:
    assert re.fullmatch("[A-Za-z0-9_-]{1,500}", decision_id(comment, POLICY_VERSION, MODEL))


def test_another_model_gives_another_decision() -> None:
    mine, other = make(), make(FakeClassifier(model=OTHER_MODEL))

    assert decide(mine, "hello").decision_id != decide(other, "hello").decision_id
    assert decide(other, "hello").model == OTHER_MODEL


# ---- overload


def shed(screener: Screener, text: str, **fields: str) -> Outcome:
    (outcome,) = screener.screen([Record(comment_value(text, **fields), overdue=True)])
    return outcome


def test_what_is_overdue_is_held_unscored_and_says_so() -> None:
    classifier = FakeClassifier()
    decision = shed(make(classifier), "kill", audience_age_band="13_15", language="de", author_id="a1")

    assert isinstance(decision, Decision)
    assert (decision.action, decision.degraded) == (Action.HOLD, True)
    assert (decision.category, decision.severity, decision.scores, decision.spans) == (None, None, {}, [])
    assert decision.reasons == [
        ReasonGiven("overload", None, None, AgeBand.FROM_13_TO_15, Action.HOLD, "settings.shed_lag_s")
    ]
    assert (decision.language, decision.language_supported, decision.author_id) == ("de", False, "a1")
    assert classifier.encoded == []


def test_scores_that_are_remembered_are_used_however_late() -> None:
    screener = make()
    first = decide(screener, "hallo, stupid")

    assert screener.screen([Record(comment_value("hallo, stupid", "c0"), overdue=True)]) == [first]


def test_what_is_overdue_among_others_costs_the_model_nothing() -> None:
    classifier = FakeClassifier()
    window = [Record(comment_value(text, text), overdue=text == "stupid") for text in ("hello", "stupid", "thanks")]

    outcomes = make(classifier).screen(window)

    assert actions(outcomes) == ["allow", "hold", "highlight"]
    assert sorted(classifier.scored) == ["hello", "thanks"]


def test_what_does_not_decode_is_refused_however_late() -> None:
    assert actions(make().screen([Record(b"no json", overdue=True)])) == ["invalid_json"]


def test_held_unscored_and_scored_later_it_has_two_verdicts_under_two_names() -> None:
    late, screened = shed(make(), "hello"), decide(make(), "hello")

    assert isinstance(late, Decision)
    assert late.decision_id == decision_id(
        codec.decode_comment(comment_value("hello")), POLICY.version, late.model, degraded=True
    )
    assert late.decision_id != screened.decision_id
    assert shed(make(), "hello") == late


def test_a_language_cannot_be_mistaken_for_it() -> None:
    spoken = structs.replace(COMMENT, language="degraded")

    assert decision_id(COMMENT, POLICY_VERSION, MODEL, degraded=True) != decision_id(spoken, POLICY_VERSION, MODEL)


# ---- properties

WORDS = st.sampled_from(["stupid", "thanks", "kill", "hello", "weather", POISON, "a\u200bb", "x" * 300, "🦊"])
TEXTS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)


@settings(max_examples=60)
@given(st.lists(TEXTS, min_size=1, max_size=20), st.randoms(use_true_random=False), st.integers(1, 600))
def test_decisions_do_not_depend_on_the_company_in_the_window(
    texts: list[str], random: random.Random, max_batch_tokens: int
) -> None:
    records = [Record(comment_value(text, f"c{at}", audience_age_band="adult")) for at, text in enumerate(texts)]
    alone: dict[bytes, Any] = {
        record.value: outcome for record in records for outcome in make(cache_entries=0).screen([record])
    }
    shuffled = random.sample(records, len(records))
    screener = make(max_batch_tokens=max_batch_tokens, cache_entries=random.choice([0, 3, 100]))

    while shuffled:
        size = random.randint(1, len(shuffled))
        window, shuffled = shuffled[:size], shuffled[size:]
        assert screener.screen(window) == [alone[record.value] for record in window]


@settings(max_examples=60)
@given(st.lists(TEXTS, min_size=1, max_size=6), st.booleans())
def test_no_outcome_and_no_error_holds_the_text(texts: list[str], fails_in_encode: bool) -> None:
    classifier = FakeClassifier(fail_in="encode" if fails_in_encode else "score")
    screener = make(classifier)
    hidden = [f"{PRIVATE} {text} {PRIVATE}" for text in texts]
    raw = [Record(PRIVATE.encode()), Record(b'{"' + PRIVATE.encode() + b'": ')]

    outcomes = [*screen(screener, *hidden), *screener.screen(raw)]

    assert PRIVATE not in repr(outcomes)
    classifier.broken = True
    with pytest.raises(FatalError) as fatal:
        screen(screener, f"new {PRIVATE}")
    assert PRIVATE not in str(fatal.value)


def test_two_threads_at_once_get_what_one_gets() -> None:
    texts = [f"{word} {number}" for number in range(200) for word in ("stupid", "thanks", "hello")]
    expected = screen(make(), *texts)
    screener = make()
    results: dict[int, list[Outcome]] = {}

    def work(thread: int) -> None:
        results[thread] = screen(screener, *texts)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == {0: expected, 1: expected}


def test_the_model_runs_no_oftener_at_once_than_it_says() -> None:

    class Counting(FakeClassifier):
        running = most = 0

        def score(self, pieces: Sequence[Piece]) -> list[Found]:
            self.running += 1
            self.most = max(self.most, self.running)
            time.sleep(0.001)  # so that another has the time to come in
            self.running -= 1
            return super().score(pieces)

    classifier = Counting()
    screener = make(classifier, cache_entries=0)
    threads = [threading.Thread(target=screen, args=(screener, "a word " * (number + 1))) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(classifier.batches), classifier.most) == (8, 1)


def test_texts_of_one_width_are_one_run_whatever_window_they_came_in() -> None:
    classifier, observer = FakeClassifier(), RecordingObserver()
    screener = make(classifier, observer)
    expected = [screen(make(), word) for word in ("stupid", "thanks")]
    classifier.open.clear()
    with ThreadPoolExecutor(3) as windows:
        before = windows.submit(screen, screener, "a text that is longer than the others")
        classifier.wait_until(lambda: len(classifier.batches) == 1)
        others = [windows.submit(screen, screener, word) for word in ("stupid", "thanks")]
        until_waiting(screener._runs, 2)
        classifier.open.set()
        found = [each.result() for each in others]
        assert actions(before.result()) == ["allow"]

    assert found == expected
    assert sorted(classifier.batches[1]) == ["stupid", "thanks"]
    # One run is told of, and each window has its share of the time.
    assert [size for size, _, _ in observer.batches] == [1, 2]
    assert observer.stages.count("infer") == 3


# ---- where in the text


def test_spans_stand_in_the_text_as_it_was_written() -> None:
    disguised = "\uff53\uff54\uff55\uff50\uff49\uff44"
    text = f"so\u200b  you are  a   {disguised} cat"

    (decision,) = make(FakeClassifier()).screen([Record(comment_value(text))])

    assert isinstance(decision, Decision)
    (span,) = decision.spans
    assert (text[span.start : span.end], span.label, span.score) == (disguised, "insult", 0.9)


def test_a_span_behind_a_long_preface_stands_where_it_was_written() -> None:
    text = "hello  there " * 60 + "you idiot"

    (decision,) = make(FakeClassifier()).screen([Record(comment_value(text))])

    assert isinstance(decision, Decision)
    assert {text[span.start : span.end] for span in decision.spans} == {"idiot"}


def test_a_kind_text_in_which_a_place_hurts_is_not_shown_first() -> None:
    class Talked(FakeClassifier):
        """Out of what it finds by everything around it, but for the place."""

        def score(self, pieces: Sequence[Piece]) -> list[Found]:
            return [found._replace(scores={**found.scores, "insult": 0.0}) for found in super().score(pieces)]

    kind, talked = screen(make(Talked()), "thanks thanks", "thanks idiot thanks")

    assert actions([kind, talked]) == ["highlight", "allow"]


def test_spans_are_remembered_with_the_scores_and_fitted_to_each_comment() -> None:
    screener = make(FakeClassifier())
    texts = ["you idiot", "you   idiot"]

    decisions = [screener.screen([Record(comment_value(text))])[0] for text in texts]

    found = [[(s.start, s.end) for s in decision.spans] for decision in decisions if isinstance(decision, Decision)]
    assert found == [[(4, 9)], [(6, 11)]]


# ---- another policy while it runs


OTHER_POLICY = read_policy(b"{id: test, version: 8, labels: {insult: {all: {remove: 0.5}}}}", "test.yaml")


def test_an_adopted_policy_decides_under_its_own_name_and_needs_no_new_scores() -> None:
    classifier = FakeClassifier()
    screener = make(classifier)
    before = decide(screener, "you are stupid", audience_age_band="adult")
    screener.adopt(OTHER_POLICY)
    after = decide(screener, "you are stupid", audience_age_band="adult")

    assert (before.action, after.action) == (Action.NUDGE, Action.REMOVE)
    assert after.policy == screener.policy == OTHER_POLICY.version
    assert before.decision_id != after.decision_id
    assert classifier.scored.count("you are stupid") == 1


def test_one_adopted_in_the_middle_of_a_window_waits_for_the_next() -> None:
    def adopt_and_look_at_the_clock() -> datetime:
        screener.adopt(OTHER_POLICY)
        return NOON

    screener = make(now=adopt_and_look_at_the_clock)
    outcomes = screen(screener, "you are stupid", "stupid, all of it", audience_age_band="adult")

    assert actions(outcomes) == ["nudge", "nudge"]
    assert {outcome.policy for outcome in outcomes if isinstance(outcome, Decision)} == {POLICY.version}
    assert actions(screen(screener, "you are stupid")) == ["remove"]
