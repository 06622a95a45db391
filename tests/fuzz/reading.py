"""The normaliser: any text is read as one that is bounded and settled, and every place in it is found again."""

from itertools import pairwise
from typing import Final

from tests.fuzz.promises import promise
from tests.fuzz.texts import MARKER, read_text
from worker.normalise import Normalised, normalise, normalise_mapped

_LONGEST_FOLD: Final = 6
"""Characters that one character becomes at most: ㌖ is a word of six."""


def normalising(data: bytes) -> None:
    """A text stays bounded and is settled after one time; its map is whole, in order and right."""
    text = read_text(data)
    plain = normalise(text)
    mapped = normalise_mapped(text)
    promise(mapped.text == plain, "the same text with a map and without")
    promise(normalise(plain) == plain, "once is enough")
    promise(len(plain) <= _LONGEST_FOLD * len(text), "a text does not grow without bound")
    promise("  " not in plain and plain.strip(" ") == plain, "single spaces, and none at the ends")
    slices = [mapped.original(at, at + 1) for at in range(len(plain))]
    promise(all(0 <= start < end <= len(text) for start, end in slices), "every place is in the text")
    promise(
        all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(slices)), "places are in the order of the characters"
    )
    half = len(text) // 2
    marked = f"{text[:half]} {MARKER} {text[half:]}"
    _check_marker(marked, normalise_mapped(marked))


def _check_marker(text: str, mapped: Normalised) -> None:
    """The word that was put in is pointed at where it stands."""
    if MARKER in mapped.text and text.count(MARKER) == 1:
        at = mapped.text.index(MARKER)
        start, end = mapped.original(at, at + len(MARKER))
        promise(text[start:end] == MARKER, "a place is that of the right characters")
