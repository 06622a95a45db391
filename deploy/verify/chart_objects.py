"""What the chart's objects have to be to each other and to the worker, which no schema knows.

Pure: objects in, complaints out.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from pydantic import ValidationError

from worker.settings import Settings

Thing = Mapping[str, Any]

_PREFIX: Final = "SCREENER_"
_LEAST_MARGIN_S: Final = 10
_HOOK: Final = "helm.sh/hook"
_SELECTORS: Final = {
    "Deployment": ("selector", "matchLabels"),
    "PodDisruptionBudget": ("selector", "matchLabels"),
    "Service": ("selector",),
}
_POD_KINDS: Final = {"Deployment", "Job"}
# What a variable may hold that the chart only refers to.
_REFERRED: Final = {"resourceFieldRef": "2", "secretKeyRef": "somebody"}


def complaints(objects: Sequence[Thing]) -> Iterator[str]:
    """What is wrong with the objects of one release, a line each."""
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in objects]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{' '.join(name)}: twice"
    for thing in objects:
        where = f"{thing['kind']} {thing['metadata']['name']}"
        for complaint in _of_one(thing):
            yield f"{where}: {complaint}"
    [worker] = [thing for thing in objects if thing["kind"] == "Deployment"]
    for thing in objects:
        where = f"{thing['kind']} {thing['metadata']['name']}"
        for complaint in _beside(worker, thing, objects):
            yield f"{where}: {complaint}"


def lacking(objects: Sequence[Thing], parts: Sequence[Thing]) -> Iterator[str]:
    """The parts that no object has, a line each. A null in a part is what is not there; of a list some are enough."""
    for part in parts:
        if not any(_has(thing, part) for thing in objects):
            yield f"nothing is like {json.dumps(part)}"


def job_of(monitor: Thing) -> str | None:
    """What a ServiceMonitor calls the job."""
    relabelings = [one for endpoint in monitor["spec"]["endpoints"] for one in endpoint.get("relabelings", ())]
    return next((one["replacement"] for one in relabelings if one["targetLabel"] == "job"), None)


def pod_of(thing: Thing) -> Thing | None:
    """The pod that an object is, or makes."""
    if thing["kind"] == "Pod":
        return thing
    return dict(thing["spec"]["template"]) if thing["kind"] in _POD_KINDS else None


def environment_of(container: Thing) -> dict[str, str]:
    """Its variables; what they only refer to is made up."""
    return {
        one["name"]: one["value"] if "value" in one else _REFERRED[next(iter(one["valueFrom"]))]
        for one in container["env"]
    }


def _of_one(thing: Thing) -> Iterator[str]:
    if thing["kind"] == "ServiceAccount" and thing.get("automountServiceAccountToken") is not False:
        yield "mounts a token"
    if pod := pod_of(thing):
        yield from _unsafe(pod["spec"])
        for container in pod["spec"]["containers"]:
            yield from _not_mounted(pod["spec"], container)
            if thing["kind"] == "Deployment":
                yield from _misconfigured(pod["spec"], container)


def _unsafe(spec: Thing) -> Iterator[str]:
    """Against the pod security standard "restricted", and a little more."""
    security = spec.get("securityContext", {})
    wrong = {
        "may run as root": security.get("runAsNonRoot") is not True,
        "no seccomp profile": security.get("seccompProfile") != {"type": "RuntimeDefault"},
        "leaves it to others whether it mounts a token": "automountServiceAccountToken" not in spec,
        "other services become its variables": spec.get("enableServiceLinks") is not False,
        "shares the host's namespaces": any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")),
    }
    for container in spec["containers"]:
        name, own = container["name"], container.get("securityContext", {})
        wrong |= {
            f"{name} may gain privileges": own.get("allowPrivilegeEscalation") is not False,
            f"{name} may write to its image": own.get("readOnlyRootFilesystem") is not True,
            f"{name} has capabilities": own.get("capabilities") != {"drop": ["ALL"]},
            f"{name} has no limit of memory": "memory" not in container.get("resources", {}).get("limits", {}),
        }
    return (complaint for complaint, found in wrong.items() if found)


def _not_mounted(spec: Thing, container: Thing) -> Iterator[str]:
    volumes = {volume["name"] for volume in spec["volumes"]}
    mounts = container["volumeMounts"]
    for mount in mounts:
        if mount["name"] not in volumes:
            yield f"no volume {mount['name']}"
        if mount.get("readOnly") is not True and mount["mountPath"] != "/tmp":  # noqa: S108  the container's
            yield f"{mount['mountPath']} may be written to"
    folders = [PurePosixPath(mount["mountPath"]) for mount in mounts]
    for name, value in environment_of(container).items():
        if value.startswith("/") and not any(PurePosixPath(value).is_relative_to(folder) for folder in folders):
            yield f"{name}={value} is in no volume"


def _misconfigured(spec: Thing, container: Thing) -> Iterator[str]:
    given = environment_of(container)
    settings = {name: value for name, value in given.items() if name.startswith(_PREFIX)}
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(settings.keys() - known):
        yield f"{name} is no setting"
    try:
        taken = Settings.model_validate({name.removeprefix(_PREFIX).lower(): value for name, value in settings.items()})
    except ValidationError as error:
        yield from (f"{one['loc'][0]}: {one['msg']}" for one in error.errors(include_input=False))
        return
    if spec["terminationGracePeriodSeconds"] < taken.shutdown_timeout_s + _LEAST_MARGIN_S:
        yield "is killed before it has had its time to finish"
    [port] = [port for port in container["ports"] if port["name"] == "http"]
    if port["containerPort"] != taken.http_port:
        yield f"listens on {taken.http_port}, and says {port['containerPort']}"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if container[probe]["httpGet"]["port"] != port["name"]:
            yield f"{probe} asks elsewhere"


def _beside(worker: Thing, thing: Thing, objects: Sequence[Thing]) -> Iterator[str]:
    kind, spec = thing["kind"], thing.get("spec", {})
    if kind in _SELECTORS:
        selector = spec
        for field in _SELECTORS[kind]:
            selector = selector[field]
        if not _selects(selector, worker["spec"]["template"]["metadata"]["labels"]):
            yield "does not select the workers"
    elif kind == "ServiceMonitor":
        yield from _unmonitored(thing, objects)
    elif kind == "ScaledObject":
        if spec["scaleTargetRef"]["name"] != worker["metadata"]["name"]:
            yield "scales something else"
        if "replicas" in worker["spec"]:
            yield "and the Deployment set the number of workers both"
    if pod := pod_of(thing):
        yield from _cut_off(thing, pod, [one for one in objects if one["kind"] == "NetworkPolicy"])


def _cut_off(thing: Thing, pod: Thing, policies: Sequence[Thing]) -> Iterator[str]:
    """Which of a pod's brokers no policy opens a port to, where there are policies: as where all else is denied."""
    open_ports = {
        one["port"]
        for policy in policies
        if _in_time(policy, thing) and _is_for(policy["spec"]["podSelector"], pod["metadata"]["labels"])
        for rule in policy["spec"].get("egress", ())
        for one in rule.get("ports", ())
    }
    for container in pod["spec"]["containers"] if policies else ():
        servers = environment_of(container).get(f"{_PREFIX}KAFKA_BOOTSTRAP_SERVERS", "")
        for server in filter(None, servers.split(",")):
            if (port := int(server.rpartition(":")[2])) not in open_ports:
                yield f"no network policy lets it reach Kafka at {port} by then"


def _in_time(policy: Thing, thing: Thing) -> bool:
    """Whether it is there when the other starts: hooks come before what is none, and may be gone by then."""
    theirs, ours = _annotations(policy), _annotations(thing)
    if not ours.get(_HOOK, "").startswith("pre-"):
        return _HOOK not in theirs
    weights = [int(one.get(f"{_HOOK}-weight", 0)) for one in (theirs, ours)]
    return theirs.get(_HOOK) == ours[_HOOK] and weights[0] < weights[1]


def _annotations(thing: Thing) -> Mapping[str, str]:
    annotations: Mapping[str, str] = thing["metadata"].get("annotations", {})
    return annotations


def _unmonitored(monitor: Thing, objects: Sequence[Thing]) -> Iterator[str]:
    spec = monitor["spec"]
    selector = spec["selector"]["matchLabels"]
    services = [one for one in objects if one["kind"] == "Service"]
    found = [service for service in services if _selects(selector, service["metadata"]["labels"])]
    if not found:
        yield "selects no service"
    for service in found:
        if not {one["port"] for one in spec["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]}:
            yield "asks at a port that the service does not have"
    known = {job for thing in objects if thing["kind"] == "PrometheusRule" for job in _jobs(thing)}
    if known and known != {job_of(monitor)}:
        yield "makes a job that the rules do not know"


def _jobs(rules: Thing) -> Iterator[str]:
    """The jobs that rules name: in what they ask for, and as a label of their own."""
    for rule in (rule for group in rules["spec"]["groups"] for rule in group["rules"]):
        yield from re.findall(r'job="([^"]+)"', rule["expr"])
        if "job" in rule.get("labels", {}):
            yield rule["labels"]["job"]


def _is_for(selector: Thing, labels: Mapping[str, str]) -> bool:
    return _selects(selector.get("matchLabels", {}), labels) and all(
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ())
    )


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


def _has(thing: Any, part: Any) -> bool:
    if isinstance(part, Mapping):
        return isinstance(thing, Mapping) and all(_has(thing.get(key), value) for key, value in part.items())
    if isinstance(part, list):
        return isinstance(thing, list) and all(any(_has(one, wanted) for one in thing) for wanted in part)
    return bool(thing == part)
