"""Who reads comments from Kafka here: workers and their peers, each a process of its own, told by its environment."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from tests.topics import Topics
from tests.workers import WorkerProcess

WORKER: Final = ("-m", "bench.worker_process")
INSTANT: Final = (*WORKER, "instant")
INSTANT_DETECTING: Final = (*WORKER, "instant-detecting")
FAUST_EACH: Final = ("-m", "bench.faust_peer", "each")
FAUST_TAKE: Final = ("-m", "bench.faust_peer", "take")
AIOKAFKA: Final = ("-m", "bench.aiokafka_peer")

_numbers: Final = count(1)


def new_name(what: str) -> str:
    """Of a round's topics, group and log."""
    return f"{what}-{next(_numbers)}"


def process(
    program: Sequence[str], bootstrap: str, topics: Topics, name: str, folder: Path, **settings: Any
) -> WorkerProcess:
    """One process, not started: the worker's default settings, but for those given, in a group of its own."""
    defaults = {"group_id": name, "delivery": "at_least_once", "cache_entries": 0, "log_level": "info"}
    return WorkerProcess(bootstrap, topics, folder, name=name, program=program, **defaults | settings)


def check_running(worker: WorkerProcess) -> None:
    """Raises RuntimeError, with the end of its log, where it is gone."""
    if not worker.process.running:
        raise RuntimeError(f"{worker.log} ended: {worker.process.tail()}")
