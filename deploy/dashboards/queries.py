"""PromQL: the parts that all queries are made of, so that each handles "no traffic" in the same way.

A counter is there from the start, so its rate is 0 when nothing happens. A share of nothing and a quantile of nothing would be
NaN: here they are absent, and the panel says in words what that means.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

INTERVAL: Final = "$__rate_interval"
PERCENTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Query(NamedTuple):
    """What Prometheus is asked, and what each answer is called."""

    expr: str
    legend: str = ""
    instant: bool = False
    """Ask for now alone, and not for the whole time shown: tables and bars."""
    heatmap: bool = False
    """The answers are the buckets of a histogram."""
    exemplars: bool = False
    """Single comments with their traces are shown among the answers, where traces are taken."""


def of(metric: str, *matchers: str, partition: bool = False) -> str:
    """The series of a metric from the workers that are chosen at the top; with `partition`, the partitions too."""
    chosen = ['job=~"$job"', 'instance=~"$instance"', *(['partition=~"$partition"'] if partition else []), *matchers]
    return f"{metric}{{{', '.join(chosen)}}}"


def where(label: str, value: str, operator: str = "=") -> str:
    """One matcher."""
    return f'{label}{operator}"{value}"'


def rate(metric: str, *matchers: str, by: str = "", partition: bool = False) -> str:
    """A counter's increase a second, summed."""
    return f"sum{_by(by)}(rate({of(metric, *matchers, partition=partition)}[{INTERVAL}]))"


def increase(metric: str, *matchers: str, by: str = "", over: str = "$__range") -> str:
    """A counter's increase, summed: over the time shown, unless told otherwise."""
    return f"sum{_by(by)}(increase({of(metric, *matchers)}[{over}]))"


def share(part: str, whole: str, *, each: str = "") -> str:
    """A part of a whole, from 0 to 1; absent where there is no whole. `each`: labels that only the part has."""
    matching = f"ignoring ({each}) group_left () " if each else ""
    return f"{part} / {matching}({whole} > 0)"


def mean(histogram: str, *matchers: str) -> str:
    """The mean of what a histogram has seen lately."""
    return share(rate(f"{histogram}_sum", *matchers), rate(f"{histogram}_count", *matchers))


def more_likely(label: str, counted: Callable[..., str] = rate) -> str:
    """The share of the comments that the model takes to be more likely so than not: a score over 0.5. By `rate` or `increase`."""
    of_label = where("label", label)
    below = counted("screener_score_bucket", of_label, where("le", "0.5"))
    return "1 - " + share(below, counted("screener_score_count", of_label))


def quantile(q: float, histogram: str, *matchers: str) -> str:
    """A quantile of what a histogram has seen lately. NaN, for nothing seen, is not greater than anything."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', *matchers, by='le')}) >= 0"


def percentiles(histogram: str, *matchers: str, exemplars: bool = False) -> list[Query]:
    """What half, 95 and 99 of 100 do not pass; with `exemplars`, and single ones of those that do."""
    return [
        Query(quantile(q, histogram, *matchers), name, exemplars=exemplars and name == "p99")
        for name, q in PERCENTILES.items()
    ]


def buckets(histogram: str, *matchers: str) -> Query:
    """A histogram over time, as a heat map."""
    return Query(f"sum by (le) (increase({of(f'{histogram}_bucket', *matchers)}[{INTERVAL}]))", "{{le}}", heatmap=True)


def newest(metric: str, *matchers: str, by: str, partition: bool = False) -> str:
    """A gauge of which one worker has the truth, and others perhaps an old value."""
    return f"max by ({by}) ({of(metric, *matchers, partition=partition)})"


def slope(metric: str, *, by: str) -> str:
    """How a gauge grows a second; of a partition, by the worker that has it."""
    return f"max by ({by}) (deriv({of(metric, partition=True)}[{INTERVAL}]))"


def model_time() -> str:
    """How much of what each worker's model can run at once does run."""
    return share(
        rate("screener_stage_seconds_sum", where("stage", "infer"), by="instance"),
        f"max by (instance) ({of('screener_runs_at_once')})",
    )


def offsets_finished() -> str:
    """How many offsets of each partition are finished a second. One that is read again goes back, which is no work undone."""
    return f"clamp_min({slope('screener_watermark_offset', by='partition')}, 0)"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""
