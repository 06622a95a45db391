"""The demo's comments: what is said to be valid is, what is said to be malformed is not, and it can be repeated."""

from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest

from worker.codec import decode_comment
from worker.demo.comments import demo_records, malformed_values, read_groups
from worker.errors import InvalidRecord
from worker.langid import open_detector
from worker.language import settle
from worker.normalise import normalise
from worker.records import AgeBand, Comment

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DECK = sum(len(group.texts) * group.times for group in read_groups()) + len(malformed_values(""))


def decode(value: bytes) -> Comment | None:
    try:
        return msgspec.json.decode(value, type=Comment)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def comments(n: int = DECK, seed: int = 1) -> list[Comment]:
    return [comment for _, value in demo_records(seed, n, NOW) if (comment := decode(value)) is not None]


def test_a_deck_holds_every_comment_and_every_malformed_record_once() -> None:
    written = Counter(text for group in read_groups() for text in group.texts * group.times)

    assert Counter(comment.text for comment in comments()) == written
    assert written.total() >= 320
    assert DECK - len(comments()) == len(malformed_values("")) == 10


@pytest.mark.parametrize("defect", malformed_values("x"))
def test_a_malformed_record_is_refused_for_the_reason_that_it_is_said_to_be(defect: str) -> None:
    reason, value = malformed_values("x")[defect]

    assert decode(value) is None
    with pytest.raises(InvalidRecord) as refused:
        decode_comment(value)
    assert refused.value.reason is reason


def test_ids_are_unique_within_a_deck_past_its_end_and_across_seeds() -> None:
    ids = [comment.comment_id for seed in (1, 2) for comment in comments(3 * DECK, seed)]

    assert len(set(ids)) == len(ids)


def test_the_same_seed_and_time_give_the_same_records_and_another_seed_another_order() -> None:
    assert demo_records(7, 50, NOW) == demo_records(7, 50, NOW)
    assert [c.text for c in comments(50, seed=7)] != [c.text for c in comments(50, seed=8)]


@pytest.mark.parametrize("n", [0, 1, DECK - 1, DECK, DECK + 1])
def test_there_are_as_many_as_asked_for(n: int) -> None:
    assert len(demo_records(1, n)) == n


def test_comments_are_created_now() -> None:
    before = datetime.now(UTC)
    created = [decoded.created_at for _, value in demo_records(1, 50) if (decoded := decode(value)) is not None]
    assert before <= min(created) <= max(created) <= datetime.now(UTC)


def test_they_are_varied() -> None:
    deck = comments()
    groups = read_groups()

    assert {comment.audience_age_band for comment in deck} == {None, *AgeBand}
    assert len({comment.community_id for comment in deck}) >= 5
    assert {"en", "es", "fr", "de", "pt", "hi", "ar", "ja"} <= {group.language for group in groups}
    assert len({group.flavour for group in groups}) >= 15
    assert max(len(comment.text) for comment in deck) > 400
    assert any("\u200b" in comment.text for comment in deck)
    assert Counter(comment.text for comment in deck).most_common(1)[0][1] >= 5
    assert len({key for key, _ in demo_records(1, DECK)}) > 30


def test_what_is_sent_as_english_is_not() -> None:
    detector = open_detector()
    (group,) = (group for group in read_groups() if group.flavour == "sent as English")

    assert group.language == "en"
    for text in group.texts:
        assert settle("en", detector.detect([normalise(text)])[0]).supported is False


def test_what_is_for_adults_is_shown_to_adults_only() -> None:
    for_adults = {text for group in read_groups() if group.audience is AgeBand.ADULT for text in group.texts}

    assert for_adults
    for comment in comments(2 * DECK):
        if comment.text in for_adults:
            assert comment.audience_age_band is comment.author_age_band is AgeBand.ADULT
