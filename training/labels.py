"""What a label means here, and a row: one text with what is known about it.

The labels and their order come from the worker, so there is one list.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from worker.classifier import LABELS

Split = Literal["train", "dev", "test"]

SPAN_LABELS: Final = ("toxicity", "insult", "identity_attack", "threat", "profanity")
"""What the token head tells apart, in the order of its outputs. The first says whether a token belongs to a span at all."""

MEANING: Final[Mapping[str, str]] = {
    "toxicity": "rude, hateful or unreasonable enough to make people leave",
    "severe_toxicity": "hateful or aggressive beyond doubt: wishes of death and suffering, abuse that is meant to hurt",
    "identity_attack": "against people for who they are: origin, religion, gender, orientation, disability, age",
    "insult": "demeaning towards a person, with or without bad words",
    "profanity": "swear words, aimed at somebody or at nobody",
    "threat": "announces or wishes harm to somebody by the writer's hand",
    "sexually_explicit": "sexual acts, body parts or advances",
    "self_harm": "somebody who hurts themselves or wants to die, or who tells another to",
    "kindness": "praise, thanks, care, encouragement, welcome",
}


SPANS_TRIAL: Final = "semeval-2021-task-5-trial"
"""The group of the rows on which agreement about places is measured."""


NO_AT_MOST: Final = 0.35
YES_FROM: Final = 0.65
"""A soft target in between is a tie among annotators: neither answer would be wrong."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text and what is known about it.

    `targets` holds, per label, how sure its annotators are, in [0, 1]; a label that is absent is unknown, never negative.
    `assumed` names those targets that we inferred and nobody annotated: they train the model and never measure it, except
    where `evaluate` says so. Rows of one `group` (a text and its rewrite) stay on one side of the split. `behaviour` is what
    an authored row is about.

    `written` is the text as it was typed, where a disguise in it was undone; else None.

    `feelings` are those that its annotators named where they had many to choose from; None: nobody was asked.

    `spans` says where: stretches (start, end, label, share of annotators) of `text`, what is outside them being 0 for each of
    `SPAN_LABELS`. None is unknown.
    """

    text: str
    targets: Mapping[str, float]
    source: str
    split: Split | None = None
    assumed: frozenset[str] = field(default=frozenset())
    group: str | None = None
    behaviour: str | None = None
    spans: tuple[tuple[int, int, str, float], ...] | None = None
    written: str | None = None
    feelings: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Raises: ValueError for a label that there is not, or a target outside [0, 1]."""
        for label, target in self.targets.items():
            if label not in LABELS:
                raise ValueError(f"{self.source}: no such label: {label}")
            if not 0 <= target <= 1:
                raise ValueError(f"{self.source}: target of {label} is outside [0, 1]: {target}")


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """One JSON object a line. The file holds texts of the data sets: it stays in the work directory."""
    encode = msgspec.json.Encoder(order="sorted").encode
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(encode(r) + b"\n" for r in rows))


def load_rows(path: Path) -> list[Row]:
    """Raises: FileNotFoundError before the first `python -m training read`."""
    decode = msgspec.json.Decoder(Row).decode
    return [decode(line) for line in path.read_bytes().splitlines()]
