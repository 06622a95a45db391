"""Harm between kind words: "love this ❤️ love this ❤️", a threat, and hearts again.

A model that reads the mean of a text is talked out of what it would find in a line of its own, by whoever puts enough sweetness
around it. Nobody publishes such comments, so they are put together here, of authored rows and of nothing else: what hurts stays
what it was, and nothing about it is kind. As many harmless lines get the same wrapping, so that the wrapping itself says nothing.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Final

from training.labels import NO_AT_MOST, YES_FROM, Row, Split
from worker.classifier import HARM_LABELS

WRAPPED: Final = "authored_wrapped"
"""The source of those that teach; those that measure are authored rows like the others, of parts that were held back."""
HOW_MANY: Final = {"train": 6_000, "dev": 120}
"""Of each kind: around what harms, and around what does not."""
HARM: Final = "wrapped/harm"
HARMLESS: Final = "wrapped/harmless"

_AROUND: Final = ("kind/", "emoji/hearts", "everyday/small-talk", "slang/laughter-and-nothing", "dull/")
_MOST_WORDS: Final = 80
_MOST_WORDS_WITHIN: Final = 30
_MOST_WORDS_AROUND: Final = 8
_BETWEEN: Final = (" ", " ", ". ", "! ", ", ", "\n", " ❤️ ", " 😍 ", " ... ")


def wrapped(rows: Sequence[Row], seed: int = 0) -> list[Row]:
    """Rows put together from authored ones, those that teach from those that teach, and those that measure likewise."""
    return [row for side in ("train", "dev") for row in _of_one_side(rows, side, random.Random(f"{seed}{side}"))]  # noqa: S311 - reproducible, not secret


def _of_one_side(rows: Sequence[Row], side: Split, rng: random.Random) -> list[Row]:
    ours = [r for r in rows if r.split == side]
    around = [r for r in ours if _words(r) <= _MOST_WORDS_AROUND and _is_sweet(r)]
    within = [r for r in ours if _words(r) <= _MOST_WORDS_WITHIN]
    found: list[Row] = []
    for behaviour, belongs in ((HARM, _harms), (HARMLESS, _is_harmless)):
        chosen = [r for r in within if belongs(r)]
        rng.shuffle(chosen)
        if chosen and around:
            cores = islice(cycle(chosen), HOW_MANY[side])
            found += [_around(core, around, behaviour, rng) for core in cores]
    return [replace(r, source=WRAPPED) if side == "train" else r for r in found]


def _around(core: Row, around: Sequence[Row], behaviour: str, rng: random.Random) -> Row:
    """One row with the same few others again and again, or with different ones, before it, behind it or on both sides."""
    if rng.random() < 0.5:  # noqa: PLR2004 - either way as often
        wrapping = [rng.choice(around)] * rng.randint(2, 12)
    else:
        wrapping = rng.sample(around, min(len(around), rng.randint(1, 6)))
    before = rng.choice((0, len(wrapping), len(wrapping) // 2, len(wrapping) // 2))
    parts = [*wrapping[:before], core, *wrapping[before:]]
    while sum(map(_words, parts)) > _MOST_WORDS and len(parts) > 1:
        parts.pop(0 if parts[0] is not core else -1)
    between = rng.choice(_BETWEEN)
    targets = dict(core.targets)
    sweetest = max(p.targets.get("kindness", 0.0) for p in parts)
    targets["kindness"] = 0.02 if behaviour == HARM else sweetest
    # Nobody marked where the harm is; where there is none, there is nothing to mark.
    return replace(core, text=between.join(p.text for p in parts), targets=targets, behaviour=behaviour)


def _words(row: Row) -> int:
    return len(row.text.split())


def _is_sweet(row: Row) -> bool:
    return bool(row.behaviour and row.behaviour.startswith(_AROUND)) and _is_harmless(row)


def _harms(row: Row) -> bool:
    return any(row.targets.get(label, 0.0) >= YES_FROM for label in HARM_LABELS if label != "profanity")


def _is_harmless(row: Row) -> bool:
    return all(row.targets.get(label, 0.0) <= NO_AT_MOST for label in HARM_LABELS) and "toxicity" in row.targets
