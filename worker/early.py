"""Leaving early: which pieces need no more than the first stage of a model.

A model in two stages has `first.onnx` beside `model.onnx`: its first layers, with a small head of their own. What that head is
sure to be harmless goes no further; the rest goes on where the first stage stopped, and is scored as by one model. Only
`worker.onnx` reads this.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, ValidationError, convert

from worker.classifier import HARM_LABELS, KIND_LABELS, Scores
from worker.errors import StartupError

FIRST_STAGE: Final = "first.onnx"
"""int64 `input_ids`, `attention_mask` (and `token_type_ids`, if it asks for them) [batch, width] → float32 `hidden_states`
[batch, width, size], `early_logits` [batch, labels]."""
HIDDEN: Final = "hidden_states"
EARLY_OUTPUT: Final = "early_logits"


class Leaving(Struct, frozen=True, forbid_unknown_fields=True):
    """When a piece leaves after the first stage: `early` in `config.json`.

    Attributes:
        cutoffs: per harm label the score below which nothing of it is there; each has to be below its own.
        kind_below: a kindness below this is settled: there is none.
        kind_from: a kindness from this on is settled as well.
    """

    cutoffs: dict[str, float]
    kind_below: float = 1.0
    kind_from: float = 1.0

    def leaves(self, scores: Scores) -> bool:
        """Whether what the first stage says may stand. `scores`: its scores, rounded as they would be published."""
        return all(scores[label] < cutoff for label, cutoff in self.cutoffs.items()) and all(
            not self.kind_below <= scores[label] < self.kind_from for label in KIND_LABELS if label in scores
        )


def read_leaving(config: Mapping[str, Any], folder: Path, labels: Sequence[str]) -> Leaving | None:
    """The rule of the model in `folder`; None where it has one stage.

    Raises:
        StartupError: rule or first stage alone, or a rule that leaves out a harm label of the model's or makes no sense.
    """
    if ("early" in config) != (folder / FIRST_STAGE).is_file():
        raise StartupError(f"{folder}: {FIRST_STAGE} and early in config.json go together, and one is missing")
    if "early" not in config:
        return None
    try:
        leaving = convert(config["early"], Leaving)
    except ValidationError as error:
        raise StartupError(f"{folder}/config.json: early: {error}") from error
    harm = [label for label in HARM_LABELS if label in labels]
    if not harm or set(leaving.cutoffs) != set(harm):
        raise StartupError(f"{folder}/config.json: early: a cutoff for each of {', '.join(harm)}, and for nothing else")
    if not all(0 <= cutoff <= 1 for cutoff in (*leaving.cutoffs.values(), leaving.kind_below, leaving.kind_from)):
        raise StartupError(f"{folder}/config.json: early: scores are between 0 and 1")
    if leaving.kind_from < leaving.kind_below:
        raise StartupError(f"{folder}/config.json: early: kind_from is below kind_below")
    return leaving
