"""The audit that watches every failure test finds what it is there to find, without a broker."""

import contextlib
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from tests.audit import Audit
from tests.comments import comments
from tests.topics import Topics
from worker.demo.broker import Kind

TOPICS = Topics("comments", "decisions", "dead-letters", 1)
COMMENTS = comments(2)


def audited(*outcomes: Sequence[Any]) -> Audit:
    """An audit that has read two comments and these outcomes of each; both are committed."""
    audit = Audit(SimpleNamespace(kind=Kind.KAFKA, bootstrap=""), TOPICS)
    for offset, comment in enumerate(COMMENTS):
        audit.inputs[0, offset] = audit.log[0, offset] = comment
        if outcomes[offset]:
            audit.outcomes[0, offset] += outcomes[offset]
    audit._committed = {0: len(COMMENTS)}
    return audit


def decision(offset: int, decision_id: str = "one", action: str = "allow", *, at: int = 0) -> Any:
    """Of this comment, and where in its topic it stands."""
    comment_id = json.loads(COMMENTS[offset][1] or b"")["comment_id"]
    source = {"topic": TOPICS.comments, "partition": 0, "offset": offset}
    value = {"comment_id": comment_id, "decision_id": f"{offset}-{decision_id}", "action": action, "source": source}
    return SimpleNamespace(
        topic=TOPICS.decisions, partition=0, offset=at, key=comment_id.encode(), value=json.dumps(value).encode()
    )


def letter(offset: int) -> Any:
    key, value = COMMENTS[offset]
    names = {"screener-original-partition": b"0", "screener-original-offset": str(offset).encode()}
    return SimpleNamespace(
        topic=TOPICS.dead_letters, partition=0, offset=0, key=key, value=value, headers=tuple(names.items())
    )


def test_a_decision_for_each_is_all_that_is_asked() -> None:
    audited([decision(0)], [decision(1), decision(1)]).check()


@pytest.mark.parametrize(
    ("outcomes", "why"),
    [
        ([[decision(0)], []], "I1: records without"),
        ([[decision(0)], [letter(1)]], "I1: comments among the dead letters"),
        ([[decision(0)], [decision(0)]], "I2"),
        ([[decision(0)], [decision(1), decision(1, "other")]], "I3"),
        ([[decision(0)], [decision(1), decision(1, action="hold")]], "I3"),
    ],
)
def test_what_is_wrong_is_found(outcomes: list[list[Any]], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        audited(*outcomes).check()


def test_a_dead_letter_beside_a_decision_is_another_verdict_also_where_some_are_refused() -> None:
    audit = audited([decision(0)], [letter(1)])
    audit.may_refuse = True
    audit.check()

    audit = audited([decision(0), letter(0)], [letter(1)])
    audit.may_refuse = True
    with pytest.raises(AssertionError, match="I3"):
        audit.check()


def commit(offset: int, decisions: int, dead_letters: int = 0) -> Any:
    """A commit as it was seen, and so many outcomes in each topic after it."""
    ends = {TOPICS.decisions: decisions, TOPICS.dead_letters: dead_letters}
    return {0: offset}, {TopicPartition(topic, 0): end for topic, end in ends.items()}


@pytest.mark.parametrize(
    ("commits", "found"),
    [
        ([commit(1, 1), commit(2, 2)], []),
        ([commit(2, 2)], []),
        ([commit(2, 1)], [((0, 1), 2)]),
        ([commit(1, 1), commit(2, 1)], [((0, 1), 2)]),
        ([commit(2, 1), commit(2, 2)], [((0, 1), 2)]),
        ([commit(1, 0), commit(2, 2)], [((0, 0), 1)]),
    ],
)
def test_a_commit_that_passes_a_record_before_its_outcome_is_found(commits: list[Any], found: list[Any]) -> None:
    """Also where the outcome comes in the end: a worker that was killed in between would have lost it."""
    # Of two outcomes the first counts.
    audit = audited([decision(0)], [decision(1, at=2), decision(1, at=1)])
    audit._commits = commits

    assert audit.overtakings() == found
    with pytest.raises(AssertionError, match="I4") if found else contextlib.nullcontext():
        audit.check()


@pytest.mark.parametrize(("dead_letters", "found"), [(1, []), (0, [((0, 1), 2)])])
def test_a_dead_letter_has_to_be_there_as_well(dead_letters: int, found: list[Any]) -> None:
    audit = audited([decision(0)], [letter(1)])
    audit._commits = [commit(2, 9, dead_letters)]

    assert audit.overtakings() == found


def test_a_record_that_was_passed_and_has_no_outcome_is_found_and_a_tombstone_needs_none() -> None:
    audit = audited([decision(0)], [])
    audit._commits = [commit(2, 9)]
    assert audit.overtakings() == [((0, 1), 2)]

    audit.inputs[0, 1] = audit.log[0, 1] = (b"key", None)
    assert audit.overtakings() == []
    audit.check()


@pytest.mark.parametrize(("committed", "lag"), [({0: 1}, 1), ({}, 2), ({1: 2}, 2)])
def test_what_is_not_committed_is_found(committed: dict[int, int], lag: int) -> None:
    audit = audited([decision(0)], [decision(1)])
    audit._committed = committed

    assert audit.lag() == lag
    with pytest.raises(AssertionError, match=f"I5: records that are not committed: {lag};"):
        audit.check()


def test_a_commit_that_goes_back_is_told_of() -> None:
    audit = audited([decision(0)], [decision(1)])
    audit._commits = [commit(1, 2), commit(2, 2), commit(1, 2)]

    assert audit.regressions() == [(0, 2, 1)]
