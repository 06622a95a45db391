"""The worker's whole line without Kafka: windows as the worker cuts them, three at a time as there."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from bench.comments import comment_values
from bench.contest import Renew, Work
from worker.app import create_screener
from worker.classifier import Classifier
from worker.loading import load_detector
from worker.metrics import Metrics
from worker.operating_points import operating_points_of
from worker.policy_file import load_policy
from worker.screening import Record, Screener
from worker.settings import Settings

_DEPTH: Final = 3
"""Windows under way at once, as in the worker: while one waits for the model, the next is tokenised."""

_Item = TypeVar("_Item")


def prepare(settings: Settings, classifier: Classifier, before: Sequence[str] = ()) -> tuple[Work, Renew]:
    """Each round on a new line: what the last one was told must not be remembered, and of `before` all that is kept."""
    detect = load_detector()
    policy = load_policy(settings.policy, operating_points_of(settings.model))
    lines: list[tuple[Screener, Metrics]] = []

    def renew() -> None:
        metrics = Metrics()
        screener = create_screener(settings, metrics, classifier=classifier, policy=policy, detect=detect)
        screen(screener, list(before), settings.max_window)
        lines[:] = [(screener, metrics)]

    def work(texts: list[str]) -> str:
        ((screener, metrics),) = lines
        hits, runs = _hits(metrics), _runs(metrics)
        screen(screener, texts, settings.max_window)
        return f"{(_hits(metrics) - hits) / len(texts):.1%} from memory, {_runs(metrics) - runs:.0f} runs"

    return work, renew


def _hits(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("screener_score_cache_lookups_total", {"result": "hit"}) or 0.0


def _runs(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("screener_batch_size_count") or 0.0


def screen(screener: Screener, texts: list[str], window: int) -> None:
    """As the worker does, without Kafka."""
    records = [Record(value) for value in comment_values(texts, "offline")]
    with ThreadPoolExecutor(_DEPTH) as executor:
        for _ in executor.map(screener.screen, cut(records, window)):
            pass


def cut(items: list[_Item], size: int) -> Iterable[list[_Item]]:
    """One after the other, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
