"""What only the composition root does, without a broker: with those who do not let go or answer, with signals, without memory."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from structlog.testing import capture_logs

from tests.fakes import FakeClassifier, detect, record
from tests.pipelines import POLICY
from worker import app
from worker.acking import AckingPipeline
from worker.connection import client_options
from worker.consumer import Fetch
from worker.errors import OutOfMemory, StartupError
from worker.faust_app import create_faust_app
from worker.ledger import Ledgers
from worker.metrics import Metrics
from worker.settings import Settings


async def test_a_client_that_never_lets_go_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_DISCONNECT_S", 0.01)
    left = asyncio.Event()

    async def stop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    with capture_logs() as logs:
        await app._disconnect(SimpleNamespace(stop=stop))  # type: ignore[arg-type]

    assert left.is_set()
    assert [line["log_level"] for line in logs] == ["warning"]


def test_a_model_that_finds_no_memory_at_the_start_ends_the_worker_as_one_that_finds_none_later() -> None:
    classifier = FakeClassifier(transient=10**9)

    with pytest.raises(OutOfMemory, match="cannot answer at all"):
        app.create_screener(
            Settings(kafka_bootstrap_servers="none"), Metrics(), classifier=classifier, policy=POLICY, detect=detect
        )


@contextlib.asynccontextmanager
async def silence() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The address of somebody who takes connections and never says a word, and whether there was one."""
    came, over = asyncio.Event(), asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await over.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield "{}:{}".format(*listening.sockets[0].getsockname()), came
        over.set()


async def test_a_signal_is_heard_while_brokers_are_waited_for() -> None:
    async with silence() as (address, came):
        settings = Settings(kafka_bootstrap_servers=f"{address},{address}", http_port=0, startup_timeout_s=600)
        worker = app.Worker(settings, classifier=FakeClassifier(), detect=detect)
        with capture_logs() as logs:
            async with asyncio.timeout(10):
                running = asyncio.create_task(worker.run())
                await came.wait()
                os.kill(os.getpid(), signal.SIGTERM)
                await running

    assert logs[-1]["event"] == "stopped before it was ready"


async def test_brokers_are_waited_for_no_longer_than_told_however_many_say_nothing() -> None:
    async with silence() as (address, _), asyncio.timeout(5):
        settings = Settings(kafka_bootstrap_servers=f"{address},{address}", startup_timeout_s=0.1)
        with pytest.raises(StartupError, match=rf"^no answer from Kafka at {address},{address} in 0.1 s$"):
            await app.check_topics(settings, client_options(settings))


async def test_brokers_are_asked_while_the_model_is_loaded_and_what_is_wrong_with_it_is_told_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = threading.Event()

    async def refuse(*_: object) -> None:
        refused.set()
        raise StartupError("no topic")

    def fail(*_: object, **__: object) -> FakeClassifier:
        raise StartupError("no model" if refused.wait(10) else "nobody asked the brokers")

    monkeypatch.setattr(app, "check_topics", refuse)
    monkeypatch.setattr(app, "load_classifier", fail)
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:1", http_port=0)
    with pytest.raises(StartupError, match=r"^no model$"):
        await app.Worker(settings, detect=detect).run()
    with pytest.raises(StartupError, match=r"^no topic$"):
        await app.Worker(settings, classifier=FakeClassifier(), detect=detect).run()


async def test_a_model_that_does_not_load_waits_for_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> FakeClassifier:
        raise StartupError("no model")

    monkeypatch.setattr(app, "load_classifier", fail)
    async with silence() as (address, _):
        settings = Settings(kafka_bootstrap_servers=address, http_port=0, startup_timeout_s=600)
        async with asyncio.timeout(10):
            with pytest.raises(StartupError, match=r"^no model$"):
                await app.Worker(settings, detect=detect).run()


def wired(folder: Path, **given: Any) -> tuple[Any, Any, Any]:
    """Faust's application, a pipeline and its publisher, as the worker has them."""
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:1", **given)
    worker = app.Worker(settings, classifier=FakeClassifier(), detect=detect)
    faust_app, publisher = create_faust_app(settings, folder), worker._create_publisher(client_options(settings))
    screener = app.create_screener(settings, Metrics(), classifier=FakeClassifier(), policy=POLICY, detect=detect)
    return faust_app, worker._wire(faust_app, screener, publisher, None), publisher


async def test_commits_let_a_worker_that_sheds_read_on(tmp_path: Path) -> None:
    faust_app, pipeline, _ = wired(tmp_path, shed_lag_s=60, max_in_flight=1)
    assert isinstance(pipeline, AckingPipeline)
    faust_app.consumer_generation_id = 1
    await pipeline.admit(Fetch(TP("comments", 0), [record(b"{}")], 1))
    pipeline._watermarks[0].finish(0)
    faust_app.on_committing()()

    assert pipeline._watermarks[0].uncommitted == 0


async def test_one_that_writes_transactions_reads_from_where_they_end(tmp_path: Path) -> None:
    faust_app, _, publisher = wired(tmp_path, delivery="transactions")
    assert isinstance(publisher, Ledgers)
    publisher._open = {0: SimpleNamespace(position=7)}  # type: ignore[dict-item]

    assert (faust_app.written(0), faust_app.written(1)) == (7, None)
    publisher._open = {}
    await publisher.stop()
