"""Faust as a consumer: what is said when it gives up, and how it is left."""

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.tables import TableManager

from worker import faust_app
from worker.errors import FatalError, OutOfMemory, ScreenerError
from worker.faust_app import abandon, crash_of, create_faust_app
from worker.settings import Settings

VALUE = b"\xffsomebody's words"


def unreadable() -> UnicodeDecodeError:
    try:
        VALUE.decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError("it can be read")


@pytest.mark.parametrize(
    ("reason", "kind", "said"),
    [
        (OutOfMemory("screening failed"), OutOfMemory, "screening failed"),
        (KafkaConnectionError("broker 3 is away"), FatalError, "broker 3 is away"),
        (OSError(28, "No space left"), FatalError, "No space left"),
        (unreadable(), FatalError, "UnicodeDecodeError, raised at"),
        (None, FatalError, "None"),
    ],
)
async def test_it_says_why_faust_gave_up_and_quotes_nobody(
    reason: BaseException | None, kind: type[ScreenerError], said: str
) -> None:
    async def over() -> None:
        """Faust has given up already."""

    with pytest.raises(kind, match=said) as raised:
        await crash_of(SimpleNamespace(wait=over, crash_reason=reason))  # type: ignore[arg-type]
    assert "words" not in str(raised.value)


async def test_it_is_left_though_it_takes_no_notice_of_being_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faust_app, "_ABANDON_S", 0.01)
    over, unacked = asyncio.Event(), {"a fetch"}

    async def stop() -> None:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    leaving = asyncio.create_task(
        abandon(SimpleNamespace(consumer=SimpleNamespace(unacked=unacked), stop=stop))  # type: ignore[arg-type]
    )
    _, waiting = await asyncio.wait({leaving}, timeout=10)
    over.set()
    await leaving

    assert not waiting
    assert unacked == set()


async def test_what_goes_wrong_on_the_way_out_hides_nothing() -> None:
    async def stop() -> None:
        raise KafkaConnectionError("gone already")

    await abandon(SimpleNamespace(consumer=SimpleNamespace(unacked=set()), stop=stop))  # type: ignore[arg-type]


async def test_the_group_waits_for_no_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would sleep for a second, in which nobody adds any."""
    app, started = create_faust_app(Settings(kafka_bootstrap_servers="127.0.0.1:1"), tmp_path), []

    async def start() -> None:
        started.append("recovery")

    async def sleep(_: float) -> None:
        raise AssertionError("it sleeps")

    app.consumer = SimpleNamespace(assignment=set, pause_partitions=started.append)
    monkeypatch.setattr(app.tables, "sleep", sleep)
    monkeypatch.setattr(app.tables.recovery, "start", start)
    await app.tables.on_start()

    assert started == [set(), "recovery"]
    async with asyncio.timeout(10):
        assert not await app.tables.wait_until_tables_registered()


def test_nothing_but_the_sleep_is_left_out_of_what_faust_does_there() -> None:
    assert TableManager.on_start.__code__.co_names == ("sleep", "should_stop", "_update_channels", "recovery", "start")
