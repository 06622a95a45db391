"""The parts, and one of them run: what a process of its own imports."""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from bench import engine, latency, profile, scale, start, streaming
from bench.plan import Plan
from bench.report import Row
from worker.demo.broker import start_kafka


class Part(StrEnum):
    """What can be run alone."""

    ENGINE = engine.PART
    STREAMING = streaming.PART
    LATENCY = latency.PART
    SCALE = scale.PART
    START = start.PART
    PROFILE = profile.PART


_ON_KAFKA: Final[dict[Part, Callable[[Plan, str], list[Row]]]] = {
    Part.STREAMING: streaming.run,
    Part.LATENCY: latency.run,
    Part.SCALE: scale.run,
    Part.START: start.run,
    Part.PROFILE: profile.run,
}
FOOTNOTES: Final = {
    Part.ENGINE: engine.FOOTNOTE,
    Part.STREAMING: streaming.FOOTNOTE,
    Part.LATENCY: latency.FOOTNOTE,
    Part.SCALE: scale.FOOTNOTE,
    Part.START: start.FOOTNOTE,
    Part.PROFILE: profile.FOOTNOTE,
}


def run_part(part: Part, plan: Plan) -> list[Row]:
    """One part."""
    # It complains of topics that were created a moment ago.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if part is Part.ENGINE:
        return engine.run(plan)
    with start_kafka(plan.folder / f"kafka-{part}", quick=False) as broker:
        return _ON_KAFKA[part](plan, broker.bootstrap)
