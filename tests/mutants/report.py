"""What pytest says of a trial, for a program to read: `-p tests.mutants.report --report-to FILE`.

Loaded by the tests of a copy, so it also says which package these really were of.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
from msgspec import Struct, json

import worker
from worker.errors import ScreenerError

_SAID: Final = (AssertionError, TimeoutError, pytest.fail.Exception, ScreenerError)
"""What is raised on purpose: by a test that expected something else (pytest's own: nothing was raised), and by the worker where
it should not have. Anything else may come of a mutant that does not even run."""
_TIME_IS_UP: Final = "from pytest-timeout"
"""That one says no more than that the machine is slow: what has to end, ends in a test by a timeout of its own."""
_MESSAGE_CHARACTERS: Final = 100


class Failure(Struct, frozen=True):
    """A test that failed, or could not be begun.

    Attributes:
        test: its id.
        phase: `collect`, `setup`, `call` or `teardown`.
        error: the class of what was raised.
        message: its first line, cut.
        said: whether that was raised on purpose, to say that something is not as it has to be.
    """

    test: str
    phase: str
    error: str
    message: str
    said: bool


class Report(Struct):
    """What became of one run of pytest.

    Attributes:
        package: the file that `worker` was imported from.
        passed: how many tests did.
        failures: in order. After the first that says something no other test is begun.
    """

    package: str
    passed: int
    failures: list[Failure]


class Reporter:
    """Notes failures as they happen, and writes them down at the end."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._report = Report(worker.__file__, 0, [])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and call.excinfo is not None:
            error = _first(call.excinfo.value)
            message = str(error).partition("\n")[0][:_MESSAGE_CHARACTERS]
            said = call.when == "call" and isinstance(error, _SAID) and _TIME_IS_UP not in message
            self._report.failures.append(Failure(item.nodeid, call.when, type(error).__name__, message, said))
            if said:
                item.session.shouldstop = "one is enough"
        elif report.passed and call.when == "call":
            self._report.passed += 1
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._report.failures.append(Failure(report.nodeid, "collect", "not imported", "", said=False))

    def pytest_sessionfinish(self) -> None:
        self._file.write_bytes(json.encode(self._report))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report-to", type=Path, help="file to write what failed to")


def pytest_configure(config: pytest.Config) -> None:
    if (file := config.getoption("--report-to")) is not None:
        config.pluginmanager.register(Reporter(file))


def _first(error: BaseException) -> BaseException:
    """Of a group, the first: hypothesis and task groups raise several at once."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
