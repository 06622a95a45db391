"""The worker as a process, given a model's folder that is broken: it ends by itself, in one clear line, and quotes nobody."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests import commands
from tests.topics import Topics
from tests.unit.test_onnx import write_json, write_model
from tests.workers import WorkerProcess
from worker.demo.broker import LOOPBACK, free_port
from worker.screening import PROBE

TOPICS: Final = Topics("comments", "decisions", "dead-letters", 1)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def know_more_words(tokenizer: Path) -> None:
    """As that of another model, which has a row for each."""
    content = json.loads(tokenizer.read_bytes())
    content["model"]["vocab"]["lovely"] = 600
    write_json(tokenizer, content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that is well."""
    return write_model(tmp_path / "model")


def worker(folder: Path, tmp_path: Path) -> WorkerProcess:
    """One with that model, and no broker to be found."""
    nobody = f"{LOOPBACK}:{free_port()}"
    return WorkerProcess(nobody, TOPICS, tmp_path, model=folder, startup_timeout_s=1)


async def last_line(process: WorkerProcess, code: int) -> str:
    """What a worker says that ends like this, behind its log, which is of whole lines as ever."""
    assert await process.start().ended() == code, process.said()
    *log, line = process.said().splitlines()
    assert all("event" in json.loads(entry) for entry in log)
    assert PROBE not in process.said()
    return line


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: cut_short(folder / "model.onnx"), "{folder}/model.onnx does not load: "),
        (lambda folder: (folder / "tokenizer.json").unlink(), "SCREENER_MODEL: {folder} has no tokenizer.json"),
        (lambda folder: cut_short(folder / "tokenizer.json"), "{folder}: its tokenizer does not load: "),
        (
            lambda folder: write_json(folder / "operating_points.json", {"insult": {"0.80": 3}}),
            "{folder}/operating_points.json: insult: the score of precision 0.80 is a number above 0",
        ),
    ],
    ids=["model cut short", "no tokenizer", "tokenizer cut short", "operating points of no such scores"],
)
async def test_a_worker_that_cannot_load_it_says_in_a_line_why_not(
    folder: Path, tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(folder)

    line = await last_line(worker(folder, tmp_path), 2)
    assert line.startswith(f"comment-screener: {says.format(folder=folder)}")


async def test_one_that_loads_and_does_not_answer_cannot_go_on(folder: Path, tmp_path: Path) -> None:
    know_more_words(folder / "tokenizer.json")

    line = await last_line(worker(folder, tmp_path), 1)
    assert line == "comment-screener: the model no longer answers: InvalidArgument"


async def test_wrong_thresholds_stop_who_measures_by_them_and_not_the_worker(folder: Path, tmp_path: Path) -> None:
    write_json(folder / "thresholds.json", {"insult": 3})
    (tmp_path / "labelled.csv").write_text("text,insult\nhello idiot,1\n", "utf-8")

    line = await last_line(process := worker(folder, tmp_path), 2)
    assert "no answer from Kafka" in line
    assert '"event": "model ready"' in process.said()

    measured = await commands.give("evaluate", str(tmp_path / "labelled.csv"), "--model", str(folder))
    assert (measured.code, measured.out) == (2, "")
    assert measured.err == f"comment-screener: {folder}/thresholds.json: insult: a threshold is a number from 0 to 1\n"
