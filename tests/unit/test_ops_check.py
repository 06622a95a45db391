"""`make ops-check` can fail: a query that is wrong is found, and named with its dashboard and panel. No Prometheus here.

`Known` stands in for one: it answers a query whose series it knows, and refuses one whose brackets do not match.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pytest
import yaml
from prometheus_client import generate_latest

from deploy.dashboards.frame import OVERVIEW
from deploy.dashboards.overview import ILL_OR_WELL
from deploy.verify import promql
from deploy.verify.asking import Answers, Checked, Drawable, Window, check, check_dashboard
from deploy.verify.live import DASHBOARDS, EXCUSED, RULES, exposed_names, page, verdict_of
from deploy.verify.prometheus import configuration
from deploy.verify.queries import (
    Query,
    UnknownVariable,
    built_in,
    chosen,
    dashboard_queries,
    label_values,
    milliseconds,
    panels,
    rule_queries,
    step_ms,
    substituted,
)
from deploy.verify.verdicts import Answer, Excuse, Excuses, Exemplar, Finding, Series, Verdict, judge
from worker.metrics import Metrics

WINDOW: Final = Window(start=1000.0, end=1240.0, scrape_ms=2000, page_width=1600)
EXPOSED: Final = {"screener_comments_total", "screener_lag_seconds"}


KNOWN: Final = {"screener_comments_total": "42", "screener_lag_seconds": "0.5", "up": "1"}


class Known:
    """A Prometheus that knows a few series of one worker, each with its value."""

    def __init__(self, series: Mapping[str, str] = KNOWN, exemplars: Sequence[Exemplar] = ()) -> None:
        self.series = series
        self.traced = list(exemplars)

    def instant(self, expression: str, at: float) -> Answer:
        return self._answer(expression, {"value": [at, "{}"]})

    def curve(self, expression: str, start: float, end: float, step_ms: int) -> Answer:
        return self._answer(expression, {"values": [[start, "{}"], [end - step_ms / 1000, "{}"]]})

    def exemplars(self, expression: str, start: float, end: float) -> list[Exemplar]:
        known = promql.metrics(expression) <= self.series.keys()
        return [one for one in self.traced if known and start <= one.at <= end]

    def label_values(self, label: str, selector: str | None) -> list[str]:
        known = selector is None or promql.metrics(selector) <= self.series.keys()
        return {"instance": ["a:1", "b:1"], "job": ["comment-screener"]}.get(label, []) if known else []

    def _answer(self, expression: str, form: dict[str, Any]) -> Answer:
        if expression.count("(") != expression.count(")"):
            return Answer(error="parse error: unclosed left parenthesis")
        # A comparison that filters is one that is not met here.
        if promql.metrics(expression) <= self.series.keys() and not _filters(expression):
            value = next((self.series[name] for name in promql.metrics(expression)), "1")
            return Answer([{"metric": {}, **json.loads(json.dumps(form).replace("{}", value))}])
        return Answer()


def _filters(expression: str) -> bool:
    return promql.unfiltered(expression) != expression


def dashboard(expression: str, **target: Any) -> dict[str, Any]:
    """One panel that asks for it."""
    return {
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource"},
                {
                    "name": "instance",
                    "type": "query",
                    "query": {"query": "label_values(screener_comments_total, instance)"},
                    "includeAll": True,
                    "current": {"value": ["$__all"]},
                },
            ]
        },
        "panels": [
            {
                "id": 7,
                "type": "timeseries",
                "title": "Comments",
                "gridPos": {"x": 0, "y": 0, "w": 12, "h": 8},
                "targets": [{"refId": "A", "expr": expression, **target}],
            }
        ],
    }


def alert(expression: str) -> dict[str, Any]:
    return {"groups": [{"rules": [{"alert": "Behind", "expr": expression}]}]}


def checked(expression: str, rule: str = "screener_lag_seconds > 30", excuses: Excuses | None = None) -> Checked:
    return check(
        Known(),
        WINDOW,
        dashboards={"overview.json": dashboard(expression)},
        rules=rule_queries("rules.yml", alert(rule)),
        exposed=EXPOSED,
        excuses=excuses or Excuses(),
    )


SOUND: Final = 'sum(rate(screener_comments_total{instance=~"$instance"}[$__rate_interval]))'


def test_sound_queries_pass(capsys: pytest.CaptureFixture[str]) -> None:
    result = checked(SOUND)
    assert {finding.query.place: finding.verdict for finding in result.findings} == {
        "overview.json / $instance": Verdict.DATA,
        "overview.json / Comments / A": Verdict.DATA,
        "rules.yml / Behind": Verdict.QUIET,
    }
    assert page(result.findings, result.wrong) == 0
    assert "3 queries run: 2 with data, 1 alerts quiet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        pytest.param(SOUND.replace("comments_total", "coments_total"), "no data", id="a metric that is not there"),
        pytest.param(SOUND.removesuffix(")"), "parse error: unclosed left parenthesis", id="it does not parse"),
        pytest.param(SOUND.replace("$instance", "$worker"), "no variable $worker", id="a variable that is not there"),
    ],
)
def test_a_panel_that_asks_wrongly_fails_and_is_named(
    expression: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = checked(expression)
    assert page(result.findings, result.wrong) >= 1
    said = capsys.readouterr().out
    assert f"FAILED   overview.json / Comments / A: {why}" in said
    assert expression.partition("{")[0] in said


@pytest.mark.parametrize("rule", ["screener_lag_secs > 30", "(screener_lag_seconds > 30", "up > 1 and gone > 1"])
def test_an_alert_that_could_never_fire_fails(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = checked(SOUND, rule)
    assert page(result.findings, result.wrong) >= 1
    assert "FAILED   rules.yml / Behind: " in capsys.readouterr().out


def test_names_are_looked_for_both_ways() -> None:
    result = checked('sum(screener_gone{instance="a"})', "up == 0")
    assert result.wrong == [
        "overview.json / Comments / A: no worker exposes screener_gone",
        "rules.yml / Behind: no worker exposes up",
        "screener_lag_seconds: the worker exposes it, and no panel and no rule asks for it",
    ]


def test_names_are_excused_with_a_reason() -> None:
    excuses = Excuses(unused=[Series("screener_lag_seconds", "x")], elsewhere=[Series("up", "Prometheus' own")])
    assert checked(SOUND, "up == 0", excuses).wrong == []


def test_what_is_excused_has_to_be_there() -> None:
    excuses = Excuses(empty=[Excuse("overview.json / Gone / *", "x")], unused=[Series("screener_gone", "x")])
    assert checked(SOUND, excuses=excuses).wrong == [
        "excused.yml: screener_gone is excused, and no worker exposes it",
        "excused.yml: nothing is named 'overview.json / Gone / *'",
    ]


def test_what_is_empty_on_a_good_day_has_data_on_a_bad_one() -> None:
    excuses = Excuses(quiet=[Excuse("overview.json / Comments / *", "needs an incident")])
    rare = "screener_lag_seconds > 30"
    assert Verdict.FAILED not in {finding.verdict for finding in checked(rare, excuses=excuses).findings}
    findings, _ = check_dashboard(Known(), WINDOW, "overview.json", dashboard(rare), excuses.empty)
    assert [finding.reason for finding in findings if finding.verdict is Verdict.FAILED] == ["no data"]


@pytest.mark.parametrize(
    ("exemplars", "found"),
    [([], Verdict.FAILED), ([Exemplar(1001.0, 0.2, {"trace_id": "a" * 32})], Verdict.DATA)],
)
def test_exemplars_that_a_panel_asks_for_have_to_be_there(exemplars: list[Exemplar], found: Verdict) -> None:
    findings, answers = check_dashboard(
        Known(exemplars=exemplars), WINDOW, "overview.json", dashboard(SOUND, exemplar=True), []
    )
    assert findings[-1].verdict is found
    assert answers.answers[-1].exemplars == exemplars


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([{"metric": {}, "values": [[1, "3"], [2, "0"]]}], "WELL"),
        ([{"metric": {}, "values": [[1, "0"], [2, "2"]]}], "ILL"),
        ([], "NOBODY REPORTS"),
    ],
)
def test_what_the_overview_says_is_read_off_its_last_value(result: list[dict[str, Any]], said: str) -> None:
    file = f"{OVERVIEW.file}.json"
    overview = json.loads((DASHBOARDS / file).read_bytes())
    [query] = [query for query in dashboard_queries(file, overview) if query.title == ILL_OR_WELL]
    assert verdict_of(Answers(overview, {}, 0, 1, [Drawable(query, query.expression, 1, result)])) == said


def test_a_rule_may_ask_for_what_a_rule_records() -> None:
    rules = rule_queries(
        "rules.yml",
        {
            "groups": [
                {"rules": [{"record": "job:up:sum", "expr": "sum(up)"}, {"alert": "Down", "expr": "job:up:sum < 1"}]}
            ]
        },
    )
    result = check(
        Known({"up": "1", "job:up:sum": "1"}),
        WINDOW,
        dashboards={},
        rules=rules,
        exposed=set(),
        excuses=Excuses(elsewhere=[Series("up", "Prometheus' own")]),
    )
    assert result.wrong == []
    assert [finding.verdict for finding in result.findings] == [Verdict.DATA, Verdict.QUIET]


QUERY: Final = Query("a.json", "Trouble", "panel", "x", ref="B")
EMPTY: Final = Answer()
NOT_A_NUMBER: Final = Answer([{"metric": {}, "values": [[1, "NaN"], [2, "NaN"]]}])
DATA: Final = Answer([{"metric": {}, "values": [[1, "NaN"], [2, "0"]]}])


@pytest.mark.parametrize(
    ("answer", "excuses", "verdict", "reason"),
    [
        (DATA, [], Verdict.DATA, ""),
        (EMPTY, [], Verdict.FAILED, "no data"),
        (NOT_A_NUMBER, [], Verdict.FAILED, "nothing but NaN"),
        (EMPTY, [Excuse("a.json / Trouble / *", "needs an incident")], Verdict.EXCUSED, "needs an incident"),
        (EMPTY, [Excuse("b.json / *", "another's")], Verdict.FAILED, "no data"),
        (Answer(error="bad"), [Excuse("*", "anything")], Verdict.FAILED, "bad"),
    ],
)
def test_verdicts(answer: Answer, excuses: list[Excuse], verdict: Verdict, reason: str) -> None:
    assert judge(QUERY, "x", answer, None, excuses) == Finding(QUERY, "x", verdict, reason)


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ('sum by (a, b) (rate(m_total{c=~"$x", d!="e}"}[5m] offset 1d)) > 0.5', {"m_total"}),
        ("absent(up == 1) or on () m / ignoring (k) group_left (l) n unless o", {"up", "m", "n", "o"}),
        ('label_replace(m{a="b"}, "name", "$1", "id", "(.*)") and job:n:rate5m', {"m", "job:n:rate5m"}),
        ("max_over_time(sum without (x) (m)[1h:1m]) * 1e3 == bool 2", {"m"}),
        ('{__name__=~"a"} + Inf', {""}),
    ],
)
def test_the_metrics_of_an_expression(expression: str, metrics: set[str]) -> None:
    assert promql.metrics(expression) == metrics


def test_a_selector_keeps_its_matchers() -> None:
    assert promql.selectors('rate(a{b="c"}[1m]) / a {d="e"}') == ['a{b="c"}', 'a{d="e"}']


@pytest.mark.parametrize(
    ("expression", "unfiltered"),
    [
        ('m{a!="b"} > 1 and n <= 2', 'm{a!="b"} > bool 1 and n <= bool 2'),
        ("m > bool 1", "m > bool 1"),
        ("m == 1 unless on (job) n > 2", "m == bool 1 and on (job) n > bool 2"),
        ('absent(up{job="unless"})', 'count(up{job="unless"})'),
        ("m < 0.1 * (m offset 1d > 0)", "m < bool 0.1 * (m  > bool 0)"),
    ],
)
def test_an_alert_made_to_answer(expression: str, unfiltered: str) -> None:
    assert promql.unfiltered(expression) == unfiltered


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ('a{i=~"$many"}', r'a{i=~"(h\\.x:1|k:2)"}'),
        ('a{i=~"${one}"}', r'a{i=~"h\\.x:1"}'),
        ("a[${__rate_interval}] + [[plain]]", "a[8s] + p.q"),
        ("${many:csv} ${many:pipe}", "h.x:1,k:2 h.x:1|k:2"),
        ('label_replace(a, "n", "$1", "m", "(.*)")', 'label_replace(a, "n", "$1", "m", "(.*)")'),
    ],
)
def test_variables_are_filled_in_as_grafana_does(text: str, filled: str) -> None:
    variables = {"many": ["h.x:1", "k:2"], "one": ["h.x:1"], "plain": "p.q", "__rate_interval": "8s"}
    assert substituted(text, variables) == filled


def test_a_variable_that_is_not_there_is_no_empty_text() -> None:
    with pytest.raises(UnknownVariable, match=r"\$gone"):
        substituted("a[$gone]", {})


@pytest.mark.parametrize(
    ("variable", "stands_for"),
    [
        ({"type": "query", "current": {"value": ["$__all"]}, "includeAll": True}, ["a", "b"]),
        ({"type": "query", "current": {"value": "$__all"}, "allValue": ".*"}, ".*"),
        ({"type": "query", "includeAll": True}, ["a", "b"]),
        ({"type": "query"}, "a"),
        ({"type": "query", "current": {"value": "b"}}, "b"),
        ({"type": "custom", "query": "one : 1, 2", "current": {"value": "$__all"}}, ["1", "2"]),
        ({"type": "constant", "query": "c"}, "c"),
        ({"type": "datasource"}, "prometheus"),
    ],
)
def test_what_a_variable_stands_for_at_first(variable: dict[str, Any], stands_for: object) -> None:
    assert chosen(variable, ["a", "b"]) == stands_for


def test_the_values_of_a_variable() -> None:
    assert label_values('label_values(up{job=~"a,b"}, instance)') == ('up{job=~"a,b"}', "instance")
    assert label_values("label_values(job)") == (None, "job")
    with pytest.raises(ValueError, match="label_values"):
        label_values("query_result(up)")


def test_the_interval_for_rates_is_four_scrapes_at_least() -> None:
    assert built_in(2000, 240_000, 2000)["__rate_interval"] == "8s"
    assert built_in(60_000, 240_000, 2000)["__rate_interval"] == "62s"
    assert built_in(2000, 240_000, 2000)["__range"] == "240s"


@pytest.mark.parametrize(
    ("query", "range_ms", "step"),
    [
        (Query("f", "t", "panel", "x", width=12), 240_000, 2000),  # 0.3 s a pixel: no closer than the scrapes
        (Query("f", "t", "panel", "x", width=12), 3_600_000, 5000),  # 4.5 s a pixel
        (Query("f", "t", "panel", "x", least_step_ms=30_000), 240_000, 30_000),
        (Query("f", "t", "panel", "x", points=4), 240_000, 60_000),
    ],
)
def test_the_distance_of_two_points(query: Query, range_ms: int, step: int) -> None:
    assert step_ms(query, range_ms, 2000, 1600) == step


def test_durations() -> None:
    assert [milliseconds(text) for text in ("30", "1m30s", ">10s", "250ms")] == [30_000, 90_000, 10_000, 250]
    with pytest.raises(ValueError, match="soon"):
        milliseconds("soon")


def test_panels_in_closed_rows_are_asked_too() -> None:
    inner = dashboard("up")["panels"]
    row = {"id": 1, "type": "row", "title": "More", "gridPos": {}, "panels": inner}
    assert list(panels({"panels": [row]})) == inner
    assert [query.place for query in dashboard_queries("f.json", {"panels": [row]})] == ["f.json / Comments / A"]


def test_a_single_value_is_asked_for_once() -> None:
    [query] = dashboard_queries("f.json", {"panels": dashboard("up", instant=True)["panels"]})
    assert query.instant
    result = check(
        Known(),
        WINDOW,
        dashboards={"f.json": dashboard("up", instant=True)},
        rules=[],
        exposed=set(),
        excuses=Excuses(),
    )
    [drawable] = result.answers["f.json"].answers
    assert drawable.result == [{"metric": {}, "value": [WINDOW.end, "1"]}]


def test_a_worker_exposes_what_it_measures_and_not_when_it_began() -> None:
    metrics = Metrics()
    metrics.stage("infer", 0.1)
    names = exposed_names(generate_latest(metrics.registry).decode())
    assert {"screener_comments_total", "screener_stage_seconds_bucket", "screener_in_flight"} <= names
    assert "screener_lag_seconds" in names, "declared, and without a value before there is a partition"
    assert not {"screener_comments_created", "screener_comments"} & names


def test_prometheus_runs_with_the_rules_of_the_project_and_finds_workers_in_a_file() -> None:
    original = yaml.safe_load((RULES / "prometheus.yml").read_bytes())
    settings = configuration(original, RULES, RULES / "targets.json", 9090, "2s")
    assert settings["global"]["scrape_interval"] == "2s"
    assert settings["rule_files"] == [str(RULES / file) for file in original["rule_files"]]
    jobs = {job["job_name"]: job for job in settings["scrape_configs"]}
    assert jobs["comment-screener"]["file_sd_configs"] == [{"files": [str(RULES / "targets.json")]}]
    assert jobs["prometheus"]["static_configs"] == [{"targets": ["127.0.0.1:9090"]}]


def test_every_excuse_has_a_reason() -> None:
    excuses = msgspec.yaml.decode(EXCUSED.read_bytes(), type=Excuses)
    assert all(excuse.reason for excuse in [*excuses.empty, *excuses.quiet])
    assert all(series.reason for series in [*excuses.unused, *excuses.elsewhere])


@pytest.mark.parametrize("path", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.name)
def test_every_dashboard_can_be_asked_with_the_variables_that_it_has(path: Any) -> None:
    content = json.loads(path.read_bytes())
    own = built_in(2000, 240_000, 2000)
    variables = {variable["name"]: "x" for variable in content["templating"]["list"]}
    queries = dashboard_queries(path.name, content)
    assert queries
    for query in queries:
        assert "$__" not in substituted(query.expression, {**variables, **own})


def test_nan_is_no_data_and_zero_is() -> None:
    for value, verdict in ((math.nan, Verdict.FAILED), (0.0, Verdict.DATA)):
        answer = Answer([{"metric": {}, "value": [1, str(value)]}])
        assert judge(QUERY, "x", answer, None, []).verdict is verdict
