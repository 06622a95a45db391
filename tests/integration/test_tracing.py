"""One trace from a producer on Kafka to the decision on Kafka, received by a collector over HTTP as OpenTelemetry has it."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.audit import Audit
from tests.comments import comments
from tests.topics import Topics
from tests.workers import WorkerProcess
from worker.demo.broker import Broker
from worker.metrics import STAGES

PRODUCER: Final = "00f067aa0ba902b7"
DECIDED, REFUSED, UNSAMPLED = (character * 32 for character in "abc")
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0"


def header(trace: str, *, sampled: bool = True) -> list[tuple[str, bytes]]:
    return [("traceparent", f"00-{trace}-{PRODUCER}-{sampled:02x}".encode())]


class Collector:
    """Takes traces in, as an OpenTelemetry collector does.

    Args:
        silent: it takes them and never answers.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.called = asyncio.Event()
        self._let_go = asyncio.Event()
        if not silent:
            self._let_go.set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its address, while it listens."""
        application = web.Application()
        application.add_routes([web.post("/v1/traces", self._take_in)])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            self._let_go.set()
            await runner.cleanup()

    async def _take_in(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        self.called.set()
        await self._let_go.wait()
        for of_resource in sent.resource_spans:
            self.services |= {
                attribute.value.string_value
                for attribute in of_resource.resource.attributes
                if attribute.key == "service.name"
            }
            self.spans += [span for of_scope in of_resource.scope_spans for span in of_scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )

    def of(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id.hex() == trace]


@pytest.mark.parametrize(
    "delivery", ["at_least_once", pytest.param("transactions", marks=pytest.mark.kafka_only)]
)  # the embedded one has no transactions
async def test_one_trace_leads_from_the_producer_to_the_decision(
    delivery: str, broker: Broker, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector()
    async with collector.listening() as endpoint, Audit(broker, topics) as audit:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        async with WorkerProcess(broker, topics, tmp_path, tracing=1, delivery=delivery) as worker:
            await audit.produce(comments(20, 1))
            await audit.produce(comments(1, 2), headers=header(DECIDED))
            await audit.produce([(b"bad", b"no json")], headers=header(REFUSED))
            await audit.produce(comments(1, 3), headers=header(UNSAMPLED, sampled=False))
            await audit.until_rest()
            metrics = await asyncio.to_thread(worker.metrics, OPEN_METRICS)
            assert await worker.terminate() == 0
        audit.check()

    # Nobody else's, and every span of a trace hangs together.
    assert {span.trace_id.hex() for span in collector.spans} == {DECIDED, REFUSED}
    assert collector.services == {"comment-screener"}
    for trace in (DECIDED, REFUSED):
        [comment] = [span for span in collector.of(trace) if span.parent_span_id.hex() == PRODUCER]
        rest = [span for span in collector.of(trace) if span is not comment]
        assert {span.parent_span_id for span in rest} == {comment.span_id}
        for span in rest:
            assert comment.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
            assert span.end_time_unix_nano <= comment.end_time_unix_nano
    assert {span.name for span in collector.of(DECIDED)} == {*STAGES, f"process {topics.comments}"}
    assert [span.status.message for span in collector.of(REFUSED) if span.status.code == Status.STATUS_CODE_ERROR] == [
        "invalid_json"
    ]

    records = [record for outcomes in audit.outcomes.values() for record in outcomes]
    carried = {
        dict(record.headers)["traceparent"].decode(): record
        for record in records
        if record.topic == topics.decisions and record.headers
    }
    [publish] = [span for span in collector.of(DECIDED) if span.name == "publish"]
    assert set(carried) == {
        f"00-{DECIDED}-{publish.span_id.hex()}-01",
        f"00-{UNSAMPLED}-{PRODUCER}-00",
    }
    [letter] = audit.dead_letters
    assert [each for each in letter.headers if each[0] == "traceparent"] == header(REFUSED)

    linked = [line for line in metrics.splitlines() if line.startswith("screener_end_to_end") and " # {" in line]
    [comment] = [span for span in collector.of(DECIDED) if span.parent_span_id.hex() == PRODUCER]
    assert len(linked) == 1
    assert f'{{span_id="{comment.span_id.hex()}",trace_id="{DECIDED}"}}' in linked[0]

    exported = b"".join(span.SerializeToString() for span in collector.spans)
    decided = json.loads(carried[f"00-{DECIDED}-{publish.span_id.hex()}-01"].value)
    assert decided["comment_id"].encode() not in exported
    for _, value in audit.inputs.values():
        assert value is not None
        assert b"no json" not in exported
        if text := re.search(rb'"text": ?"([^"]{8,})"', value):
            assert text[1] not in exported


async def test_a_collector_that_does_not_answer_costs_the_traces_and_nothing_else(
    broker: Broker, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector(silent=True)
    async with collector.listening() as endpoint, Audit(broker, topics) as audit:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        async with WorkerProcess(broker, topics, tmp_path, tracing=1) as worker:
            await audit.produce(comments(20, 1), headers=header(DECIDED))
            await collector.called.wait()
            await audit.produce(comments(20, 2), headers=header(DECIDED))
            await audit.until_rest()
            assert await worker.terminate() == 0
        audit.check()

    assert "traces lost" in worker.said()
