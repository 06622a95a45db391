"""What Kubernetes, KEDA and the Prometheus operator take: their own schemas, fetched once and read without a cluster.

Kubernetes' come in the wheel of `kubernetes-validate`, into .cache/lint; the others' are the custom resource definitions in
their Go modules, in Go's own cache.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

OLDEST: Final = "1.29"
NEWEST: Final = "1.37"
_WHEEL: Final = "kubernetes-validate==1.37.0"
_KEDA: Final = "github.com/kedacore/keda/v2@v2.21.0"
_OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
_DEFINITIONS: Final = {
    "keda.sh/v1alpha1/ScaledObject": (_KEDA, "config/crd/bases/keda.sh_scaledobjects.yaml"),
    "keda.sh/v1alpha1/TriggerAuthentication": (_KEDA, "config/crd/bases/keda.sh_triggerauthentications.yaml"),
    "monitoring.coreos.com/v1/PrometheusRule": (
        _OPERATOR,
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "monitoring.coreos.com/v1/ServiceMonitor": (
        _OPERATOR,
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
}
_TOP: Final = Path(__file__).parents[2]
_CACHE: Final = Path(os.environ.get("LINT_CACHE", _TOP / ".cache/lint"))


def complaints(thing: Mapping[str, Any], version: str) -> Iterator[str]:
    """What is wrong with an object by its schema, a line each; a field that the schema does not know is wrong.

    Args:
        thing: the object.
        version: of Kubernetes; what the others define is in one version here.

    Raises:
        KeyError: nobody defines such a kind.
        subprocess.CalledProcessError: the schemas cannot be had.
    """
    kind = f"{thing['apiVersion']}/{thing['kind']}"
    validator = _custom(kind) if "." in thing["apiVersion"].split("/")[0] and kind in _DEFINITIONS else None
    for error in (validator or _built_in(kind, version)).iter_errors(thing):
        place = ".".join(map(str, error.absolute_path)) or "the object"
        yield f"{thing['kind']} {thing['metadata']['name']}: {place}: {error.message}"


def unknown_options(trigger: Mapping[str, Any]) -> set[str]:
    """Names in a Kafka trigger's metadata that KEDA's scaler does not know, which its schema leaves open."""
    scaler = (_module(_KEDA) / "pkg/scalers/kafka_scaler.go").read_text(encoding="utf-8")
    return set(trigger["metadata"]) - set(re.findall(r'`keda:"name=(\w+)', scaler))


@cache
def _built_in(kind: str, version: str) -> Draft202012Validator:
    folder = _wheel() / f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
    *group, api, name = kind.split("/")
    prefix = f"{group[0].split('.')[0]}-" if group else ""
    path = folder / f"{name.lower()}-{prefix}{api}.json"
    if not path.is_file():
        raise KeyError(kind)
    schema = json.loads(path.read_bytes())
    common = json.loads((folder / "_definitions.json").read_bytes())
    registry: Registry[Any] = Resource.from_contents(common) @ (Resource.from_contents(schema) @ Registry())
    return Draft202012Validator(schema, registry=registry)


@cache
def _custom(kind: str) -> Draft202012Validator:
    module, file = _DEFINITIONS[kind]
    definition = yaml.safe_load((_module(module) / file).read_bytes())
    [schema] = [
        version["schema"]["openAPIV3Schema"]
        for version in definition["spec"]["versions"]
        if kind.split("/")[1] == version["name"]
    ]
    return Draft202012Validator(_closed(schema))


def _closed(schema: Any) -> Any:
    """The same, but a field that it does not name is an error: Kubernetes would drop it without a word."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(part) for key, part in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
    is_object = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    # `metadata: {type: object}` is Kubernetes' own affair.
    if is_object and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed


@cache
def _wheel() -> Path:
    folder = _CACHE / _WHEEL.replace("==", "-")
    if not (folder / "kubernetes_validate").is_dir():
        print(f"…     fetching {folder.name} (once)", file=sys.stderr)  # noqa: T201  how it tells
        subprocess.run(  # noqa: S603  arguments of our own
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--root-user-action", "ignore", "--only-binary", ":all:", "--upgrade", "--target", folder, _WHEEL),
            ],
            check=True,
        )
    return folder


@cache
def _module(module: str) -> Path:
    """Where a Go module lies. Its checksum is checked by go."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(  # noqa: S603  arguments of our own
        ["go", "mod", "download", "-json", module],  # noqa: S607  whichever there is
        capture_output=True,
        check=True,
        cwd=_CACHE,
        env=os.environ | {"GOFLAGS": ""},
    )
    return Path(json.loads(ended.stdout)["Dir"])
