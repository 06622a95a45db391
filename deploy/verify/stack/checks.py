"""Every check of the image and of docker-compose.yml, in the order in which somebody would try them.

    deploy/verify/stack_check.sh

It comes up, screens, is scaled, loses a worker and its broker, is stopped, and goes. Each check prints one line; exit code 1
where one has failed.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from deploy.verify.stack.outcomes import Outcomes, read_outcomes
from deploy.verify.stack.running import Failed, ask, compose, containers, podman, value, wait
from deploy.verify.traffic import PARTITIONS

IMAGE: Final = "comment-screener:local"
LOCK: Final = Path(__file__).parents[3] / "requirements.lock"
KAFKA: Final = "127.0.0.1:9094"
PROMETHEUS: Final = "http://127.0.0.1:9090"
ALERTMANAGER: Final = "http://127.0.0.1:9093"
STAYING: Final = ("kafka", "worker", "prometheus", "alertmanager")
LABELS: Final = ("title", "description", "source", "documentation", "licenses", "version", "revision")
LARGEST_MB: Final = 600
COMMENTS: Final = 300
READY_S: Final = 300.0
DONE_S: Final = 240.0
UNWANTED: Final = ("torch", "triton", "nvidia")
_DISTRIBUTIONS: Final = (
    "from importlib.metadata import distributions\nfor one in distributions(): print(f'{one.name}=={one.version}')"
)


def image_says_what_it_is() -> str:
    """Labels, user, stop signal, health check."""
    [image] = json.loads(podman("image", "inspect", IMAGE))
    config = image["Config"]
    expected = {
        "User": "10001:10001",
        "StopSignal": "SIGTERM",
        "Entrypoint": ["comment-screener"],
        "Cmd": ["run"],
    }
    wrong = [f"{name} is {config.get(name)}" for name, wanted in expected.items() if config.get(name) != wanted]
    wrong += [f"no label {name}" for name in LABELS if not config["Labels"].get(f"org.opencontainers.image.{name}")]
    if (check := image.get("Healthcheck", {}).get("Test")) != ["CMD", "comment-screener", "health"]:
        wrong.append(f"Healthcheck is {check}")
    _none(wrong)
    labels = config["Labels"]
    return (
        f"{len(LABELS)} labels, version {labels['org.opencontainers.image.version']}, user, stop signal, health check"
    )


def image_is_small() -> str:
    """Its size, the base image's included."""
    size = json.loads(podman("image", "inspect", IMAGE))[0]["Size"] / 1e6
    if size > LARGEST_MB:
        raise Failed(f"{size:.0f} MB, more than {LARGEST_MB}")
    return f"{size:.0f} MB"


def image_holds_what_the_lock_pins() -> str:
    """So that the SBOM of the lock is one of the image; and nothing that only training needs."""
    printed = podman("run", "--rm", "--network=none", "--entrypoint=python", IMAGE, "-c", _DISTRIBUTIONS)
    installed = pinned(printed) - {one for one in pinned(printed) if one.startswith("comment-screener==")}
    _none(sorted(f"{one} is not in the lock" for one in installed - pinned(LOCK.read_text(encoding="utf-8"))))
    _none([one for one in installed if one.startswith(UNWANTED)])
    return f"{len(installed)} packages, no torch"


def it_comes_up() -> str:
    """Kafka, then the topics, then the worker; everything healthy."""
    compose("up", "--detach")
    _healthy(*STAYING)
    [topics] = containers("topics")
    if topics.running or topics.exit_code:
        raise Failed(f"topics: exit code {topics.exit_code}")
    return f"{', '.join(STAYING)} healthy, topics made"


def topics_are_as_the_worker_wants_them() -> str:
    """As `comment-screener topics check` sees it."""
    return compose("run", "--rm", "topics", "topics", "check").splitlines()[-1]


def worker_is_confined() -> str:
    """Not root, no capabilities, none to be gained, a root that cannot be written, a /tmp that can."""
    _none(
        list(
            liberties(
                compose("exec", "--no-TTY", "worker", "cat", "/proc/1/status"),
                compose("exec", "--no-TTY", "worker", "cat", "/proc/1/mounts"),
            )
        )
    )
    compose("exec", "--no-TTY", "worker", "touch", "/tmp/written")  # noqa: S108  in the container
    return "no root, no capabilities, root read-only, /tmp writable"


def worker_says_that_it_is_well() -> str:
    """The command of its health check."""
    return compose("exec", "--no-TTY", "worker", "comment-screener", "health").strip()


def comments_are_screened() -> str:
    """From inside the network, and read back from outside, through the port that is published."""
    said = compose("run", "--rm", "load", "load", "--broker", "kafka:9092", "--rate", "100", "--count", str(COMMENTS))
    outcomes = _finished()
    if len(outcomes.comments) < COMMENTS or not outcomes.decided or not outcomes.dead:
        raise Failed(f"{said.strip()}: {_counted(outcomes)}")
    return _counted(outcomes)


def prometheus_sees_it() -> str:
    """What it has counted is what stands on Kafka; every target answers; it has found its Alertmanager."""
    outcomes = read_outcomes(KAFKA)
    expected = {
        "count(up == 1)": 3.0,
        "count(up == 0) or vector(0)": 0.0,
        "sum(screener_comments_total)": float(outcomes.decisions),
        "sum(screener_dead_letters_total)": float(len(outcomes.dead)),
    }
    for expression, wanted in expected.items():
        _becomes(expression, wanted)
    found = ask(f"{PROMETHEUS}/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    rules = [rule for group in ask(f"{PROMETHEUS}/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
    _none([f"{rule['name']}: {rule['lastError']}" for rule in rules if rule.get("lastError")])
    if not found or not rules:
        raise Failed(f"{len(found)} Alertmanagers, {len(rules)} rules")
    return f"3 targets up, {outcomes.decisions} decisions and {len(outcomes.dead)} dead letters counted, {len(rules)} rules"


def alertmanager_has_its_routes() -> str:
    """Those of deploy/alertmanager."""
    receivers = sorted(receiver["name"] for receiver in ask(f"{ALERTMANAGER}/api/v2/receivers"))
    if receivers != ["page", "ticket"]:
        raise Failed(f"receivers: {receivers}")
    return f"receivers {', '.join(receivers)}"


def two_workers_share_the_partitions() -> str:
    """`--scale worker=2`; Prometheus finds the second by itself."""
    compose("up", "--detach", "--scale", "worker=2")
    _healthy("worker")
    if len(containers("worker")) != 2:  # noqa: PLR2004  two were asked for
        raise Failed(f"{len(containers('worker'))} workers")
    _becomes("count(screener_assigned_partitions > 0)", 2.0)
    _becomes("sum(screener_assigned_partitions)", float(PARTITIONS))
    return f"{PARTITIONS} partitions, both have some"


def killed_worker_comes_back() -> str:
    """SIGKILL amid its work; nobody starts it but the restart policy."""
    compose("up", "--detach", "load")
    before = _restarts()
    compose("exec", "--no-TTY", "--index", "1", "worker", "sh", "-c", "kill -9 -1 || true")
    wait(lambda: _restarts() > before, READY_S, lambda: "nobody has started it again")
    _healthy("worker")
    return "started again, healthy"


def killed_kafka_is_survived() -> str:
    """SIGKILL; the workers wait for it."""
    compose("kill", "kafka")
    compose("up", "--detach", "--scale", "worker=2")
    _healthy("kafka", "worker")
    return "Kafka and both workers healthy"


def sigterm_ends_it_cleanly() -> str:
    """`docker compose stop worker` amid the load: exit code 0 of each."""
    # It gives up where Kafka is away for long.
    compose("up", "--detach", "load")
    before = len(read_outcomes(KAFKA).comments)
    wait(lambda: len(read_outcomes(KAFKA).comments) > before, READY_S, lambda: "no new comments")
    compose("stop", "worker")
    codes = [container.exit_code for container in containers("worker")]
    running = [container for container in containers("worker") if container.running]
    if running or codes != [0, 0]:
        raise Failed(f"exit codes {codes}, {len(running)} still running")
    return "exit code 0, both workers"


def nothing_is_lost() -> str:
    """After all of that: what waits is screened, and each comment has its outcome."""
    compose("stop", "load")
    compose("up", "--detach", "--scale", "worker=2")
    _healthy("worker")
    return _counted(_finished())


def it_goes_without_a_trace() -> str:
    """`docker compose down --volumes`."""
    compose("--profile", "load", "down", "--volumes")
    left = podman("ps", "--all", "--quiet") + podman("volume", "ls", "--quiet")
    left += podman("network", "ls", "--quiet", "--filter", "label=com.docker.compose.project")
    _none(left.split())
    return "no containers, volumes, networks"


CHECKS: Final[tuple[Callable[[], str], ...]] = (
    image_says_what_it_is,
    image_is_small,
    image_holds_what_the_lock_pins,
    it_comes_up,
    topics_are_as_the_worker_wants_them,
    worker_is_confined,
    worker_says_that_it_is_well,
    comments_are_screened,
    prometheus_sees_it,
    alertmanager_has_its_routes,
    two_workers_share_the_partitions,
    killed_worker_comes_back,
    killed_kafka_is_survived,
    sigterm_ends_it_cleanly,
    nothing_is_lost,
    it_goes_without_a_trace,
)


def pinned(lock: str) -> set[str]:
    """Each `name==version` of a lock, whatever platform it is for; names as PEP 503 compares them."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock, re.MULTILINE)
    return {f"{re.sub('[-_.]+', '-', name).lower()}=={version}" for name, version in found}


def liberties(status: str, mounts: str) -> Iterator[str]:
    """What a process has that it should not, by its /proc/…/status and /proc/…/mounts."""
    says = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    if "0" in says["Uid"].split():
        yield "it is root"
    for name in ("CapEff", "CapPrm", "CapBnd"):
        if int(says[name], 16):
            yield f"{name} is {says[name]}"
    if says["NoNewPrivs"] != "1":
        yield "it may gain privileges"
    options = {fields[1]: fields[3].split(",") for fields in map(str.split, mounts.splitlines())}
    if "ro" not in options["/"]:
        yield "its root can be written"


def run(checks: tuple[Callable[[], str], ...]) -> int:
    """Run them, a line each; how many failed. What did not come up is asked nothing more."""
    failed = 0
    for number, check in enumerate(checks, 1):
        name = check.__name__.replace("_", " ")
        try:
            _print(f"ok    {name}: {check()}")
        except Failed as error:
            failed += 1
            _print(f"FAIL  {name}: {error}")
            if check is it_comes_up:
                _print(f"FAIL  {len(checks) - number} checks were not run")
                break
    return failed


def _healthy(*services: str) -> None:
    def ill() -> list[str]:
        return [
            service
            for service in services
            if not (found := containers(service)) or not all(one.running and one.healthy for one in found)
        ]

    wait(lambda: not ill(), READY_S, lambda: f"not healthy: {', '.join(ill())}")


def _finished() -> Outcomes:
    """Once each comment has an outcome."""
    wait(lambda: not read_outcomes(KAFKA).missing, DONE_S, lambda: _counted(read_outcomes(KAFKA)))
    outcomes = read_outcomes(KAFKA)
    if outcomes.invented:
        raise Failed(f"{len(outcomes.invented)} outcomes without a comment")
    return outcomes


def _counted(outcomes: Outcomes) -> str:
    repeats = outcomes.decisions - len(outcomes.decided)
    return (
        f"{len(outcomes.comments)} comments, {len(outcomes.decided)} decided ({repeats} repeats), {len(outcomes.dead)} dead "
        f"letters, {len(outcomes.missing)} without an outcome"
    )


def _becomes(expression: str, wanted: float) -> None:
    wait(
        lambda: value(PROMETHEUS, expression) == wanted,
        READY_S,
        lambda: f"{expression} is {value(PROMETHEUS, expression)}, not {wanted:g},",
    )


def _restarts() -> int:
    return sum(container.restarts for container in containers("worker"))


def _none(wrong: list[str]) -> None:
    if wrong:
        raise Failed("; ".join(wrong))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(1 if run(CHECKS) else 0)
