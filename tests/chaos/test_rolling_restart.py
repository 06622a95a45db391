"""Scenario 15: one worker after the other is stopped and started again, each under a name of its own, while comments come in.

Their names are known to the group (static membership), so whoever is back within the session timeout gets its partitions back,
and nobody else is asked to let go of theirs.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import comments
from tests.topics import Topics
from tests.workers import WorkerProcess

_WORKERS: Final = ("a", "b", "c")
_SESSION_S: Final = 120
_RATE: Final = 20.0


async def test_a_rolling_restart_moves_no_partition(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    workers = [
        WorkerProcess(cluster, topics, tmp_path, name=name, group_instance_id=name, session_timeout_s=_SESSION_S)
        for name in _WORKERS
    ]
    with ExitStack() as stack:
        for worker in workers:
            stack.callback(worker.kill)
            worker.start()
        for worker in workers:
            await worker.ready()
        await audit.produce(comments(200, seed))
        await audit.until_rest()
        before = [_assignments(worker) for worker in workers]

        async with audit.producing(_RATE, comments(5000, seed + 1)):
            for worker in workers:
                assert await worker.terminate() == 0
                await worker.start().ready()
        await audit.until_rest()
        # One more each, its own after its own start, of what it had before.
        for worker, had in zip(workers, before, strict=True):
            assert _assignments(worker) == [*had, had[-1]]
            assert await worker.terminate() == 0
    audit.check()
    assert audit.repeats == 0


def _assignments(worker: WorkerProcess) -> list[object]:
    """The partitions that it was given, each time that it was given any."""
    return [event["partitions"] for event in worker._events() if event.get("event") == "assigned"]
