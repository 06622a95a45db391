"""What the worker refuses to start with: exit 2 and one clear line."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.audit import Audit
from tests.comments import comments
from tests.topics import Topics, fresh_topics
from tests.workers import WorkerProcess
from worker.demo.broker import Broker, Kind, free_port, start_broker

NOT_THERE = Topics("nobody-made-this", "nor-this", "nor-that", 1)


async def refusal(worker: WorkerProcess) -> str:
    """The last line of a worker that does not start."""
    assert await worker.start().ended() == 2
    return worker.said().splitlines()[-1]


async def test_topics_that_are_not_there(broker: Broker, tmp_path: Path) -> None:
    line = await refusal(WorkerProcess(broker, NOT_THERE, tmp_path))

    assert line == (
        f"comment-screener: no topic nobody-made-this, nor-this, nor-that on {broker.bootstrap}: "
        "comment-screener topics create"
    )


async def test_other_partitions_than_expected(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    line = await refusal(WorkerProcess(broker, topics, tmp_path, comments_partitions=12))

    assert line == f"comment-screener: {topics.comments} has 4 partitions, SCREENER_COMMENTS_PARTITIONS says 12"


async def test_a_port_that_somebody_has(broker: Broker, topics: Topics, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = await refusal(WorkerProcess(broker, topics, tmp_path, http_port=port))

    assert f"SCREENER_HTTP_PORT: cannot listen on 127.0.0.1:{port}" in line


@pytest.mark.parametrize(
    ("setting", "content", "says"),
    [
        ("model", None, "SCREENER_MODEL: {path} is none of the shipped models, and no folder"),
        ("policy", "id: mine\nversion: 1\nlabels:\n  insults:\n    all: {hold: 0.5}\n", "{path}:4: labels.insults"),
    ],
)
async def test_a_file_that_is_wrong(  # noqa: PLR0917  a table and three fixtures
    broker: Broker, topics: Topics, tmp_path: Path, setting: str, content: str | None, says: str
) -> None:
    path = tmp_path / "mine"
    if content is not None:
        path.write_text(content)
    line = await refusal(WorkerProcess(broker, topics, tmp_path, **{setting: path}))  # type: ignore[arg-type]

    assert says.format(path=path) in line


async def test_no_broker_in_time(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        worker = WorkerProcess(address, NOT_THERE, tmp_path, startup_timeout_s=3)
        line = await refusal(worker)

    assert f"no answer from Kafka at {address} in 3 s" in line


async def test_a_broker_that_comes_up_in_time_is_waited_for(broker_kind: Kind, tmp_path: Path) -> None:
    port = free_port()
    worker = WorkerProcess(f"127.0.0.1:{port}", Topics("c", "d", "dl", 1), tmp_path, startup_timeout_s=60)
    await worker.start().until_logged("waiting for Kafka")
    with await asyncio.to_thread(start_broker, broker_kind, tmp_path / "broker", port=port) as broker:
        try:
            # Its topics are not there, which only a broker that answers can tell.
            assert await worker.ended() == 2
            assert "no topic c, d, dl" in worker.said().splitlines()[-1]
            topics = await fresh_topics(broker)
            async with Audit(broker, topics) as audit, WorkerProcess(broker, topics, tmp_path, name="again") as again:
                await audit.produce(comments(20))
                await audit.until_complete()
                assert await again.terminate() == 0
        finally:
            worker.kill()
