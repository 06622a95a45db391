"""Scenario 12: SIGTERM under full load, again and again: what was begun is finished, and next to nothing is done twice."""

import random
from pathlib import Path
from typing import Final

import pytest

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import comments
from tests.topics import Topics
from tests.workers import WorkerProcess

_COMMENTS: Final = 5000
_TURNS: Final = 4


@pytest.mark.chaos_slice
async def test_sigterm_under_full_load_exits_0_and_repeats_nothing(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    await audit.produce(comments(_COMMENTS, seed))
    worker = WorkerProcess(cluster, topics, tmp_path, cache_entries=0)
    for turn in range(_TURNS):
        async with worker:
            # Anywhere in the middle of a window, with thousands more waiting.
            await audit.until_more(chance.randrange(200, 600))
            assert await worker.terminate() == 0
        print(f"SIGTERM {turn + 1}: {audit.repeats} repeats so far")  # noqa: T201
    assert audit.missing
    async with worker:
        await audit.until_rest()
        assert await worker.terminate() == 0
    audit.check()
    assert audit.repeats == 0
