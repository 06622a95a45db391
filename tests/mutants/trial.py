"""One trial: a copy of the working tree, a planted bug in it, and what the tests make of that.

The package is installed from the working tree, so a copy has to be what its tests import; the report says whether it was.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tests.mutants.report import Failure, Report

ROOT: Final = Path(__file__).parents[2]
_COPIED: Final = ("worker", "tests")
_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", ".logs", "models")
_MODELS: Final = "worker/models"
_PROJECT: Final = "pyproject.toml"
_TEAR_DOWN_S: Final = 60.0


class Edit(Struct, frozen=True):
    """A replacement in one file.

    Attributes:
        path: of the file, from the root of the project.
        before: what stands there, exactly once.
        after: what is to stand there instead.
    """

    path: str
    before: str
    after: str


class TrialError(Exception):
    """A trial that says nothing of the tests."""


class Outcome(Struct, frozen=True):
    """What became of a trial.

    Attributes:
        caught: the failure that is the suite's answer; None: nothing was noticed.
        crashes: tests that failed in another way than by finding something wrong.
        passed: how many tests did.
        seconds: how long it took.
        output: what pytest printed.
    """

    caught: Failure | None
    crashes: Sequence[Failure]
    passed: int
    seconds: float
    output: str


def copy_tree(source: Path, target: Path) -> None:
    """Copy what the tests of the worker need. The model is large, and nobody writes to it: it is linked."""
    for folder in _COPIED:
        shutil.copytree(source / folder, target / folder, ignore=_LEFT_OUT)
    (target / _MODELS).symlink_to((source / _MODELS).resolve(), target_is_directory=True)
    shutil.copyfile(source / _PROJECT, target / _PROJECT)


def apply(edits: Iterable[Edit], root: Path) -> None:
    """Make the replacements.

    Raises:
        TrialError: what is to be replaced does not stand there exactly once.
    """
    for edit in edits:
        file = root / edit.path
        text = file.read_text("utf-8")
        if (found := text.count(edit.before)) != 1:
            raise TrialError(f"{edit.path} has it {found} times, not once:\n{edit.before}")
        file.write_text(text.replace(edit.before, edit.after), "utf-8")


def run_tests(root: Path, tests: Sequence[str], *, test_timeout_s: float, limit_s: float) -> Outcome:
    """Run tests in a copy, until the first one that finds something wrong.

    Args:
        root: of the copy.
        tests: files or ids, from there.
        test_timeout_s: for one test.
        limit_s: for all of them, and for the end of the process: a planted bug may leave a thread behind that never ends.

    Raises:
        TrialError: the tests were not of this copy, or there is no report.
    """
    report_file, log = root / "report.json", root / "pytest.log"
    report_file.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "pytest", *tests, "--quiet", "--tb=short", "-p", "no:cacheprovider"),
        *("-p", "tests.mutants.report", f"--report-to={report_file}"),
        # The same examples each time: what was caught yesterday is caught today.
        *("--hypothesis-seed=0", f"--timeout={test_timeout_s:g}"),
    ]
    started = time.monotonic()
    with log.open("wb") as output:
        _run(command, root, output.fileno(), limit_s)
    seconds, printed = time.monotonic() - started, log.read_text("utf-8", errors="replace")
    if not report_file.exists():
        raise TrialError(f"pytest left no report:\n{printed}")
    report = msgspec.json.decode(report_file.read_bytes(), type=Report)
    if not Path(report.package).is_relative_to(root):
        raise TrialError(f"the tests were of {report.package}, which is not the copy")
    return judge(report, seconds, printed)


def judge(report: Report, seconds: float, output: str) -> Outcome:
    """Tell a test that found something wrong from one that could not even run.

    Raises:
        TrialError: no test was run.
    """
    if not report.passed and not report.failures:
        raise TrialError(f"no test was run:\n{output}")
    caught = next((failure for failure in report.failures if failure.said), None)
    crashes = [failure for failure in report.failures if not failure.said]
    return Outcome(caught, crashes, report.passed, seconds, output)


def _run(command: Sequence[str], root: Path, output: int, limit_s: float) -> None:
    own = ("SCREENER_", "PYTEST_", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)} | {
        # Also for the processes that tests start, wherever their program lies.
        "PYTHONPATH": str(root),
        # Stale bytecode is told by second and size, which a planted bug may share with what it replaces.
        "PYTHONDONTWRITEBYTECODE": "1",
        # What a commit has passed can only be told where ends of partitions are right.
        "SCREENER_TEST_BROKER": "kafka",
    }
    with subprocess.Popen(command, cwd=root, env=environment, stdout=output, stderr=subprocess.STDOUT) as pytest:
        try:
            pytest.wait(limit_s)
        except subprocess.TimeoutExpired:
            _end(pytest)
        except BaseException:
            _end(pytest)
            raise


def _end(pytest: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, so that it ends what it has started."""
    pytest.send_signal(signal.SIGINT)
    try:
        pytest.wait(_TEAR_DOWN_S)
    except subprocess.TimeoutExpired:
        pytest.kill()
