"""What deploy/ says of the worker is true of the worker: its metrics, its settings, its commands.

Whether the files are right by their own rules is for the tools that read them: `make lint-deploy`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from typer.testing import CliRunner

from worker.cli import app
from worker.metrics import CATEGORIES, NO_CATEGORY, STAGES, SUPPORT, Metrics
from worker.records import Action, AgeBand, Model, PolicyVersion
from worker.settings import Settings

TOP: Final = Path(__file__).parents[2]
DEPLOY: Final = TOP / "deploy"
COMPOSE: Final = yaml.safe_load((TOP / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
RULES: Final = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
RULES_TEST: Final = yaml.safe_load((DEPLOY / "prometheus/rules_test.yml").read_text(encoding="utf-8"))
PROMETHEUS: Final = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
DASHBOARDS: Final = {
    path.name: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
}
PANELS: Final[list[dict[str, Any]]] = [panel for dashboard in DASHBOARDS.values() for panel in dashboard["panels"]]
CHARTS: Final = [panel for panel in PANELS if panel["type"] != "row"]

SUFFIXES: Final = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
OF_EVERY_TARGET: Final = {"job", "instance"}
NOT_OURS: Final[dict[str, set[str]]] = {
    "ALERTS": {"alertname", "alertstate", "partition"},
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "up": set(),
}
VALUES: Final[dict[str, set[str]]] = {
    "action": set(Action),
    "age_band": set(AgeBand),
    "category": set(CATEGORIES),
    "result": {"hit", "miss"},
    "stage": set(STAGES),
    "supported": set(SUPPORT.values()),
}


def series_of(metrics: Metrics) -> dict[str, set[str]]:
    """Every series that a worker exports, with its labels."""
    metrics.describe(Model("m", "1", "0" * 64), PolicyVersion("p", "1", "0" * 64))
    series: dict[str, set[str]] = {}
    for collector in vars(metrics).values():
        if isinstance(collector, MetricWrapperBase):
            labels = set(collector._labelnames)
            kind = str(collector._type)
            if kind == "info":
                [family] = collector.collect()
                labels |= set(family.samples[0].labels)
            for suffix in SUFFIXES[kind]:
                series[collector._name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return series


OURS: Final = series_of(Metrics())
SERIES: Final = OURS | NOT_OURS

KEYWORDS: Final = {
    "and",
    "bool",
    "by",
    "group_left",
    "group_right",
    "ignoring",
    "offset",
    "on",
    "or",
    "unless",
    "without",
}
NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"


class Expression:
    """What a PromQL expression names. promtool knows whether it parses; this knows what it is about."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.matchers: list[tuple[str, str, str]] = []
        """Metric, label, value of each `metric{label="value"}`; all operators alike."""
        self.grouping: set[str] = set()
        """Labels of `by (…)` and the like."""
        rest = re.sub(rf"({NAME})?\{{([^}}]*)\}}", self._selector, text)
        rest = re.sub(r'"[^"]*"', " ", rest)
        rest = re.sub(r"\[[^]]*\]", " ", rest)
        rest = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", self._grouping, rest)
        self.metrics = {name for name in re.findall(rf"\b({NAME})\b(?!\s*\()", rest) if name not in KEYWORDS}

    def _selector(self, match: re.Match[str]) -> str:
        for label, value in re.findall(rf'({NAME})\s*(?:=~|!~|!=|=)\s*"([^"]*)"', match[2]):
            self.matchers.append((match[1], label, value))
        return match[1] or ""

    def _grouping(self, match: re.Match[str]) -> str:
        self.grouping |= {label.strip() for label in match[1].split(",") if label.strip()}
        return " "

    @property
    def labels(self) -> set[str]:
        """Every label that its metrics have."""
        return OF_EVERY_TARGET.union(*(SERIES[metric] for metric in self.metrics))


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression in deploy/, with where it stands."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for test in RULES_TEST["tests"]:
        for series in test["input_series"]:
            yield test["name"], series["series"]
    for file, dashboard in DASHBOARDS.items():
        for annotation in dashboard["annotations"]["list"]:
            yield f"{file} {annotation['name']}", annotation["expr"]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{file} ${variable['name']}", re.sub(r",\s*\w+\)$", ")", variable["definition"])
        for chart in dashboard["panels"]:
            for target in chart.get("targets", []):
                yield f"{file} {chart['title']}", target["expr"]


EXPRESSIONS: Final = [pytest.param(Expression(text), id=place) for place, text in expressions()]


@pytest.mark.parametrize(
    ("text", "metrics", "labels"),
    [
        ('sum by (a, b) (rate(m_total{c=~"$x", d!="e"}[$__rate_interval])) > 0.5', {"m_total"}, {"a", "b"}),
        ('absent(up{job="x"} == 1) or on () m / ignoring (k) group_left n', {"up", "m", "n"}, {"k"}),
        ('label_replace(m{a="b"}, "name", "$1", "id", "(.*)") and n', {"m", "n"}, set()),
    ],
)
def test_the_names_in_an_expression_are_found(text: str, metrics: set[str], labels: set[str]) -> None:
    expression = Expression(text)
    assert expression.metrics == metrics
    assert expression.grouping == labels


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_in_an_expression_is_exported(expression: Expression) -> None:
    assert expression.metrics, expression.text
    assert expression.metrics <= SERIES.keys()
    for metric, label, value in expression.matchers:
        assert label in SERIES[metric] | OF_EVERY_TARGET, f"{metric} has no label {label}"
        assert value == "" or value in VALUES.get(label, {value}), f"{label} is never {value}"
    assert expression.grouping <= expression.labels


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {metric for panel in CHARTS for target in panel["targets"] for metric in Expression(target["expr"]).metrics}
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in OURS}
    assert families - {re.sub("_(bucket|sum|count)$", "", name) for name in shown} == set()


def test_every_legend_names_a_label_of_its_expression() -> None:
    for panel in CHARTS:
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert named <= Expression(target["expr"]).grouping, panel["title"]


def test_every_alert_says_what_to_do_and_is_tried() -> None:
    tried = json.dumps(RULES_TEST)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert f'alertname=\\"{rule["alert"]}\\"' in tried, rule["alert"]
        named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert named <= Expression(rule["expr"]).labels, rule["alert"]


def test_what_an_alert_tells_to_look_at_is_on_the_dashboard() -> None:
    titles = [panel["title"] for panel in CHARTS]
    for rule in RULES:
        for named in re.findall(r'"([^"]+)"', rule["annotations"]["description"]):
            assert any(title.startswith(named) for title in titles), f"{rule['alert']}: {named}"


def test_panels_are_told_apart_and_explained() -> None:
    for dashboard in DASHBOARDS.values():
        identifiers = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(identifiers)) == len(identifiers)
        titles = [panel["title"] for panel in dashboard["panels"]]
        assert len(set(titles)) == len(titles)
    for panel in CHARTS:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]


def test_panels_do_not_overlap() -> None:
    for dashboard in DASHBOARDS.values():
        taken: dict[tuple[int, int], str] = {}
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    assert taken.setdefault((x, y), panel["title"]) == panel["title"]


@pytest.mark.parametrize(
    ("title", "values"),
    [
        ("Comments by action", set(Action)),
        ("Decisions by category", set(CATEGORIES) - {NO_CATEGORY}),
        ("Languages", set(SUPPORT.values())),
        ("Decisions by age of the readers", set(AgeBand)),
        ("Time in each stage, mean", set(STAGES)),
        ("Time in each stage, p95", set(STAGES)),
    ],
)
def test_every_value_has_its_colour(title: str, values: set[str]) -> None:
    [panel] = [panel for panel in CHARTS if panel["title"] == title]
    assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} == values


def test_actions_are_shown_mildest_first() -> None:
    [panel] = [panel for panel in CHARTS if panel["title"] == "Comments by action"]
    assert [target["legendFormat"] for target in panel["targets"]] == list(Action)


def test_every_setting_that_is_named_exists() -> None:
    settings = {f"SCREENER_{name.upper()}" for name in Settings.model_fields}
    files = [TOP / "docker-compose.yml", *(path for path in DEPLOY.rglob("*") if path.is_file())]
    named = {
        (path.name, name) for path in files for name in re.findall(r"SCREENER_[A-Z_]+[A-Z]", path.read_text("utf-8"))
    }
    assert {(file, name) for file, name in named if name not in settings} == set()
    assert ("docker-compose.yml", "SCREENER_KAFKA_BOOTSTRAP_SERVERS") in named


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_publishes_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert SERVICES[name].get("network_mode") is None


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "devices"} & service.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_and_can_be_scaled(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:(local|v?\d+\.\d+\.\d+)", SERVICES[name]["image"])
    assert "container_name" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_checked_where_it_stays_and_only_there(name: str) -> None:
    service = SERVICES[name]
    stays = service.get("restart") == "unless-stopped"
    assert stays == (name not in {"topics", "load"})
    assert service["healthcheck"].get("disable", False) is not stays
    assert ("test" in service["healthcheck"]) is stays


def test_the_worker_waits_for_kafka_and_topics_and_has_time_to_finish() -> None:
    worker = SERVICES["worker"]
    assert "ports" not in worker
    assert worker["read_only"] is True
    assert worker["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    assert SERVICES["topics"]["depends_on"]["kafka"]["condition"] == "service_healthy"
    grace = int(worker["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["shutdown_timeout_s"].default


@pytest.mark.parametrize(
    "command",
    [
        *(pytest.param(SERVICES[name]["command"], id=name) for name in ("topics", "worker", "load")),
        pytest.param(SERVICES["worker"]["healthcheck"]["test"][2:], id="health"),
    ],
)
def test_what_a_container_runs_is_a_command_with_these_options(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0, result.output


def test_kafka_makes_no_topics_by_itself() -> None:
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_prometheus_finds_the_workers_and_grafana_finds_prometheus() -> None:
    [job] = [job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "comment-screener"]
    [discovery] = job["dns_sd_configs"]
    assert set(discovery["names"]) <= SERVICES.keys()
    assert discovery["port"] == Settings.model_fields["http_port"].default
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text("utf-8"))[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/dashboards.yml").read_text("utf-8"))[
        "providers"
    ]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (TOP / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_alerts_are_checked_with_the_prometheus_that_will_read_them() -> None:
    script = (DEPLOY / "lint.sh").read_text(encoding="utf-8")
    match = re.search(r"^readonly PROMETHEUS=(\S+)", script, re.MULTILINE)
    assert match is not None
    assert SERVICES["prometheus"]["image"] == f"prom/prometheus:v{match[1]}"


def test_the_image_copies_what_the_ignore_file_lets_through() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    }
    lines = (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied


def test_the_image_is_not_root_and_calls_nobody() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER (\d+):\1$", dockerfile, re.MULTILINE)
    assert "HF_HUB_OFFLINE=1" in dockerfile
    assert "ORT_DISABLE_TELEMETRY=1" in dockerfile
    assert "--require-hashes --requirement requirements.lock" in dockerfile
