"""How long a comment waits for its decision, at an even rate, with the model in the path.

From when the broker wrote the comment to when it wrote the decision, both by the broker's clock, in milliseconds. One worker
for all of it, warm, with its default settings but for the verdict cache, which is off.
"""

import asyncio
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct

from bench import kafka
from bench.comments import comment_values
from bench.drain import Backlog
from bench.plan import Plan
from bench.processes import WORKER, check_running, new_name, process
from bench.report import PER_S, Row
from bench.rounds import interleave, percentile
from bench.texts import comment_texts, hostile_texts
from tests.topics import Topics
from tests.workers import WorkerProcess
from worker.records import Decision

PART: Final = "latency"
FOOTNOTE: Final = (
    "latency: from when the broker wrote the comment to when it wrote the decision; verdict cache off. Hostile: 99 % of five "
    "tokens, 1 % of 10,000 characters."
)
_THOUSAND: Final = 1000.0
_COUNT: Final = 10_000
_CAPACITY_COUNT: Final = 3000
_SECONDS: Final = 6.0
_WARM_S: Final = 60.0
"""A broker that has just started is still compiling itself: it takes twice the time of one that runs for months."""
_SHARES: Final = (0.5, 0.95, 0.99)
_PATIENCE_S: Final = 60.0

_decisions: Final = msgspec.json.Decoder(Decision)


class Load(Struct, frozen=True):
    """What is put in: `count` comments at `per_s`."""

    per_s: float
    count: int
    hostile: bool = False


class Latencies(Struct, frozen=True):
    """What became of one load. Milliseconds; `dropped` comments have no decision after a minute without any."""

    ms: list[float]
    dropped: int
    offered_per_s: float


def run(plan: Plan, bootstrap: str) -> list[Row]:
    """The part."""
    capacity = {kind: _capacity(plan, bootstrap, hostile=kind == "hostile") for kind in ("usual", "hostile")}
    rows = [
        Row(PART, f"capacity, {kind} mix", PER_S, [value], "a backlog, drained") for kind, value in capacity.items()
    ]
    loads = {
        "half of capacity": _for_a_while(plan, capacity["usual"] / 2),
        "hostile mix at half of its capacity": _for_a_while(plan, capacity["hostile"] / 2, hostile=True),
    }
    if capacity["usual"] > _THOUSAND:
        loads["10,000 at 1,000/s"] = Load(_THOUSAND, plan.count(_COUNT))
    topics = asyncio.run(kafka.fresh_topics(bootstrap, new_name("latency")))
    worker = process(WORKER, bootstrap, topics, new_name("latency"), plan.folder).start()
    try:
        asyncio.run(worker.ready())
        put = partial(_put, plan, bootstrap, topics, worker)
        put(_for_a_while(plan, capacity["usual"] / 2, _WARM_S))
        found = interleave({name: partial(put, load) for name, load in loads.items()}, plan.rounds)
    finally:
        worker.kill()
    for name, load in loads.items():
        rows += _rows(name, load, found[name])
    if capacity["usual"] <= _THOUSAND:
        rows.append(Row(PART, "10,000 at 1,000/s", "ms", [], f"not run: the capacity is {capacity['usual']:.0f}/s"))
    return rows


def _capacity(plan: Plan, bootstrap: str, *, hostile: bool) -> float:
    make = hostile_texts if hostile else comment_texts
    texts = make(plan.count(_CAPACITY_COUNT, 300), plan.seed)
    return Backlog(bootstrap, plan, comment_values(texts, "capacity")).drain(WORKER).per_s


def _for_a_while(plan: Plan, per_s: float, seconds: float = _SECONDS, *, hostile: bool = False) -> Load:
    return Load(per_s, max(100, round(per_s * seconds * min(1.0, plan.size * 4))), hostile)


def _rows(name: str, load: Load, found: list[Latencies]) -> list[Row]:
    offered = sum(one.offered_per_s for one in found) / len(found)
    note = f"{load.count} comments a round, {offered:.0f}/s"
    rows = [
        Row(PART, f"{name}: p{round(share * 100)}", "ms", [percentile(one.ms, share) for one in found if one.ms], note)
        for share in _SHARES
    ]
    return [*rows, Row(PART, f"{name}: dropped", "comments", [float(one.dropped) for one in found])]


def _put(plan: Plan, bootstrap: str, topics: Topics, worker: WorkerProcess, load: Load) -> Latencies:
    """One round of one load."""
    return asyncio.run(_measure(plan, bootstrap, topics, worker, load))


async def _measure(plan: Plan, bootstrap: str, topics: Topics, worker: WorkerProcess, load: Load) -> Latencies:
    texts = (hostile_texts if load.hostile else comment_texts)(load.count, plan.seed)
    before = await kafka.written(bootstrap, topics)
    places = await kafka.produce(
        bootstrap, topics.comments, comment_values(texts, new_name("comment")), per_s=load.per_s
    )
    await kafka.until_written(
        bootstrap, topics, before + load.count, check=partial(check_running, worker), patience_s=_PATIENCE_S
    )
    written = {(at.partition, at.offset): at.written_ms for at in places}
    decided: dict[tuple[int, int], int] = {}
    async for record in kafka.read(bootstrap, topics.decisions):
        source = _decisions.decode(record.value).source
        if source is not None and (source.partition, source.offset) in written:
            decided.setdefault((source.partition, source.offset), record.timestamp)
    seconds = (places[-1].written_ms - places[0].written_ms) / 1000
    return Latencies(
        [float(decided[at] - written[at]) for at in decided],
        len(written) - len(decided),
        (load.count - 1) / seconds if seconds else 0.0,
    )
