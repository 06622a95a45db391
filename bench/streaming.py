"""What Kafka costs: the worker ÷ the engine alone, and the streaming alone beside other ways to write it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from bench.comments import comment_values
from bench.contest import contestants
from bench.drain import Backlog
from bench.engine import OFFLINE, rate, write_texts
from bench.plan import Plan
from bench.processes import AIOKAFKA, FAUST_EACH, FAUST_TAKE, INSTANT, INSTANT_DETECTING, WORKER
from bench.report import PER_S, Row, compare
from bench.rounds import interleave
from bench.texts import comment_texts

PART: Final = "streaming"
FOOTNOTE: Final = (
    "streaming alone: a classifier and a language detector that answer at once. Peers do the same for each comment; they keep no "
    "metrics and cannot retry, dead-letter or drain, and the Faust agents commit what nobody has confirmed."
)
_SCREENED: Final = 4000
_STREAMED: Final = 12_000
_WORKER: Final = "worker, Kafka to Kafka"
_ENGINE: Final = "engine offline, same texts"
_ALONE: Final = "streaming alone"
_CONTESTANTS: Final[dict[str, Sequence[str]]] = {
    _ALONE: INSTANT,
    "streaming and language detection": INSTANT_DETECTING,
    "plain aiokafka loop": AIOKAFKA,
    "Faust agent, async for": FAUST_EACH,
    "Faust agent, take": FAUST_TAKE,
}


def run(plan: Plan, bootstrap: str) -> list[Row]:
    """The part."""
    return _with_the_model(plan, bootstrap) + _alone(plan, bootstrap)


def _with_the_model(plan: Plan, bootstrap: str) -> list[Row]:
    texts = comment_texts(plan.count(_SCREENED, 300), plan.seed)
    file = write_texts(plan, "streaming", texts)
    backlog = Backlog(bootstrap, plan, comment_values(texts, "streaming"))
    with contestants({_ENGINE: OFFLINE}, plan.folder) as children:
        rates: dict[str, Callable[[], float]] = {
            _WORKER: lambda: backlog.drain(WORKER).per_s,
            _ENGINE: lambda: rate(children[_ENGINE], file, len(texts)),
        }
        found = interleave(rates, plan.rounds)
    rows = [Row(PART, name, PER_S, values, "verdict cache off") for name, values in found.items()]
    return [*rows, compare(PART, (_WORKER, _ENGINE), found[_WORKER], found[_ENGINE])]


def _alone(plan: Plan, bootstrap: str) -> list[Row]:
    texts = comment_texts(plan.count(_STREAMED, 600), plan.seed + 1)
    backlog = Backlog(bootstrap, plan, comment_values(texts, "alone"))
    found = interleave({name: partial(_drain, backlog, program) for name, program in _CONTESTANTS.items()}, plan.rounds)
    rows = [Row(PART, name, PER_S, values) for name, values in found.items()]
    ours = found[_ALONE]
    return rows + [compare(PART, (_ALONE, name), ours, found[name]) for name in list(found)[2:]]


def _drain(backlog: Backlog, program: Sequence[str]) -> float:
    return backlog.drain(program).per_s
