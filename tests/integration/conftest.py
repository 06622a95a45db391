"""A broker for the session, and topics of its own for each test.

`SCREENER_TEST_BROKER` says which: `kafka`, `embedded`, or `auto` (the default): Kafka where Java and Maven are. What a test
marks `kafka_only` is deselected on the embedded broker, and the report says so.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.kept_logs import keep_logs, pytest_runtest_makereport, pytest_terminal_summary
from tests.topics import Topics, fresh_topics
from worker.demo.broker import Broker, Kind, available, start_broker

__all__ = ["pytest_runtest_makereport", "pytest_terminal_summary"]

_KIND: Final = pytest.StashKey[tuple[Kind, str]]()
_DESELECTED: Final = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    asked = os.environ.get("SCREENER_TEST_BROKER", "auto")
    if asked in list(Kind):
        config.stash[_KIND] = Kind(asked), "asked for"
    elif asked != "auto":
        raise pytest.UsageError(f"SCREENER_TEST_BROKER={asked}: kafka, embedded or auto")
    elif (why_not := available(Kind.KAFKA)) is None:
        config.stash[_KIND] = Kind.KAFKA, "it can be started here"
    else:
        config.stash[_KIND] = Kind.EMBEDDED, f"no Apache Kafka here: {why_not}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.stash[_KIND][0] is Kind.KAFKA:
        return
    deselected = [item for item in items if item.get_closest_marker("kafka_only")]
    items[:] = [item for item in items if item not in deselected]
    config.stash[_DESELECTED] = len(deselected)
    config.hook.pytest_deselected(items=deselected)


def pytest_report_collectionfinish(config: pytest.Config) -> str:
    # Not pytest_report_header: that is asked before this file is read, unless this folder is named on the command line.
    kind, why = config.stash[_KIND]
    deselected = config.stash.get(_DESELECTED, 0)
    return f"broker: {kind} ({why})" + (f"; {deselected} tests that need Apache Kafka deselected" if deselected else "")


@pytest.fixture(scope="session")
def broker_kind(pytestconfig: pytest.Config) -> Kind:
    """Which broker the tests run on."""
    return pytestconfig.stash[_KIND][0]


@pytest.fixture(scope="session")
def broker(
    broker_kind: Kind, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """One broker for all tests; those that stop theirs take `own_broker`."""
    folder = tmp_path_factory.mktemp("broker")
    with start_broker(broker_kind, folder) as started:
        yield started
    if request.session.testsfailed:
        keep_logs(folder, "session", request.config)


@pytest.fixture
def own_broker(broker_kind: Kind, tmp_path: Path) -> Iterator[Broker]:
    """A broker that the test may stop, kill and start again."""
    with start_broker(broker_kind, tmp_path / "broker") as started:
        yield started


@pytest.fixture
async def topics(broker: Broker) -> Topics:
    """Topics on the session's broker that no other test uses."""
    return await fresh_topics(broker)
