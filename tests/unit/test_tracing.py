"""Traces of comments over fakes: from the producer's span to the decision's header, and nothing of it where nobody traces."""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanContext, SpanKind, StatusCode
from prometheus_client.exposition import choose_encoder

from tests.fakes import POISON, FakeClassifier, FakeConsumer, RecordingPublisher, comment_value, record
from tests.pipelines import DEAD_LETTERS, DECISIONS, NOW, Bench, values
from tests.unit.test_transactional import FakeLedger, FakeLedgers, TransactionalBench
from worker.agents import Delivery
from worker.errors import StartupError
from worker.metrics import STAGES
from worker.publisher import Message
from worker.records import AgeBand
from worker.tracing import ONLY_THE_PRODUCERS, Tracing, open_tracing
from worker.watermark import Watermark

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
PRODUCER: Final = "00f067aa0ba902b7"
SAMPLED: Final = f"00-{TRACE}-{PRODUCER}-01".encode()
UNSAMPLED: Final = f"00-{TRACE}-{PRODUCER}-00".encode()
MALFORMED: Final = (
    b"",
    b"nonsense",
    b"00-" + TRACE.encode(),
    f"ff-{TRACE}-{PRODUCER}-01".encode(),
    f"00-{'0' * 32}-{PRODUCER}-01".encode(),
    f"00-{TRACE}-{'0' * 16}-01".encode(),
    f"00-{TRACE.upper()}-{PRODUCER}-01".encode(),
    SAMPLED + b"-more",
    SAMPLED.decode().encode("utf-16"),
    SAMPLED * 20,
    b"\xff\xfe\x00",
    None,
)
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0"
CANARY: Final = "canary"
Headers = Sequence[tuple[str, bytes | None]]


class Traced:
    """Tracing that keeps its spans."""

    def __init__(self, sampler: Sampler = ONLY_THE_PRODUCERS) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider, group_id="screeners")

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in the order of their beginning."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    @property
    def comments(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.kind is SpanKind.CONSUMER]

    def within(self, comment: ReadableSpan) -> list[ReadableSpan]:
        return [
            span
            for span in self.spans
            if span.parent is not None and span.parent.span_id == context_of(comment).span_id
        ]


@pytest.fixture(autouse=True)
def no_variables_of_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What whoever runs the tests has set for other programs."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def traced() -> Traced:
    return Traced()


@pytest.fixture(params=["at_least_once", "transactions"])
async def bench(request: pytest.FixtureRequest, traced: Traced) -> AsyncIterator[Bench]:
    """A running pipeline of either delivery, which traces."""
    if request.param == "at_least_once":
        one = Bench(RecordingPublisher(), tracing=traced.tracing)
        async with one.running():
            yield one
    else:
        other = TransactionalBench(tracing=traced.tracing)
        async with other.assigned(0):
            yield other


def written(bench: Bench) -> list[Message]:
    """What was confirmed, whatever the delivery."""
    if isinstance(bench, TransactionalBench):
        return bench.ledgers.opened[-1][0].written
    publisher = bench.pipeline._publisher  # type: ignore[attr-defined]  # the other pipeline's
    assert isinstance(publisher, RecordingPublisher)
    return publisher.published


async def admit(bench: Bench, value: bytes | None, headers: Headers | None = None, *, offset: int = 0) -> None:
    written = record(value, offset, timestamp_ms=round((NOW - 1) * 1000), headers=headers or ())
    await bench.pipeline.admit(bench.consumer.hand_out(written))


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def traces(spans: Sequence[ReadableSpan]) -> set[str]:
    return {f"{context_of(span).trace_id:032x}" for span in spans}


def traceparent(span: ReadableSpan) -> bytes:
    """What this span sends on."""
    context = context_of(span)
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}".encode()


def scraped(bench: Bench, accept: str) -> list[str]:
    """The lines of /metrics for whoever accepts this format."""
    encode, _ = choose_encoder(accept)
    return encode(bench.registry).decode().splitlines()


def linked(lines: list[str]) -> list[str]:
    return [line for line in lines if " # {" in line]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_one_trace_leads_from_the_producer_through_every_stage_to_the_decision(
    bench: Bench, traced: Traced
) -> None:
    await admit(bench, comment_value("stupid"), [("traceparent", SAMPLED), ("tracestate", b"vendor=7, fw529@dt=on")])
    await bench.until_settled(1)

    [comment] = traced.comments
    assert comment.parent is not None
    assert (f"{comment.parent.trace_id:032x}", f"{comment.parent.span_id:016x}") == (TRACE, PRODUCER)
    stages = traced.within(comment)
    assert sorted(stage.name for stage in stages) == sorted(STAGES)
    assert len(traced.spans) == 1 + len(stages)
    assert traces(traced.spans) == {TRACE}
    [decision] = written(bench)
    publish = next(stage for stage in stages if stage.name == "publish")
    assert list(decision.headers) == [("traceparent", traceparent(publish)), ("tracestate", b"vendor=7,fw529@dt=on")]


async def test_stages_follow_one_another_inside_of_their_comment(bench: Bench, traced: Traced) -> None:
    await admit(bench, comment_value(), [("traceparent", SAMPLED)])
    await bench.until_settled(1)

    [comment] = traced.comments
    stages = traced.within(comment)
    assert [stage.name for stage in stages] == ["queue", "decode", "tokenise", "infer", "decide", "publish"]
    moments = [comment.start_time, *(at for stage in stages for at in (stage.start_time, stage.end_time))]
    assert all(before <= after for before, after in pairwise([*moments, comment.end_time]))  # type: ignore[operator]  # they have ended


async def test_a_comment_says_where_it_was_read_and_what_became_of_it(bench: Bench, traced: Traced) -> None:
    value = comment_value("stupid")
    await admit(bench, value, [("traceparent", SAMPLED)], offset=41)
    await bench.until_settled(1)

    [comment] = traced.comments
    assert comment.name == "process comments"
    assert attributes(comment) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "comments",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 41,
        "messaging.consumer.group.name": "screeners",
        "messaging.message.body.size": len(value),
        "screener.outcome": "decision",
        "screener.action": "hold",
        "screener.category": "insult",
        "screener.degraded": False,
        "screener.model.name": "fake",
        "screener.model.version": "1",
        "screener.policy.id": "test",
        "screener.policy.version": "1",
    }
    assert comment.status.status_code is StatusCode.UNSET
    publish = traced.within(comment)[-1]
    assert publish.kind is SpanKind.PRODUCER
    assert attributes(publish)["messaging.destination.name"] == DECISIONS


async def test_only_what_the_producer_sampled_is_traced(bench: Bench, traced: Traced) -> None:
    await admit(bench, comment_value("a", "a"), None, offset=0)
    await admit(bench, comment_value("b", "b"), [("traceparent", SAMPLED)], offset=1)
    await admit(bench, comment_value("c", "c"), [("other", b"x")], offset=2)
    await admit(bench, comment_value("d", "d"), [("traceparent", UNSAMPLED), ("tracestate", b"v=1")], offset=3)
    await bench.until_settled(4)

    assert [attributes(comment)["messaging.kafka.offset"] for comment in traced.comments] == [1]
    headers = {message.key: list(message.headers) for message in written(bench)}
    assert (headers[b"a"], headers[b"c"]) == ([], [])
    # Whoever reads the decision is not to begin a trace of their own.
    assert headers[b"d"] == [("traceparent", UNSAMPLED), ("tracestate", b"v=1")]


@pytest.mark.parametrize("header", MALFORMED)
async def test_a_malformed_trace_is_none(header: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    traced = Traced()
    bench = Bench(publisher := RecordingPublisher(), tracing=traced.tracing)
    async with bench.running():
        await admit(bench, comment_value(), [("traceparent", header), ("tracestate", b"v=1")])
        await bench.until_settled(1)

    assert traced.spans == []
    assert [list(message.headers) for message in publisher.published] == [[]]
    assert caplog.records == []


@pytest.mark.parametrize(
    "state", [b"no pairs", b"Upper=1", b"a=1,a=2", b"a=\xff", b"a=" + b"x" * 600, b",".join([b"a=1"] * 40), b"", None]
)
async def test_a_malformed_state_of_the_trace_is_left_out_and_not_logged(
    state: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    traced = Traced()
    bench = Bench(publisher := RecordingPublisher(), tracing=traced.tracing)
    async with bench.running():
        await admit(bench, comment_value(), [("tracestate", state), ("traceparent", SAMPLED)])
        await bench.until_settled(1)

    assert len(traced.comments) == 1
    assert [name for name, _ in publisher.published[0].headers] == ["traceparent"]
    assert caplog.records == []


PIECES: Final = st.sampled_from(
    [b"a", b"=", b",", b" ", b"@", b"1", b"\x7f", b"-", b"*", b"A", b"\t", b"k=v", b"t@v=x"]
)
STATES: Final = st.lists(PIECES, max_size=12).map(b"".join)


@given(parent=st.sampled_from([SAMPLED, *MALFORMED]) | st.binary(max_size=80), state=STATES | st.binary(max_size=80))
def test_no_header_is_an_error(parent: bytes | None, state: bytes) -> None:
    spoken: list[str] = []
    tracing = Traced().tracing
    taken = record(b"{}", headers=[("traceparent", parent), ("tracestate", state)])
    delivery = Delivery(taken, FakeConsumer().hand_out(taken), Watermark(), 1.0, 0)
    with listening(spoken):
        tracing.take([delivery], 2.0)
        if parent == SAMPLED:
            assert delivery.trace is not None
            assert delivery.trace.publish(DECISIONS)[0][0] == "traceparent"
    assert spoken == []


@contextlib.contextmanager
def listening(spoken: list[str]) -> Iterator[None]:
    """Take down what OpenTelemetry logs. Hypothesis does not go with pytest's own fixture for it."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            spoken.append(record.getMessage())

    ear = Ear()
    logging.getLogger("opentelemetry").addHandler(ear)
    try:
        yield
    finally:
        logging.getLogger("opentelemetry").removeHandler(ear)


async def test_the_last_of_several_counts_as_with_all_headers_of_kafka(bench: Bench, traced: Traced) -> None:
    other = f"00-{'a' * 32}-{'b' * 16}-01".encode()
    await admit(bench, comment_value(), [("traceparent", other), ("traceparent", SAMPLED)])
    await bench.until_settled(1)

    assert traces(traced.spans) == {TRACE}


async def test_a_sampler_may_begin_traces_of_its_own() -> None:
    traced = Traced(ALWAYS_ON)
    bench = Bench(publisher := RecordingPublisher(), tracing=traced.tracing)
    async with bench.running():
        await admit(bench, comment_value())
        await bench.until_settled(1)

    [comment] = traced.comments
    assert comment.parent is None
    assert publisher.published[0].headers[0][1] == traceparent(traced.within(comment)[-1])


async def test_a_sampler_that_wants_none_leaves_the_producers_trace_as_it_is() -> None:
    traced = Traced(ALWAYS_OFF)
    bench = Bench(publisher := RecordingPublisher(), tracing=traced.tracing)
    async with bench.running():
        await admit(bench, comment_value(), [("traceparent", SAMPLED)])
        await bench.until_settled(1)

    assert traced.spans == []
    assert list(publisher.published[0].headers) == [("traceparent", SAMPLED)]


async def test_a_dead_letter_is_an_error_and_keeps_its_headers(bench: Bench, traced: Traced) -> None:
    headers = [("a", b"\x00\xff"), ("traceparent", SAMPLED), ("a", None)]
    await admit(bench, b"{}", headers)
    await bench.until_settled(1)

    [letter] = written(bench)
    assert list(letter.headers[:3]) == headers
    assert [name for name, _ in letter.headers].count("traceparent") == 1
    [comment] = traced.comments
    assert (comment.status.status_code, comment.status.description) == (StatusCode.ERROR, "missing_field")
    described = attributes(comment)
    assert described["screener.outcome"] == "dead_letter"
    assert (described["screener.dead_letter.stage"], described["error.type"]) == ("decode", "missing_field")
    publish = traced.within(comment)[-1]
    assert attributes(publish)["messaging.destination.name"] == DEAD_LETTERS
    assert publish.status.status_code is StatusCode.UNSET


async def test_a_decision_that_is_refused_shows_both_tries(traced: Traced) -> None:
    for bench in (
        Bench(RecordingPublisher(lambda message: message.topic == DECISIONS), tracing=traced.tracing),
        TransactionalBench(
            FakeLedgers(lambda: FakeLedger(lambda message: message.topic == DECISIONS)), tracing=traced.tracing
        ),
    ):
        async with bench.assigned(0) if isinstance(bench, TransactionalBench) else bench.running():
            await admit(bench, comment_value(), [("traceparent", SAMPLED)])
            await bench.until_settled(1)

    assert len(traced.comments) == 2
    for comment in traced.comments:
        tries = [span for span in traced.within(comment) if span.name == "publish"]
        assert [attributes(span)["messaging.destination.name"] for span in tries] == [DECISIONS, DEAD_LETTERS]
        assert attributes(comment)["error.type"] == "decision_refused"


async def test_a_tombstone_has_a_trace_without_a_decision(bench: Bench, traced: Traced) -> None:
    await admit(bench, None, [("traceparent", SAMPLED)])
    await bench.until_settled(1)

    [comment] = traced.comments
    assert attributes(comment)["screener.outcome"] == "tombstone"
    assert comment.status.status_code is StatusCode.UNSET
    assert "publish" not in [span.name for span in traced.within(comment)]
    assert written(bench) == []


async def test_a_window_that_is_screened_again_shows_both_tries(traced: Traced) -> None:
    bench = Bench(classifier=FakeClassifier(transient=1), tracing=traced.tracing)
    async with bench.running():
        await admit(bench, comment_value(), [("traceparent", SAMPLED)])
        await bench.until_settled(1)

    [comment] = traced.comments
    first, again = ["decode", "tokenise"], ["decode", "tokenise", "infer", "decide"]
    assert [span.name for span in traced.within(comment)] == ["queue", *first, *again, "publish"]
    assert comment.status.status_code is StatusCode.UNSET


async def test_comments_of_one_window_share_its_stages(traced: Traced) -> None:
    bench = Bench(tracing=traced.tracing, max_window=3, batch_wait_s=30.0)
    async with bench.running():
        for offset in range(3):
            value = comment_value("what a day " * (1 + 5 * offset), f"c{offset}")
            await admit(bench, value, [("traceparent", SAMPLED)], offset=offset)
        await bench.until_settled(3)

    assert len(bench.classifier.batches) == 3
    assert len(traced.comments) == 3
    runs = [
        {span.name: attributes(span).get("screener.runs") for span in traced.within(comment)}
        for comment in traced.comments
    ]
    assert runs == [dict.fromkeys(STAGES, 1) | {"infer": 3, "publish": None}] * 3


async def test_a_window_of_nothing_but_poison_makes_few_spans(traced: Traced) -> None:
    bench = Bench(tracing=traced.tracing, max_window=64, batch_wait_s=30.0)
    async with bench.running():
        for offset in range(64):
            headers = [("traceparent", SAMPLED)] if offset == 0 else None
            await admit(bench, comment_value(f"{POISON} {offset}", f"c{offset}"), headers, offset=offset)
        await bench.until_settled(64)

    assert len(bench.classifier.encoded) > 100
    [comment] = traced.comments
    names = [span.name for span in traced.within(comment)]
    assert len(names) < 30
    assert names[-2:] == ["decide", "publish"]


async def test_what_a_rebalance_overtook_ends_its_trace_and_gets_another_when_it_is_read_again(
    bench: Bench, traced: Traced
) -> None:
    bench.classifier.open.clear()
    await admit(bench, comment_value(), [("traceparent", SAMPLED)])
    await bench.until_called(score=1)
    bench.pipeline.pause()
    bench.consumer.generation = 2
    await bench.pipeline.assign([0])
    bench.classifier.open.set()
    await bench.until_settled(1)
    await admit(bench, comment_value(), [("traceparent", SAMPLED)])
    await bench.until_settled(2)

    assert [attributes(comment)["screener.outcome"] for comment in traced.comments] == ["lost", "decision"]
    assert traces(traced.spans) == {TRACE}


async def test_what_was_never_begun_has_no_trace(bench: Bench, traced: Traced) -> None:
    bench.classifier.open.clear()
    await admit(bench, comment_value("a", "a"), [("traceparent", SAMPLED)], offset=0)
    await bench.until_called(score=1)
    await admit(bench, comment_value("b", "b"), [("traceparent", SAMPLED)], offset=1)
    bench.pipeline.pause()
    bench.classifier.open.set()
    await bench.until_settled(2)

    assert [attributes(comment)["messaging.kafka.offset"] for comment in traced.comments] == [0]


async def test_no_span_holds_anything_that_a_person_wrote_or_is_called(bench: Bench, traced: Traced) -> None:
    headers = [("traceparent", SAMPLED), ("baggage", f"user={CANARY}".encode()), (CANARY, CANARY.encode())]
    secret = comment_value(
        f"stupid {CANARY}",
        f"{CANARY}-id",
        author_id=f"{CANARY}-author",
        content_id=f"{CANARY}-content",
        community_id=f"{CANARY}-community",
        audience_age_band=AgeBand.UNDER_13,
    )
    bad = (secret.replace(b"2026", CANARY.encode()), f"{CANARY} no json".encode(), secret.replace(b"stupid", b"poison"))
    for offset, value in enumerate((secret, *bad)):
        await admit(bench, value, headers, offset=offset)
    await bench.until_settled(4)

    assert [attributes(comment)["screener.outcome"] for comment in traced.comments].count("dead_letter") == 3
    assert CANARY in (written(bench)[0].value or b"").decode()
    for span in traced.spans:
        assert CANARY not in span.to_json()


async def test_latency_is_linked_to_the_trace_where_the_format_can_say_it(bench: Bench, traced: Traced) -> None:
    await admit(bench, comment_value("a", "a"), offset=0)
    await admit(bench, comment_value("b", "b"), [("traceparent", UNSAMPLED)], offset=1)
    await bench.until_settled(2)
    assert linked(scraped(bench, OPEN_METRICS)) == []

    await admit(bench, comment_value("c", "c"), [("traceparent", SAMPLED)], offset=2)
    await bench.until_settled(3)

    [comment] = traced.comments
    [line] = linked(scraped(bench, OPEN_METRICS))
    link = f'{{span_id="{context_of(comment).span_id:016x}",trace_id="{TRACE}"}}'
    assert line.startswith(f'screener_end_to_end_seconds_bucket{{le="1.0"}} 3.0 # {link} 1.0 ')
    assert linked(scraped(bench, "text/plain")) == []


async def test_without_tracing_headers_are_as_they_were() -> None:
    bench = Bench(publisher := RecordingPublisher())
    async with bench.running():
        await admit(bench, values("a")[0], [("traceparent", SAMPLED)])
        await bench.until_settled(1)

    assert [list(message.headers) for message in publisher.published] == [[]]
    assert linked(scraped(bench, OPEN_METRICS)) == []


class SlowExporter(SpanExporter):
    """A collector that takes what it gets and does not answer before `open` is set."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.open = threading.Event()
        self.exported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.open.wait(30)
        self.exported += len(spans)
        return SpanExportResult.SUCCESS


async def exporting(exporter: SpanExporter) -> Tracing:
    """One comment was traced; its spans wait to be sent."""
    provider = TracerProvider(sampler=ONLY_THE_PRODUCERS, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000))
    tracing = Tracing(provider, group_id="screeners")
    bench = Bench(tracing=tracing)
    async with bench.running():
        await admit(bench, comment_value(), [("traceparent", SAMPLED)])
        await bench.until_settled(1)
    return tracing


async def test_what_is_left_is_sent_at_the_end() -> None:
    exporter = SlowExporter()
    exporter.open.set()
    tracing = await exporting(exporter)
    assert exporter.exported == 0

    await tracing.close()

    assert exporter.exported == 1 + len(STAGES)


async def test_a_collector_that_does_not_answer_keeps_nobody_from_ending() -> None:
    exporter = SlowExporter()
    tracing = await exporting(exporter)

    async with asyncio.timeout(20):
        await tracing.close(0.01)

    assert await asyncio.to_thread(exporter.asked.wait, 10)
    assert exporter.exported == 0
    exporter.open.set()


SECRET: Final = "s3cr3t"  # noqa: S105  a canary


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "allways_on"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"authorization: Bearer {SECRET}"),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=a,{SECRET}"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", f'x="{SECRET}"'),
    ],
)
def test_what_opentelemetry_would_overlook_is_a_clear_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartupError, match=f"^{name}: ") as refused:
        open_tracing(group_id="g", worker="w")

    assert SECRET not in str(refused.value) + caplog.text


@pytest.mark.parametrize("share", ["1.5", "-1", "nan", "half"])
def test_so_is_a_share_that_is_none(share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", share)
    with pytest.raises(StartupError, match=r"^OTEL_TRACES_SAMPLER_ARG: a share from 0 to 1$"):
        open_tracing(group_id="g", worker="w")


@pytest.mark.parametrize(
    ("environment", "sampler", "service"),
    [
        ({}, "ParentBased{root:AlwaysOffSampler,", "comment-screener"),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, "AlwaysOnSampler", "comment-screener"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25", "OTEL_SERVICE_NAME": "mine"},
            "TraceIdRatioBased{0.25}",
            "mine",
        ),
        (
            {
                "OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs",
                "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic dXNlcg==, x-scope = 1,",
            },
            "ParentBased{root:AlwaysOffSampler,",
            "theirs",
        ),
    ],
)
async def test_its_own_variables_say_what_is_sampled_and_who_sends(
    environment: dict[str, str],
    sampler: str,
    service: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracing = open_tracing(group_id="g", worker="worker-7")
    try:
        provider = tracing._provider
        assert provider.sampler.get_description().startswith(sampler)
        assert provider.resource.attributes["service.name"] == service
        assert provider.resource.attributes["service.instance.id"] == "worker-7"
        assert "OpenTelemetry" not in caplog.text
    finally:
        await tracing.close()


async def test_a_disabled_sdk_traces_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracing = Traced()
    bench = Bench(publisher := RecordingPublisher(), tracing=tracing.tracing)
    async with bench.running():
        await admit(bench, comment_value(), [("traceparent", SAMPLED)])
        await bench.until_settled(1)

    assert tracing.spans == []
    assert list(publisher.published[0].headers) == [("traceparent", SAMPLED)]


def run(program: str) -> str:
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return ended.stdout


def test_the_worker_loads_none_of_it_unless_it_is_asked_to() -> None:
    assert run("import sys, worker.app; print('opentelemetry' in sys.modules)") == "False\n"


def test_without_the_extra_a_clear_line_says_so() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
from worker.app import load_tracing
from worker.errors import StartupError
from worker.settings import Settings
try:
    load_tracing(Settings(kafka_bootstrap_servers="localhost:9", tracing=True))
except StartupError as error:
    print(error)
"""
    line = run(program)
    assert line.startswith("SCREENER_TRACING: opentelemetry")
    assert line.endswith(" is missing: pip install -e '.[tracing]'\n")
