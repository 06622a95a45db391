"""`make stack-check` can fail: what is wrong with a container, a record or a command is found. No container engine here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.verify.stack import checks
from deploy.verify.stack.checks import CHECKS, LOCK, STAYING, it_comes_up, liberties, pinned, run
from deploy.verify.stack.outcomes import outcomes
from deploy.verify.stack.running import Container, Failed, compose, containers, wait

TOP: Final = Path(__file__).parents[2]
SERVICES: Final[dict[str, Any]] = yaml.safe_load((TOP / "docker-compose.yml").read_text("utf-8"))["services"]
STATUS: Final = (
    "Name:\tcatatonit\nUid:\t10001\t10001\t10001\t10001\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
    "CapBnd:\t0000000000000000\nNoNewPrivs:\t1\n"
)
MOUNTS: Final = "overlay / overlay ro,relatime 0 0\ntmpfs /tmp tmpfs rw,nosuid 0 0\n"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a command in the place of `docker` or `podman`."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(name: str, script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        (tmp_path / name).chmod(0o755)

    return put


def test_a_confined_process_has_no_liberties() -> None:
    assert list(liberties(STATUS, MOUNTS)) == []


@pytest.mark.parametrize(
    ("status", "mounts", "found"),
    [
        (STATUS.replace("10001\t10001\t", "10001\t0\t"), MOUNTS, "it is root"),
        (
            STATUS.replace("CapEff:\t0000000000000000", "CapEff:\t00000000a80425fb"),
            MOUNTS,
            "CapEff is 00000000a80425fb",
        ),
        (
            STATUS.replace("CapBnd:\t0000000000000000", "CapBnd:\t0000000000000400"),
            MOUNTS,
            "CapBnd is 0000000000000400",
        ),
        (STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"), MOUNTS, "it may gain privileges"),
        (STATUS, MOUNTS.replace(" ro,", " rw,"), "its root can be written"),
    ],
)
def test_each_liberty_is_found(status: str, mounts: str, found: str) -> None:
    assert list(liberties(status, mounts)) == [found]


def test_a_lock_names_what_it_pins() -> None:
    lock = "# a comment\nNumPy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:00\nnumpy==2.5.5 \\\n    # via x\n"
    assert pinned(lock) == {"numpy==2.4.6", "numpy==2.5.5"}
    assert any(one.startswith("onnxruntime==") for one in pinned(LOCK.read_text("utf-8")))


def decision(partition: int, offset: int) -> bytes:
    return json.dumps({"source": {"topic": "comments", "partition": partition, "offset": offset}}).encode()


def test_a_comment_without_an_outcome_is_missing_and_an_outcome_without_a_comment_invented() -> None:
    letter = {"screener-original-partition": b"1", "screener-original-offset": b"7"}
    found = outcomes([(0, 0), (0, 1), (1, 7)], [decision(0, 0), decision(0, 0), decision(2, 5)], [letter])
    assert found.missing == {(0, 1)}
    assert found.invented == {(2, 5)}
    assert found.decisions - len(found.decided) == 1


def test_a_command_that_fails_fails_the_check_and_shows_its_last_lines(command: Callable[[str, str], None]) -> None:
    command("docker", "echo before; echo 'no such service' >&2; exit 14")
    with pytest.raises(Failed, match=r"(?s)exit code 14.*no such service"):
        compose("up")


def test_containers_are_as_podman_tells_of_them(command: Callable[[str, str], None]) -> None:
    state = {"Running": False, "ExitCode": 137}
    command("docker", "echo abc")
    command("podman", f"echo '{json.dumps([{'Id': 'abc', 'State': state, 'RestartCount': 2}])}'")
    assert containers("worker") == [Container("abc", running=False, healthy=False, exit_code=137, restarts=2)]


def test_a_service_without_containers_has_none(command: Callable[[str, str], None]) -> None:
    command("docker", "true")
    assert containers("worker") == []


def test_what_never_becomes_so_fails_and_says_what_it_was() -> None:
    with pytest.raises(Failed, match=r"one worker after 0 s"):
        wait(lambda: False, 0.0, lambda: "one worker")


def well() -> str:
    """A check that passes."""
    return "yes"


def ill() -> str:
    """A check that fails."""
    raise Failed("no")


def test_a_failed_check_is_counted_and_the_others_run_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run((well, ill, well)) == 1
    assert capsys.readouterr().out == "ok    well: yes\nFAIL  ill: no\nok    well: yes\n"


def test_what_did_not_come_up_is_asked_nothing_more(
    capsys: pytest.CaptureFixture[str], command: Callable[[str, str], None]
) -> None:
    command("docker", "exit 1")
    assert run((it_comes_up, well, well)) == 1
    assert capsys.readouterr().out.endswith("FAIL  2 checks were not run\n")


def test_every_service_is_checked_or_left_out_by_name() -> None:
    left_out = yaml.safe_load((TOP / "deploy/verify/stack/compose.yml").read_text("utf-8"))["services"]
    assert set(STAYING) | {"topics", "load"} | left_out.keys() == SERVICES.keys()
    assert left_out.keys() == {"grafana"}
    assert {checks.it_comes_up, checks.nothing_is_lost, checks.sigterm_ends_it_cleanly} <= set(CHECKS)


def test_the_chart_gives_the_worker_as_much_room_as_it_had_when_it_was_tried() -> None:
    values = yaml.safe_load((TOP / "deploy/helm/comment-screener/values.yaml").read_text("utf-8"))
    [tmp] = SERVICES["worker"]["tmpfs"]
    assert tmp.startswith(f"/tmp:size={values['tmpSize'].removesuffix('Mi')}m,")  # noqa: S108  in the container
