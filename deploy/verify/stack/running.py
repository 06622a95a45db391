"""docker-compose.yml as it runs: the commands that somebody at a shell would give, and what they say."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

_COMMAND_S: Final = 600.0
_ANSWER_S: Final = 30.0
_LOOKS_EVERY_S: Final = 1.0
_LINES: Final = 15


class Failed(Exception):  # noqa: N818  it is what a check has done
    """A check found something else than it should; the message says what."""


class Container(Struct, frozen=True):
    """One container of a service."""

    id: str
    running: bool
    healthy: bool
    exit_code: int
    restarts: int


def compose(*arguments: str) -> str:
    """Run `docker compose …`; what it prints. Raises Failed where it does not exit with 0."""
    return _said("docker", "compose", *arguments)


def podman(*arguments: str) -> str:
    """The same of podman, for what compose does not tell."""
    return _said("podman", *arguments)


def containers(service: str) -> list[Container]:
    """Those of a service, ended ones included."""
    ids = compose("ps", "--all", "--quiet", service).split()
    return (
        [
            Container(
                id=one["Id"],
                running=one["State"]["Running"],
                healthy=(one["State"].get("Health") or {}).get("Status") == "healthy",
                exit_code=one["State"]["ExitCode"],
                restarts=one["RestartCount"],
            )
            # Compose has it from the list of containers, where podman does not say who is healthy.
            for one in json.loads(podman("inspect", *ids))
        ]
        if ids
        else []
    )


def ask(url: str) -> Any:
    """What an HTTP service on loopback answers, as JSON. Raises Failed where it does not."""
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:  # noqa: S310  http, on loopback
            return json.load(answer)
    except OSError as error:
        raise Failed(f"{url}: {error}") from error


def value(prometheus: str, expression: str) -> float | None:
    """What an expression is now; None where there is no such series."""
    answer = ask(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    result = answer["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def wait(until: Callable[[], object], patience_s: float, what: Callable[[], str]) -> None:
    """Look until something is so. Raises Failed with `what` is the matter where it takes too long."""
    deadline = time.monotonic() + patience_s
    while not until():
        if time.monotonic() > deadline:
            raise Failed(f"{what()} after {patience_s:g} s")
        time.sleep(_LOOKS_EVERY_S)


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, check=False)  # noqa: S603  of our own
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)}: no end of it") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-_LINES:])
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{last}")
    return done.stdout
