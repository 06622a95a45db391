"""The worker with something in it that does not move: `python stuck_worker.py FAULT`. Everything else is the real thing."""

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from worker import cli
from worker.acking import AckingPipeline
from worker.agents import Delivery, Pipeline
from worker.classifier import Found, Piece
from worker.onnx import OnnxClassifier
from worker.screening import PROBE

_ANSWERS: Final = 20
"""Batches that the model scores before it stops: whatever breaks, breaks in the middle of work."""


def hang() -> None:
    """The model stops in native code, as far as anybody can tell."""

    def hang_for_ever() -> None:
        threading.Event().wait()

    _after_some_answers(hang_for_ever)


def no_memory() -> None:
    """From some time on there is never enough memory for the model, however small the batch."""

    def fail() -> None:
        raise MemoryError

    _after_some_answers(fail)


def no_memory_for_a_while() -> None:
    """There is none three times in a row, and then there is again."""
    fails = iter(range(3))

    def fail_at_first() -> None:
        if next(fails, None) is not None:
            raise MemoryError

    _after_some_answers(fail_at_first)


def no_memory_to_tokenise() -> None:
    """The tokeniser finds none, from some time on."""
    encode = OnnxClassifier.encode
    calls = iter(range(_ANSWERS))

    def encode_at_first(self: OnnxClassifier, texts: Sequence[str]) -> list[list[Piece]]:
        if list(texts) != [PROBE] and next(calls, None) is None:
            raise MemoryError
        return encode(self, texts)

    OnnxClassifier.encode = encode_at_first  # type: ignore[method-assign]


def hold_the_first_window() -> None:
    """The first window that is taken up is never published; those behind it are."""
    pop, publish = Pipeline._pop_window, AckingPipeline._publish
    first: list[Delivery] = []

    def remember(self: Pipeline) -> list[Delivery]:
        window = pop(self)
        first.extend(window if not first else ())
        return window

    async def publish_all_but_the_first(self: AckingPipeline, window: Sequence[Delivery], outcomes: Any) -> None:
        if window[0] is first[0]:
            await asyncio.Event().wait()
        await publish(self, window, outcomes)

    Pipeline._pop_window = remember  # type: ignore[method-assign]
    AckingPipeline._publish = publish_all_but_the_first  # type: ignore[method-assign]


def _after_some_answers(happens: Callable[[], None]) -> None:
    """The probe at the start is one of them."""
    score = OnnxClassifier.score
    answers = iter(range(_ANSWERS))

    def score_at_first(self: OnnxClassifier, pieces: Sequence[Piece]) -> list[Found]:
        if next(answers, None) is None:
            happens()
        return score(self, pieces)

    OnnxClassifier.score = score_at_first  # type: ignore[method-assign]


FAULTS: Final[dict[str, Callable[[], None]]] = {
    "hang": hang,
    "no-memory": no_memory,
    "no-memory-for-a-while": no_memory_for_a_while,
    "no-memory-to-tokenise": no_memory_to_tokenise,
    "hold-the-first-window": hold_the_first_window,
}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    cli.app(["run"])
