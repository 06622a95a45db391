"""Metrics: named and described once, with values that are there from the start and labels that have a bound."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from worker.classifier import LABELS
from worker.errors import Reason
from worker.metrics import CATEGORIES, STAGES, SUPPORT, Metrics
from worker.records import Action, AgeBand, Model, PolicyVersion

BOUNDED: dict[str, set[str]] = {
    "action": set(Action),
    "category": set(CATEGORIES),
    "age_band": set(AgeBand),
    "label": set(LABELS),
    "reason": set(Reason),
    "stage": set(STAGES),
    "result": {"hit", "miss", "adopted", "refused"},
    "supported": set(SUPPORT.values()),
}
"""Every label and all its values; `partition` is bounded by the topic."""
_UNITLESS = {"screener_in_flight", "screener_assigned_partitions", "screener_batch_size", "screener_batch_tokens"} | {
    "screener_score_cache_entries",
    "screener_watermark_offset",
    "screener_earliest_offset",
    "screener_lag_messages",
    "screener_unstable_messages",
    "screener_paused",
    "screener_batch_tokens_limit",
    "screener_runs_at_once",
    "screener_in_flight_limit",
    "screener_queue_length",
    "screener_ready",
    "screener_policy_refused",
    "screener_score",
}
OURS = Path(__file__).parents[2] / "worker"


def ours(metrics: Metrics) -> Iterator[Metric]:
    return (metric for metric in metrics.registry.collect() if metric.name.startswith("screener_"))


def families() -> list[Metric]:
    return list(ours(Metrics()))


def test_every_collector_of_ours_is_collected() -> None:
    assert len(families()) >= 20


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_each_is_described_in_a_sentence(family: Metric) -> None:
    assert family.documentation.endswith(".") or ";" in family.documentation
    assert len(family.documentation) > 10


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_each_name_says_its_unit(family: Metric) -> None:
    assert re.fullmatch("screener_[a-z_]+", family.name)
    if family.type == "counter":
        # The client strips `_total` from the family and puts it on the sample.
        assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples)
    elif family.type in ("gauge", "histogram"):
        assert family.name.endswith(("_seconds", "_bytes")) or family.name in _UNITLESS


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_no_label_is_without_a_bound(family: Metric) -> None:
    if family.type == "info":
        return
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label != "le":
                assert value in BOUNDED[label]


def test_values_are_there_before_anything_happened() -> None:
    samples = {(s.name, *sorted(s.labels.values())): s.value for family in families() for s in family.samples}

    for action in Action:
        assert samples["screener_comments_total", action] == 0
    for reason in Reason:
        assert samples["screener_dead_letters_total", reason] == 0
    for category in CATEGORIES:
        for band in AgeBand:
            assert samples["screener_decisions_total", *sorted((category, band))] == 0
    for supported in SUPPORT.values():
        assert samples["screener_languages_total", supported] == 0
    for stage in STAGES:
        assert samples["screener_stage_seconds_count", stage] == 0
    for result in ("hit", "miss"):
        assert samples["screener_score_cache_lookups_total", result] == 0
    for label in LABELS:
        assert samples["screener_score_count", label] == 0


def test_partitions_are_the_only_values_that_are_not_known_at_the_start() -> None:
    without_samples = {family.name for family in families() if not family.samples}

    assert without_samples == {
        # The client strips `_total` from the family.
        "screener_records_read",
        "screener_watermark_offset",
        "screener_earliest_offset",
        "screener_lag_messages",
        "screener_lag_seconds",
        "screener_unstable_messages",
        "screener_unstable_seconds",
    }


def test_every_stage_that_is_reported_is_known() -> None:
    reported = {
        stage
        for file in OURS.glob("*.py")
        for stage in re.findall(r'(?:_observer|_metrics|metrics)\.stages?\(\s*"(\w+)"', file.read_text("utf-8"))
    }

    assert reported == set(STAGES)


def test_what_screening_reports() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.stage("infer", 0.25)
    metrics.batch(size=3, tokens=20, padding=4)
    metrics.cache(hits=2, misses=5, entries=7)
    metrics.scored([{"insult": 0.42, "kindness": 0.02}])
    metrics.scored([])
    metrics.bisected()
    metrics.out_of_memory()
    sample = registry.get_sample_value

    assert sample("screener_stage_seconds_sum", {"stage": "infer"}) == 0.25
    assert sample("screener_batch_size_sum") == 3
    assert sample("screener_batch_tokens_sum") == 24
    assert (sample("screener_tokens_total"), sample("screener_padding_tokens_total")) == (20, 4)
    assert sample("screener_score_cache_lookups_total", {"result": "hit"}) == 2
    assert sample("screener_score_cache_lookups_total", {"result": "miss"}) == 5
    assert sample("screener_score_cache_entries") == 7
    assert sample("screener_score_bucket", {"label": "insult", "le": "0.4"}) == 0
    assert sample("screener_score_bucket", {"label": "insult", "le": "0.5"}) == 1
    assert sample("screener_score_sum", {"label": "kindness"}) == 0.02
    assert sample("screener_score_count", {"label": "threat"}) == 0
    assert sample("screener_bisections_total") == 1
    assert sample("screener_out_of_memory_total") == 1


def test_what_is_in_force() -> None:
    registry = CollectorRegistry()
    Metrics(registry).describe(Model("default", "1", "a" * 64), PolicyVersion("strict", "2", "b" * 64))

    model = {"name": "default", "version": "1", "sha256": "a" * 64}
    policy = {"id": "strict", "version": "2", "sha256": "b" * 64}
    assert registry.get_sample_value("screener_model_info", model) == 1
    assert registry.get_sample_value("screener_policy_info", policy) == 1


def test_nothing_is_in_force_before_it_is_known() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    assert not [family.name for family in registry.collect() if family.type == "info"]
    for version in ("1", "2"):
        metrics.describe(Model("default", version, "a" * 64), PolicyVersion("strict", "2", "b" * 64))
        (family,) = [family for family in registry.collect() if family.name == "screener_model"]
        assert [sample.labels["version"] for sample in family.samples] == [version]


def test_what_the_settings_allow() -> None:
    registry = CollectorRegistry()
    Metrics(registry).limits(in_flight=500, in_flight_bytes=1_000_000)

    assert registry.get_sample_value("screener_in_flight_limit") == 500
    assert registry.get_sample_value("screener_in_flight_limit_bytes") == 1_000_000


def test_two_workers_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.tombstones.inc()

    assert other.registry.get_sample_value("screener_tombstones_total") == 0
