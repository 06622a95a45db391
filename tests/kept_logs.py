"""Whatever a test that fails has left as `*.log` under its `tmp_path` is copied to `tests/.logs`, and the report says where.

The hooks are pytest's: a `conftest.py` that imports them has them.
"""

import re
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

LOGS: Final = Path(__file__).parent / ".logs"

_FAILED: Final = pytest.StashKey[bool]()
_KEPT: Final = pytest.StashKey[list[Path]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    tmp_path = item.funcargs.get("tmp_path")
    if call.when == "teardown" and item.stash.get(_FAILED, False) and isinstance(tmp_path, Path):
        keep_logs(tmp_path, item.name, item.config)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for log in config.stash.get(_KEPT, []):
        terminalreporter.write_line(f"log kept: {log}")
    # So that two conftest files that import this do not say it twice.
    config.stash[_KEPT] = []


def keep_logs(folder: Path, name: str, config: pytest.Config) -> None:
    """Copy the logs under a folder to where they outlive it; Kafka's data has files of that name too."""
    target = LOGS / re.sub(r"[^\w.-]+", "-", name)
    for log in folder.rglob("*.log"):
        if "data" not in log.relative_to(folder).parts:
            kept = target / log.relative_to(folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, kept)
            config.stash.setdefault(_KEPT, []).append(kept)
