"""Asks the real tools who hears of an alert: amtool for the routes, an Alertmanager on loopback for what inhibits what.

python -m deploy.check_alertmanager AMTOOL ALERTMANAGER

Then once more without each of the rules by which one alert inhibits another: no rule is there for nothing, and no story that
cannot fail. Nothing is sent: it is over long before the shortest `group_wait`.
"""

import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.verify.starting import start
from worker.demo.broker import LOOPBACK, free_port
from worker.demo.process import Process
from worker.errors import StartupError

HERE: Final = Path(__file__).parent
CONFIG: Final = HERE / "alertmanager/alertmanager.yml"
CASES: Final = HERE / "alertmanager/alertmanager_test.yml"
RULES: Final = HERE / "prometheus/rules.yml"
PREFIX: Final = "CommentScreener"
SENTINEL: Final = "sentinel"
SENTINEL_RULE: Final = {"source_matchers": [f"{SENTINEL} = inhibiting"], "target_matchers": [f"{SENTINEL} = inhibited"]}
PATIENCE_S: Final = 30.0

Labels = dict[str, str]


def wrong_routes(amtool: str, cases: list[dict[str, Any]]) -> Iterator[str]:
    """Each alert that goes to somebody else than the case says."""
    for case in cases:
        labels = [f"{name}={value}" for name, value in case["labels"].items()]
        command = [
            amtool,
            "config",
            "routes",
            "test",
            f"--config.file={CONFIG}",
            f"--verify.receivers={case['receiver']}",
        ]
        result = subprocess.run([*command, *labels], capture_output=True, text=True, check=False)  # noqa: S603  arguments of our own
        if result.returncode:
            yield f"{' '.join(labels)}: not to {case['receiver']}\n{result.stdout}{result.stderr}"


def wrong_stories(address: str, stories: list[dict[str, Any]]) -> Iterator[str]:
    """Each story of which something else is heard than it says. They are all told at once, each as a job of its own."""
    given = labels_of_rules()
    alerts = []
    for story in stories:
        for firing in story["firing"]:
            name = PREFIX + firing["alert"]
            where = {label: value for label, value in firing.items() if label != "alert"}
            alerts.append(given[name] | where | {"alertname": name, "job": story["name"]})
    post(address, alerts)
    wait_until_all_are_weighed(address)
    found = ask(address)
    for story in stories:
        heard = sorted(
            called(alert["labels"], story)
            for alert in found
            if alert["labels"]["job"] == story["name"] and alert["status"]["state"] == "active"
        )
        if heard != sorted(story["heard"]):
            yield f"{story['name']}: heard are {heard}, not {sorted(story['heard'])}"


def labels_of_rules() -> dict[str, Labels]:
    """What the rules add to each alert."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule["labels"] for group in groups for rule in group["rules"] if "alert" in rule}


def called(labels: Labels, story: dict[str, Any]) -> str:
    """As a story calls an alert: by its name, and by where it is as well if it fires in several places."""
    name = labels["alertname"].removeprefix(PREFIX)
    if sum(firing["alert"] == name for firing in story["firing"]) == 1:
        return name
    return f"{name} {labels.get('partition') or labels['instance']}"


def wait_until_all_are_weighed(address: str) -> None:
    """Alertmanager takes alerts in at once and weighs them in order: when the last one has had its effect, all have."""
    post(address, [{"alertname": SENTINEL, "job": SENTINEL, SENTINEL: which} for which in ("inhibited", "inhibiting")])
    deadline = time.monotonic() + PATIENCE_S
    while True:
        states = [alert["status"]["state"] for alert in ask(address) if alert["labels"].get(SENTINEL) == "inhibited"]
        if states == ["suppressed"]:
            return
        if time.monotonic() > deadline:
            sys.exit(f"Alertmanager weighed nothing in {PATIENCE_S:g} s: {states}")
        time.sleep(0.05)


@contextmanager
def alertmanager(binary: str, config: dict[str, Any], inhibit_rules: list[Any]) -> Iterator[str]:
    """The address of one that runs with this configuration, these rules in the place of its own, and knows of no alerts."""
    address = f"{LOOPBACK}:{free_port()}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "alertmanager.yml"
        file.write_text(yaml.safe_dump(config | {"inhibit_rules": [*inhibit_rules, SENTINEL_RULE]}), encoding="utf-8")
        command = [binary, f"--config.file={file}", f"--storage.path={folder}/data", f"--web.listen-address={address}"]
        # Without a cluster it opens no other port.
        process = Process([*command, "--cluster.listen-address="], Path(folder) / "log")
        try:
            start(process, lambda: is_ready(address), PATIENCE_S, "Alertmanager")
            yield address
        finally:
            process.stop(PATIENCE_S)


def is_ready(address: str) -> bool:
    try:
        call(address, "GET", "/-/ready")
    except OSError:
        return False
    return True


def post(address: str, alerts: list[Labels]) -> None:
    call(address, "POST", "/api/v2/alerts", json.dumps([{"labels": labels} for labels in alerts]))


def ask(address: str) -> Any:
    return json.loads(call(address, "GET", "/api/v2/alerts"))


def call(address: str, method: str, path: str, body: str | None = None) -> bytes:
    """What it answers. Raises OSError where nobody does, or not with 200."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise OSError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
    return answer


def main(amtool: str, binary: str) -> None:
    """Exit 1 and what is wrong, or nothing."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    wrong = list(wrong_routes(amtool, cases["routes"]))
    rules = config["inhibit_rules"]
    with alertmanager(binary, config, rules) as address:
        wrong += wrong_stories(address, cases["stories"])
    for number, rule in enumerate(rules):
        with alertmanager(binary, config, rules[:number] + rules[number + 1 :]) as address:
            if not list(wrong_stories(address, cases["stories"])):
                wrong.append(f"no story needs this rule: {rule}")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except StartupError as error:
        sys.exit(str(error))
