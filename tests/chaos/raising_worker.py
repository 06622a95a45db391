"""The worker with an exception now and then: `python raising_worker.py STEP ERROR`."""

import itertools
import sys
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from worker import cli, screening
from worker.onnx import OnnxClassifier

STEPS: Final[dict[str, list[tuple[Any, str, int]]]] = {
    # Where it happens, and every how many calls: records one by one, windows and batches of them.
    "decode": [(screening, "decode_comment", 150)],
    "tokenise": [(OnnxClassifier, "encode", 7)],
    "infer": [(OnnxClassifier, "score", 7)],
    # At least once, and in transactions.
    "produce": [(AIOKafkaProducer, "send_batch", 40), (AIOKafkaProducer, "send", 150)],
}
ERRORS: Final = {error.__name__: error for error in (RuntimeError, MemoryError, KafkaConnectionError)}


def raise_now_and_then(step: str, error: type[Exception]) -> None:
    """Put it in."""
    for place, name, every in STEPS[step]:
        _raise_in(place, name, every, step, error)


def _raise_in(place: Any, name: str, every: int, step: str, error: type[Exception]) -> None:
    calls = itertools.count(1)
    wrapped = getattr(place, name)

    def raising(*arguments: Any, **named: Any) -> Any:
        if next(calls) % every == 0:
            print(f"raised {error.__name__} in {step}", flush=True)  # noqa: T201  its log is what the test reads
            raise error("put in on purpose")
        return wrapped(*arguments, **named)

    setattr(place, name, raising)


if __name__ == "__main__":
    raise_now_and_then(sys.argv.pop(1), ERRORS[sys.argv.pop(1)])
    cli.app(["run"])
