"""The engine offline, a contestant: `python -m bench.offline plain|remembering|unsorted [THREADS]`.

- plain: the worker's whole line on windows as the worker cuts them, three at a time as there, without the verdict cache.
- remembering: the same with it, empty at the start of each round.
- unsorted: the shipped model on ONNX Runtime as one would call it first, 64 texts a run in the order of their arrival.
"""

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from bench.torchless import hide_torch

hide_torch()

from bench.comments import comment_values  # noqa: E402  after torch is hidden
from bench.contest import Work, serve  # noqa: E402
from worker.app import create_screener, load_classifier, load_detector  # noqa: E402
from worker.metrics import Metrics  # noqa: E402
from worker.operating_points import operating_points_of  # noqa: E402
from worker.policy_file import load_policy  # noqa: E402
from worker.screening import Record, Screener  # noqa: E402
from worker.settings import Settings  # noqa: E402

_DEPTH: Final = 3
"""Windows under way at once, as in the worker: while one waits for the model, the next is tokenised."""
_BATCH: Final = 64

_Item = TypeVar("_Item")


def main() -> None:
    """Serve rounds."""
    kind, *threads = sys.argv[1:]
    settings = Settings(
        kafka_bootstrap_servers="none",
        inference_threads=int(threads[0]) if threads else 0,
        cache_entries=Settings.model_fields["cache_entries"].default if kind == "remembering" else 0,
    )
    serve((lambda: prepare_unsorted(settings)) if kind == "unsorted" else (lambda: prepare(settings)))


def prepare(settings: Settings) -> Work:
    """The worker's line."""
    classifier, detect = load_classifier(settings), load_detector()
    policy = load_policy(settings.policy, operating_points_of(settings.model))

    def work(texts: list[str]) -> str:
        metrics = Metrics()
        # A new one each time: what the last round was told must not be remembered.
        screener = create_screener(settings, metrics, classifier=classifier, policy=policy, detect=detect)
        screen(screener, texts, settings.max_window)
        hits = metrics.registry.get_sample_value("screener_score_cache_lookups_total", {"result": "hit"}) or 0
        runs = metrics.registry.get_sample_value("screener_batch_size_count") or 0
        return f"{hits / len(texts):.1%} from memory, {runs:.0f} runs"

    return work


def screen(screener: Screener, texts: list[str], window: int) -> None:
    """As the worker does, without Kafka."""
    records = [Record(value) for value in comment_values(texts, "offline")]
    with ThreadPoolExecutor(_DEPTH) as executor:
        for _ in executor.map(screener.screen, _cut(records, window)):
            pass


def prepare_unsorted(settings: Settings) -> Work:
    """Nothing but tokeniser and model."""
    classifier = load_classifier(settings)

    def work(texts: list[str]) -> str:
        pieces = [piece for of_text in classifier.encode(texts) for piece in of_text]
        for batch in _cut(pieces, _BATCH):
            classifier.score(batch)
        return ""

    return work


def _cut(items: list[_Item], size: int) -> Iterable[list[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


if __name__ == "__main__":
    main()
