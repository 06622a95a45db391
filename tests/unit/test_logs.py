"""Logs: one JSON object a line where nobody is looking, ours and those of the libraries alike."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from tests.fakes import ManualClock
from worker.logs import Repeats

PROGRAM = """
import logging, sys, structlog
from worker.logs import configure_logs

configure_logs(sys.argv[1])
structlog.get_logger("worker").debug("detail")
structlog.get_logger("worker").info("window finished", records=3)
logging.getLogger("aiokafka.consumer").info("heartbeat")
logging.getLogger("aiokafka.consumer").warning("gone: %s", "broker")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("worker").exception("failed")
"""


def logged(level: str, program: str = PROGRAM) -> list[dict[str, Any]]:
    """What a program logs in a process of its own, because logging is global."""
    ended = subprocess.run([sys.executable, "-c", program, level], capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    return [json.loads(line) for line in ended.stderr.splitlines()]


def test_one_json_object_a_line() -> None:
    first, second, third = logged("info")

    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "window finished", "records": 3, "level": "info", "logger": "worker"}
    assert (second["event"], second["level"], second["logger"]) == ("gone: broker", "warning", "aiokafka.consumer")
    assert third["event"] == "failed"
    assert "ZeroDivisionError" in third["exception"]


QUOTING = """
import asyncio, gc, logging
import structlog
from aiokafka.errors import KafkaConnectionError
from worker.logs import configure_logs

configure_logs("debug")
library = logging.getLogger("faust.agents")
logging.getLogger("aiokafka.conn").debug("Request: %s", "the text")
logging.getLogger("never.heard.of").debug("the text")
try:
    try:
        raise ValueError("the text")
    except ValueError:
        raise RuntimeError("the text again")
except RuntimeError as error:
    library.exception("Crashed reason=%r", error)
    structlog.get_logger("worker").exception("failed")
library.error("cannot connect: %s", KafkaConnectionError("port 9092"))

async def forget():
    async def fail():
        raise ValueError("the text")
    task = asyncio.create_task(fail())
    await asyncio.wait({task})

asyncio.run(forget())
gc.collect()
"""


def test_errors_are_told_by_class_and_place_and_nothing_that_they_quote() -> None:
    crashed, failed, kafka, forgotten = logged("", QUOTING)

    assert crashed["event"] == "Crashed reason='RuntimeError'"
    for line in (crashed, failed):
        assert line["exception"].startswith("ValueError, raised at (innermost last):\n")
        assert "RuntimeError, raised at (innermost last):\n" in line["exception"]
        assert 'File "<string>", line 15' in line["exception"]
    assert kafka["event"] == "cannot connect: KafkaConnectionError: port 9092"
    assert forgotten["event"] == "Task exception was never retrieved"
    assert "ValueError" in forgotten["exception"]
    assert "the text" not in json.dumps([crashed, failed, kafka, forgotten])


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["detail", "window finished", "heartbeat", "gone: broker", "failed"]),
        ("info", ["window finished", "gone: broker", "failed"]),
        ("warning", ["gone: broker", "failed"]),
        ("error", ["failed"]),
    ],
)
def test_the_level_holds_for_us_and_the_libraries_are_quieter(level: str, events: list[str]) -> None:
    assert [line["event"] for line in logged(level)] == events


def test_a_library_says_the_same_thing_once_in_ten_seconds() -> None:
    clock = ManualClock()
    repeats = Repeats(clock)

    def passes(name: str, message: str) -> bool:
        return bool(repeats.filter(logging.makeLogRecord({"name": name, "msg": message})))

    assert passes("aiokafka.client", "cannot connect to %s")
    assert not passes("aiokafka.client", "cannot connect to %s")
    assert passes("aiokafka.client", "something else")
    assert passes("worker.publisher", "publish failed")
    assert passes("worker.publisher", "publish failed")
    clock.advance(10)
    assert passes("aiokafka.client", "cannot connect to %s")
