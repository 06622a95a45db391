"""The composition root: settings in, a worker that runs out. The only file that knows everyone.

Order at start: HTTP (so that a probe gets an answer), what the libraries must have, the policy, the model, the broker, its
topics, the producer, Faust. Order at stop: nothing new is begun, what was begun is finished and committed, everyone
disconnects.
"""

import asyncio
import contextlib
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import faust
import mode
import structlog
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatch
from faust.types import TP

from worker import dead_letters
from worker.access import Rights, check_access
from worker.acking import AckingPipeline
from worker.agents import Pipeline, Topics
from worker.buffer import Buffer
from worker.classifier import Classifier
from worker.connection import broker_urls, client_options, faust_credentials
from worker.consumer import Transport, WholeFetches
from worker.errors import FatalError, ScreenerError, StartupError, is_about_the_world, where_raised
from worker.health import HealthServer
from worker.lag import LagMeter
from worker.ledger import Ledgers, transactional_id
from worker.loading import load_classifier, load_detector
from worker.metrics import Metrics
from worker.operating_points import operating_points_of
from worker.policy import Policy
from worker.policy_file import PolicyError, load_policy, preset_names
from worker.policy_watch import PolicyWatch
from worker.publisher import Publisher
from worker.screening import Detect, Screener
from worker.settings import Settings
from worker.topics import check_topics_exist, describe_topics
from worker.transactional import TransactionalPipeline
from worker.watchdog import Watchdog

if TYPE_CHECKING:  # an extra, loaded by `load_tracing` alone
    from worker.tracing import Tracing

log = structlog.get_logger()

_BUFFER: Final = 8192
"""Records between Faust's fetcher and the agent: it pauses a full partition and looks again only a second later, so this is
several seconds of a busy worker."""
_POLL_RECORDS: Final = 500
"""Records that Faust takes at once from what was fetched. They are in nobody's bound until they stand in its queue."""
_FETCH_BYTES: Final = 2**20
"""Fetched ahead for each partition at most, as it lies on the broker; a larger batch comes alone."""
_PAUSED_AFTER_S: Final = 5.0
"""A single try that fails is no news, nor is one publication that takes a second."""
_METER_EVERY_S: Final = 5.0
_METER_TIMEOUT_S: Final = 30.0
_BEAT_EVERY_S: Final = 0.1
_ABANDON_S: Final = 5.0
_DISCONNECT_S: Final = 3.0
_NEVER_S: Final = 10.0 * 365 * 86400


class ScreenerApp(faust.App):  # type: ignore[misc]  # Faust is untyped
    """Faust's application, telling us of rebalances before it waits for our events, and before it sends new ones."""

    on_revoking: Callable[[], None] = staticmethod(lambda: None)
    on_committed: Callable[[], None] = staticmethod(lambda: None)
    on_assigned: Callable[[set[Any]], Awaitable[None]]
    max_buffer_bytes: int

    def on_init_dependencies(self) -> Any:
        services = super().on_init_dependencies()
        # Faust's own statistics are nobody's, and would be kept for every event. Without any sensor it complains.
        self.sensors.remove(self.monitor)
        self.sensors.add(faust.Sensor())
        return services

    def on_rebalance_start(self) -> None:
        """The group is being rebalanced. Called in the consumer's thread."""
        super().on_rebalance_start()
        self.on_revoking()

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
    if settings.delivery == "transactions":
        # Faust commits nothing then, and would complain of it.
        app.conf.broker_commit_livelock_soft_timeout = _NEVER_S
    return app


def create_screener(
    settings: Settings,
    metrics: Metrics,
    *,
    classifier: Classifier,
    policy: Policy,
    detect: Detect,
    tracing: "Tracing | None" = None,
) -> Screener:
    """The line through the middle, wired; it has answered the probe.

    Raises:
        FatalError: the model does not answer.
    """
    screener = Screener(
        classifier,
        policy,
        detect=detect,
        observer=metrics if tracing is None else tracing.observer(metrics),
        max_batch_tokens=settings.max_batch_tokens,
        cache_entries=settings.cache_entries,
        mode=settings.mode,
    )
    screener.probe()
    metrics.describe(classifier.model, policy.version)
    metrics.runs_at_once.set(classifier.runs_at_once)
    metrics.batch_tokens_limit.set(screener.max_batch_tokens)
    return screener


def load_tracing(settings: Settings) -> "Tracing":
    """What sends traces. Imports OpenTelemetry, which is an extra.

    Raises:
        StartupError: it is not installed, or told something that it cannot do.
    """
    try:
        from worker.tracing import open_tracing  # noqa: PLC0415
    except ImportError as error:
        raise StartupError(f"SCREENER_TRACING: {error.name} is missing: install comment-screener[tracing]") from error
    return open_tracing(group_id=settings.group_id, worker=_name(settings))


class Worker:
    """One worker process: `run` until a signal or an error.

    Args:
        classifier: instead of the one that the settings name, for tests.
        detect: instead of the shipped detector of languages, likewise.
    """

    def __init__(
        self, settings: Settings, *, classifier: Classifier | None = None, detect: Detect | None = None
    ) -> None:
        self._settings = settings
        self._classifier = classifier
        self._detect = detect
        self._metrics = Metrics()
        self._health = HealthServer(self._metrics.registry, self._not_ready)
        self._watchdog = Watchdog(settings.watchdog_timeout_s)
        self._model_ready = False
        self._assigned: set[int] | None = None
        self._stuck: dict[str, Callable[[], float]] = {}
        self._asked_in_vain: list[float] = []

    async def run(self) -> None:
        """Start, screen until SIGTERM or SIGINT, finish what was begun.

        Raises:
            StartupError: it cannot run as configured.
            FatalError: it cannot go on; what was unfinished is not committed.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._run(stack, stop)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _load_classifier(self) -> Classifier:
        settings = self._settings
        if self._classifier is not None:
            return self._classifier
        return await asyncio.to_thread(
            load_classifier,
            settings.model,
            threads=settings.inference_threads,
            batch_tokens=settings.max_batch_tokens,
            label_map=settings.label_map,
        )

    async def _load_detector(self) -> Detect:
        return await asyncio.to_thread(load_detector) if self._detect is None else self._detect

    async def _run(self, stack: contextlib.AsyncExitStack, stop: asyncio.Event) -> None:
        settings = self._settings
        check_extensions()
        self._metrics.limits(
            in_flight=settings.max_in_flight,
            in_flight_bytes=settings.max_in_flight_bytes,
        )
        await self._health.start(settings.http_host, settings.http_port)
        stack.push_async_callback(self._health.stop)
        log.info("listening", host=settings.http_host, port=self._health.port)

        tracing = None
        if settings.tracing:
            tracing = await asyncio.to_thread(load_tracing, settings)
            stack.push_async_callback(tracing.close)
        options = client_options(settings)
        started = time.monotonic()
        points = operating_points_of(settings.model)
        policy = load_policy(settings.policy, points)
        for warning in policy.warnings:
            log.warning("policy", warning=warning)
        # Side by side: both spend half of it in libraries that leave the interpreter to others.
        classifier, detect = await asyncio.gather(self._load_classifier(), self._load_detector())
        screener = await asyncio.to_thread(
            create_screener,
            settings,
            self._metrics,
            classifier=classifier,
            policy=policy,
            detect=detect,
            tracing=tracing,
        )
        self._model_ready = True
        self._metrics.load_seconds.set(time.monotonic() - started)
        log.info(
            "model ready",
            model=screener.model.name,
            version=screener.model.version,
            policy=screener.policy.id,
            seconds=round(time.monotonic() - started, 2),
        )

        await check_topics(settings, options, stop)
        if stop.is_set():
            return
        publisher = self._create_publisher(options)
        meter = LagMeter(options, topic=settings.comments_topic, group_id=settings.group_id)
        for client in (publisher, meter):
            await _connect(client)
            stack.push_async_callback(_disconnect, client)

        datadir = stack.enter_context(tempfile.TemporaryDirectory(prefix="comment-screener-"))
        app = create_faust_app(settings, Path(datadir) / "faust")
        pipeline = self._wire(app, screener, publisher, tracing)
        self._watchdog.start()
        stack.callback(self._watchdog.stop)
        self._stuck = {
            "the brokers have not answered": self._unanswered_s,
            "the brokers have confirmed nothing": lambda: publisher.waiting_s,
            "there has been no memory to screen with": lambda: pipeline.failing_s,
        }
        watch = PolicyWatch(Path(settings.policy), points, screener.policy) if self._may_reload() else None
        async with _background(
            self._beat(), self._meter(meter, pipeline, publisher), self._watch_policy(watch, screener)
        ):
            await self._screen(app, pipeline, stop)

    def _create_publisher(self, options: dict[str, Any]) -> Publisher | Ledgers:
        settings = self._settings
        compression = None if settings.compression == "none" else settings.compression
        retried = self._metrics.publish_retries.inc
        if settings.delivery == "at_least_once":
            return Publisher(options, compression=compression, timeout_s=settings.publish_timeout_s, retried=retried)
        return Ledgers(
            options,
            topic=settings.comments_topic,
            group_id=settings.group_id,
            compression=compression,
            timeout_s=settings.publish_timeout_s,
            fence_wait_s=settings.session_timeout_s / 2,
            retried=retried,
        )

    def _wire(
        self, app: ScreenerApp, screener: Screener, publisher: Publisher | Ledgers, tracing: "Tracing | None"
    ) -> Pipeline:
        settings, loop = self._settings, asyncio.get_running_loop()
        create_pipeline: Callable[..., Pipeline] = (
            partial(TransactionalPipeline, ledgers=publisher, patience_s=settings.rebalance_timeout_s)
            if isinstance(publisher, Ledgers)
            else partial(
                AckingPipeline,
                publisher=publisher,
                advance=lambda partition, position: app.consumer.advance(
                    TP(settings.comments_topic, partition), position
                ),
            )
        )
        pipeline = create_pipeline(
            screener,
            topics=Topics(settings.decisions_topic, settings.dead_letters_topic),
            metrics=self._metrics,
            limit=dead_letters.Limit(
                settings.dead_letters_in_a_row, settings.dead_letters_ratio, settings.dead_letters_window
            ),
            generation=lambda: app.consumer_generation_id,
            release=lambda fetch: app.consumer.release(fetch),  # noqa: PLW0108  no consumer before the start
            max_window=settings.max_window,
            batch_wait_s=settings.batch_wait_ms / 1000,
            max_in_flight=settings.max_in_flight,
            max_in_flight_bytes=settings.max_in_flight_bytes,
            shed_lag_s=settings.shed_lag_s,
            worker=_name(settings),
            tracing=tracing,
        )

        def on_revoking() -> None:
            loop.call_soon_threadsafe(pipeline.pause)

        app.on_revoking = on_revoking
        app.on_committed = self._metrics.last_commit_seconds.set_to_current_time

        async def on_assigned(assigned: set[Any]) -> None:
            await pipeline.assign({tp.partition for tp in assigned if tp.topic == settings.comments_topic})

        app.on_assigned = on_assigned
        app.on_partitions_assigned.connect(self._note_assignment)
        topic = app.topic(settings.comments_topic, key_type=bytes, value_type=bytes, value_serializer="raw")
        app.agent(topic, name="screen-comments")(pipeline.agent)
        return pipeline

    async def _screen(self, app: ScreenerApp, pipeline: Pipeline, stop: asyncio.Event) -> None:
        """Until the first of: a signal, an error of ours, a crash of Faust's."""
        starting = asyncio.create_task(app.start())
        running = asyncio.create_task(pipeline.run())
        crashed = asyncio.create_task(_crash_of(app))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, running, crashed, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                await asyncio.wait({running, crashed, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
            if crashed.done():
                await crashed
            await self._drain(app, pipeline, running)
        except KafkaError as error:
            await _abandon(app, pipeline)
            raise FatalError(f"Kafka consumer: {error}") from error
        except Exception:
            # An error that nobody foresaw as well: what was acked before it need not be done again.
            await _abandon(app, pipeline)
            raise
        finally:
            for task in (starting, running, crashed, stopping):
                task.cancel()
            await asyncio.gather(starting, running, crashed, stopping, return_exceptions=True)

    async def _drain(self, app: ScreenerApp, pipeline: Pipeline, running: asyncio.Task[None]) -> None:
        """Finish and commit what was begun; Faust's stop waits until every event that we hold is acked."""
        log.info("stopping", in_flight=pipeline.in_flight)
        pipeline.pause()
        stopped = asyncio.create_task(app.stop())
        await asyncio.wait(
            {stopped, running}, timeout=self._settings.shutdown_timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if running.done():
            await running
        if not stopped.done():
            raise FatalError(
                f"{pipeline.in_flight} records unfinished after SCREENER_SHUTDOWN_TIMEOUT_S; they will be read again"
            )
        await stopped
        log.info("stopped", finished=pipeline.finished)

    async def _note_assignment(self, _: Any, assigned: set[Any], **__: Any) -> None:
        partitions = {tp.partition for tp in assigned if tp.topic == self._settings.comments_topic}
        for gone in (self._assigned or set()) - partitions:
            for gauge in (
                self._metrics.watermark,
                self._metrics.earliest,
                self._metrics.lag_messages,
                self._metrics.lag_seconds,
            ):
                # A gauge that nobody updates any more would tell of a lag that somebody else has worked off.
                with contextlib.suppress(KeyError):
                    gauge.remove(str(gone))
        self._assigned = partitions
        self._metrics.assigned_partitions.set(len(partitions))
        self._metrics.rebalances.inc()
        log.info("assigned", partitions=sorted(partitions))

    def _may_reload(self) -> bool:
        """A preset comes with the worker, and changes with it."""
        return self._settings.policy_reload_s > 0 and self._settings.policy not in preset_names()

    async def _watch_policy(self, watch: PolicyWatch | None, screener: Screener) -> None:
        """Adopt a changed policy, or say why not."""
        while watch is not None:
            await asyncio.sleep(self._settings.policy_reload_s)
            try:
                policy = await asyncio.to_thread(watch.look)
            except PolicyError as error:
                self._refuse(error)
            else:
                if policy is not None:
                    self._adopt(policy, screener)
            self._metrics.policy_refused.set(watch.refusing)

    def _refuse(self, error: PolicyError) -> None:
        self._metrics.policy_reloads.labels("refused").inc()
        for problem in error.problems:
            log.error("policy refused, the last one stays", problem=problem)

    def _adopt(self, policy: Policy, screener: Screener) -> None:
        before, after = screener.policy, policy.version
        screener.adopt(policy)
        self._metrics.describe(screener.model, after)
        self._metrics.policy_reloads.labels("adopted").inc()
        log.info("policy adopted", policy=after.id, version=after.version, sha256=after.sha256, before=before.sha256)
        for warning in policy.warnings:
            log.warning("policy", warning=warning)
        if (before.id, before.version) == (after.id, after.version):
            # Whoever reads a decision later looks for the policy by these.
            log.warning("policy", warning=f"another policy under the same version {after.version}: raise it")

    def _not_ready(self) -> list[str]:
        reasons = []
        if not self._model_ready:
            reasons.append("the model is loading")
        if self._assigned is None:
            reasons.append("no partitions assigned yet")
        if self._watchdog.stalled_s > self._settings.watchdog_timeout_s / 2:
            reasons.append(f"records are waiting and none was finished for {self._watchdog.stalled_s:.0f} s")
        return reasons + self._paused()

    def _paused(self) -> list[str]:
        """What the world keeps from succeeding; meanwhile no more is read than fits in flight."""
        stuck = {what: for_s() for what, for_s in self._stuck.items()}
        return [f"{what} for {seconds:.0f} s" for what, seconds in stuck.items() if seconds > _PAUSED_AFTER_S]

    def _unanswered_s(self) -> float:
        """For how long the brokers have not said how far the partitions go: all that is asked of them while nothing comes.

        Once is no news either: a coordinator may be being elected, or a machine starting.
        """
        return time.monotonic() - self._asked_in_vain[0] if len(self._asked_in_vain) > 1 else 0.0

    async def _beat(self) -> None:
        """Tell the watchdog that the loop turns, and the metrics how late it was."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_BEAT_EVERY_S)
            self._metrics.loop_lag_seconds.set(max(0.0, time.monotonic() - before - _BEAT_EVERY_S))
            self._metrics.paused.set(bool(self._paused()))
            self._metrics.ready.set(not self._not_ready())
            self._watchdog.beat()

    async def _meter(self, meter: LagMeter, pipeline: Pipeline, publisher: Publisher | Ledgers) -> None:
        """Compare positions with the partitions' ends; tell metrics and watchdog."""
        while True:
            positions, now, asked_at = pipeline.positions(), time.time(), time.monotonic()
            oldest = pipeline.oldest()
            waiting = pipeline.in_flight > 0
            try:
                # Sooner than the watchdog takes its silence for a stall.
                async with asyncio.timeout(min(_METER_TIMEOUT_S, self._settings.watchdog_timeout_s / 4)):
                    lags = await meter.measure(self._assigned or set(), positions, oldest)
                waiting = waiting or any(lags.values())
                for partition, lag in self._ours(lags).items():
                    self._metrics.lag_messages.labels(str(partition)).set(lag)
                    self._metrics.earliest.labels(str(partition)).set(meter.beginnings[partition])
                self._asked_in_vain.clear()
            except (KafkaError, TimeoutError) as error:
                # Without the broker there is nothing to be stalled on: publishing has a bound of its own.
                log.warning("cannot measure lag", error=type(error).__name__)
                self._asked_in_vain = [*self._asked_in_vain[:1], asked_at]
                waiting = False
            # Likewise where it answers the meter and confirms nothing: that ends after SCREENER_PUBLISH_TIMEOUT_S.
            waiting = waiting and not publisher.failing_s
            for partition, position in self._ours(positions).items():
                self._metrics.watermark.labels(str(partition)).set(position)
            # Of all that are ours: one that was given anew and where nothing came since has no position, and nothing in flight.
            for partition in self._assigned or ():
                age = max(0.0, now - oldest[partition]) if partition in oldest else 0.0
                self._metrics.lag_seconds.labels(str(partition)).set(age)
            self._watchdog.report(progress=pipeline.progress, waiting=waiting)
            await asyncio.sleep(min(_METER_EVERY_S, self._settings.watchdog_timeout_s / 4))

    def _ours(self, of: Mapping[int, int]) -> dict[int, int]:
        """What is still ours of it: a partition may have gone while the brokers were asked, and with it its gauges."""
        return {partition: value for partition, value in of.items() if partition in (self._assigned or ())}


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


async def check_topics(settings: Settings, options: dict[str, Any], stop: asyncio.Event) -> None:
    """Wait for the broker, ask whether it lets us do our work, and look for the topics.

    Raises:
        StartupError: no broker in `startup_timeout_s`, one that refuses us, a topic that is not there, or other partitions
            than expected.
    """
    rights = Rights(
        settings.comments_topic,
        (settings.decisions_topic, settings.dead_letters_topic),
        settings.group_id,
        transactional_id(settings.group_id, settings.comments_topic, 0)
        if settings.delivery == "transactions"
        else None,
    )
    deadline = time.monotonic() + settings.startup_timeout_s
    while True:
        try:
            await check_access(options, rights)
            partitions = await describe_topics(**options)
            break
        except (KafkaError, OSError) as error:
            if stop.is_set():
                return
            if time.monotonic() > deadline:
                raise StartupError(
                    f"no answer from Kafka at {settings.kafka_bootstrap_servers} in {settings.startup_timeout_s:g} s: {error}"
                ) from error
            log.warning("waiting for Kafka", error=type(error).__name__)
            await asyncio.sleep(0.5)
    check_topics_exist((rights.reads, *rights.writes), partitions, settings.kafka_bootstrap_servers)
    found, expected = partitions[settings.comments_topic], settings.comments_partitions
    if expected is not None and found != expected:
        raise StartupError(
            f"{settings.comments_topic} has {found} partitions, SCREENER_COMMENTS_PARTITIONS says {expected}"
        )


def _name(settings: Settings) -> str:
    """What dead letters and traces call this worker."""
    return settings.group_instance_id or socket.gethostname()


async def _connect(client: Publisher | Ledgers | LagMeter) -> None:
    try:
        await client.start()
    except KafkaError as error:
        raise StartupError(f"cannot connect to Kafka: {error}") from error


async def _disconnect(client: Publisher | Ledgers | LagMeter) -> None:
    """Part with the brokers and hardly wait for an answer: what was not confirmed is read again, and somebody waits for us."""
    try:
        async with asyncio.timeout(_DISCONNECT_S):
            await client.stop()
    except TimeoutError:
        log.warning("the brokers do not answer, disconnected all the same", client=type(client).__name__)


async def _abandon(app: ScreenerApp, pipeline: Pipeline) -> None:
    """Leave the group after an error: commit what was acked, wait for nothing that was not."""
    pipeline.pause()
    app.consumer.unacked.clear()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ABANDON_S):
            await app.stop()


async def _crash_of(app: ScreenerApp) -> None:
    """Wait until Faust gives up. Raises ScreenerError: why it did."""
    await app.wait()
    if isinstance(app.crash_reason, ScreenerError):
        raise app.crash_reason
    raise FatalError(f"Kafka consumer: {_described(app.crash_reason)}")


def _described(error: BaseException | None) -> str:
    """What Kafka or the system says of an error; of any other what it is and where, for it may quote a record."""
    return repr(error) if error is None or is_about_the_world(error) else where_raised(error)


@contextlib.asynccontextmanager
async def _background(*coroutines: Any) -> AsyncIterator[None]:
    """Run helpers of the body beside it. One that fails ends the process: a worker that nobody watches is not to go on."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
            yield
            for task in tasks:
                task.cancel()
    except* Exception as errors:  # noqa: BLE001  raised again, without the group: its place is what somebody will look for
        first = errors.exceptions[0]
        raise first from first.__cause__
