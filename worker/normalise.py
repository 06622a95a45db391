"""Text as people type it → text as the model reads it, with a map back.

The first step after decoding. Comments that look the same become the same string, so that invisible characters neither
change a score nor split the cache; and words that were disguised to get past a filter become words again (the tricks are in
`worker/obfuscation.py`). The training code calls the same function. A moderator is shown the original, which is why the map
exists: `Normalised.original` says where in it a piece of the plain text stands.

Every step is a function from a text to the edits it asks for, in one walk from left to right.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Final

from worker.obfuscation import NOT_PLAIN, TRICKS, Edit, Trick, may_be

# Zero-width and directional marks, soft hyphens, byte-order marks, word joiners: invisible, and used to cut words in two.
# And controls that are no white space, which chat programs do not draw. Variation selectors have a meaning after an emoji only.
_INVISIBLE: Final = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f"
    r"\ufeff\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+|(?<=[^\W\d_])[\ufe00-\ufe0f]+"
)
# U+200D stays where it joins emoji: without it a family becomes four strangers.
_JOINER_AT_LETTER: Final = re.compile(r"(?<=\w)\u200d+|(?<!\u200d)\u200d++(?=\w)")
# And Braille's empty cell, which chat programs draw as a space.
_BLANK: Final = r"\s\u2800"
_SPACE: Final = re.compile(rf"(?! )[{_BLANK}][{_BLANK}]*| [{_BLANK}]+")
# Past three, one more repeated letter carries no more meaning: "noooooooo" and "nooooo" are one text.
# Stars behind a letter count what is hidden: f*** is not f*****.
_MOST_HIDDEN: Final = 24
_STRETCHED: Final = re.compile(rf"([^*])\1{{3,}}|(?<![A-Za-z*])\*{{4,}}|(?<=[A-Za-z])\*{{{_MOST_HIDDEN + 1},}}")
# Words of letters with single spaces, commas and the like between them, no two of a single letter one after the other: nothing
# that any step would look at, unless a letter stands three times in a row. It is told much sooner than what follows.
_ONE: Final = r"(?:[A-Za-z]{2,}+')?[A-Za-z]"
_WORD: Final = r"(?:[A-Za-z]{2,}+')?[A-Za-z]{2,}+"
_BREAK: Final = r"[,.?!;:]? "
_PLAIN: Final = re.compile(rf"(?:(?:{_ONE}{_BREAK})?+{_WORD}{_BREAK})*+(?:{_ONE}{_BREAK})?+{_WORD}[.?!]?")
# What `_SPACE` or `_STRETCHED` would change in a text in ASCII that no trick could be made of.
_UNTIDY: Final = re.compile(r"[\x00-\x1f\x7f]| (?: |\Z)|\A |([^A-Za-z])\1{3}", re.DOTALL)

VERSION: Final = "5"
"""Raised with every change that makes some text read differently (here, in `obfuscation`, in `words.txt`, in `tokenizer`): a
decision's id depends on it."""

_ROUNDS: Final = 8
"""Times that the steps are gone through at most, until nothing changes any more; two are enough for what people write."""


@dataclass(frozen=True)
class Normalised:
    """A text as the model reads it, and where each of its characters came from."""

    text: str
    _starts: Sequence[int] = field(repr=False)
    _ends: Sequence[int] = field(repr=False)

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The smallest slice of the original that `text[start:end]` came from, in code points.

        Raises:
            ValueError: the slice is empty, or not within the text.
        """
        if not 0 <= start < end <= len(self.text):
            raise ValueError(f"no slice of a text of {len(self.text)} characters: {start}:{end}")
        return self._starts[start], self._ends[end - 1]


def normalise(text: str) -> str:
    """Fold what looks the same, drop what cannot be seen, undo disguises, single the spaces, shorten runs to three."""
    if _PLAIN.fullmatch(text) and not NOT_PLAIN.search(text):
        return text
    if text.isascii() and not _UNTIDY.search(text) and not may_be(text):
        return text
    return _walk(text, None, _STEPS)


def fold(text: str) -> str:
    """As `normalise`, but disguises stay: what undoing them is measured against."""
    return _walk(text, None, _FOLDING)


def normalise_mapped(text: str) -> Normalised:
    """As `normalise`, with the map back."""
    trace: list[list[Edit]] = []
    plain = _walk(text, trace, _STEPS)
    starts: Sequence[int] = range(len(text))
    ends: Sequence[int] = range(1, len(text) + 1)
    for edits in trace:
        starts, ends = _follow(starts, ends, edits)
    return Normalised(plain, starts, ends)


def _walk(text: str, trace: list[list[Edit]] | None, steps: Sequence[Trick]) -> str:
    unchanged = 0
    for _ in range(_ROUNDS):
        before = text
        for step in steps:
            edits = step(text)
            if edits:
                text = _apply(text, edits)
                if trace is not None:
                    trace.append(edits)
                unchanged = 0
                continue
            unchanged += 1
            if unchanged == len(steps):
                # Each has read the text as it is now: what is left of this round would find nothing either.
                return text
        if text == before:
            break
    return text


def _apply(text: str, edits: Sequence[Edit]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end, instead in edits:
        pieces += (text[at:start], instead)
        at = end
    pieces.append(text[at:])
    return "".join(pieces)


def _follow(starts: Sequence[int], ends: Sequence[int], edits: Sequence[Edit]) -> tuple[list[int], list[int]]:
    """The maps of a text after its edits, from those before."""
    new_starts: list[int] = []
    new_ends: list[int] = []
    at = 0
    for start, end, instead in edits:
        # As long as before: character for character.
        same = len(instead) == end - start
        until = end if same else start
        new_starts += starts[at:until]
        new_ends += ends[at:until]
        if not same:
            new_starts += [starts[start]] * len(instead)
            new_ends += [ends[end - 1]] * len(instead)
        at = end
    new_starts += starts[at:]
    new_ends += ends[at:]
    return new_starts, new_ends


# ---- the steps


def _ranges(characters: Sequence[str]) -> str:
    """For a character class of a pattern."""
    runs = groupby(enumerate(map(ord, characters)), lambda pair: pair[1] - pair[0])
    spans = [[code for _, code in run] for _, run in runs]
    return "".join(f"\\U{span[0]:08x}-\\U{span[-1]:08x}" for span in spans)


_OVERRIDE: Final = "\u202e"
_DIRECTION: Final = re.compile(r"[\u202a-\u202e\u2066-\u2069\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_BEGINS_ONE: Final = "\u202a\u202b\u202d\u202e\u2066\u2067\u2068"
_ENDS_ONE: Final = "\u202c\u2069"


def _overridden(text: str) -> list[Edit]:
    """U+202E and "flesruoy" → yourself: what an override has drawn from right to left is read as it is seen."""
    if _OVERRIDE not in text:
        return []
    edits: list[Edit] = []
    within: list[str] = []
    at = 0
    for start, end in (*(match.span() for match in _DIRECTION.finditer(text)), (len(text), len(text))):
        # What Arabic or Hebrew is in is drawn that way anyhow.
        if within and within[-1] == _OVERRIDE and start > at and not any(map(_is_right_to_left, text[at:start])):
            drawn = [text[at + a : at + b] for a, b in _clusters(text[at:start])]
            # With the mark before it, so that each of its letters stands for all of it.
            edits.append((at - 1, start, "".join(reversed(drawn))))
        mark = text[start:end]
        if mark in _BEGINS_ONE:
            within.append(mark)
        elif mark not in _ENDS_ONE:
            within.clear()
        elif within:
            within.pop()
        at = end
    return edits


def _is_right_to_left(character: str) -> bool:
    return unicodedata.bidirectional(character) in ("R", "AL")


def _enclosed_or_long(character: str) -> str | None:
    """What stands for one whose compatible form is in brackets, or of four characters and more; None for all others."""
    folded = unicodedata.normalize("NFKC", character)
    if len(folded) > 2 and folded[0] == "(" and folded[-1] == ")":  # noqa: PLR2004  the brackets, and something within
        return folded[1:-1]
    return " " if len(folded) > 3 else None  # noqa: PLR2004  "…" is three


# ⒡ is a letter in a disguise; and whole words in one character would make a text many times as long as it may be.
_COMPACT: Final = {
    c: instead
    for block in ((0x2000, 0x3000), (0x3200, 0x3400), (0xFDF0, 0xFE00), (0x1F100, 0x1F200))
    for c in map(chr, range(*block))
    if (instead := _enclosed_or_long(c)) is not None
}
_ANY_COMPACT: Final = re.compile(f"[{_ranges(sorted(_COMPACT))}]")


def _compact(text: str) -> list[Edit]:
    return [(*match.span(), _COMPACT[match[0]]) for match in _ANY_COMPACT.finditer(text)]


def _invisible(text: str) -> list[Edit]:
    return [(*match.span(), "") for match in _INVISIBLE.finditer(text)]


def _joiners(text: str) -> list[Edit]:
    if "\u200d" not in text:
        return []
    return [(*match.span(), "") for match in _JOINER_AT_LETTER.finditer(text)]


# Marks that stand above, below or across a letter. Four of them are of no language (polytonic Greek has three), a line
# through the letter is of none either; and runs longer than any script has would be sorted in quadratic time.
_ANY_MARK: Final = _ranges([c for c in map(chr, range(0x300, 0x1F000)) if unicodedata.combining(c)])
_LATIN_MARK: Final = r"\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20dc\u20e1\u20e5-\u20f0\ufe20-\ufe2f"
_ZALGO: Final = re.compile(
    rf"[{_LATIN_MARK}]{{4,}}|(?<=[{_ANY_MARK}\u0f73\u0f75\u0f81\uff9e\uff9f]{{8}})[{_ANY_MARK}\u0f73\u0f75\u0f81\uff9e\uff9f]+"
)
_LINE_THROUGH: Final = r"\u0334-\u0338\u20d2\u20d3\u20d8-\u20da\u20e5-\u20eb"
# Of other scripts, of phonetics, or around the letter: no word has them on a letter of English.
_STRANGE_MARK: Final = _ranges([c for c in map(chr, range(0x370, 0x1F000)) if unicodedata.category(c) in ("Mn", "Me")])
_UNCOMPOSED: Final = re.compile(
    rf"[{_LATIN_MARK}]{{2,}}|(?<=[A-Za-z0-9\W_])[{_LINE_THROUGH}]|(?<=[A-Za-z])[{_STRANGE_MARK}]+"
)
# All that those two look for, and what else lies beyond the first 65,536: a class of few ranges there is told much sooner.
_MARK: Final = re.compile(
    f"[{_LATIN_MARK}{_ranges([c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c)[0] == 'M'])}"
    "\uff9e\uff9f\U00010000-\U0001efff]"
)


def _zalgo(text: str) -> list[Edit]:
    return _off_their_letters(text, _ZALGO)


def _stacked(text: str) -> list[Edit]:
    """What is left of marks once every letter that exists has been composed."""
    return _off_their_letters(text, _UNCOMPOSED)


def _off_their_letters(text: str, marks: re.Pattern[str]) -> list[Edit]:
    """Drop marks; the letter before them stands for itself and for them, so that a place ends behind both."""
    edits: list[Edit] = []
    if text.isascii() or not _MARK.search(text):
        return edits
    for match in marks.finditer(text):
        start, end = match.span()
        free = edits[-1][1] if edits else 0
        edits.append((start - 1, end, text[start - 1]) if start > free else (start, end, ""))
    return edits


def _nfkc(text: str) -> list[Edit]:
    if unicodedata.is_normalized("NFKC", text):
        return []
    edits = []
    for start, end in _clusters(text):
        cluster = text[start:end]
        folded = unicodedata.normalize("NFKC", cluster)
        if folded != cluster:
            edits.append((start, end, folded))
    return edits


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Pieces that can be normalised one by one, with the same outcome as all at once."""
    start = 0
    for at, character in enumerate(text):
        if at and (character < "\u0300" or _begins(character)):
            yield start, at
            start = at
    if text:
        yield start, len(text)


@lru_cache(maxsize=4096)
def _begins(character: str) -> bool:
    """Whether it never composes with what stands before it."""
    first = unicodedata.normalize("NFKD", character)[0]
    # Marks; vowels and final consonants of Hangul; the two letters (Kirat Rai) that compose with one before.
    return not (
        unicodedata.category(first).startswith("M") or "\u1161" <= first <= "\u11c2" or first in "\U00016d63\U00016d67"
    )


def _spaces(text: str) -> list[Edit]:
    edits: list[Edit] = [(*match.span(), " ") for match in _SPACE.finditer(text)]
    if text.startswith(" ") and not (edits and edits[0][0] == 0):
        edits.insert(0, (0, 1, " "))
    if text.endswith(" ") and not (edits and edits[-1][1] == len(text)):
        edits.append((len(text) - 1, len(text), " "))
    return [(start, end, "" if start == 0 or end == len(text) else space) for start, end, space in edits]


def _long_runs(text: str) -> list[Edit]:
    edits = []
    for match in _STRETCHED.finditer(text):
        start = match.start()
        hiding = text[start] == "*" and start > 0 and text[start - 1].isascii() and text[start - 1].isalpha()
        # All of the run stands for what is left of it, so that a place that ends there ends behind it.
        edits.append((*match.span(), text[start] * (_MOST_HIDDEN if hiding else 3)))
    return edits


_FOLDING: Final[tuple[Trick, ...]] = (
    _overridden,
    _compact,
    _invisible,
    _joiners,
    _zalgo,
    _nfkc,
    _invisible,
    _joiners,
    _nfkc,
    _stacked,
    _spaces,
    _long_runs,
)
_STEPS: Final = (*_FOLDING, *TRICKS)
