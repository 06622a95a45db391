"""Alerts, their runbooks and who hears of them: what they name exists, and nothing is said that was not tried.

Whether the files are right by their own rules, and who hears of what, is for the tools that read them: `make lint-deploy`.
"""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml
from typer.testing import CliRunner

from deploy.verify.promql import metrics, selectors
from tests.exported import KNOWN, OF_EVERY_TARGET, RECORDED, RULES, check_exported, matchers
from worker.cli import app

TOP: Final = Path(__file__).parents[2]
DEPLOY: Final = TOP / "deploy"
ALERTS: Final = {rule["alert"]: rule for rule in RULES if "alert" in rule}
TESTS: Final[list[dict[str, Any]]] = [
    test
    for path in sorted((DEPLOY / "prometheus").glob("*_test.yml"))
    for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
]
EACH_ALERT: Final = pytest.mark.parametrize("alert", ALERTS.values(), ids=ALERTS)
PAGES: Final = {path.stem: path.read_text(encoding="utf-8") for path in sorted((DEPLOY / "runbooks").glob("*.md"))}
RUNBOOKS: Final = {name: page for name, page in PAGES.items() if name != "README"}
EACH_RUNBOOK: Final = pytest.mark.parametrize("page", RUNBOOKS.values(), ids=RUNBOOKS)
HEADINGS: Final = ["What it means", "First look", "Likely causes", "What to do", "How to know it is over"]
REPOSITORY: Final = "https://github.com/comment-screener/comment-screener"
COMPOSE: Final = yaml.safe_load((TOP / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
ALERTMANAGER: Final = yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text(encoding="utf-8"))
CASES: Final = yaml.safe_load((DEPLOY / "alertmanager/alertmanager_test.yml").read_text(encoding="utf-8"))
PREFIX: Final = "CommentScreener"


def blocks(page: str, language: str) -> Iterator[str]:
    """The lines of a page's blocks of this language, those in lists too."""
    for block in re.findall(rf"^ *```{language}\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE):
        yield from (line.strip() for line in block.splitlines())


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of rules, of their tests and of runbooks, with where it stands."""
    for rule in RULES:
        yield rule.get("alert") or rule["record"], str(rule["expr"])
    for test in TESTS:
        for series in test["input_series"]:
            yield test["name"], series["series"]
        for case in test["promql_expr_test"]:
            yield test["name"], case["expr"]
    for name, page in PAGES.items():
        for line in blocks(page, "promql"):
            yield f"{name}.md", line


def labels_of(expression: str) -> set[str]:
    """Every label that its metrics have."""
    return OF_EVERY_TARGET.union(*(KNOWN[metric] for metric in metrics(expression)))


@pytest.mark.parametrize("expression", [pytest.param(text, id=place) for place, text in expressions()])
def test_every_metric_and_label_in_an_expression_is_exported(expression: str) -> None:
    check_exported(expression)
    for selector in selectors(expression):
        for label, values in matchers(selector):
            if label == "alertname":
                for value in values:
                    assert any(re.fullmatch(value, name) for name in ALERTS), value
    for grouping in re.findall(r"\b(?:by|on|ignoring|group_left)\s*\(([^)]*)\)", expression):
        assert {label.strip() for label in grouping.split(",")} <= labels_of(expression), grouping


def test_what_is_recorded_is_named_by_level_metric_and_operation() -> None:
    for name in RECORDED:
        assert re.fullmatch(r"job:screener_\w+:(count|ratio(_\d+[mhd])?|rate\d+[mh])", name), name


@EACH_ALERT
def test_an_alert_says_how_urgent_it_is_what_it_is_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith(PREFIX)
    assert alert["labels"]["severity"] in {"critical", "warning"}
    annotations = alert["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook_url"}
    assert annotations["description"].endswith(".")
    assert annotations["runbook_url"] == f"{REPOSITORY}/blob/main/deploy/runbooks/{alert['alert']}.md"
    named = set(re.findall(r"\$labels\.(\w+)", json.dumps(annotations)))
    assert named <= labels_of(alert["expr"])


def test_runbooks_are_linked_where_the_project_lives() -> None:
    assert f'"{REPOSITORY}#readme"' in (TOP / "pyproject.toml").read_text(encoding="utf-8")


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert RUNBOOKS.keys() == ALERTS.keys()


@EACH_RUNBOOK
def test_a_runbook_has_its_parts(page: str) -> None:
    title, urgency = page.splitlines()[0:3:2]
    alert = ALERTS[title.removeprefix("# ")]
    assert urgency == alert["labels"]["severity"]
    assert re.findall(r"^#{2,} (.*)$", page, re.MULTILINE) == HEADINGS
    for part in re.split(r"^## .*$", page, flags=re.MULTILINE)[1:]:
        assert part.strip()


@EACH_RUNBOOK
def test_the_first_look_and_the_end_are_things_to_look_at(page: str) -> None:
    parts = dict(zip(HEADINGS, re.split(r"^## .*$", page, flags=re.MULTILINE)[1:], strict=True))
    assert list(blocks(parts["First look"], "promql"))
    assert "```" in parts["How to know it is over"] or "`comment-screener health`" in parts["How to know it is over"]


@EACH_ALERT
def test_an_alert_was_seen_to_fire_and_not_to_where_it_nearly_would(alert: dict[str, Any]) -> None:
    named = f'alertname="{alert["alert"]}"'
    cases = [case for test in TESTS for case in test["promql_expr_test"]]
    assert any(named in sample["labels"] for case in cases for sample in case["exp_samples"])
    # A test that expects nothing of a name that it spells wrongly would pass: `test_every_metric_…` looks at names.
    assert any(named in case["expr"] and not case["exp_samples"] for case in cases)


# What the pages tell to type.

DOCS: Final = {
    str(path.relative_to(TOP)): path.read_text(encoding="utf-8")
    for path in sorted((*DEPLOY.glob("*.md"), *DEPLOY.glob("runbooks/*.md")))
}


COMMANDS: Final = {"up", "down", "ps", "logs", "exec", "run", "restart", "kill", "start", "stop"}
OF_ALL_SERVICES: Final = {"up", "down", "ps", "logs"}
WITH_VALUE: Final = {"--profile", "--env", "--volume", "--name", "--scale", "--tail", "--since", "--index"}


def typed() -> Iterator[tuple[str, str]]:
    """Every command in the pages, with where it stands: of blocks, and of code in sentences. Without what a shell does of it."""
    for place, page in DOCS.items():
        prose = re.sub(r"^ *```.*?^ *```", "", page, flags=re.DOTALL | re.MULTILINE)
        lines = [line.removeprefix("$ ") for line in blocks(page, "console")]
        lines += [line.strip() for line in page.splitlines() if line.startswith("    ")]
        lines += re.findall(r"`([^`\n]+)`", prose)
        for line in (re.sub(r"^kubectl .* -- (?=comment-screener )", "", line) for line in lines):
            if line.startswith(("comment-screener ", "docker compose ")):
                words = shlex.split(line.partition("…")[0], comments=True)
                yield place, shlex.join(takewhile(lambda word: word not in {"|", ">"}, words))


def told(command: Sequence[str]) -> list[str]:
    """What is no option of compose: its command, the service, and what the container is told."""
    left: list[str] = []
    rest = iter(command[2:])
    for word in rest:
        if len(left) < 2 and word.startswith("--"):
            if word in WITH_VALUE:
                next(rest)
        else:
            left.append(word)
    return left


def test_the_first_hour_is_full_of_commands() -> None:
    given = {told(shlex.split(line))[0] for place, line in typed() if place == "deploy/FIRST_HOUR.md"}

    assert given >= {"up", "ps", "exec", "logs", "kill", "run", "stop", "down"}
    assert re.search(rf"`{PREFIX}\w+`", DOCS["deploy/FIRST_HOUR.md"])


@pytest.mark.parametrize("line", [pytest.param(line, id=f"{place}: {line}") for place, line in typed()])
def test_what_a_page_tells_to_type_exists(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "docker":
        action, *rest = told(words)
        assert action in COMMANDS, action
        assert rest[0] in COMPOSE if rest else action in OF_ALL_SERVICES
        is_ours = action == "run" or (action == "exec" and rest[1:2] == ["comment-screener"])
        words = ["comment-screener", *rest[1 + (action == "exec") :]] if is_ours else ["comment-screener"]
        assert CliRunner().invoke(app, [*words[1:], "--help"]).exit_code == 0
    command: Any = typer.main.get_command(app)
    words = words[1:]
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= options


@EACH_RUNBOOK
def test_what_the_worker_has_no_right_to_is_typed_into_a_console_of_its_own(page: str) -> None:
    """Under access control lists it may not read dead letters or create topics; and it may be that no worker runs."""
    needs_rights = any(
        re.match(r"\$ comment-screener (dead-letters|topics) ", line) for line in blocks(page, "console")
    )

    assert ("(README.md#a-console-on-kubernetes)" in page) == needs_rights


def test_there_is_a_console_and_no_command_that_needs_it_is_sent_elsewhere() -> None:
    named = re.findall(r"kubectl [^\n`]*\bexec (\S+) -- comment-screener ([\w…-]+)", PAGES["README"])

    assert "\n## A console on Kubernetes\n" in PAGES["README"]
    assert {what for where, what in named if where != "screener-console"} <= {"…", "health", "settings", "policy"}
    assert ("screener-console", "dead-letters") in named


def test_a_second_release_is_told_apart_by_its_job() -> None:
    """Without a monitor nobody would hear that it has stopped."""
    values = yaml.safe_load((DEPLOY / "helm/comment-screener/values.yaml").read_text(encoding="utf-8"))

    assert values["serviceMonitor"]["job"] == "comment-screener"
    assert {name for name, page in RUNBOOKS.items() if "`serviceMonitor.job`" in page} == {
        f"{PREFIX}LatencyBurnsFast",
        f"{PREFIX}MixedVersions",
    }
    assert not [name for name, page in PAGES.items() if "serviceMonitor.enabled" in page]


@pytest.mark.parametrize("place", DOCS)
def test_a_link_leads_somewhere(place: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", DOCS[place]):
        assert target.startswith("https://") or (TOP / place).parent.joinpath(target).exists(), target


def test_an_alert_that_is_named_somewhere_exists() -> None:
    places = [
        TOP / "README.md",
        *DEPLOY.glob("*.md"),
        *DEPLOY.glob("runbooks/*.md"),
        *DEPLOY.glob("alertmanager/*.yml"),
    ]
    for path in places:
        named = set(re.findall(rf"\b{PREFIX}[A-Z]\w+", path.read_text(encoding="utf-8")))
        assert named <= ALERTS.keys(), path.name


# Who hears of them.


def matches(matchers: list[str], labels: dict[str, str]) -> bool:
    """Whether an alert with these labels is meant."""
    for matcher in matchers:
        name, operator, value = re.fullmatch(r'(\w+)\s*(=~|=)\s*"?(.*?)"?', matcher).groups()  # type: ignore[union-attr]
        found = labels.get(name, "")
        if not (re.fullmatch(value, found) if operator == "=~" else value == found):
            return False
    return True


def inhibitions() -> set[tuple[str, str]]:
    """Every alert with each that it may inhibit."""
    labels = {name: alert["labels"] | {"alertname": name} for name, alert in ALERTS.items()}
    return {
        (source, target)
        for rule in ALERTMANAGER["inhibit_rules"]
        for source in labels
        for target in labels
        if source != target
        and matches(rule["source_matchers"], labels[source])
        and matches(rule["target_matchers"], labels[target])
    }


def test_a_ticket_never_inhibits_a_page() -> None:
    for source, target in inhibitions():
        severities = (ALERTS[source]["labels"]["severity"], ALERTS[target]["labels"]["severity"])
        assert severities != ("warning", "critical"), f"{source} inhibits {target}"


def test_everything_that_is_inhibited_is_inhibited_in_a_story() -> None:
    told = {
        (source["alert"], target["alert"])
        for story in CASES["stories"]
        for source in story["firing"]
        for target in story["firing"]
        if target["alert"] not in {heard.split()[0] for heard in story["heard"]}
        or any(heard.startswith(f"{target['alert']} ") for heard in story["heard"])
    }
    assert {(source.removeprefix(PREFIX), target.removeprefix(PREFIX)) for source, target in inhibitions()} <= told


def test_each_urgency_has_somebody_who_hears_of_it() -> None:
    receivers = {receiver["name"] for receiver in ALERTMANAGER["receivers"]}
    tried = {(case["labels"].get("severity"), case["receiver"]) for case in CASES["routes"]}
    assert {("critical", "page"), ("warning", "ticket"), (None, "ticket")} == tried
    assert receivers == {receiver for _, receiver in tried}
    for case in CASES["routes"]:
        alert = ALERTS.get(case["labels"]["alertname"], {"labels": {}})
        assert case["labels"].items() >= alert["labels"].items()


def test_alertmanager_calls_nobody_until_it_is_told_whom() -> None:
    for url in re.findall(
        r"https?://[^\s\"']+", (DEPLOY / "alertmanager/alertmanager.yml").read_text(encoding="utf-8")
    ):
        assert url.startswith("http://127.0.0.1:")


def test_prometheus_tells_the_alertmanager_of_the_compose_file() -> None:
    prometheus = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    [manager] = prometheus["alerting"]["alertmanagers"]
    [group] = manager["static_configs"]
    assert group["targets"] == ["alertmanager:9093"]
    assert "alertmanager" in COMPOSE
    assert prometheus["rule_files"] == ["rules.yml"]
