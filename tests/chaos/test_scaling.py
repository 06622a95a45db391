"""3. Scale from one to two to three workers and back to one: cleanly, then by kill -9."""

from pathlib import Path

import pytest

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import endless_comments
from tests.topics import Topics
from tests.workers import SLOWLY, WorkerProcess


@pytest.mark.parametrize("how", ["cleanly", pytest.param("by kill -9", marks=pytest.mark.chaos_slice)])
async def test_one_two_three_one(cluster: Cluster, topics: Topics, audit: Audit, tmp_path: Path, how: str) -> None:
    one, two, three = (
        WorkerProcess(cluster, topics, tmp_path, name=name, **SLOWLY) for name in ("one", "two", "three")
    )
    async with one:
        async with audit.producing(60, endless_comments(1)):
            await audit.until_more(100)
            async with two:
                await audit.until_more(100)
                async with three:
                    await audit.until_more(100)
                    for leaves in (three, two):
                        if how == "cleanly":
                            assert await leaves.terminate() == 0
                        else:
                            leaves.kill()
            await audit.until_more(100)

        await audit.until_rest()
        assert await one.terminate() == 0
    audit.check()
