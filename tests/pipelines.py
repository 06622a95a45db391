"""A pipeline between fakes: what comes from Kafka on one side, what is written on the other, and nothing real but the worker."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from prometheus_client import CollectorRegistry

from tests.fakes import NOON, FakeClassifier, FakeConsumer, RecordingPublisher, comment_value, detect
from worker.acking import AckingPipeline
from worker.agents import Pipeline, Topics
from worker.dead_letters import Limit
from worker.errors import ScreenerError
from worker.metrics import Metrics
from worker.policy_file import read_policy
from worker.publisher import Message, Sink
from worker.screening import Screener
from worker.tracing import Tracing

DECISIONS: Final = "decisions"
DEAD_LETTERS: Final = "dead-letters"
POLICY: Final = read_policy(b"{id: test, version: 1, labels: {insult: {all: {hold: 0.5}}}}", "test.yaml")
NO_LIMIT: Final = Limit(in_a_row=10**6, ratio=1.0, window=10**6)
NOW: Final = 1_795_000_000.0


class Bench:
    """A pipeline between fakes.

    Args:
        commits: whether positions are committed as soon as they are told.
    """

    def __init__(
        self,
        publisher: Sink | None = None,
        *,
        classifier: FakeClassifier | None = None,
        consumer: FakeConsumer | None = None,
        limit: Limit = NO_LIMIT,
        max_window: int = 4,
        batch_wait_s: float = 0.0,
        max_in_flight: int = 1000,
        max_in_flight_bytes: int = 10**9,
        shed_lag_s: float | None = None,
        tracing: Tracing | None = None,
        commits: bool = True,
    ) -> None:
        self._commits = commits
        self.classifier = classifier or FakeClassifier()
        self.consumer = consumer or FakeConsumer()
        self.registry = CollectorRegistry()
        self.pipeline = self.create_pipeline(
            Screener(
                self.classifier,
                POLICY,
                detect=detect,
                observer=Metrics() if tracing is None else tracing.observer(Metrics()),
                max_batch_tokens=1024,
                cache_entries=100,
                now=lambda: NOON,
            ),
            publisher or RecordingPublisher(),
            topics=Topics(DECISIONS, DEAD_LETTERS),
            metrics=Metrics(self.registry),
            limit=limit,
            generation=lambda: self.consumer.generation,
            release=self.consumer.release,
            max_window=max_window,
            batch_wait_s=batch_wait_s,
            max_in_flight=max_in_flight,
            max_in_flight_bytes=max_in_flight_bytes,
            shed_lag_s=shed_lag_s,
            worker="worker-1",
            retry_pause_s=0.0,
            now=lambda: NOW,
            tracing=tracing,
        )

    def create_pipeline(self, screener: Screener, publisher: Sink, **arguments: Any) -> Pipeline:
        def advance(partition: int, position: int) -> None:
            self.consumer.advance(partition, position)
            if self._commits:
                pipeline.committing()()

        pipeline = AckingPipeline(screener, publisher, advance=advance, **arguments)
        return pipeline

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run beside the body; an error of the pipeline's is the body's."""
        running = asyncio.create_task(self.pipeline.run())
        body = asyncio.current_task()
        assert body is not None
        running.add_done_callback(lambda done: None if done.cancelled() else body.cancel())
        try:
            yield
        except asyncio.CancelledError:
            await running
            raise
        finally:
            self.classifier.open.set()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, ScreenerError):
                await running
            # No thread outlives the loop that it reports to.
            await asyncio.to_thread(self.pipeline._executor.shutdown)

    async def admit(self, *values: bytes | None, partition: int = 0, start: int = 0) -> None:
        for offset, value in enumerate(values, start):
            await self.pipeline.admit(self.consumer.fetch(partition, offset, value))

    async def until_settled(self, count: int) -> None:
        await self.consumer.until(lambda: self.consumer.settled >= count)

    async def until_called(self, *, encode: int = 0, score: int = 0) -> None:
        """Wait until the classifier was called so often; threads of the pipeline's do."""
        calls = self.classifier
        await asyncio.to_thread(calls.wait_until, lambda: len(calls.encoded) >= encode and len(calls.batches) >= score)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


async def run_to_its_end(bench: Bench) -> None:
    """Run a pipeline that is to end by itself."""
    try:
        async with asyncio.timeout(10):
            await bench.pipeline.run()
    finally:
        await asyncio.to_thread(bench.pipeline._executor.shutdown)


def values(*texts: str) -> list[bytes]:
    return [comment_value(text, f"c{at}") for at, text in enumerate(texts)]


def others(*texts: str) -> list[bytes]:
    """Comments of which none is an edit of another: each has its text for an id."""
    return [comment_value(text, text) for text in texts]


def source(message: Message) -> tuple[int, int]:
    """Partition and offset of the record that an outcome is of."""
    if message.topic == DECISIONS:
        written = json.loads(message.value or b"")["source"]
        return written["partition"], written["offset"]
    headers = dict(message.headers)
    return tuple(int(headers[f"screener-original-{name}"] or b"") for name in ("partition", "offset"))  # type: ignore[return-value]  # two of them
