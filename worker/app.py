"""The composition root: settings in, a worker that runs out. The only file that knows everyone but the models.

Order at start: HTTP (so that a probe gets an answer), what the libraries must have, the policy; the model, and beside it the
broker, its topics and the producer; Faust, once all of them are there. Order at stop: nothing new is begun, what was begun is
finished and committed, everyone disconnects.
"""

import asyncio
import contextlib
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP

from worker import dead_letters
from worker.access import Rights, check_access
from worker.acking import AckingPipeline
from worker.agents import Pipeline, Topics
from worker.classifier import Classifier
from worker.connection import client_options
from worker.errors import FatalError, OutOfMemory, StartupError, TransientError
from worker.faust_app import ScreenerApp, abandon, check_extensions, crash_of, create_faust_app
from worker.health import HealthServer
from worker.lag import LagMeter
from worker.ledger import Ledgers, transactional_id
from worker.loading import load_classifier, load_detector
from worker.metrics import Metrics
from worker.operating_points import operating_points_of
from worker.policy import Policy
from worker.policy_file import load_policy, preset_names
from worker.policy_reload import reload_policy
from worker.policy_watch import PolicyWatch
from worker.publisher import Publisher
from worker.screening import Detect, Screener
from worker.settings import Settings
from worker.topics import check_topics_exist, describe_topics
from worker.transactional import TransactionalPipeline
from worker.vitals import Vitals
from worker.watchdog import Watchdog

if TYPE_CHECKING:  # an extra, loaded by `load_tracing` alone
    from worker.tracing import Tracing

log = structlog.get_logger()

Result = TypeVar("Result")

_DISCONNECT_S: Final = 3.0


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
        FatalError: the model does not answer; OutOfMemory where there is none for it.
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
    try:
        screener.probe()
    except TransientError as error:
        raise OutOfMemory(f"the model cannot answer at all: {error}") from error
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
        raise StartupError(f"SCREENER_TRACING: {error.name} is missing: pip install -e '.[tracing]'") from error
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
        self._watchdog = Watchdog(settings.watchdog_timeout_s)
        self._vitals = Vitals(self._metrics, self._watchdog, watchdog_timeout_s=settings.watchdog_timeout_s)
        self._health = HealthServer(self._metrics.registry, self._vitals.not_ready)

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

    async def _connect(
        self, stack: contextlib.AsyncExitStack, options: dict[str, Any]
    ) -> tuple[Publisher | Ledgers, LagMeter]:
        """What speaks with Kafka beside Faust, once it lets us in and has our topics."""
        settings = self._settings
        await check_topics(settings, options)
        publisher = self._create_publisher(options)
        meter = LagMeter(options, topic=settings.comments_topic, group_id=settings.group_id)
        for client in (publisher, meter):
            stack.push_async_callback(_disconnect, client)
            await _connect(client)
        return publisher, meter

    async def _run(self, stack: contextlib.AsyncExitStack, stop: asyncio.Event) -> None:
        started = await _unless(stop, self._start(stack))
        if started is None:
            log.info("stopped before it was ready")
            return
        app, pipeline, beside = started
        async with _background(*beside):
            await self._screen(app, pipeline, stop)

    async def _start(
        self, stack: contextlib.AsyncExitStack
    ) -> tuple[ScreenerApp, Pipeline, list[Coroutine[Any, Any, None]]]:
        """Everything that is there before Faust begins, and what is to run beside it."""
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
        # Side by side: half of each is spent in libraries that leave the interpreter to others, or in waiting for a broker.
        async with (
            _begun(self._load_detector()) as detecting,
            _begun(self._connect(stack, options)) as connecting,
        ):
            # In this order, whatever fails first: what is wrong with the model is told before what is wrong with Kafka.
            classifier = await self._load_classifier()
            screener = await asyncio.to_thread(
                create_screener,
                settings,
                self._metrics,
                classifier=classifier,
                policy=policy,
                detect=await detecting,
                tracing=tracing,
            )
            self._vitals.model_ready = True
            self._metrics.load_seconds.set(time.monotonic() - started)
            log.info(
                "model ready",
                model=screener.model.name,
                version=screener.model.version,
                policy=screener.policy.id,
                seconds=round(time.monotonic() - started, 2),
            )
            publisher, meter = await connecting

        datadir = stack.enter_context(tempfile.TemporaryDirectory(prefix="comment-screener-"))
        app = create_faust_app(settings, Path(datadir) / "faust")
        pipeline = self._wire(app, screener, publisher, tracing)
        self._watchdog.start()
        stack.callback(self._watchdog.stop)
        self._vitals.watch(pipeline, publisher)
        beside = [self._vitals.beat(), self._vitals.measure(meter)]
        # A preset comes with the worker, and changes with it.
        if settings.policy_reload_s > 0 and settings.policy not in preset_names():
            watch = PolicyWatch(Path(settings.policy), points, screener.policy)
            beside.append(reload_policy(watch, screener, self._metrics, every_s=settings.policy_reload_s))
        return app, pipeline, beside

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
        if isinstance(pipeline, AckingPipeline):
            app.on_committing = pipeline.committing
        if isinstance(publisher, Ledgers):
            app.written = publisher.position
        app.on_committed = self._metrics.last_commit_seconds.set_to_current_time

        async def on_assigned(assigned: set[Any]) -> None:
            await pipeline.assign({tp.partition for tp in assigned if tp.topic == settings.comments_topic})

        app.on_assigned = on_assigned

        async def on_partitions_assigned(_: Any, assigned: set[Any], **__: Any) -> None:
            self._vitals.assign({tp.partition for tp in assigned if tp.topic == settings.comments_topic})

        app.on_partitions_assigned.connect(on_partitions_assigned)
        topic = app.topic(settings.comments_topic, key_type=bytes, value_type=bytes, value_serializer="raw")
        app.agent(topic, name="screen-comments")(pipeline.agent)
        return pipeline

    async def _screen(self, app: ScreenerApp, pipeline: Pipeline, stop: asyncio.Event) -> None:
        """Until the first of: a signal, an error of ours, a crash of Faust's."""
        starting = asyncio.create_task(app.start())
        running = asyncio.create_task(pipeline.run())
        crashed = asyncio.create_task(crash_of(app))
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
            pipeline.pause()
            await abandon(app)
            raise FatalError(f"Kafka consumer: {error}") from error
        except Exception:
            # An error that nobody foresaw as well: what was acked before it need not be done again.
            pipeline.pause()
            await abandon(app)
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


async def check_topics(settings: Settings, options: dict[str, Any]) -> None:
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
    why = ""
    try:
        async with asyncio.timeout(settings.startup_timeout_s):
            while True:
                try:
                    await check_access(options, rights)
                    partitions = await describe_topics(**options)
                    break
                except (KafkaError, OSError) as error:
                    why = f": {error}"
                    log.warning("waiting for Kafka", error=type(error).__name__)
                await asyncio.sleep(0.5)
    except TimeoutError:
        raise StartupError(
            f"no answer from Kafka at {settings.kafka_bootstrap_servers} in {settings.startup_timeout_s:g} s{why}"
        ) from None
    check_topics_exist((rights.reads, *rights.writes), partitions, settings.kafka_bootstrap_servers)
    found, expected = partitions[settings.comments_topic], settings.comments_partitions
    if expected is not None and found != expected:
        raise StartupError(
            f"{settings.comments_topic} has {found} partitions, SCREENER_COMMENTS_PARTITIONS says {expected}"
        )


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What comes of it; None where the worker is told to stop first: then it is called off."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


@contextlib.asynccontextmanager
async def _begun(work: Coroutine[Any, Any, Result]) -> AsyncIterator[asyncio.Task[Result]]:
    """Work that goes on beside the body, and is called off where the body does not wait for it."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
