"""A cluster for the session, whole at the start of each scenario, and a line for each in a table at the end.

`SCREENER_CHAOS_SEED` gives all scenarios that seed; without it each has its own, always the same. With
`SCREENER_TEST_DELIVERY=transactions` the workers deliver in transactions, and a repeat fails the scenario.
"""

import os
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

from tests import kept_logs
from tests.audit import Audit, Counts
from tests.chaos.cluster import Cluster, start_cluster
from tests.kept_logs import keep_logs, pytest_runtest_makereport
from tests.topics import Topics, fresh_topics
from tests.workers import DELIVERY, ONCE

__all__ = ["pytest_runtest_makereport"]

TIMEOUT_S: Final = 900.0

_LINES: Final = pytest.StashKey[dict[str, tuple[int, Counts]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "chaos_slice: one of the scenarios that CI runs every time")
    config.addinivalue_line("markers", "acks_only: about acks; deselected where workers deliver in transactions")
    config.stash[_LINES] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    deselected = [item for item in items if ONCE and item.get_closest_marker("acks_only")]
    items[:] = [item for item in items if item not in deselected]
    config.hook.pytest_deselected(items=deselected)
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    kept_logs.pytest_terminal_summary(terminalreporter, config)
    took: dict[str, float] = {}
    ended: dict[str, str] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            ended[report.nodeid] = outcome
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[report.nodeid] = took.get(report.nodeid, 0.0) + report.duration
    if not config.stash[_LINES]:
        return
    terminalreporter.section(f"scenarios, {DELIVERY.replace('_', ' ')}")
    names = Counts.__struct_fields__
    terminalreporter.write_line("  ".join(("   seed", *names, "seconds", "scenario")))
    for nodeid, (seed, counts) in config.stash[_LINES].items():
        numbers = [f"{getattr(counts, name):>{len(name)}}" for name in names]
        scenario = f"{nodeid.rpartition('::')[2]} ({ended.get(nodeid, 'not ended')})"
        terminalreporter.write_line("  ".join((f"{seed:>7}", *numbers, f"{took.get(nodeid, 0.0):>7.0f}", scenario)))


@pytest.fixture(scope="session")
def started_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The one cluster of the session. Without Java or Maven it fails: these scenarios mean nothing anywhere else."""
    folder = tmp_path_factory.mktemp("cluster")
    with start_cluster(folder) as cluster:
        yield cluster
    if request.session.testsfailed:
        keep_logs(folder, "cluster", request.config)


@pytest.fixture
def cluster(started_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, whole; a scenario may do to it what it likes."""
    started_cluster.restore()
    yield started_cluster
    started_cluster.restore()


@pytest.fixture
async def topics(cluster: Cluster) -> Topics:
    """Topics that no other scenario uses, kept three times and confirmed twice."""
    return await fresh_topics(cluster, replication=3)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What chance starts from: made of the scenario's name, so always the same."""
    chosen = os.environ.get("SCREENER_CHAOS_SEED")
    number = zlib.crc32(request.node.name.encode()) % 1_000_000 if chosen is None else int(chosen)
    print(f"seed {number}: SCREENER_CHAOS_SEED={number} runs {request.node.name} with it again")  # noqa: T201
    return number


@pytest.fixture
async def audit(cluster: Cluster, topics: Topics, seed: int, request: pytest.FixtureRequest) -> AsyncIterator[Audit]:
    """The scenario's auditor; what it counted becomes a line in the table, whatever the outcome."""
    async with Audit(cluster, topics, once=ONCE) as auditor:
        yield auditor
        request.config.stash[_LINES][request.node.nodeid] = seed, auditor.counts()
