"""Cost as work grows: longer backlogs, longer texts, larger runs of the model, and a second worker."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from bench.comments import comment_values
from bench.contest import contestants
from bench.drain import Backlog, drain_together
from bench.engine import OFFLINE, rate, write_texts
from bench.plan import Plan
from bench.processes import INSTANT
from bench.report import PER_S, Row, compare
from bench.rounds import interleave
from bench.texts import comment_texts, texts_of
from worker.batching import CPU_TOKENS

PART: Final = "scale"
FOOTNOTE: Final = (
    "scale: backlogs are for the streaming alone, where a cost that grows would show; lengths for the engine offline."
)
_BACKLOGS: Final = (10_000, 100_000)
_MILLION: Final = 1_000_000
_TOKENS: Final = (5, 15, 60, 250)
_USUAL: Final = 15
_SPECIAL: Final = 2
"""Tokens that the tokenizer puts around each text."""
_TOKENS_IN_ALL: Final = 15_000
"""A round at each length: few long texts or many short ones take about the same time."""
_RUN_TOKENS: Final = (64, 128, 256, 512, 1024, 2048)
_IN_RUNS: Final = 768
_TOGETHER: Final = 2000
_WORKERS: Final = ("one worker, one thread", "two workers, one thread each")


def run(plan: Plan, bootstrap: str) -> list[Row]:
    """The part."""
    return _backlogs(plan, bootstrap) + _tokens(plan) + _runs(plan) + _workers(plan, bootstrap)


def _backlogs(plan: Plan, bootstrap: str) -> list[Row]:
    backlogs = {}
    for full in (*_BACKLOGS, *([_MILLION] if plan.million else [])):
        count = plan.count(full, 1000)
        texts = comment_texts(count, plan.seed)
        backlogs[f"backlog of {count:,}"] = Backlog(bootstrap, plan, comment_values(texts, "scale"))
    found = interleave({name: partial(_drain, backlog) for name, backlog in backlogs.items()}, plan.rounds)
    rows = [Row(PART, name, PER_S, values, "streaming alone") for name, values in found.items()]
    smallest, *larger = found
    return rows + [compare(PART, (name, smallest), found[name], found[smallest]) for name in larger]


def _drain(backlog: Backlog) -> float:
    return backlog.drain(INSTANT).per_s


def _tokens(plan: Plan) -> list[Row]:
    with contestants({"engine": OFFLINE}, plan.folder) as children:
        lengths = {}
        for tokens in _TOKENS:
            texts = texts_of(tokens, plan.count(_TOKENS_IN_ALL // (tokens + _SPECIAL), 32), plan.seed)
            file = write_texts(plan, f"tokens-{tokens}", texts)
            lengths[tokens] = partial(rate, children["engine"], file, len(texts))
        found = interleave({str(tokens): rate for tokens, rate in lengths.items()}, plan.rounds)
    rates = {tokens: found[str(tokens)] for tokens in _TOKENS}
    costs = {tokens: [1e6 / (value * (tokens + _SPECIAL)) for value in values] for tokens, values in rates.items()}
    return [
        *(Row(PART, f"texts of {tokens} tokens", PER_S, rates[tokens], "engine offline") for tokens in _TOKENS),
        *(
            Row(PART, f"a token's cost at {tokens}", "µs/token", costs[tokens], "special ones too")
            for tokens in _TOKENS
        ),
        *(
            compare(PART, (f"a token's cost at {tokens}", f"at {_USUAL}"), costs[tokens], costs[_USUAL])
            for tokens in _TOKENS
            if tokens != _USUAL
        ),
    ]


def _runs(plan: Plan) -> list[Row]:
    names = {tokens: f"runs of {tokens} tokens" for tokens in _RUN_TOKENS}
    texts = comment_texts(plan.count(_IN_RUNS), plan.seed)
    file = write_texts(plan, "runs", texts)
    with contestants({name: (*OFFLINE, "0", str(tokens)) for tokens, name in names.items()}, plan.folder) as children:
        found = interleave(
            {name: partial(rate, child, file, len(texts)) for name, child in children.items()}, plan.rounds
        )
    usual = names[CPU_TOKENS]
    return [
        *(Row(PART, name, PER_S, found[name], "engine offline, at most") for name in names.values()),
        *(compare(PART, (name, usual), found[name], found[usual]) for name in names.values() if name != usual),
    ]


def _workers(plan: Plan, bootstrap: str) -> list[Row]:
    texts = comment_texts(plan.count(_TOGETHER, 300), plan.seed)
    values = comment_values(texts, "together")
    found = interleave(
        {name: partial(_together, plan, bootstrap, values, number) for number, name in enumerate(_WORKERS, 1)},
        plan.rounds,
    )
    one, two = _WORKERS
    rows = [Row(PART, name, PER_S, rates, "ready before the first comment") for name, rates in found.items()]
    return [*rows, compare(PART, (two, one), found[two], found[one])]


def _together(plan: Plan, bootstrap: str, values: Sequence[bytes], workers: int) -> float:
    return drain_together(bootstrap, plan, values, workers, inference_threads=1).per_s
