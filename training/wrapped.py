"""Harm between kind words, or in nonsense: "love this ❤️ love this ❤️", a threat, and hearts again; or twenty times [rules].

A model that reads the mean of a text is talked out of what it would find in a line of its own, by whoever puts enough around it.
Nobody publishes such comments, so they are put together here, of authored rows and of signs that say nothing: what hurts stays
what it was, and nothing about it is kind. As many harmless lines get the same around them, so that this itself says nothing.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from string import ascii_lowercase
from typing import Final

from training.labels import NO_AT_MOST, YES_FROM, Row
from worker.classifier import HARM_LABELS

WRAPPED: Final = "authored_wrapped"
"""The source of those that teach; those that measure are authored rows like the others, of parts that were held back."""
HOW_MANY: Final = {"train": 6_000, "dev": 120}
"""Of each kind between kind words: what harms, and what does not."""
HOW_MANY_PADDED: Final = {"train": 3_000, "dev": 120}
"""Of each kind in nonsense."""
HARM: Final = "wrapped/harm"
HARMLESS: Final = "wrapped/harmless"
PADDED_HARM: Final = "padded/harm"
PADDED_HARMLESS: Final = "padded/harmless"

_AROUND: Final = ("kind/", "emoji/hearts", "everyday/small-talk", "slang/laughter-and-nothing", "dull/")
_MOST_WORDS: Final = 80
_MOST_WORDS_WITHIN: Final = 30
_MOST_WORDS_AROUND: Final = 8
# Nonsense is two characters a token: what stands behind it has to be among those that a run reads.
_MOST_CHARACTERS_PADDING: Final = 110
_BETWEEN: Final = (" ", " ", ". ", "! ", ", ", "\n", " ❤️ ", " 😍 ", " ... ")
_BETWEEN_PARTS: Final = (" ", " ", ". ", "\n", "\n\n", " - ")
# Placeholders such as [NAME] stand in published comments of which hardly any does harm: brackets alone made a threat harmless.
_BRACKETS: Final = ("[{}]", "[{}]", "[[{}]]", "<{}>", "({})", "{{{}}}", "*{}*", "|{}|")
_SIGNS: Final = (
    ".",
    "...",
    "-",
    "---",
    "#",
    "~",
    "=",
    "|",
    "_",
    "🎮",
    "🚗",
    "⚽",
    "🌧️",
    "📦",
    "🔵",
    "➡️",
    "0",
    "7",
    "12",
)
_WORDS_AROUND: Final = 0.75
"""Of what pads, the share that is words, in brackets for the most part; the rest is signs."""


def wrapped(rows: Sequence[Row], seed: int = 0) -> list[Row]:
    """Rows put together from authored ones, those that teach from those that teach, and those that measure likewise."""
    found: list[Row] = []
    for side in ("train", "dev"):
        ours = [r for r in rows if r.split == side]
        sweet = [r for r in ours if _words(r) <= _MOST_WORDS_AROUND and _is_sweet(r)]
        rng = random.Random(f"{seed}{side}")  # noqa: S311 - reproducible, not secret
        if not sweet:
            continue
        for behaviour, belongs in ((HARM, _harms), (HARMLESS, _is_harmless)):
            found += [_around(core, sweet, behaviour, rng) for core in _some(ours, belongs, HOW_MANY[side], rng)]
        words = sorted({word for r in sweet for word in r.text.split()})
        for behaviour, belongs in ((PADDED_HARM, _harms), (PADDED_HARMLESS, _is_harmless)):
            found += [_padded(core, words, behaviour, rng) for core in _some(ours, belongs, HOW_MANY_PADDED[side], rng)]
    return [replace(r, source=WRAPPED) if r.split == "train" else r for r in found]


def _some(ours: Sequence[Row], belongs: Callable[[Row], bool], many: int, rng: random.Random) -> Iterator[Row]:
    """So many of those that belong and are short, all of them before one comes again."""
    chosen = [r for r in ours if _words(r) <= _MOST_WORDS_WITHIN and belongs(r)]
    rng.shuffle(chosen)
    return islice(cycle(chosen), many)


def _around(core: Row, around: Sequence[Row], behaviour: str, rng: random.Random) -> Row:
    """One row with the same few others again and again, or with different ones, before it, behind it or on both sides."""
    if rng.random() < 0.5:  # noqa: PLR2004 - either way as often
        wrapping = [rng.choice(around)] * rng.randint(2, 12)
    else:
        wrapping = rng.sample(around, min(len(around), rng.randint(1, 6)))
    before = _before(len(wrapping), rng)
    parts = [*wrapping[:before], core, *wrapping[before:]]
    while sum(map(_words, parts)) > _MOST_WORDS and len(parts) > 1:
        parts.pop(0 if parts[0] is not core else -1)
    between = rng.choice(_BETWEEN)
    targets = dict(core.targets)
    sweetest = max(p.targets.get("kindness", 0.0) for p in parts)
    targets["kindness"] = 0.02 if behaviour == HARM else sweetest
    # Nobody marked where the harm is; where there is none, there is nothing to mark.
    return replace(core, text=between.join(p.text for p in parts), targets=targets, behaviour=behaviour)


def _padded(core: Row, words: Sequence[str], behaviour: str, rng: random.Random) -> Row:
    """A row with the same sign or word many times, or with a few in turns, before it, behind it or on both sides."""
    form = rng.choice((*_BRACKETS, "{}", "{}"))
    kinds = rng.choice((1, 1, 3, 12))
    said = [rng.choice(_SIGNS) for _ in range(kinds)]
    if rng.random() < _WORDS_AROUND:
        said = [form.format(rng.choice(words) if rng.random() < 0.5 else _nonsense(rng)) for _ in range(kinds)]  # noqa: PLR2004
    padding = [rng.choice(said) for _ in range(rng.randint(4, _MOST_WORDS - _MOST_WORDS_WITHIN))]
    while sum(map(len, padding)) > _MOST_CHARACTERS_PADDING:
        padding.pop()
    before = _before(len(padding), rng)
    parts = (" ".join(padding[:before]), core.text, " ".join(padding[before:]))
    targets = {**core.targets, "kindness": 0.02} if behaviour == PADDED_HARM else core.targets
    # As with what is wrapped, nobody marked where the harm is.
    text = rng.choice(_BETWEEN_PARTS).join(part for part in parts if part)
    return replace(core, text=text, targets=targets, behaviour=behaviour)


def _before(many: int, rng: random.Random) -> int:
    """How many of what stands around a row stand before it: none or all, or, twice as often as either, half of them."""
    return rng.choice((0, many, many // 2, many // 2))


def _nonsense(rng: random.Random) -> str:
    word = "".join(rng.choices(ascii_lowercase, k=rng.randint(2, 8)))
    return rng.choice((word, word.upper()))


def _words(row: Row) -> int:
    return len(row.text.split())


def _is_sweet(row: Row) -> bool:
    return bool(row.behaviour and row.behaviour.startswith(_AROUND)) and _is_harmless(row)


def _harms(row: Row) -> bool:
    return any(row.targets.get(label, 0.0) >= YES_FROM for label in HARM_LABELS if label != "profanity")


def _is_harmless(row: Row) -> bool:
    return all(row.targets.get(label, 0.0) <= NO_AT_MOST for label in HARM_LABELS) and "toxicity" in row.targets
