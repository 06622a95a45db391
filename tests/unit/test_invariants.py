"""The audit that watches every failure test finds what it is there to find, without a broker."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

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


def decision(offset: int, decision_id: str = "one", action: str = "allow") -> Any:
    comment_id = json.loads(COMMENTS[offset][1] or b"")["comment_id"]
    source = {"topic": TOPICS.comments, "partition": 0, "offset": offset}
    value = {"comment_id": comment_id, "decision_id": f"{offset}-{decision_id}", "action": action, "source": source}
    return SimpleNamespace(
        topic=TOPICS.decisions, partition=0, offset=0, key=comment_id.encode(), value=json.dumps(value).encode()
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
