"""The health server, asked over HTTP."""

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from worker.errors import StartupError
from worker.health import HealthServer
from worker.metrics import Metrics


class Asked:
    """A running server and a client."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.reasons: list[str] = []
        self.server = HealthServer(Metrics().registry, lambda: self.reasons)
        self._client = client

    async def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Status, content type, body."""
        async with self._client.get(f"http://127.0.0.1:{self.server.port}{path}", headers=headers) as answer:
            return answer.status, answer.headers["Content-Type"], await answer.text()


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    async with aiohttp.ClientSession() as client:
        running = Asked(client)
        await running.server.start("127.0.0.1", 0)
        yield running
        await running.server.stop()


async def test_ready_when_there_is_no_reason_not_to_be(asked: Asked) -> None:
    asked.reasons = ["the model is loading", "no partitions assigned yet"]
    assert (await asked.get("/readyz"))[::2] == (503, "the model is loading\nno partitions assigned yet\n")

    asked.reasons = []
    assert (await asked.get("/readyz"))[::2] == (200, "ok\n")


async def test_alive_even_when_not_ready(asked: Asked) -> None:
    asked.reasons = ["the model is loading"]

    assert (await asked.get("/livez"))[::2] == (200, "ok\n")


async def test_metrics_in_the_text_format(asked: Asked) -> None:
    status, content_type, body = await asked.get("/metrics")

    assert status == 200
    assert content_type.startswith("text/plain; version=")
    assert "# HELP screener_tombstones_total Records without a value, passed over on purpose.\n" in body
    assert 'screener_comments_total{action="escalate"} 0.0\n' in body
    assert "process_resident_memory_bytes" in body


async def test_metrics_in_the_format_that_is_asked_for(asked: Asked) -> None:
    _, content_type, body = await asked.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


async def test_nothing_else_is_served(asked: Asked) -> None:
    assert [(await asked.get(path))[0] for path in ("/", "/table", "/router")] == [404, 404, 404]


async def test_a_port_that_is_taken_is_a_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(
            StartupError, match=f"^SCREENER_HTTP_HOST, SCREENER_HTTP_PORT: cannot listen on 127.0.0.1:{port}: "
        ):
            await HealthServer(Metrics().registry, list).start("127.0.0.1", port)
