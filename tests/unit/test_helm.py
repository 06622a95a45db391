"""What the chart says of the worker is true of the worker, and what checks the chart finds what is wrong.

Whether it renders, and whether Kubernetes would take it, is for the tools: `python -m deploy.verify.helm_check`.
"""

import copy
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft7Validator

from deploy.verify.chart_objects import complaints, lacking
from worker.settings import Settings

TOP: Final = Path(__file__).parents[2]
CHART: Final = TOP / "deploy/helm/comment-screener"
CI: Final = TOP / "deploy/helm/ci"
VALUES: Final[dict[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_bytes())
SCHEMA: Final[dict[str, Any]] = json.loads((CHART / "values.schema.json").read_bytes())
TEMPLATES: Final = {path.name: path.read_text(encoding="utf-8") for path in (CHART / "templates").rglob("*.*")}
SETTINGS: Final = {f"SCREENER_{name.upper()}" for name in Settings.model_fields}
# Maps whose keys are other people's.
FREE: Final = {
    "podSecurityContext",
    *(f"{whose}.{which}" for whose in ("resources", "hooks.resources") for which in ("requests", "limits")),
    "dashboards.labels",
    "dashboards.annotations",
}
# What topics.kafka has in part, so nothing in them has to be there.
IN_PART: Final = {"kafka.sasl", "kafka.tls"}
# Values that null means something for: the number is an autoscaler's, the steps are Kubernetes'.
MAY_BE_NULL: Final = {"replicas", "strategy.rollingUpdate"}
# All pods of a Deployment get the same, and the second of that name would throw the first out of the group; a password is a file.
NOT_FOR_A_DEPLOYMENT: Final = {"SCREENER_GROUP_INSTANCE_ID", "SCREENER_SASL_PASSWORD"}


def merged(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """As Helm lays one file over another: null takes a value away."""
    both = copy.deepcopy(values)
    for key, value in others.items():
        if value is None:
            both.pop(key, None)
        else:
            both[key] = merged(both.get(key, {}), value) if isinstance(value, dict) else value
    return both


def keys(values: Any, at: str = "") -> Iterator[str]:
    """Every key of the values, `a.b.c`; a map that users fill ends it."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from keys(value, f"{at}.{key}" if at else key)
    else:
        yield at


def places(values: dict[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of the values with what it holds, maps as well; not what is in maps whose keys are free."""
    for key, value in values.items():
        place = f"{at}.{key}" if at else key
        yield place, value
        if isinstance(value, dict) and place not in FREE | IN_PART:
            yield from places(value, place)


def named(text: str) -> set[str]:
    return set(re.findall(r"\bSCREENER_[A-Z_]*[A-Z]\b", text))


def test_the_schema_is_one_and_takes_the_defaults() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert list(Draft7Validator(SCHEMA).iter_errors(VALUES)) == []


@pytest.mark.parametrize("file", sorted(CI.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_takes_what_the_checks_install(file: Path) -> None:
    values = merged(VALUES, yaml.safe_load(file.read_bytes()))
    assert [error.message for error in Draft7Validator(SCHEMA).iter_errors(values)] == []


@pytest.mark.parametrize("key", sorted(keys(VALUES)))
def test_the_schema_knows_every_value_and_refuses_its_misspelling(key: str) -> None:
    misspelt: dict[str, Any] = {}
    inner = misspelt
    *outer, last = key.split(".")
    for name in outer:
        inner = inner.setdefault(name, {})
    inner[f"{last}_"] = "anything"
    refused = [error.validator for error in Draft7Validator(SCHEMA).iter_errors(misspelt)]

    is_free = any(f"{key}.".startswith(f"{free}.") for free in FREE)
    assert ("additionalProperties" in refused) is not is_free


@pytest.mark.parametrize(("place", "default"), [pytest.param(*one, id=one[0]) for one in places(VALUES)])
def test_null_is_refused_where_it_would_leave_nothing_in_the_place_of_something(place: str, default: Any) -> None:
    unset: dict[str, Any] = {}
    inner = unset
    *outer, last = place.split(".")
    for name in outer:
        inner = inner.setdefault(name, {})
    inner[last] = None
    refused = [error.validator for error in Draft7Validator(SCHEMA).iter_errors(merged(VALUES, unset))]

    may_be_nothing = default in (None, "", [], {}) or place in MAY_BE_NULL
    assert refused == ([] if may_be_nothing else ["required"])


@pytest.mark.parametrize("whose", ["resources", "hooks.resources"])
@pytest.mark.parametrize("limit", ["cpu", "memory"])
def test_no_pod_is_without_limits(whose: str, limit: str) -> None:
    unset: dict[str, Any] = {"limits": {limit: None}}
    for name in reversed(whose.split(".")):
        unset = {name: unset}

    [error] = Draft7Validator(SCHEMA).iter_errors(merged(VALUES, unset))
    assert error.message == f"'{limit}' is a required property"


def test_every_value_is_used() -> None:
    used = "\n".join(TEMPLATES.values())
    for key in VALUES:
        assert f".Values.{key}" in used, key


def test_settings_are_those_of_the_worker_and_none_is_given_twice() -> None:
    passed = named(TEMPLATES["deployment.yaml"] + TEMPLATES["_kafka.tpl"])
    free = set(SCHEMA["properties"]["settings"]["properties"])

    # A new setting is named in values.schema.json, under settings.
    assert passed | free | NOT_FOR_A_DEPLOYMENT == SETTINGS
    # The only one with a default that may be overridden.
    assert passed & free == {"SCREENER_INFERENCE_THREADS"}
    assert free & NOT_FOR_A_DEPLOYMENT == set()


def test_names_that_the_chart_mentions_are_settings() -> None:
    files = [path for path in CHART.rglob("*.*") if path.is_file() and "files" not in path.parts]
    for file in [*files, *CI.glob("*.yaml")]:
        assert named(file.read_text(encoding="utf-8")) <= SETTINGS, file.name


def test_the_pod_is_given_longer_than_the_worker_gives_itself() -> None:
    [margin] = re.findall(
        r"terminationGracePeriodSeconds: {{ add \.Values\.shutdownTimeoutSeconds (\d+) }}", TEMPLATES["deployment.yaml"]
    )
    assert int(margin) >= 10
    assert VALUES["shutdownTimeoutSeconds"] == Settings.model_fields["shutdown_timeout_s"].default


def test_the_defaults_are_the_workers() -> None:
    fields = Settings.model_fields
    assert VALUES["httpPort"] == fields["http_port"].default
    assert VALUES["kafka"]["groupId"] == fields["group_id"].default
    assert VALUES["kafka"]["commentsTopic"] == fields["comments_topic"].default
    assert VALUES["kafka"]["decisionsTopic"] == fields["decisions_topic"].default
    assert VALUES["kafka"]["deadLettersTopic"] == fields["dead_letters_topic"].default
    assert VALUES["kafka"]["sasl"]["mechanism"] == fields["sasl_mechanism"].default
    presets = {path.stem for path in (TOP / "worker/policies").glob("*.yaml")}
    assert set(SCHEMA["properties"]["policy"]["properties"]["preset"]["enum"]) == presets


def test_the_version_is_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_bytes())
    version = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_the_user_is_the_images() -> None:
    [user] = re.findall(r"^USER (\d+):\1$", (TOP / "deploy/Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    ids = {VALUES["podSecurityContext"][name] for name in ("runAsUser", "runAsGroup", "fsGroup")}
    assert ids == {int(user)}
    assert not any(re.search(r"runAsUser|runAsGroup|fsGroup", text) for text in TEMPLATES.values())


def test_rules_and_dashboards_are_the_folders_themselves() -> None:
    """Links, so that nothing can be stale; and by the names that the templates look for."""
    assert (CHART / "files/dashboards").resolve() == TOP / "deploy/grafana/dashboards"
    assert (CHART / "files/prometheus").resolve() == TOP / "deploy/prometheus"
    in_force = yaml.safe_load((TOP / "deploy/prometheus/prometheus.yml").read_bytes())["rule_files"]
    tests = {path.name for path in (TOP / "deploy/prometheus").glob("*_test.yml")}
    assert {path.name for path in (CHART / "files/prometheus").glob("*rules*.yml")} - tests == set(in_force)
    assert "*_test.yml" in (CHART / ".helmignore").read_text(encoding="utf-8").splitlines()


def test_the_job_is_the_one_that_the_rules_know() -> None:
    """And they name it in no other way than in those two that the template looks for."""
    rules = (TOP / "deploy/prometheus/rules.yml").read_text(encoding="utf-8")
    job = VALUES["serviceMonitor"]["job"]
    assert set(re.findall(r'job="([^"]+)"|job: ([^},\s]+)', rules)) == {(job, ""), ("", job)}
    assert re.findall(r"\bjob\s*(?:=~|!=|!~|=\s|='|\s=)", rules) == []
    for way in (f'job=\\"{job}\\"', f"job: {job}"):
        assert f'replace "{way}"' in TEMPLATES["prometheusrule.yaml"]


def test_the_image_is_built_and_pushed_with_the_tag_that_the_chart_asks_for() -> None:
    text = (TOP / "deploy/README.md").read_text(encoding="utf-8")
    version = yaml.safe_load((CHART / "Chart.yaml").read_bytes())["appVersion"]
    assert set(re.findall(r"registry\.example/comment-screener:(\S+)|VERSION=(\S+)", text)) == {
        (version, ""),
        ("", version),
    }
    assert "--set image.repository=registry.example/comment-screener" in text


@pytest.mark.parametrize("file", sorted(CI.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_the_checks_install_has_something_to_be_seen_in_it(file: Path) -> None:
    parts = yaml.safe_load((CI / "expected" / file.name).read_bytes())
    assert parts
    assert all("kind" in part for part in parts)


@pytest.mark.parametrize("file", sorted((CI / "refused").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_refused_says_how(file: Path) -> None:
    first, *rest = file.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# ")
    assert isinstance(yaml.safe_load("\n".join(rest)), dict)


RELEASE: Final = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: worker}}
spec:
  selector: {{matchLabels: {{app: screener}}}}
  template:
    metadata: {{labels: {{app: screener, team: safety}}}}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 40
      securityContext: {{runAsNonRoot: true, runAsUser: 10001, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: worker
          securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
          env:
            - {{name: SCREENER_KAFKA_BOOTSTRAP_SERVERS, value: "kafka:9092"}}
            - {{name: SCREENER_POLICY, value: /etc/policy/policy.yaml}}
            - {{name: SCREENER_SHUTDOWN_TIMEOUT_S, value: "25"}}
            - {{name: SCREENER_INFERENCE_THREADS, valueFrom: {{resourceFieldRef: {{resource: limits.cpu}}}}}}
          ports: [{{name: http, containerPort: {VALUES["httpPort"]}}}]
          startupProbe: {{httpGet: {{path: /livez, port: http}}}}
          livenessProbe: {{httpGet: {{path: /livez, port: http}}}}
          readinessProbe: {{httpGet: {{path: /readyz, port: http}}}}
          resources: {{limits: {{memory: 1Gi}}}}
          volumeMounts: [{{name: tmp, mountPath: /tmp}}, {{name: policy, mountPath: /etc/policy, readOnly: true}}]
      volumes: [{{name: tmp, emptyDir: {{}}}}, {{name: policy, configMap: {{name: policy}}}}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: worker}}
automountServiceAccountToken: false
---
apiVersion: v1
kind: Service
metadata: {{name: worker, labels: {{app: screener}}}}
spec: {{selector: {{app: screener}}, ports: [{{name: http}}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: worker}}
spec: {{selector: {{matchLabels: {{app: screener}}}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: worker}}
spec:
  podSelector: {{matchLabels: {{app: screener}}, matchExpressions: [{{key: team, operator: In, values: [safety]}}]}}
  egress: [{{ports: [{{port: 9092, protocol: TCP}}]}}]
---
apiVersion: batch/v1
kind: Job
metadata: {{name: topics, annotations: {{helm.sh/hook: pre-install}}}}
spec:
  template:
    metadata: {{labels: {{app: topics}}}}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: topics
          securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
          env: [{{name: SCREENER_KAFKA_BOOTSTRAP_SERVERS, value: "kafka:9094"}}]
          resources: {{limits: {{memory: 1Gi}}}}
          volumeMounts: [{{name: tmp, mountPath: /tmp}}]
      volumes: [{{name: tmp, emptyDir: {{}}}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: topics, annotations: {{helm.sh/hook: pre-install, helm.sh/hook-weight: "-1"}}}}
spec: {{podSelector: {{matchLabels: {{app: topics}}}}, egress: [{{ports: [{{port: 9094, protocol: TCP}}]}}]}}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {{name: worker}}
spec:
  selector: {{matchLabels: {{app: screener}}}}
  endpoints: [{{port: http, relabelings: [{{targetLabel: job, replacement: screener}}]}}]
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {{name: worker}}
spec: {{groups: [{{rules: [{{expr: 'absent(up{{job="screener"}})', labels: {{job: screener}}}}]}}]}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: worker}}
spec: {{scaleTargetRef: {{name: worker}}}}
"""

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def release(change: Change = lambda *_: None) -> list[dict[str, Any]]:
    """Objects that fit together, after a change: it is given them by kind (and name), and the worker's container."""
    objects = list(yaml.safe_load_all(RELEASE))
    by_kind = {thing["kind"]: thing for thing in objects if thing["metadata"]["name"] == "worker"}
    by_kind |= {f"{thing['kind']} {thing['metadata']['name']}": thing for thing in objects}
    change(by_kind, by_kind["Deployment"]["spec"]["template"]["spec"]["containers"][0])
    return objects


def pod(objects: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]
    return spec


def set_variable(container: dict[str, Any], name: str, value: str) -> None:
    container["env"] = [*(one for one in container["env"] if one["name"] != name), {"name": name, "value": value}]


def test_objects_that_fit_together() -> None:
    assert list(complaints(release())) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda o, _: pod(o)["securityContext"].pop("runAsNonRoot"), "may run as root"),
        (lambda o, _: pod(o)["securityContext"].pop("seccompProfile"), "no seccomp profile"),
        (
            lambda o, _: pod(o).pop("automountServiceAccountToken"),
            "Deployment worker: leaves it to others whether it mounts a token",
        ),
        (lambda o, _: pod(o).pop("enableServiceLinks"), "other services become its variables"),
        (lambda o, _: pod(o).update(hostNetwork=True), "shares the host's namespaces"),
        (lambda _, c: c["securityContext"].pop("allowPrivilegeEscalation"), "worker may gain privileges"),
        (lambda _, c: c["securityContext"].pop("readOnlyRootFilesystem"), "worker may write to its image"),
        (lambda _, c: c["securityContext"].update(capabilities={"add": ["SYS_PTRACE"]}), "worker has capabilities"),
        (lambda _, c: c["resources"]["limits"].pop("memory"), "worker has no limit of memory"),
        (lambda o, _: pod(o)["volumes"].pop(), "no volume policy"),
        (lambda _, c: c["volumeMounts"][1].pop("readOnly"), "/etc/policy may be written to"),
        (lambda _, c: c["volumeMounts"].pop(), "SCREENER_POLICY=/etc/policy/policy.yaml is in no volume"),
        (lambda _, c: set_variable(c, "SCREENER_MAX_WINDOWS", "1"), "SCREENER_MAX_WINDOWS is no setting"),
        (lambda _, c: set_variable(c, "SCREENER_MAX_WINDOW", "0"), "max_window: Input should be greater than 0"),
        (
            lambda _, c: set_variable(c, "SCREENER_SHUTDOWN_TIMEOUT_S", "40"),
            "is killed before it has had its time to finish",
        ),
        (lambda _, c: set_variable(c, "SCREENER_HTTP_PORT", "9999"), "listens on 9999, and says 9464"),
        (lambda _, c: c["livenessProbe"]["httpGet"].update(port="https"), "livenessProbe asks elsewhere"),
        (lambda o, _: o["ServiceAccount"].pop("automountServiceAccountToken"), "ServiceAccount worker: mounts a token"),
        (
            lambda o, _: o["Service"]["spec"]["selector"].update(app="other"),
            "Service worker: does not select the workers",
        ),
        (
            lambda o, _: o["Deployment"]["spec"]["selector"]["matchLabels"].update(app="other"),
            "Deployment worker: does not select the workers",
        ),
        (
            lambda o, _: o["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].update(app="other"),
            "PodDisruptionBudget worker: does not select the workers",
        ),
        (
            lambda o, _: o["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].update(app="other"),
            "Deployment worker: no network policy lets it reach Kafka at 9092 by then",
        ),
        (
            lambda _, c: set_variable(c, "SCREENER_KAFKA_BOOTSTRAP_SERVERS", "kafka:9092,kafka:9094"),
            "Deployment worker: no network policy lets it reach Kafka at 9094 by then",
        ),
        (
            lambda o, _: o["NetworkPolicy"]["spec"]["podSelector"]["matchExpressions"][0].update(values=["others"]),
            "Deployment worker: no network policy lets it reach Kafka at 9092 by then",
        ),
        (
            lambda o, _: o["NetworkPolicy"]["metadata"].update(annotations={"helm.sh/hook": "pre-install"}),
            "Deployment worker: no network policy lets it reach Kafka at 9092 by then",
        ),
        (
            lambda o, _: o["NetworkPolicy topics"]["metadata"].pop("annotations"),
            "Job topics: no network policy lets it reach Kafka at 9094 by then",
        ),
        (
            lambda o, _: o["NetworkPolicy topics"]["metadata"]["annotations"].pop("helm.sh/hook-weight"),
            "Job topics: no network policy lets it reach Kafka at 9094 by then",
        ),
        (
            lambda o, _: o["ServiceMonitor"]["spec"]["selector"]["matchLabels"].update(app="other"),
            "ServiceMonitor worker: selects no service",
        ),
        (
            lambda o, _: o["ServiceMonitor"]["spec"]["endpoints"][0].update(port="metrics"),
            "ServiceMonitor worker: asks at a port that the service does not have",
        ),
        (
            lambda o, _: o["ServiceMonitor"]["spec"]["endpoints"][0].pop("relabelings"),
            "ServiceMonitor worker: makes a job that the rules do not know",
        ),
        (
            lambda o, _: o["PrometheusRule"]["spec"]["groups"][0]["rules"][0]["labels"].update(job="other"),
            "ServiceMonitor worker: makes a job that the rules do not know",
        ),
        (
            lambda o, _: o["ScaledObject"]["spec"]["scaleTargetRef"].update(name="other"),
            "ScaledObject worker: scales something else",
        ),
        (
            lambda o, _: o["Deployment"]["spec"].update(replicas=2),
            "ScaledObject worker: and the Deployment set the number of workers both",
        ),
        (lambda o, _: o["Service"].update(kind="ServiceAccount", automountServiceAccountToken=False), "twice"),
    ],
)
def test_what_does_not_fit_is_found(change: Change, complaint: str) -> None:
    found = list(complaints(release(change)))

    assert any(line.endswith(complaint) for line in found), found


@pytest.mark.parametrize(
    "part",
    [
        {"kind": "Deployment", "spec": {"replicas": None, "selector": {"matchLabels": {"app": "screener"}}}},
        {"kind": "NetworkPolicy", "spec": {"egress": [{"ports": [{"port": 9094}]}]}},
    ],
)
def test_a_part_that_an_object_has(part: dict[str, Any]) -> None:
    assert list(lacking(release(), [part])) == []


@pytest.mark.parametrize(
    "part",
    [
        # Of two objects, each has a half.
        {"kind": "NetworkPolicy", "metadata": {"name": "worker"}, "spec": {"egress": [{"ports": [{"port": 9094}]}]}},
        {"kind": "Deployment", "spec": {"selector": None}},
        {"kind": "Deployment", "spec": {"replicas": 2}},
        {"kind": "Deployment", "spec": {"selector": {"matchLabels": ["app"]}}},
    ],
)
def test_a_part_that_no_object_has(part: dict[str, Any]) -> None:
    [line] = lacking(release(), [{"kind": "Service"}, part])
    assert line == f"nothing is like {json.dumps(part)}"
