"""Asks one Prometheus everything that ops depend on, as Grafana and the rules would, and says what came of it.

dashboards, rules ─► queries ─► variables filled in ─► asked ─► verdicts
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from deploy.verify import promql
from deploy.verify.queries import (
    Query,
    UnknownVariable,
    built_in,
    chosen,
    dashboard_queries,
    label_values,
    recorded,
    step_ms,
    substituted,
    variable_query,
)
from deploy.verify.verdicts import Answer, Excuse, Excuses, Exemplar, Finding, Verdict, judge, useless, wrong_names

Variables = dict[str, str | list[str]]
"""What each variable of one dashboard stands for."""


class Asked(Protocol):
    """What is used of a Prometheus."""

    def instant(self, expression: str, at: float) -> Answer:
        """What an expression is at a time (seconds since 1970)."""

    def curve(self, expression: str, start: float, end: float, step_ms: int) -> Answer:
        """What it is over a time."""

    def exemplars(self, expression: str, start: float, end: float) -> list[Exemplar]:
        """Single measurements of the series that it is made of, over a time."""

    def label_values(self, label: str, selector: str | None) -> list[str]:
        """Each value that a label has, of the series selected."""


class Window(msgspec.Struct, frozen=True):
    """What time is looked at, and how."""

    start: float
    """Seconds since 1970."""
    end: float
    scrape_ms: int
    page_width: int
    """Pixels."""

    @property
    def range_ms(self) -> int:
        """How long it is."""
        return int((self.end - self.start) * 1000)


class Drawable(msgspec.Struct, frozen=True):
    """One query's answer, for the picture."""

    query: Query
    asked: str
    step: int
    """Milliseconds between two points of a curve."""
    result: Sequence[Mapping[str, Any]]
    exemplars: Sequence[Exemplar] = ()


class Answers(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """One dashboard with all that its picture takes; times in milliseconds."""

    dashboard: Mapping[str, Any]
    variables: Variables
    start: int
    end: int
    answers: Sequence[Drawable]


class Checked(msgspec.Struct, frozen=True):
    """What came of it all."""

    findings: Sequence[Finding]
    wrong: Sequence[str]
    """A line for each name that is asked for and not there, or there and not asked for."""
    answers: Mapping[str, Answers]
    """By the dashboard's file."""


def check(
    prometheus: Asked,
    window: Window,
    *,
    dashboards: Mapping[str, Mapping[str, Any]],
    rules: Sequence[Query],
    exposed: set[str],
    excuses: Excuses,
) -> Checked:
    """Ask everything.

    Args:
        prometheus: whom.
        window: over which time.
        dashboards: a file's name → the dashboard in it.
        rules: what the rules ask (`queries.rule_queries`).
        exposed: the names of the series on a worker's /metrics.
        excuses: for what may come back empty or unused.
    """
    empty = [*excuses.empty, *excuses.quiet]
    findings: list[Finding] = []
    answers = {}
    for file, dashboard in dashboards.items():
        of_dashboard, answers[file] = check_dashboard(prometheus, window, file, dashboard, empty)
        findings += of_dashboard
    asking = _Asking(prometheus, window, empty)
    findings += [asking.ask(query, {})[0] for query in rules]

    asked: dict[str, set[str]] = {}
    for finding in findings:
        for name in promql.metrics(finding.asked):
            asked.setdefault(name, set()).add(finding.query.place)
    wrong = wrong_names(asked, exposed, recorded(rules), excuses)
    wrong += [f"excused.yml: nothing is named {one.query!r}" for one in useless(empty, findings)]
    return Checked(findings, wrong, answers)


def check_dashboard(
    prometheus: Asked, window: Window, file: str, dashboard: Mapping[str, Any], empty: Sequence[Excuse]
) -> tuple[list[Finding], Answers]:
    """Ask what one dashboard asks. `empty`: excuses for what may come back so."""
    asking = _Asking(prometheus, window, empty)
    variables, findings = asking.variables(file, dashboard)
    drawables = []
    for query in dashboard_queries(file, dashboard):
        if query.kind != "variable":
            finding, drawable = asking.ask(query, variables)
            findings.append(finding)
            drawables.append(drawable)
    return findings, Answers(dashboard, variables, int(window.start * 1000), int(window.end * 1000), drawables)


class _Asking:
    def __init__(self, prometheus: Asked, window: Window, empty: Sequence[Excuse]) -> None:
        self._prometheus = prometheus
        self._window = window
        self._excuses = empty

    def variables(self, file: str, dashboard: Mapping[str, Any]) -> tuple[Variables, list[Finding]]:
        """Fill in the variables one after the other: a later one may ask with the earlier ones."""
        variables: Variables = {}
        findings = []
        for variable in dashboard.get("templating", {}).get("list", []):
            values: list[str] = []
            if variable["type"] == "query":
                query = Query(file, f"${variable['name']}", "variable", variable_query(variable))
                finding, values = self._variable(query, variables)
                findings.append(finding)
            variables[variable["name"]] = chosen(variable, values)
        return variables, findings

    def ask(self, query: Query, variables: Variables) -> tuple[Finding, Drawable]:
        """Ask once; the verdict, and what to draw."""
        window = self._window
        step = step_ms(query, window.range_ms, window.scrape_ms, window.page_width)
        try:
            own = built_in(step, window.range_ms, window.scrape_ms)
            asked = substituted(query.expression, {**variables, **own})
        except UnknownVariable as error:
            failed = Finding(query, query.expression, Verdict.FAILED, str(error))
            return failed, Drawable(query, query.expression, step, [])
        if query.kind in {"alert", "record"} or query.instant:
            answer = self._prometheus.instant(asked, window.end)
        else:
            answer = self._prometheus.curve(asked, window.start, window.end, step)
        unfiltered = None
        if query.kind == "alert":
            unfiltered = self._prometheus.instant(promql.unfiltered(asked), window.end)
        finding = judge(query, asked, answer, unfiltered, self._excuses)
        exemplars = self._prometheus.exemplars(asked, window.start, window.end) if query.exemplars else []
        if query.exemplars and not exemplars and finding.verdict is Verdict.DATA:
            finding = Finding(query, asked, Verdict.FAILED, "no exemplars")
        return finding, Drawable(query, asked, step, answer.result, exemplars)

    def _variable(self, query: Query, variables: Variables) -> tuple[Finding, list[str]]:
        try:
            selector, label = label_values(substituted(query.expression, variables))
        except ValueError as error:
            return Finding(query, "", Verdict.FAILED, str(error)), []
        values = self._prometheus.label_values(label, selector)
        if values:
            return Finding(query, selector or "", Verdict.DATA), values
        return judge(query, selector or "", Answer(), None, self._excuses), []
