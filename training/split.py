"""Splitting: which rows teach and which measure, with no text in both; and the mix that one training run sees.

A publisher's split is kept. The rest is split by a hash, so that a row's side never depends on its neighbours.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from training.authored import SOURCE as AUTHORED
from training.labels import LIKELY, Row

DEV_SHARE: Final = 0.05

QUOTAS: Final[Mapping[str, int]] = {
    # The adversarial sets whole: they are the ones that cost their authors most, and they come in contrast pairs.
    "dynahate": 40_000,
    "hatemoji": 6_000,
    "jigsaw": 9_000,
    "jigsaw_balanced": 2_500,
    "toxic_spans": 6_500,
    "paradetox": 6_000,
    "cad": 3_500,
    "hatexplain": 3_000,
    "mhs": 2_500,
    "implicit_hate": 2_000,
    "stormfront": 1_500,
    "davidson": 1_500,
    "edos": 2_500,
    "misogyny": 1_000,
    "foxnews": 800,
    "context_toxicity": 2_000,
    "convabuse": 2_500,
    "goemotions": 10_000,
    "hopeedi": 1_200,
}
"""Training rows to take of each set, at most."""

AUTHORED_REPEATS: Final = 3
DEV_QUOTA: Final = 1_200
"""Dev rows to take of each set, at most: what measures must not be one set's opinion."""

_WORD: Final = re.compile(r"\w+|[^\w\s]")


def key(text: str) -> str:
    """What makes two texts the same for the split: their words and signs, whatever the case and the spaces."""
    return " ".join(_WORD.findall(text.lower()))


def share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / 2**64


def split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Rows → (train, dev). The first row of a text is kept; a text that is in dev anywhere is not trained on."""
    seen: set[tuple[str, str]] = set()
    train: list[Row] = []
    dev: list[Row] = []
    for r in rows:
        side = r.split
        if side is None:
            side = "dev" if share(r.group or key(r.text)) < DEV_SHARE else "train"
        if (side, key(r.text)) not in seen:
            seen.add((side, key(r.text)))
            (dev if side == "dev" else train).append(replace(r, split=side))
    held_out = {key(r.text) for r in dev}
    return [r for r in train if key(r.text) not in held_out], dev


def mix(train: Sequence[Row], quotas: Mapping[str, int] = QUOTAS) -> list[Row]:
    """What one run trains on: of each set its quota, half with something to find (harm or kindness) and half without."""
    taken = []
    for source, found in _by_source(train).items():
        if source == AUTHORED:
            taken += found * AUTHORED_REPEATS
            continue
        quota = quotas.get(source, 0)
        something = sorted((r for r in found if _has_something(r)), key=_is_common)
        nothing = [r for r in found if not _has_something(r)]
        half = quota // 2
        first = something[: max(half, quota - len(nothing))]
        taken += first + nothing[: quota - len(first)]
    return taken


def dev_mix(dev: Sequence[Row], quota: int = DEV_QUOTA) -> list[Row]:
    """What measures: of each set at most `quota` rows, at that set's own rates; of the authored rows all."""
    return [r for source, found in _by_source(dev).items() for r in (found if source == AUTHORED else found[:quota])]


def _by_source(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    """Rows by set, each in an order that depends on the texts alone."""
    by_source: dict[str, list[Row]] = defaultdict(list)
    for r in sorted(rows, key=lambda r: share("order" + r.text)):
        by_source[r.source].append(r)
    return by_source


def _has_something(r: Row) -> bool:
    return any(target >= LIKELY for target in r.targets.values())


def _is_common(r: Row) -> bool:
    """Whether a row shows none of the rare labels; those that do are all taken."""
    return all(
        r.targets.get(label, 0.0) < LIKELY for label in ("threat", "severe_toxicity", "sexually_explicit", "self_harm")
    )
