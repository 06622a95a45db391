"""The commands that are no more than a few lines: exit codes, and one line for whoever called."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from worker.cli import app
from worker.demo.broker import free_port
from worker.schemas import json_schemas
from worker.settings import Settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SCREENER_{name.upper()}", raising=False)
    return monkeypatch


class Readiness(HTTPServer):
    """A worker's /readyz, as far as the command knows it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Readyz)
        self.status, self.body = 200, "ok\n"


class _Readyz(BaseHTTPRequestHandler):
    server: Readiness

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(self.server.body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def worker(environment: pytest.MonkeyPatch) -> Iterator[Readiness]:
    with Readiness() as server:
        environment.setenv("SCREENER_HTTP_PORT", str(server.server_port))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_worker_that_is_ready(worker: Readiness) -> None:
    worker.status = 200
    result = CliRunner().invoke(app, ["health"])

    assert (result.exit_code, result.stdout, result.stderr) == (0, "ok\n", "")


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])  # noqa: S104  what a container listens on
def test_wherever_it_listens(worker: Readiness, environment: pytest.MonkeyPatch, host: str) -> None:
    environment.setenv("SCREENER_HTTP_HOST", host)
    worker.body = "ok\n"

    assert CliRunner().invoke(app, ["health"]).exit_code == 0


def test_it_is_asked_without_a_proxy(worker: Readiness, environment: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        environment.setenv(name, f"http://127.0.0.1:{free_port()}")
    worker.body = "ok\n"

    assert CliRunner().invoke(app, ["health"]).exit_code == 0


def test_a_worker_that_is_not(worker: Readiness) -> None:
    worker.status, worker.body = 503, "the model is loading\n"
    result = CliRunner().invoke(app, ["health"])

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "the model is loading\n")


@pytest.mark.parametrize("port", ["80a", "80 80"])
def test_a_port_that_is_none(environment: pytest.MonkeyPatch, port: str) -> None:
    environment.setenv("SCREENER_HTTP_PORT", port)
    result = CliRunner().invoke(app, ["health"])

    assert result.exit_code == 1
    assert result.stderr.startswith(f"no worker answers on 127.0.0.1:{port}: ")


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")])
def test_no_worker_at_all(environment: pytest.MonkeyPatch, host: str, shown: str) -> None:
    port = free_port()
    environment.setenv("SCREENER_HTTP_HOST", host)
    environment.setenv("SCREENER_HTTP_PORT", str(port))
    result = CliRunner().invoke(app, ["health"])

    assert result.exit_code == 1
    assert result.stderr.startswith(f"no worker answers on {shown}:{port}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["run"], ["topics", "create"]])
def test_without_a_broker_it_does_not_start(command: list[str]) -> None:
    result = CliRunner().invoke(app, command)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "comment-screener: SCREENER_KAFKA_BOOTSTRAP_SERVERS: Field required\n"


ENDS = """
import asyncio
from worker import app, cli
from worker.errors import FatalError, OutOfMemory
async def go_on():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
async def end(self):
    self.left = asyncio.create_task(go_on())
    await asyncio.sleep(0)
    raise {error}
app.Worker.run = end
cli.app(["run"])
"""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("FatalError('it cannot go on')", 1, "comment-screener: it cannot go on"),
        ("OutOfMemory('screening failed')", 70, "watchdog: screening failed"),
        ("MemoryError()", 70, "watchdog: out of memory"),
        ("ValueError('what somebody wrote')", 1, "comment-screener: ValueError"),
    ],
)
def test_however_a_worker_ends_it_says_why_and_quotes_nobody(error: str, code: int, line: str) -> None:
    """And waits for nothing that goes on, as Faust may."""
    ended = subprocess.run(
        [sys.executable, "-c", ENDS.format(error=error)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SCREENER_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"},
        timeout=60,
    )

    assert (ended.returncode, ended.stderr.splitlines()[0]) == (code, line)
    assert "somebody" not in ended.stderr
    assert ("in end" in ended.stderr) == (not error.startswith("FatalError"))


def test_topics_on_a_broker_that_does_not_answer(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SCREENER_KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    result = CliRunner().invoke(app, ["topics", "create"])

    assert result.exit_code == 2
    assert result.stderr.startswith("comment-screener: no answer from Kafka at 127.0.0.1:")


@pytest.mark.parametrize("command", [[], ["topics"], ["policy"]])
def test_a_command_without_its_subcommand_explains_itself(command: list[str]) -> None:
    result = CliRunner().invoke(app, command)

    assert result.exit_code == 2
    assert "Usage:" in result.output


def test_the_schemas(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["schemas", str(tmp_path / "new" / "folder")])

    assert result.exit_code == 0
    files = (tmp_path / "new" / "folder").iterdir()
    assert {file.stem: json.loads(file.read_bytes()) for file in files} == json_schemas()
