"""The worker among libraries that put whatever they were given into their errors: `python gossiping_worker.py END`.

A tokenizer that quotes the text which it cannot read, a producer that quotes the record which it could not send, once; and for
the text that says "finale", as END says, either a crash that quotes everything or a model that hangs.
"""

import sys
import threading
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from worker import cli
from worker.acking import AckingPipeline
from worker.agents import Delivery
from worker.classifier import Piece
from worker.onnx import OnnxClassifier


def quote_what_cannot_be_read() -> None:
    encode = OnnxClassifier.encode

    def choosy(self: OnnxClassifier, texts: Sequence[str]) -> list[list[Piece]]:
        if any("unclassifiable" in text for text in texts):
            raise ValueError(f"cannot read {texts}")
        return encode(self, texts)

    OnnxClassifier.encode = choosy  # type: ignore[method-assign]


def quote_what_was_not_sent() -> None:
    append, send = BatchBuilder.append, AIOKafkaProducer.send_batch
    letters: list[bytes] = []
    failed: list[bytes] = []

    def take_down(self: BatchBuilder, *, value: bytes, headers: Any, **rest: Any) -> Any:
        # A dead letter: the only thing sent that holds a text.
        letters.extend([value] if headers else [])
        return append(self, value=value, headers=headers, **rest)

    async def fail_once(self: AIOKafkaProducer, batch: BatchBuilder, topic: str, **rest: Any) -> Any:
        if letters and not failed:
            failed.extend(letters)
            raise KafkaError(f"cannot send {letters!r}")
        return await send(self, batch, topic, **rest)

    BatchBuilder.append = take_down
    AIOKafkaProducer.send_batch = fail_once


def crash() -> None:
    """In a place where nobody foresees it, with every record of the window in the message."""
    finish = AckingPipeline._finish

    def quote(self: AckingPipeline, window: Sequence[Delivery]) -> None:
        values = [delivery.record.value for delivery in window]
        if any(b"finale" in (value or b"") for value in values):
            raise RuntimeError(f"cannot finish {values}")
        finish(self, window)

    AckingPipeline._finish = quote  # type: ignore[method-assign]


def hang() -> None:
    """In the middle of a text."""
    encode = OnnxClassifier.encode

    def stop(self: OnnxClassifier, texts: Sequence[str]) -> list[list[Piece]]:
        if any("finale" in text for text in texts):
            threading.Event().wait()
        return encode(self, texts)

    OnnxClassifier.encode = stop  # type: ignore[method-assign]


if __name__ == "__main__":
    quote_what_cannot_be_read()
    quote_what_was_not_sent()
    {"crash": crash, "hang": hang}[sys.argv.pop(1)]()
    cli.app(["run"])
