"""Checks the chart without a cluster: `python -m deploy.verify.helm_check --helm PATH`.

Every values file in deploy/helm/ci is linted and rendered, each object held against the schemas of the oldest and the newest
Kubernetes, of KEDA and of the Prometheus operator, all of them against each other and the worker, and against the parts that
the file of its name in deploy/helm/ci/expected has. Every file in deploy/helm/ci/refused has to be refused with the message in
its first line. What a cluster would do with it is not seen here.
"""

import argparse
import base64
import gzip
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from typer.testing import CliRunner

from deploy.verify import chart_objects, kubernetes_schemas
from deploy.verify.kubernetes_schemas import NEWEST, OLDEST
from worker.cli import app
from worker.errors import PolicyError, StartupError
from worker.policy_file import load_policy

_DEPLOY: Final = Path(__file__).parents[1]
_CHART: Final = _DEPLOY / "helm/comment-screener"
_VALUES: Final = sorted((_DEPLOY / "helm/ci").glob("*.yaml"))
_EVERYTHING: Final = _DEPLOY / "helm/ci/everything.yaml"
_EXPECTED: Final = _DEPLOY / "helm/ci/expected"
_REFUSED: Final = sorted((_DEPLOY / "helm/ci/refused").glob("*.yaml"))
# Helm keeps chart and manifests in one Secret, which may have 1 MiB; the rest is for dashboards to come.
_LARGEST_RELEASE: Final = 700_000
# As deploy/prometheus calls it.
_JOB: Final = "comment-screener"


class Helm:
    """Helm, told which Kubernetes it is to think of.

    Args:
        path: of the program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [self._path, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  arguments of our own
        # It tells of each link in files/ that it followed.
        ended.stderr = "\n".join(line for line in ended.stderr.splitlines() if "found symbolic link" not in line)
        return ended

    def render(self, values: Path, version: str, chart: Path = _CHART) -> subprocess.CompletedProcess[str]:
        return self.run("template", "one", chart, "--namespace", "moderation", "--kube-version", version, "-f", values)


def lint(helm: Helm, values: Path) -> Iterator[str]:
    """Whether Helm finds fault with it."""
    ended = helm.run("lint", "--strict", "--quiet", _CHART, "--kube-version", NEWEST, "-f", values)
    if ended.returncode:
        yield ended.stdout + ended.stderr


def objects(helm: Helm, values: Path) -> Iterator[str]:
    """Whether what it renders is what others take, and fits together."""
    for version in (OLDEST, NEWEST):
        ended = helm.render(values, version)
        if ended.returncode:
            yield ended.stderr
            return
        rendered = [thing for thing in yaml.safe_load_all(ended.stdout) if thing]
        for thing in rendered:
            yield from (f"{version}: {line}" for line in kubernetes_schemas.complaints(thing, version))
            if thing["kind"] == "ScaledObject":
                for trigger in thing["spec"]["triggers"]:
                    yield from (f"KEDA knows no {name}" for name in kubernetes_schemas.unknown_options(trigger))
    yield from chart_objects.complaints(rendered)
    yield from chart_objects.lacking(rendered, yaml.safe_load((_EXPECTED / values.name).read_bytes()))
    yield from _commands(rendered)
    yield from _policies(rendered)
    yield from _stale(rendered)


def refused(helm: Helm, values: Path) -> Iterator[str]:
    """Whether it is refused as its first line says."""
    expected = values.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    ended = helm.render(values, NEWEST)
    if not ended.returncode:
        yield "is not refused"
    elif expected not in ended.stderr:
        yield f"is refused with:\n{ended.stderr}"


def package(helm: Helm) -> Iterator[str]:
    """Whether the package holds what the links point at, and a release of everything has room in its Secret."""
    manifest = helm.render(_EVERYTHING, NEWEST).stdout
    with tempfile.TemporaryDirectory() as folder:
        ended = helm.run("package", _CHART, "--destination", folder)
        if ended.returncode:
            yield ended.stderr
            return
        [archive] = Path(folder).iterdir()
        if helm.render(_EVERYTHING, NEWEST, archive).stdout != manifest:
            yield "the package renders something else"
        with tarfile.open(archive) as opened:
            content = {
                member.name.removeprefix(f"{_CHART.name}/"): file.read()
                for member in opened
                if (file := opened.extractfile(member)) is not None
            }
    for path, source in _linked().items():
        if content.get(path) != source:
            yield f"the package lacks {path}"
    size = _release_size(manifest, content)
    if size > _LARGEST_RELEASE:
        yield f"a release takes {size:,} bytes of its Secret, {_LARGEST_RELEASE:,} at most"


def _linked() -> dict[str, bytes]:
    """What the package has to hold under files/, from where it comes."""
    rules = yaml.safe_load((_DEPLOY / "prometheus/prometheus.yml").read_bytes())["rule_files"]
    sources = {f"files/prometheus/{name}": _DEPLOY / "prometheus" / name for name in rules}
    sources |= {f"files/dashboards/{path.name}": path for path in (_DEPLOY / "grafana/dashboards").glob("*.json")}
    return {name: path.read_bytes() for name, path in sources.items()}


def _release_size(manifest: str, content: dict[str, bytes]) -> int:
    files = [{"name": name, "data": base64.b64encode(data).decode()} for name, data in content.items()]
    release = json.dumps({"manifest": manifest, "chart": {"files": files}}).encode()
    return len(base64.b64encode(gzip.compress(release)))


def _commands(rendered: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Whether the worker's command line has what the containers are told to run."""
    for thing in rendered:
        pod = chart_objects.pod_of(thing)
        for container in pod["spec"]["containers"] if pod else ():
            ended = CliRunner().invoke(app, [*container["args"], "--help"])
            if ended.exit_code:
                yield f"{thing['kind']} {thing['metadata']['name']}: {container['args']}: {ended.output}"


def _policies(rendered: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Whether the worker takes the policy in a ConfigMap."""
    for thing in rendered:
        if thing["kind"] == "ConfigMap" and (text := thing["data"].get("policy.yaml")) is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "policy.yaml"
                path.write_text(text, encoding="utf-8")
                try:
                    load_policy(str(path), {})
                except (PolicyError, StartupError) as error:
                    yield f"the policy: {error}"


def _stale(rendered: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Whether rules and dashboards arrive as they are written, but for the job's name, where they are switched on."""
    [job] = [chart_objects.job_of(thing) for thing in rendered if thing["kind"] == "ServiceMonitor"] or [_JOB]
    groups = [group for thing in rendered if thing["kind"] == "PrometheusRule" for group in thing["spec"]["groups"]]
    boards = [
        json.loads(text)
        for thing in rendered
        if thing["kind"] == "ConfigMap"
        for name, text in thing["data"].items()
        if name.endswith(".json")
    ]
    sources = _linked()
    written = [
        group
        for name, text in sorted(sources.items())
        if name.endswith(".yml")
        for group in yaml.safe_load(re.sub(f'(job="|job: ){_JOB}', rf"\g<1>{job}", text.decode()))["groups"]
    ]
    drawn = [json.loads(text) for name, text in sorted(sources.items()) if name.endswith(".json")]
    if groups and groups != written:
        yield "the rules are not those of deploy/prometheus"
    if boards and boards != drawn:
        yield "the dashboards are not those of deploy/grafana"


def main() -> int:
    """Run every check; 1 where one finds something."""
    parser = argparse.ArgumentParser(prog="python -m deploy.verify.helm_check", description=__doc__)
    parser.add_argument("--helm", type=Path, required=True, help="the program")
    helm = Helm(parser.parse_args().helm)
    failed = False
    for name, found in _found(helm):
        failed |= bool(found)
        print(f"{'FAIL' if found else 'ok  '}  {name}")  # noqa: T201  how it tells
        for line in found:
            print(f"      {line}")  # noqa: T201
    return int(failed)


def _found(helm: Helm) -> Iterator[tuple[str, list[str]]]:
    for path in _VALUES:
        yield f"{path.name}: lint", list(lint(helm, path))
        yield f"{path.name}: objects", list(objects(helm, path))
    for path in _REFUSED:
        yield f"{path.name}: refused", list(refused(helm, path))
    yield "package", list(package(helm))


if __name__ == "__main__":
    sys.exit(main())
