"""Where the time of one comment went: its way through the worker as spans, for comments whose producer traces (OpenTelemetry).

    traceparent of the comment ─► process ─┬─ queue, decode, tokenise, infer, decide
                                           └─ publish ─► traceparent of the decision

Stands beside the flow, as the metrics do. Screening knows nothing of it: it reports its stages to its observer, in the thread
that screens, and what a window reports there is noted for each of its comments. Only `worker.app` imports this, and only
where tracing is asked for: OpenTelemetry is an extra. No span holds a text, or an id of a comment or of a person.
"""

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from msgspec import Struct
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.agents import Delivery, KafkaRecord
from worker.dead_letters import WORKER_VERSION, Headers
from worker.errors import StartupError
from worker.metrics import NO_CATEGORY
from worker.screening import Observer, Outcome, Record, Rejection

log = structlog.get_logger()

Attributes = dict[str, str | int | bool]
Screen = Callable[[Sequence[Record]], list[Outcome]]

ONLY_THE_PRODUCERS: Final = ParentBased(ALWAYS_OFF)
"""What the producer sampled, and nothing else."""
_SAMPLERS: Final = tuple(
    parent + root for parent in ("parentbased_", "") for root in ("always_on", "always_off", "traceidratio")
)
_PROTOCOL: Final = "http/protobuf"
_MOST_INTERVALS: Final = 24
"""Noted of one window at most. One that is halved again and again has hundreds, and each would be a span of each comment."""
_FLUSH_S: Final = 3.0

_W3C: Final = TraceContextTextMapPropagator()
_KEY: Final = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_VALUE: Final = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_TRACESTATE: Final = re.compile(rf"{_KEY}={_VALUE}(?:[ \t]*,[ \t]*{_KEY}={_VALUE}){{0,31}}")
_LONGEST: Final = 512
"""Bytes of one of these headers; what W3C asks everybody to pass on. A longer one would only make decisions larger."""
_EXPORTERS_HEADER: Final = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[\x20\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
)


class Interval(Struct):
    """When a stage was at work, in seconds of `time.perf_counter`. `runs` of it, one right after another."""

    name: str
    start_s: float
    end_s: float
    runs: int = 1


class _Screening(threading.local):
    """What the window that this thread screens has reported so far. None: it screens none that is traced."""

    intervals: list[Interval] | None = None


class Tracing:
    """The traces of one worker.

    Args:
        provider: with a sampler and somewhere to send spans to.
        group_id: the consumer group.
    """

    def __init__(self, provider: TracerProvider, *, group_id: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("comment-screener", WORKER_VERSION)
        self._group_id = group_id
        self._screening = _Screening()

    def observer(self, observer: Observer) -> Observer:
        """One that hears everything that this one hears, and notes the stages."""
        return _Noting(observer, self._note)

    def _note(self, name: str, seconds: float) -> None:
        if (noted := self._screening.intervals) is None:
            return
        now = time.perf_counter()
        if noted and noted[-1].name == name:
            noted[-1].end_s = now
            noted[-1].runs += 1
            return
        if len(noted) == _MOST_INTERVALS:
            # The last one is worth more: it is the decision.
            noted.pop()
        noted.append(Interval(name, now - seconds, now))

    # What a pipeline tells (`worker.agents.Tracing`).

    def take(self, window: Sequence[Delivery], now_s: float) -> None:
        """These have left the queue, at this reading of `time.perf_counter`."""
        offset_ns = time.time_ns() - round(now_s * 1e9)
        for delivery in window:
            delivery.trace = self._begin(delivery, now_s, offset_ns)

    def _begin(self, delivery: Delivery, now_s: float, offset_ns: int) -> "Trace | None":
        record = delivery.record
        context = _W3C.extract(_trace_headers(record))
        span = self._tracer.start_span(
            f"process {record.topic}",
            context,
            SpanKind.CONSUMER,
            self._attributes(record),
            start_time=round(delivery.read_at * 1e9) + offset_ns,
        )
        if not span.is_recording():
            # As if we were not there: whoever reads the decision hears from the producer that this one is not sampled.
            span = get_current_span(context)
            if not span.get_span_context().is_valid:
                return None
        return Trace(self._tracer, span, Interval("queue", delivery.read_at, now_s), offset_ns)

    def _attributes(self, record: KafkaRecord) -> Attributes:
        return {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
            "messaging.consumer.group.name": self._group_id,
            "messaging.message.body.size": len(record.value or b""),
        }

    def watch(self, window: Sequence[Delivery], screen: Screen, records: Sequence[Record]) -> list[Outcome]:
        """Screen the window's records in this thread, and note when its stages were. Errors are those of `screen`."""
        intervals: list[Interval] = []
        self._screening.intervals = intervals
        try:
            return screen(records)
        finally:
            self._screening.intervals = None
            for delivery in window:
                if isinstance(delivery.trace, Trace):
                    delivery.trace.add(intervals)

    def end(self, window: Sequence[Delivery], written: Sequence[tuple[Delivery, Outcome]]) -> None:
        """The broker has confirmed what was written; the rest of the window are tombstones."""
        outcomes = dict(written)
        for delivery in window:
            if isinstance(delivery.trace, Trace):
                delivery.trace.end(_described(outcomes.get(delivery)))

    def lose(self, window: Sequence[Delivery]) -> None:
        """Nothing was written of these, their partition is somebody else's: they are read again, and traced again."""
        for delivery in window:
            if isinstance(delivery.trace, Trace):
                delivery.trace.end({"screener.outcome": "lost"})

    async def close(self, patience_s: float = _FLUSH_S) -> None:
        """Send what is left, for so long: a collector that is away keeps no worker from ending."""
        closing = threading.Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, patience_s)
        if closing.is_alive():
            log.warning("traces lost, their collector does not answer")


class Trace:
    """One comment's span and what is in it.

    Args:
        tracer: makes the spans.
        span: started when the comment was read; one that records nothing is the producer's, and only passed on.
        queue: when the comment was in the queue.
        offset_ns: from `time.perf_counter` to epoch nanoseconds.
    """

    def __init__(self, tracer: Tracer, span: Span, queue: Interval, offset_ns: int) -> None:
        self._tracer = tracer
        self._span = span
        self._recorded = span.is_recording()
        self._stages: list[Sequence[Interval]] = [[queue]]
        self._offset_ns = offset_ns
        self._publishing: Span | None = None

    @property
    def exemplar(self) -> dict[str, str] | None:
        """What links a measurement to this trace; None where there is none to be found."""
        context = self._span.get_span_context()
        if not (self._recorded and context.trace_flags.sampled):
            return None
        return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}

    def add(self, stages: Sequence[Interval]) -> None:
        """These happened to its window."""
        self._stages.append(stages)

    def publish(self, topic: str) -> Headers:
        """Its outcome is written to this topic now. Headers that carry the trace on."""
        now_s = time.perf_counter()
        if not self._recorded:
            return _headers(self._span)
        # Refused, for its size: this one is another try, with another outcome or with fewer beside it.
        self._end_publishing(now_s)
        self._publishing = self._child("publish", now_s, SpanKind.PRODUCER)
        self._publishing.set_attributes(
            {
                "messaging.system": "kafka",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": topic,
            }
        )
        return _headers(self._publishing)

    def end(self, attributes: Attributes) -> None:
        """It is dealt with, in this way."""
        now_s = time.perf_counter()
        for stages in self._stages if self._recorded else ():
            for stage in stages:
                span = self._child(stage.name, stage.start_s)
                span.set_attribute("screener.runs", stage.runs)
                span.end(self._epoch_ns(stage.end_s))
        self._end_publishing(now_s)
        self._span.set_attributes(attributes)
        if (reason := attributes.get("error.type")) is not None:
            self._span.set_status(Status(StatusCode.ERROR, str(reason)))
        self._span.end(self._epoch_ns(now_s))

    def _end_publishing(self, now_s: float) -> None:
        if self._publishing is not None:
            self._publishing.end(self._epoch_ns(now_s))

    def _child(self, name: str, start_s: float, kind: SpanKind = SpanKind.INTERNAL) -> Span:
        return self._tracer.start_span(name, set_span_in_context(self._span), kind, start_time=self._epoch_ns(start_s))

    def _epoch_ns(self, at_s: float) -> int:
        return round(at_s * 1e9) + self._offset_ns


class _Noting:
    """An observer with somebody beside it who hears of the stages."""

    def __init__(self, observer: Observer, note: Callable[[str, float], None]) -> None:
        self._observer = observer
        self._note = note
        self.batch = observer.batch
        self.cache = observer.cache
        self.scored = observer.scored
        self.bisected = observer.bisected
        self.out_of_memory = observer.out_of_memory

    def stage(self, name: str, seconds: float) -> None:
        self._note(name, seconds)
        self._observer.stage(name, seconds)


def _described(outcome: Outcome | None) -> Attributes:
    """What became of a comment; None: it was a tombstone."""
    if outcome is None:
        return {"screener.outcome": "tombstone", "messaging.kafka.message.tombstone": True}
    if isinstance(outcome, Rejection):
        return {
            "screener.outcome": "dead_letter",
            "screener.dead_letter.stage": str(outcome.stage),
            "error.type": str(outcome.reason),
        }
    return {
        "screener.outcome": "decision",
        "screener.action": str(outcome.action),
        "screener.category": outcome.category or NO_CATEGORY,
        "screener.degraded": outcome.degraded,
        "screener.model.name": outcome.model.name,
        "screener.model.version": outcome.model.version,
        "screener.policy.id": outcome.policy.id,
        "screener.policy.version": outcome.policy.version,
    }


def _trace_headers(record: KafkaRecord) -> dict[str, str]:
    """The record's `traceparent` and `tracestate`, the last of each, where they can be right.

    What cannot is left out here: OpenTelemetry would log it.
    """
    found = {
        name: value.decode("ascii", "replace")
        for name, value in record.headers
        if name in _W3C.fields and value is not None and len(value) <= _LONGEST
    }
    if "tracestate" in found and not _TRACESTATE.fullmatch(found["tracestate"]):
        del found["tracestate"]
    return found


def _headers(span: Span) -> Headers:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, set_span_in_context(span))
    return [(name, value.encode()) for name, value in carrier.items()]


def open_tracing(*, group_id: str, worker: str) -> Tracing:
    """Traces sent as OpenTelemetry's own variables say (OTEL_…), with OTLP over HTTP.

    Raises:
        StartupError: one of them is wrong.
    """
    _check_environment()
    ours = {
        "service.name": "comment-screener",
        "service.version": WORKER_VERSION,
        "service.instance.id": worker,
    }
    provider = TracerProvider(
        sampler=None if os.environ.get("OTEL_TRACES_SAMPLER") else ONLY_THE_PRODUCERS,
        resource=Resource.create(Resource(ours).merge(OTELResourceDetector().detect()).attributes),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    log.info("tracing", sampler=provider.sampler.get_description())
    return Tracing(provider, group_id=group_id)


def _check_environment() -> None:
    """OpenTelemetry would log these and go on with something else: with every comment traced, or a token in the log."""
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").lower()
    if sampler and sampler not in _SAMPLERS:
        raise StartupError(f"OTEL_TRACES_SAMPLER: one of {', '.join(_SAMPLERS)}")
    if sampler.endswith("traceidratio") and not _is_share(os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1")):
        raise StartupError("OTEL_TRACES_SAMPLER_ARG: a share from 0 to 1")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if os.environ.get(name, _PROTOCOL) != _PROTOCOL:
            raise StartupError(f"{name}: only {_PROTOCOL} is spoken here, on a collector's port 4318 as a rule")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"):
        headers = map(str.strip, os.environ.get(name, "").split(","))
        if not all(_EXPORTERS_HEADER.fullmatch(header) for header in headers if header):
            raise StartupError(f"{name}: name=value, several with commas, values URL-encoded")


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
