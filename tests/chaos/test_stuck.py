"""Scenario 14: the model hangs, or finds no memory. The process ends, says why, acks nothing; the next one carries on."""

from pathlib import Path
from typing import Final

import pytest

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import comments
from tests.topics import Topics
from tests.workers import WorkerProcess
from worker.watchdog import EXIT_STALLED

_STUCK: Final = Path(__file__).with_name("stuck_worker.py")
_COMMENTS: Final = 800


@pytest.mark.parametrize(
    ("fault", "watchdog_s", "says"),
    [
        ("hang", 8, ("watchdog: records are waiting and none was finished", "hang_for_ever")),
        ("no-memory", 120, ("watchdog: screening failed", "MemoryError", "stuck_worker.py")),
        ("no-memory-to-tokenise", 120, ("watchdog: screening failed", "MemoryError", "encode_at_first")),
    ],
    ids=["hang", "no-memory", "no-memory-to-tokenise"],
)
async def test_a_model_that_no_longer_answers_ends_the_process_and_the_next_one_carries_on(  # noqa: PLR0917  fixtures
    cluster: Cluster,
    topics: Topics,
    audit: Audit,
    seed: int,
    tmp_path: Path,
    fault: str,
    watchdog_s: int,
    says: tuple[str, ...],
) -> None:
    await audit.produce(comments(_COMMENTS, seed))
    stuck = WorkerProcess(
        cluster,
        topics,
        tmp_path,
        name="stuck",
        program=(str(_STUCK), fault),
        cache_entries=0,
        max_window=16,
        watchdog_timeout_s=watchdog_s,
    ).start()
    try:
        assert await stuck.ended() == EXIT_STALLED
    finally:
        stuck.kill()
    said = stuck.said()
    assert [line for line in says if line not in said] == []
    assert sum((await audit.committed()).values()) < _COMMENTS
    async with WorkerProcess(cluster, topics, tmp_path) as worker:
        await audit.until_rest()
        assert await worker.terminate() == 0
    audit.check()
    # It was the world that was wrong, not a record.
    assert audit.dead_letters == []


async def test_memory_that_is_short_for_a_while_costs_a_pause(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    await audit.produce(comments(_COMMENTS, seed))
    short = (str(_STUCK), "no-memory-for-a-while")
    async with WorkerProcess(cluster, topics, tmp_path, program=short, cache_entries=0, max_window=16) as worker:
        await audit.until_rest()
        assert await worker.terminate() == 0
    audit.check()
    assert audit.dead_letters == []
    assert audit.repeats == 0
