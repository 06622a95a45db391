"""7. An exception in decode, tokenise, infer and produce, at each step, now and then.

Nothing is wrong with the records, so none may become a dead letter. A worker gets over it or ends without an ack, and the
next one goes on from there.
"""

import asyncio
from pathlib import Path

import pytest

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import comments
from tests.topics import Topics
from tests.workers import SLOWLY, WorkerProcess

RAISING = Path(__file__).with_name("raising_worker.py")
COMMENTS = 320
LIVES = 6


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("decode", "RuntimeError"),
        ("decode", "MemoryError"),
        ("tokenise", "RuntimeError"),
        ("tokenise", "MemoryError"),
        ("infer", "RuntimeError"),
        ("infer", "MemoryError"),
        ("produce", "RuntimeError"),
        ("produce", "KafkaConnectionError"),
    ],
)
async def test_an_exception_now_and_then(  # noqa: PLR0917  fixtures and a table
    cluster: Cluster, topics: Topics, audit: Audit, tmp_path: Path, step: str, error: str
) -> None:
    await audit.produce(comments(COMMENTS))
    worker = WorkerProcess(cluster, topics, tmp_path, program=(str(RAISING), step, error), **SLOWLY)
    codes: list[int | None] = []
    try:
        while audit.missing and len(codes) < LIVES:
            worker.start()
            while audit.missing and worker.process.running:  # noqa: ASYNC110  either may come first
                await asyncio.sleep(0.1)
            if not worker.process.running:
                codes.append(worker.process.exit_code)
        await worker.start().ready()
        await audit.until_rest()
        assert await worker.terminate() == 0
    finally:
        worker.kill()

    audit.check()
    assert set(codes) <= {1, 70}, worker.process.tail()
    assert audit.counts().dead_letters == 0
    # Who looks for the reason wants its name and place, not those of what it was wrapped in.
    assert "comment-screener: ExceptionGroup" not in worker.said()
    assert f"raised {error} in {step}" in worker.said()
