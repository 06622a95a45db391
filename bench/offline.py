"""The engine offline, a contestant: `python -m bench.offline plain|remembering|unsorted [THREADS]`.

- plain: the worker's whole line on windows as the worker cuts them, three at a time as there, without the verdict cache.
- remembering: the same with it, empty at the start of each round.
- unsorted: the shipped model on ONNX Runtime as one would call it first, 64 texts a run in the order of their arrival.
"""

import sys
from typing import Final

from bench.torchless import hide_torch

hide_torch()

from bench.contest import Work, serve  # noqa: E402  after torch is hidden
from bench.line import cut, prepare  # noqa: E402
from worker.app import load_classifier  # noqa: E402
from worker.settings import Settings  # noqa: E402

_BATCH: Final = 64


def main() -> None:
    """Serve rounds."""
    kind, *threads = sys.argv[1:]
    settings = Settings(
        kafka_bootstrap_servers="none",
        inference_threads=int(threads[0]) if threads else 0,
        cache_entries=Settings.model_fields["cache_entries"].default if kind == "remembering" else 0,
    )
    if kind == "unsorted":
        serve(lambda: prepare_unsorted(settings))
    else:
        serve(lambda: prepare(settings, load_classifier(settings)))


def prepare_unsorted(settings: Settings) -> Work:
    """Nothing but tokeniser and model."""
    classifier = load_classifier(settings)

    def work(texts: list[str]) -> str:
        pieces = [piece for of_text in classifier.encode(texts) for piece in of_text]
        for batch in cut(pieces, _BATCH):
            classifier.score(batch)
        return ""

    return work


if __name__ == "__main__":
    main()
