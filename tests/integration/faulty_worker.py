"""The worker with a fault put in on purpose: `python faulty_worker.py FAULT`."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from worker import app, cli, faust_app, publisher, vitals
from worker.acking import AckingPipeline
from worker.agents import Pipeline
from worker.classifier import Found, Piece
from worker.onnx import OnnxClassifier
from worker.screening import PROBE


def after_the_probe(fault: Callable[[], None]) -> None:
    """The model answers the probe, and from then on each run of it is the fault."""
    score, encode = OnnxClassifier.score, OnnxClassifier.encode
    asked: list[str] = []

    def remember(self: OnnxClassifier, texts: Sequence[str]) -> list[list[Piece]]:
        asked[:] = texts
        return encode(self, texts)

    def score_the_probe(self: OnnxClassifier, pieces: Sequence[Piece]) -> list[Found]:
        if asked != [PROBE]:
            fault()
        return score(self, pieces)

    OnnxClassifier.encode = remember  # type: ignore[method-assign]
    OnnxClassifier.score = score_the_probe  # type: ignore[method-assign]


def hang() -> None:
    """The model never answers."""

    def hang_for_ever() -> None:
        threading.Event().wait()

    after_the_probe(hang_for_ever)


def hang_tokeniser() -> None:
    """The tokeniser never does."""
    encode = OnnxClassifier.encode

    def hang_for_ever(self: OnnxClassifier, texts: Sequence[str]) -> list[list[Piece]]:
        if list(texts) != [PROBE]:
            threading.Event().wait()
        return encode(self, texts)

    OnnxClassifier.encode = hang_for_ever  # type: ignore[method-assign]


def hang_publish() -> None:
    """Nothing that is sent is ever confirmed, and nothing ever fails."""

    async def hang_for_ever(*_: object) -> list[Any]:
        await asyncio.Event().wait()
        return []

    publisher.send_in_batches = hang_for_ever  # type: ignore[assignment]


def block_the_loop() -> None:
    """Something waits in the event loop's thread."""

    def hang_for_ever(*_: object) -> None:
        time.sleep(3600)

    AckingPipeline._finish = hang_for_ever  # type: ignore[method-assign,assignment]


def no_memory() -> None:
    """No run of the model finds any."""

    def run_out() -> None:
        raise MemoryError

    after_the_probe(run_out)


def broken_model() -> None:
    """It answers the probe once, and then nothing any more; what it raises quotes what it was asked."""
    score, encode = OnnxClassifier.score, OnnxClassifier.encode
    asked: list[str] = []

    def remember(self: OnnxClassifier, texts: Sequence[str]) -> list[list[Piece]]:
        asked.extend(texts)
        return encode(self, texts)

    def score_the_first(self: OnnxClassifier, pieces: Sequence[Piece]) -> list[Found]:
        if asked != [PROBE]:
            raise ValueError(f"cannot score {asked}")
        return score(self, pieces)

    OnnxClassifier.encode = remember  # type: ignore[method-assign]
    OnnxClassifier.score = score_the_first  # type: ignore[method-assign]


def slow_model() -> None:
    """Each run of the model takes as long as on a machine with too little of everything."""

    def take_time() -> None:
        time.sleep(0.1)

    after_the_probe(take_time)


def impatient() -> None:
    """It gives brokers a second to say how far the partitions go, and a quarter of a minute to be there."""
    vitals._METER_TIMEOUT_S = 1.0  # type: ignore[misc]
    vitals._METER_EVERY_S = 1.0  # type: ignore[misc]
    vitals._GIVE_UP_AFTER_S = 15.0  # type: ignore[misc]


def slow_to_take_over() -> None:
    """It hears at once of partitions that were added, and takes its time to prepare for them: ledgers, or a slow network."""
    create, assign = faust_app.create_faust_app, Pipeline.assign

    def of_few_words(*arguments: Any) -> Any:
        made = create(*arguments)
        made.conf.consumer_metadata_max_age_ms = 1000
        return made

    async def assign_late(self: Pipeline, partitions: Any) -> None:
        await asyncio.sleep(1.5)
        await assign(self, partitions)

    app.create_faust_app = of_few_words  # type: ignore[attr-defined, assignment]
    Pipeline.assign = assign_late  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[], None]] = {
    "hang": hang,
    "hang-tokeniser": hang_tokeniser,
    "hang-publish": hang_publish,
    "block-the-loop": block_the_loop,
    "no-memory": no_memory,
    "broken-model": broken_model,
    "slow-model": slow_model,
    "impatient": impatient,
    "slow-to-take-over": slow_to_take_over,
}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    cli.app(["run"])
