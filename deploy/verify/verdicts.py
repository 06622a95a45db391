"""What is made of an answer: it has data, it is quiet as it should be, it is excused, or it has failed.

Pure: answers in, verdicts out.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from deploy.verify.queries import Query

UNNAMED: Final = ""


class Verdict(StrEnum):
    """What was found of a query."""

    DATA = "data"
    QUIET = "quiet"
    """An alert that does not fire, and would know if it had to: both sides of what it compares are there."""
    EXCUSED = "excused"
    FAILED = "failed"


class Excuse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Queries that may come back empty, and why."""

    query: str
    """Matched against the place, with `*` for anything: `pipeline.json / Trouble / *`."""
    reason: str


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A series that the worker exposes and nothing asks for, and why."""

    name: str
    reason: str


class Excuses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`excused.yml`."""

    empty: list[Excuse] = []
    """Queries that come back empty after some minutes, whatever happens in them."""
    quiet: list[Excuse] = []
    """Queries that come back empty as long as nothing is wrong."""
    unused: list[Series] = []
    elsewhere: list[Series] = []
    """Series that are asked for and that no worker exposes: Prometheus' own, or an exporter's."""


class Answer(msgspec.Struct, frozen=True):
    """What Prometheus said."""

    result: Sequence[Mapping[str, Any]] = ()
    error: str = ""


class Exemplar(msgspec.Struct, frozen=True):
    """A single measurement behind a histogram."""

    at: float
    """Seconds since 1970."""
    value: float
    labels: Mapping[str, str]
    """`trace_id` and `span_id`."""


class Finding(msgspec.Struct, frozen=True):
    """A query with what was found."""

    query: Query
    asked: str
    """The expression as it was asked, with every variable filled in."""
    verdict: Verdict
    reason: str = ""


def has_data(answer: Answer) -> bool:
    """Whether there is one point that is a number. A curve of nothing but NaN draws nothing."""
    return any(not math.isnan(float(value)) for series in answer.result for value in _values(series))


def judge(query: Query, asked: str, answer: Answer, unfiltered: Answer | None, excuses: Sequence[Excuse]) -> Finding:
    """Give the verdict on one query.

    Args:
        query: what was asked, as it is written.
        asked: the same as it was asked.
        answer: to it.
        unfiltered: to `promql.unfiltered` of an alert; None where that was not asked.
        excuses: for those that come back empty. An error has none.
    """
    if answer.error:
        return Finding(query, asked, Verdict.FAILED, answer.error)
    if has_data(answer):
        return Finding(query, asked, Verdict.DATA)
    if unfiltered is not None and not unfiltered.error and has_data(unfiltered):
        return Finding(query, asked, Verdict.QUIET)
    for excuse in excuses:
        if fnmatchcase(query.place, excuse.query):
            return Finding(query, asked, Verdict.EXCUSED, excuse.reason)
    return Finding(query, asked, Verdict.FAILED, "nothing but NaN" if answer.result else "no data")


def useless(excuses: Sequence[Excuse], findings: Sequence[Finding]) -> list[Excuse]:
    """Excuses for queries that are not there any more."""
    return [one for one in excuses if not any(fnmatchcase(finding.query.place, one.query) for finding in findings)]


def wrong_names(
    asked: Mapping[str, set[str]], exposed: Iterable[str], recorded: Iterable[str], excuses: Excuses
) -> list[str]:
    """What is asked for and not there, and what is there and not asked for, a line each.

    Args:
        asked: the name of a series → the places that ask for it.
        exposed: the names of the series on a worker's /metrics.
        recorded: the names that rules make.
        excuses: for both.
    """
    exposed = set(exposed)
    there = exposed | set(recorded) | {series.name for series in excuses.elsewhere}
    used = {_family(name) for name in asked} | {series.name for series in excuses.unused}
    lines = [
        f"{place}: no worker exposes {name}"
        for name, places in sorted(asked.items())
        if name not in there and name != UNNAMED
        for place in sorted(places)
    ]
    lines += [
        f"{family}: the worker exposes it, and no panel and no rule asks for it"
        for family in sorted({_family(name) for name in exposed if name.startswith("screener_")})
        if family not in used
    ]
    lines += [
        f"excused.yml: {series.name} is excused, and no worker exposes it"
        for series in excuses.unused
        if series.name not in {_family(name) for name in exposed}
    ]
    return lines


def _family(name: str) -> str:
    for suffix in ("_bucket", "_sum", "_count"):
        name = name.removesuffix(suffix)
    return name


def _values(series: Mapping[str, Any]) -> Iterable[str]:
    if "value" in series:
        yield series["value"][1]
    for _, value in series.get("values", ()):
        yield value
