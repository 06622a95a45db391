"""The engine without Kafka, beside transformers' pipeline and infinity-emb: comments a second on the same texts."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from bench.contest import Contestant, Lap, contestants
from bench.plan import Plan
from bench.report import PER_S, Row, compare
from bench.rounds import interleave
from bench.texts import comment_texts

PART: Final = "engine"
ENGINE: Final = "engine"
_COUNT: Final = 768
OFFLINE: Final = ("-m", "bench.offline", "plain")
REMEMBERING: Final = "engine, verdict cache on"
_CONTESTANTS: Final[dict[str, Sequence[str]]] = {
    ENGINE: OFFLINE,
    REMEMBERING: ("-m", "bench.offline", "remembering"),
    "the same model on ONNX Runtime, 64 in order of arrival": ("-m", "bench.offline", "unsorted"),
    "the same model on OpenVINO, batches of one width": ("-m", "bench.openvino_peer"),
    "transformers' pipeline, one at a time": ("-m", "bench.pipelines", "1"),
    "transformers' pipeline, 64 in order of arrival": ("-m", "bench.pipelines", "64"),
    "infinity-emb": ("-m", "bench.infinity"),
}
FOOTNOTE: Final = (
    "engine: decode, normalise, language, tokenise, int8 model, policy. Peers on torch: a model of the same size with random "
    "weights in fp32 (they cost the same time), the model alone, texts cut off at 256 tokens where the engine reads on."
)


def run(plan: Plan) -> list[Row]:
    """The part."""
    count = plan.count(_COUNT)
    texts = write_texts(plan, "engine", comment_texts(count, plan.seed))
    programs = _CONTESTANTS | {REMEMBERING: (*_CONTESTANTS[REMEMBERING], "0", "0", str(plan.seed))}
    with contestants(programs, plan.folder) as children:
        laps = interleave(
            {name: partial(child.run, texts) for name, child in children.items() if child.missing is None}, plan.rounds
        )
        rows = [_row(name, child, laps.get(name, []), count) for name, child in children.items()]
    ours, remembering, *peers = rows
    return [
        *rows,
        compare(PART, (remembering.name, ENGINE), remembering.values, ours.values),
        *(compare(PART, (ENGINE, row.name), ours.values, row.values) for row in peers),
    ]


def write_texts(plan: Plan, name: str, texts: Sequence[str]) -> Path:
    """For contestants to read."""
    path = plan.folder / f"{name}.json"
    path.write_text(json.dumps(texts), "utf-8")
    return path


def rate(child: Contestant, texts: Path, count: int) -> float:
    """Comments a second in one round."""
    return count / child.run(texts).seconds


def _row(name: str, child: Contestant, laps: Sequence[Lap], count: int) -> Row:
    if child.missing is not None:
        return Row(PART, name, PER_S, [], f"not installed: {child.missing}")
    return Row(PART, name, PER_S, [count / lap.seconds for lap in laps], laps[-1].note)
