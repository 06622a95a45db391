"""Runs every query that ops depend on against a real Prometheus that has watched a real worker for some minutes.

    python -m deploy.verify.live --prometheus .cache/lint/prometheus-3.16.0

What Prometheus answered to the panels goes to `build/ops/answers/`, a file a dashboard: `deploy.verify.pictures` draws from it,
so that what is drawn is what was checked. Then something is broken, and the overview is asked once more: it has to say so. Exit
code 0 where every query has data or an excuse, 1 where not.
"""

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deploy.dashboards.frame import OVERVIEW
from deploy.dashboards.overview import ILL_OR_WELL
from deploy.verify.asking import Answers, Checked, Window, check, check_dashboard
from deploy.verify.prometheus import Prometheus, configuration
from deploy.verify.queries import Query, milliseconds, panels, rule_queries
from deploy.verify.traffic import Scene, broken_down, create, load, play, scene
from deploy.verify.verdicts import Excuses, Finding, Verdict
from worker.demo.broker import start_kafka
from worker.errors import FatalError

DEPLOY: Final = Path(__file__).parents[1]
DASHBOARDS: Final = DEPLOY / "grafana" / "dashboards"
RULES: Final = DEPLOY / "prometheus"
EXCUSED: Final = Path(__file__).with_name("excused.yml")
ANSWERS: Final = DEPLOY.parent / "build" / "ops" / "answers"
PAGE_WIDTH: Final = 1600
_SUFFIXES: Final = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
}
_SCRAPE: Final = "2s"
# On a machine that is busy with something else the broker would take itself for dead.
_PATIENT: Final = {"broker.session.timeout.ms": "60000"}
_SECONDS: Final = 240.0
_OVERVIEW: Final = f"{OVERVIEW.file}.json"
_IN_THE_INCIDENT: Final = f"{OVERVIEW.file}-ill.json"
# Long enough for an alert, and shorter than the worker goes on trying (SCREENER_PUBLISH_TIMEOUT_S).
_INCIDENT_S: Final = 120.0
_SICK: Final = ("ILL", "DOWN")


def copy_rules(names: Sequence[str], folder: Path) -> list[Query]:
    """Put the rules where Prometheus finds them, and read them: what is asked is what is in force, whoever edits meanwhile."""
    queries = []
    for name in names:
        shutil.copy(RULES / name, folder / name)
        queries += rule_queries(name, yaml.safe_load((folder / name).read_bytes()))
    return queries


def exposed_names(metrics: str) -> set[str]:
    """The names of the series on a /metrics page, those included that are declared and have no value yet."""
    return {
        family.name + suffix
        for family in text_string_to_metric_families(metrics)
        for suffix in _SUFFIXES.get(family.type, ("",))
        if not family.name.endswith("_created")
    }


def watch(binary: Path, seconds: float, folder: Path) -> Checked:
    """Start everything, let it run for so many seconds, ask, and end everything."""
    with ExitStack() as stack:
        say("starting Kafka, a worker and Prometheus")
        broker = stack.enter_context(start_kafka(folder / "broker", properties=_PATIENT))
        targets = folder / "targets.json"
        actors = scene(broker, folder, lambda addresses: write_targets(targets, addresses))
        create(actors.settings)
        actors.found([actors.first.address])
        prometheus = Prometheus(binary, folder)
        original = yaml.safe_load((RULES / "prometheus.yml").read_bytes())
        rules = copy_rules(original["rule_files"], folder)
        stack.callback(actors.first.process.stop, 40.0)
        actors.first.start()
        stack.callback(prometheus.stop)
        prometheus.start(configuration(original, folder, targets, prometheus.port, _SCRAPE))
        stack.enter_context(load(actors))
        start = time.time()
        play(actors, seconds, say, lambda until: wait(start + until, actors))
        if unanswered := prometheus.unanswered():
            raise FatalError("Prometheus cannot scrape:\n" + "\n".join(unanswered))
        say("asking")
        excuses = msgspec.yaml.decode(EXCUSED.read_bytes(), type=Excuses)
        dashboards = {path.name: json.loads(path.read_bytes()) for path in sorted(DASHBOARDS.glob("*.json"))}
        checked = check(
            prometheus,
            window_since(start),
            dashboards=dashboards,
            rules=rules,
            exposed=exposed_names(actors.first.metrics()),
            excuses=excuses,
        )
        say_what_is_seen(checked.answers[_OVERVIEW], prometheus)
        with broken_down(actors):
            say("somebody deletes the decisions topic")
            wait(time.time() + _INCIDENT_S, actors)
            findings, ill = check_dashboard(
                prometheus, window_since(start), _IN_THE_INCIDENT, dashboards[_OVERVIEW], excuses.empty
            )
            say_what_is_seen(ill, prometheus)
        wrong = [f"a rule cannot be evaluated: {line}" for line in prometheus.broken_rules()]
        if verdict_of(ill) not in _SICK:
            wrong.append(f"{_IN_THE_INCIDENT} / {ILL_OR_WELL}: it says {verdict_of(ill)}")
        return Checked(
            [*checked.findings, *findings],
            [*checked.wrong, *wrong],
            {**checked.answers, _IN_THE_INCIDENT: ill},
        )


def window_since(start: float) -> Window:
    """From then (seconds since 1970) until now."""
    return Window(start, time.time(), milliseconds(_SCRAPE), PAGE_WIDTH)


def verdict_of(overview: Answers) -> str:
    """What the overview says of it all, in its own words: `WELL`."""
    [panel] = [panel for panel in panels(overview.dashboard) if panel["title"] == ILL_OR_WELL]
    [drawable] = [drawable for drawable in overview.answers if drawable.query.panel == panel["id"]]
    defaults = panel["fieldConfig"]["defaults"]
    if not drawable.result:
        return str(defaults["noValue"])
    [series] = drawable.result
    [words] = defaults["mappings"]
    return str(words["options"][series["values"][-1][1]]["text"])


def say_what_is_seen(overview: Answers, prometheus: Prometheus) -> None:
    """What somebody on call would see now."""
    firing = sorted({alert["labels"]["alertname"] for alert in prometheus.alerts() if alert["state"] == "firing"})
    print_line(f"seen     {verdict_of(overview)}; alerts that fire: {', '.join(firing) or 'none'}")


def wait(until: float, actors: Scene) -> None:
    """Until a time, as long as the worker lives."""
    while (left := until - time.time()) > 0:
        if not actors.first.process.running:
            raise FatalError(f"the worker has ended:\n{actors.first.process.tail()}")
        time.sleep(min(1.0, left))


def write_targets(path: Path, addresses: Sequence[str]) -> None:
    """Tell Prometheus which workers there are, in one step."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([{"targets": list(addresses)}]), encoding="utf-8")
    fresh.replace(path)


def keep(checked: Checked) -> None:
    """Write the answers down, for the pictures."""
    shutil.rmtree(ANSWERS, ignore_errors=True)
    ANSWERS.mkdir(parents=True)
    for file, answers in checked.answers.items():
        (ANSWERS / file).write_bytes(msgspec.json.encode(answers))


def page(findings: Sequence[Finding], wrong: Sequence[str]) -> int:
    """Print what was found, on one page; how many things have failed."""
    excused: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.verdict is Verdict.EXCUSED:
            excused.setdefault(finding.reason, []).append(finding)
    for reason, of_it in excused.items():
        print_line(f"excused: {reason}")
        for finding in of_it:
            print_line(f"         {finding.query.place}")
    failed = [finding for finding in findings if finding.verdict is Verdict.FAILED]
    for finding in failed:
        print_line(f"FAILED   {finding.query.place}: {finding.reason}\n         {finding.asked}")
    for line in wrong:
        print_line(f"FAILED   {line}")
    counted = Counter(finding.verdict for finding in findings)
    kinds = Counter(finding.query.kind for finding in findings)
    print_line("queries  " + ", ".join(f"{number} of {kind}s" for kind, number in kinds.items()))
    print_line(
        f"{len(findings)} queries run: {counted[Verdict.DATA]} with data, {counted[Verdict.QUIET]} alerts quiet as they should "
        f"be, {counted[Verdict.EXCUSED]} excused, {counted[Verdict.FAILED]} failed; {len(wrong)} names wrong"
    )
    return len(failed) + len(wrong)


def say(event: str) -> None:
    """What happens now, for the one who watches."""
    print_line(f"…        {event}")


def print_line(line: str) -> None:
    """To stdout, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="Run every query of ops against a real Prometheus and a real worker.")
    parser.add_argument("--prometheus", type=Path, required=True, help="the binary (deploy/tools.sh prometheus)")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="how long the worker is watched")
    arguments = parser.parse_args()
    # What the clients complain of while the broker starts is not for the page.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory(prefix="comment-screener-ops-") as folder:
            checked = watch(arguments.prometheus, arguments.seconds, Path(folder))
    except FatalError as error:
        print_line(f"FAILED   {error}")
        return 1
    keep(checked)
    return 1 if page(checked.findings, checked.wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
