"""A policy rolled out by changing its file: the worker goes on, and each decision says by which it was made."""

from collections.abc import Iterable
from pathlib import Path

from tests.audit import Audit
from tests.comments import comments
from tests.topics import Topics
from tests.workers import WorkerProcess
from worker.demo.broker import Broker

COMMENTS = 40


def policy(version: int, threshold: float) -> str:
    return f"{{id: forum, version: {version}, labels: {{insult: {{all: {{hold: {threshold}}}}}}}}}"


async def test_a_policy_changes_without_a_restart_and_a_wrong_one_changes_nothing(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    file = tmp_path / "forum.yaml"
    file.write_text(policy(1, 0.9), encoding="utf-8")
    async with (
        Audit(broker, topics) as audit,
        WorkerProcess(broker, topics, tmp_path, policy=file, policy_reload_s=0.1) as worker,
    ):
        await audit.produce(comments(COMMENTS, 1))
        await audit.until_complete()

        file.write_text(policy(2, 0.5), encoding="utf-8")
        await worker.until_measured('screener_policy_reloads_total{result="adopted"} 1.0')
        await audit.produce(comments(COMMENTS, 2))
        await audit.until_complete()

        file.write_text(policy(3, 50), encoding="utf-8")
        await worker.until_measured("screener_policy_refused 1.0")
        await audit.produce(comments(COMMENTS, 3))
        await audit.until_complete()

        await audit.until_committed()
        assert await worker.terminate() == 0
        audit.check()

    assert versions(audit.decisions) == ["1", "2", "2"]
    assert "forum.yaml:1: " in worker.said()


def versions(decisions: Iterable[dict[str, dict[str, str]]]) -> list[str]:
    """By which policies each deck of comments was decided."""
    order = sorted(decisions, key=lambda decision: str(decision["decided_at"]))
    found = [decision["policy"]["version"] for decision in order]
    decks = [found[start : start + COMMENTS] for start in range(0, len(found), COMMENTS)]
    assert all(len(set(deck)) == 1 for deck in decks)
    return [deck[0] for deck in decks]
