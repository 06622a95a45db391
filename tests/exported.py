"""What a worker exports, for the tests that read dashboards, alerts and runbooks: series, their labels, the labels' values.

Asked of worker/metrics.py itself, which creates the label values that it knows before anything happened.
"""

import re
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client.metrics import MetricWrapperBase

from deploy.verify.promql import selectors
from worker.metrics import Metrics
from worker.records import Model, PolicyVersion

Labels = dict[str, set[str]]
"""A series' labels, and what each may be; nothing: anything."""

RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load(
        (Path(__file__).parents[1] / "deploy/prometheus/rules.yml").read_text(encoding="utf-8")
    )["groups"]
    for rule in group["rules"]
]
RECORDED: Final = {rule["record"] for rule in RULES if "record" in rule}
OF_EVERY_TARGET: Final = {"job", "instance"}
_SUFFIXES: Final = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}


def _exported() -> dict[str, Labels]:
    collectors = Metrics()
    collectors.describe(Model("m", "1", "0" * 64), PolicyVersion("p", "1", "0" * 64))
    series: dict[str, Labels] = {}
    for collector in vars(collectors).values():
        if isinstance(collector, MetricWrapperBase):
            [family] = collector.collect()
            kind = str(collector._type)
            for suffix in _SUFFIXES[kind]:
                name = family.name + suffix
                labels: Labels = {label: set() for label in collector._labelnames}
                for sample in family.samples:
                    if sample.name == name:
                        for label, value in sample.labels.items():
                            # What a worker says of its model and policy is anybody's choice.
                            labels.setdefault(label, set()).update(() if kind == "info" else {value})
                if suffix == "_bucket":
                    labels.setdefault("le", set())
                series[name] = labels
    return series


OURS: Final = _exported()
KNOWN: Final[dict[str, Labels]] = (
    OURS
    | {name: Labels() for name in RECORDED}
    | {
        "ALERTS": {"alertname": set(), "alertstate": set(), "severity": set(), "partition": set()},
        "process_cpu_seconds_total": {},
        "process_resident_memory_bytes": {},
        "process_start_time_seconds": {},
        "up": {},
    }
)


def values_of(label: str) -> set[str]:
    """All that a label of ours may be; nothing: anything, or there is no such label."""
    return set().union(*(labels.get(label, set()) for labels in OURS.values()))


def matchers(selector: str) -> list[tuple[str, set[str]]]:
    """Each label that a selector asks for, and the values."""
    return [
        (label, set(value.split("|")) if "~" in operator else {value})
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', selector)
    ]


def check_exported(expression: str, *, choices: bool = False) -> None:
    """Every metric and label in it is exported, with such a value; with `choices`, or with what is chosen (`$name`)."""
    assert selectors(expression)
    for selector in selectors(expression):
        metric = selector.partition("{")[0]
        assert metric in KNOWN, f"{metric} is not exported"
        for label, values in matchers(selector):
            assert label in KNOWN[metric].keys() | OF_EVERY_TARGET, f"{metric} has no label {label}"
            may_be = KNOWN[metric].get(label) or values
            for value in values - ({f"${label}", ""} if choices else set()):
                assert value in may_be, f"{metric}: {label} is never {value}"
