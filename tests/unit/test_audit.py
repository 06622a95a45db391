"""The audit says what it found, and never that all is well where it could not look; SECURITY.md names what there is."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from worker.settings import Settings

ROOT = Path(__file__).parents[2]
FOUND = "Found 1 known vulnerability in 1 package"
UNREACHABLE = "ERROR:pip_audit._cli:numpy: Dependency not found on PyPI and could not be audited: numpy (2.0)"


def audited(folder: Path, *answers: tuple[int, str]) -> tuple[int, str]:
    """What `deploy/audit.sh vulnerabilities` makes of what pip-audit answers, one service after the other."""
    stub = folder / "pip-audit"
    cases = "".join(f"{n}) echo '{said}'; exit {code} ;;\n" for n, (code, said) in enumerate(answers, 1))
    stub.write_text(
        f'#!/bin/sh\necho >> "{folder}/asked"\ncase $(wc -l < "{folder}/asked" | tr -d " ") in\n{cases}esac\n'
    )
    stub.chmod(0o755)
    environment = os.environ | {"BIN": str(folder)}
    command = [str(ROOT / "deploy" / "audit.sh"), "vulnerabilities"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_nothing_known_is_a_pass(tmp_path: Path) -> None:
    assert audited(tmp_path, (0, "No known vulnerabilities found"))[0] == 0


def test_a_weakness_fails_and_is_shown(tmp_path: Path) -> None:
    code, said = audited(tmp_path, (1, FOUND))

    assert (code, FOUND in said) == (1, True)


def test_the_second_service_is_asked_where_the_first_does_not_know(tmp_path: Path) -> None:
    assert audited(tmp_path, (1, UNREACHABLE), (0, "No known vulnerabilities found"))[0] == 0


def test_a_service_that_cannot_be_asked_is_no_pass(tmp_path: Path) -> None:
    code, said = audited(tmp_path, (1, UNREACHABLE), (1, "ConnectionError"))

    assert code == 2
    assert "NOT DONE" in said.splitlines()[-1]


SECURITY = (ROOT / "SECURITY.md").read_text("utf-8")


def test_every_setting_and_file_that_the_document_names_is_there() -> None:
    settings = set(re.findall(r"SCREENER_[A-Z_]+[A-Z]", SECURITY))
    files = re.findall(r"`((?:worker|deploy)/[\w/.]+)`", SECURITY)

    assert settings <= {f"SCREENER_{name.upper()}" for name in Settings.model_fields}
    assert settings
    assert files
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize("topic", ["comments", "moderation.decisions", "moderation.dead-letters"])
def test_rights_are_given_on_the_default_topics(topic: str) -> None:
    assert topic in {
        Settings.model_fields[f"{name}_topic"].default for name in ("comments", "decisions", "dead_letters")
    }
    assert f"--topic {topic}" in SECURITY
