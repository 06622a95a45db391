"""A real Prometheus on loopback, with the project's own rules, and the few questions that it is asked."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.verify.starting import start
from deploy.verify.verdicts import Answer, Exemplar
from worker.demo.broker import LOOPBACK, free_port
from worker.demo.process import Process

JOB: Final = "comment-screener"
_READY_S: Final = 60.0
_GRACE_S: Final = 10.0
_ANSWER_S: Final = 60.0


def configuration(original: Mapping[str, Any], rules: Path, targets: Path, port: int, scrape: str) -> dict[str, Any]:
    """The project's `prometheus.yml`, with workers found in a file and more scrapes, so that minutes are enough.

    Args:
        original: as it is read from the file.
        rules: the folder that its rules lie in.
        targets: the file that says which workers there are; it is read anew when it changes.
        port: Prometheus' own.
        scrape: how often to scrape and to evaluate: `2s`.
    """
    jobs: dict[str, dict[str, Any]] = {
        JOB: {"file_sd_configs": [{"files": [str(targets)]}]},
        "prometheus": {"static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]},
    }
    kept = ("job_name", "metric_relabel_configs", "relabel_configs", "scrape_timeout")
    return {
        "global": {**original.get("global", {}), "scrape_interval": scrape, "evaluation_interval": scrape},
        "rule_files": [str(rules / file) for file in original.get("rule_files", [])],
        "scrape_configs": [
            {name: job[name] for name in kept if name in job} | jobs[job["job_name"]]
            for job in original["scrape_configs"]
            if job["job_name"] in jobs
        ],
    }


class Prometheus:
    """One process. It blocks.

    Args:
        binary: what to run.
        folder: for its configuration, data and log.
    """

    def __init__(self, binary: Path, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process = Process(
            [
                str(binary),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={LOOPBACK}:{self.port}",
                # As in docker-compose.yml.
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            folder / "prometheus.log",
        )

    def start(self, settings: Mapping[str, Any]) -> None:
        """Write the configuration and start with it.

        Raises:
            StartupError: it ends or stays silent, with the last lines of its log.
        """
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
        start(self._process, self._ready, _READY_S, "Prometheus")

    def stop(self) -> None:
        """End it cleanly."""
        self._process.stop(_GRACE_S)

    def instant(self, expression: str, at: float) -> Answer:
        """What an expression is at a time (seconds since 1970)."""
        return self._answer("query", {"query": expression, "time": f"{at:.3f}"})

    def curve(self, expression: str, start: float, end: float, step_ms: int) -> Answer:
        """What it is over a time. Both ends on multiples of the step, as Grafana asks."""
        step = step_ms / 1000
        return self._answer(
            "query_range",
            {
                "query": expression,
                "start": f"{start // step * step:.3f}",
                "end": f"{end // step * step:.3f}",
                "step": f"{step:g}",
            },
        )

    def exemplars(self, expression: str, start: float, end: float) -> list[Exemplar]:
        """Single measurements of the series that an expression is made of, each with the trace that it belongs to."""
        asked = self._ask("query_exemplars", {"query": expression, "start": f"{start:.3f}", "end": f"{end:.3f}"})
        return [
            Exemplar(one["timestamp"], float(one["value"]), one["labels"])
            for series in asked.get("data", [])
            for one in series["exemplars"]
        ]

    def label_values(self, label: str, selector: str | None) -> list[str]:
        """Each value that a label has, of the series selected."""
        parameters = {} if selector is None else {"match[]": selector}
        values: list[str] = self._ask(f"label/{label}/values", parameters).get("data", [])
        return values

    def alerts(self) -> list[dict[str, Any]]:
        """Those that fire or are about to."""
        alerts: list[dict[str, Any]] = self._ask("alerts", {})["data"]["alerts"]
        return alerts

    def broken_rules(self) -> list[str]:
        """Rules that cannot be evaluated, with why."""
        groups = self._ask("rules", {})["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule.get("lastError")]

    def unanswered(self) -> list[str]:
        """Targets that cannot be scraped now, with why."""
        targets = self._ask("targets", {"state": "active"})["data"]["activeTargets"]
        return [f"{target['scrapeUrl']}: {target['lastError']}" for target in targets if target["lastError"]]

    def _answer(self, path: str, parameters: Mapping[str, str]) -> Answer:
        said = self._ask(path, parameters)
        if said["status"] != "success":
            return Answer(error=said.get("error", "refused"))
        data = said["data"]
        if data["resultType"] in {"scalar", "string"}:
            return Answer([{"metric": {}, "value": data["result"]}])
        return Answer(data["result"])

    def _ask(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=_ANSWER_S) as answer:  # noqa: S310  http, on loopback
                said: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            # What it refuses it explains, in the same form.
            said = json.load(error)
        return said

    @property
    def _url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=2):  # noqa: S310  http, on loopback
                return True
        except OSError:
            return False
