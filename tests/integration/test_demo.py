"""The demo as a newcomer meets it: it adds up, it tidies up, and Ctrl-C leaves nothing running."""

import asyncio
import io
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from tests.workers import until
from worker.demo.broker import Broker, Kind
from worker.demo.process import Process
from worker.demo.run import demo
from worker.topics import describe_topics

READY = "ready, metrics on"
DEMO = """
import sys
from rich.console import Console
from worker.demo.broker import Kind
from worker.demo.run import demo
sys.exit(demo(kind=Kind(sys.argv[1]), count=None, console=Console(highlight=False, force_terminal=False, width=200)))
"""


def children(pid: int) -> set[int]:
    """Of all threads."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def topics_on(broker: Broker) -> set[str]:
    return set(asyncio.run(describe_topics(bootstrap_servers=broker.bootstrap)))


def test_it_adds_up_and_takes_its_topics_away_from_somebody_elses_broker(broker: Broker) -> None:
    before = topics_on(broker)
    shown = io.StringIO()

    code = demo(rate=200, count=60, bootstrap=broker.bootstrap, console=Console(file=shown, width=200))

    assert code == 0, shown.getvalue()
    assert "60 inputs = " in shown.getvalue()
    assert "it adds up" in shown.getvalue()
    assert topics_on(broker) - before <= {"__consumer_offsets"}


@pytest.mark.parametrize("presses", [pytest.param(1, marks=pytest.mark.heavy), 2])
def test_ctrl_c_leaves_no_process_and_no_file(broker_kind: Kind, tmp_path: Path, presses: int) -> None:
    """Once: it ends gently, with the sum. Twice: at once, if the sum was not there already."""
    log = tmp_path / "demo.log"
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = Process([sys.executable, "-c", DEMO, broker_kind], log, environment)
    process.start()
    try:
        asyncio.run(until(process, lambda: READY in log.read_text()))
        assert process.pid is not None
        started = children(process.pid)
        time.sleep(1)
        for _ in range(presses):
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.1)
        code = process.wait(60)
    finally:
        process.kill()

    assert len(started) == 2
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert [path.name for path in tmp_path.iterdir()] == ["demo.log"]
    adds_up = "it adds up" in log.read_text()
    assert adds_up or presses == 2
    assert code == (0 if adds_up else 130)
