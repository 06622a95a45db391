"""What only the composition root does, without a broker: how it parts with those who do not let go, and without memory."""

import asyncio
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from tests.fakes import FakeClassifier, detect
from tests.pipelines import POLICY
from worker import app
from worker.errors import OutOfMemory
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
