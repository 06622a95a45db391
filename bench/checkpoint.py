"""The engine offline with a checkpoint, a contestant: `python -m bench.checkpoint cpu|cuda float32|half BATCH_TOKENS`."""

import sys
from typing import Any, Final, get_args

from bench.contest import Renew, Work, serve
from bench.line import prepare
from bench.twin import ensure_twin, import_torch
from worker.settings import Settings

_ON_A_CPU: Final = 1
"""Threads: several of these share the cores of a machine, and what is measured is another one's time."""


def main() -> None:
    """Serve rounds."""
    device, precision, batch_tokens = sys.argv[1:]
    serve(lambda: load(device, precision, int(batch_tokens)))


def load(device: str, precision: str, batch_tokens: int) -> tuple[Work, Renew]:
    """The worker's line around the twin."""
    torch, folder = import_torch(), ensure_twin()
    from worker.checkpoint import Device, Precision, TorchClassifier  # noqa: PLC0415  loads torch

    assert device in get_args(Device)  # noqa: S101  a mistake in this code, not in the world
    assert precision in get_args(Precision)  # noqa: S101  as above
    chosen: dict[str, Any] = {"device": device, "precision": precision}
    classifier = TorchClassifier(folder, batch_tokens=batch_tokens, threads=_ON_A_CPU, **chosen)
    settings = Settings(kafka_bootstrap_servers="none", cache_entries=0, max_batch_tokens=batch_tokens)
    work, renew = prepare(settings, classifier)
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"

    def said(texts: list[str]) -> str:
        return f"{where}, {classifier.precision}, {work(texts)}"

    return said, renew


if __name__ == "__main__":
    main()
