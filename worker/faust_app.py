"""Faust as a consumer and nothing else: how it is set up, how it is left, and why it gave up."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import faust
import mode
from aiokafka.record.default_records import DefaultRecordBatch
from faust.tables import TableManager

from worker.buffer import Buffer
from worker.connection import broker_urls, faust_credentials
from worker.consumer import Transport, WholeFetches
from worker.errors import FatalError, ScreenerError, StartupError, is_about_the_world, where_raised
from worker.settings import Settings

_BUFFER: Final = 8192
"""Records between Faust's fetcher and the agent: it pauses a full partition and looks again only a second later, so this is
several seconds of a busy worker."""
_POLL_RECORDS: Final = 500
"""Records that Faust takes at once from what was fetched. They are in nobody's bound until they stand in its queue."""
_FETCH_BYTES: Final = 2**20
"""Fetched ahead for each partition at most, as it lies on the broker; a larger batch comes alone."""
_HAND_OVER: Final = 0.8
"""Of the rebalance timeout, for what is in hand. The rest is for hearing of the rebalance and for the process to end: when it is
over, the group deals the partitions out without us."""
_NEVER_S: Final = 10.0 * 365 * 86400
_ABANDON_S: Final = 5.0


class NoTables(TableManager):  # type: ignore[misc]  # Faust is untyped
    """Of none. Nobody joins the group before they are there, and Faust gives whoever adds any a second for it."""

    async def on_start(self) -> None:
        """Faust's, without that second."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()


class ScreenerApp(faust.App):  # type: ignore[misc]  # Faust is untyped
    """Faust's application, telling us of rebalances before it waits for our events, and before it sends new ones."""

    on_revoking: Callable[[], None] = staticmethod(lambda: None)
    on_committing: Callable[[], Callable[[], None]] = staticmethod(lambda: lambda: None)
    """A commit of every position told so far begins. What it returns is called when all of them are committed."""
    on_committed: Callable[[], None] = staticmethod(lambda: None)
    """Something was committed."""
    on_assigned: Callable[[set[Any]], Awaitable[None]]
    written: Callable[[int], int | None] = staticmethod(lambda _: None)
    """The offset before which all of a partition's outcomes are written, where anybody knows that better than the group's
    coordinator. Called in the consumer's thread."""
    max_buffer_bytes: int
    hand_over_s: float | None = None
    """How long a rebalance may wait for what is in hand; None: as long as it takes, since the brokers take nothing late of it."""

    def on_init_dependencies(self) -> Any:
        services = super().on_init_dependencies()
        # Faust's own statistics are nobody's, and would be kept for every event. Without any sensor it complains.
        self.sensors.remove(self.monitor)
        self.sensors.add(faust.Sensor())
        return services

    def on_rebalance_start(self) -> None:
        """The group is being rebalanced. Called in the consumer's thread."""
        super().on_rebalance_start()
        # Who was thrown out of the group has none any more, and what he has in hand is somebody else's by now.
        self.consumer_generation_id = self.consumer._thread._ensure_consumer()._coordinator.generation  # noqa: SLF001
        self.on_revoking()

    async def _on_partitions_revoked(self, revoked: set[Any]) -> None:
        overdue = asyncio.create_task(self._end_overdue())
        try:
            await super()._on_partitions_revoked(revoked)
        finally:
            overdue.cancel()

    async def _end_overdue(self) -> None:
        """Faust waits for what is in hand without end. The group does not, and what came later could be the last word."""
        if self.hand_over_s is None:
            return
        await asyncio.sleep(self.hand_over_s)
        if unfinished := sum(fetch.unfinished for fetch in self.consumer.unacked):
            await self.crash(
                FatalError(
                    f"{unfinished} records unfinished {self.hand_over_s:g} s after a rebalance began "
                    "(SCREENER_REBALANCE_TIMEOUT_S): whoever gets their partitions reads them again"
                )
            )

    async def _on_partitions_assigned(self, assigned: set[Any], generation_id: int = 0) -> None:
        # Faust does so where partitions are taken away. A worker that had none would fetch of the new ones at once.
        self.consumer.stop_flow()
        self.flow_control.suspend()
        try:
            await self.on_assigned(assigned)
        except FatalError as error:
            await self.crash(error)
            return
        await super()._on_partitions_assigned(assigned, generation_id)

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def FlowControlQueue(self, maxsize: int, *, clear_on_resume: bool = False) -> Buffer:  # noqa: N802  Faust's name
        """What Faust keeps events in."""
        return Buffer(
            maxsize,
            max_bytes=self.max_buffer_bytes,
            flow_control=self.flow_control,
            clear_on_resume=clear_on_resume,
        )


def create_faust_app(settings: Settings, datadir: Path) -> ScreenerApp:
    """Faust as a consumer and nothing else: no topics of its own, no web server, no producer that is used."""
    app = ScreenerApp(
        settings.group_id,
        broker=broker_urls(settings),
        broker_credentials=faust_credentials(settings),
        broker_commit_interval=settings.commit_interval_s,
        broker_max_poll_records=_POLL_RECORDS,
        # A slow model asks for nothing while its buffers are full. aiokafka would leave the group then, and never come back;
        # whether work moves is the watchdog's business.
        broker_max_poll_interval=_NEVER_S,
        ConsumerScheduler=WholeFetches,
        consumer_max_fetch_size=_FETCH_BYTES,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 10,
        broker_rebalance_timeout=settings.rebalance_timeout_s,
        broker_request_timeout=max(90.0, settings.session_timeout_s * 2),
        consumer_group_instance_id=settings.group_instance_id,
        # Every comment gets a decision, those from before the first start too.
        consumer_auto_offset_reset="earliest",
        # Faust's exactly-once puts output and offsets into different transactions (and loses the first in practice): repeats
        # that carry the same decision id are the honest promise, or transactions of our own (`worker.ledger`).
        processing_guarantee="at_least_once",
        stream_buffer_maxsize=_BUFFER,
        stream_wait_empty=True,
        # There are no tables. With replicas of them Faust hands out partitions in its own way: 2, 2 and 0 of four among three.
        table_standby_replicas=0,
        TableManager=NoTables,
        # No supervisor of Faust's restarts an agent: that acks what failed, or stalls. The process ends instead.
        agent_supervisor=mode.CrashingSupervisor,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        web_tables_enabled=False,
        worker_redirect_stdouts=False,
        autodiscover=False,
        datadir=str(datadir),
    )
    app.max_buffer_bytes = settings.max_in_flight_bytes
    if settings.delivery == "at_least_once":
        app.hand_over_s = _HAND_OVER * settings.rebalance_timeout_s
    return app


def check_extensions() -> None:
    """Refuse to run on the slow, and in Faust's case lossy, pure Python twins of two compiled modules.

    Raises:
        StartupError: one of them is missing.
    """
    if faust.streams._CStreamIterator is None:  # noqa: SLF001  the only place where Faust says it
        raise StartupError(
            "faust-streaming runs without its Cython extension, which loses events at a rebalance: install a wheel"
        )
    if "_crecords" not in DefaultRecordBatch.__module__:
        raise StartupError("aiokafka runs without its C extension, six times slower: install a wheel")


async def abandon(app: ScreenerApp) -> None:
    """Leave the group after an error: commit what was acked, wait for nothing that was not."""
    app.consumer.unacked.clear()
    # Not cancelled and waited for: in many places Faust takes no notice of that. It ends with the process.
    await asyncio.wait({asyncio.gather(app.stop(), return_exceptions=True)}, timeout=_ABANDON_S)


async def crash_of(app: ScreenerApp) -> None:
    """Wait until Faust gives up. Raises ScreenerError: why it did."""
    await app.wait()
    if isinstance(app.crash_reason, ScreenerError):
        raise app.crash_reason
    raise FatalError(f"Kafka consumer: {_described(app.crash_reason)}")


def _described(error: BaseException | None) -> str:
    """What Kafka or the system says of an error; of any other what it is and where, for it may quote a record."""
    return repr(error) if error is None or is_about_the_world(error) else where_raised(error)
