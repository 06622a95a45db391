"""Disguising: a training text → the same text as somebody types it who is careless, or wants to get past a filter.

Between reading and tokenising, on a share of the training rows; each disguised text goes through `normalise` again, as it
would in the worker. What the normaliser undoes costs nothing; what it leaves (typos, a word it does not know, two words run
together) is what the model learns to read.
"""

# ruff: noqa: RUF001  characters that look like others are what this is about

import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

_WORD: Final = re.compile(r"[A-Za-z]{3,}")
_PUNCTUATION: Final = re.compile(r"(?<=\w)[.,;:'’!?]+")
_MOST_WORDS: Final = 3
"""Words of one text that are disguised at most: people hide the word that matters, not the sentence."""

LEET: Final[Mapping[str, str]] = {
    "a": "4@", "b": "8", "e": "3", "g": "9", "i": "1!", "l": "1|", "o": "0", "s": "5$", "t": "7+",
}  # fmt: skip
"""Digits and signs by what they look like, the usual one first."""

HOMOGLYPHS: Final[Mapping[str, str]] = {
    "a": "аα", "c": "сϲ", "d": "ԁ", "e": "еε", "h": "һ", "i": "іι", "j": "ј", "k": "кκ", "n": "п", "o": "оο",
    "p": "рρ", "q": "ԛ", "r": "г", "s": "ѕ", "t": "т", "u": "υ", "v": "ν", "w": "ԝω", "x": "хχ", "y": "уγ",
}  # fmt: skip
"""Cyrillic and Greek letters that pass for Latin ones."""

SEPARATORS: Final = (" ", " ", ".", "-", "_", "*", " . ")
"""What is put between the letters of a word; a space is the most usual."""

MASKS: Final = "***#%_-."
"""What stands for a letter that is left out; mostly a star."""

INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
"""Zero-width characters, which a filter sees and a reader does not."""

NEIGHBOURS: Final[Mapping[str, str]] = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk", "k": "jl",
    "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb",
    "w": "qe", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip
"""Keys beside each other, for a slip of the finger."""

SOUNDS: Final = (
    ("ck", "k"), ("ck", "cc"), ("ph", "f"), ("f", "ph"), ("s", "z"), ("u", "v"), ("c", "k"), ("er", "a"), ("you", "u"),
    ("oo", "u"), ("ing", "in"), ("i", "y"), ("x", "ks"),
)  # fmt: skip
"""Spellings that sound or look alike: fuk, phuck, fvck, idyot."""

Change = Callable[[str, Random], str]


def obfuscate(text: str, rng: Random) -> str:
    """Disguise a few words of the text, or the way that it is typed. The same text and seed give the same outcome.

    Returns the text itself where there is nothing to change; never an empty one for one that is not.
    """
    whole = rng.random()
    if whole < 0.12:  # noqa: PLR2004
        return _or(rng.choice(_OF_TEXT)(text, rng), text)
    words = list(_WORD.finditer(text))
    if not words:
        return text
    chosen = rng.sample(words, min(len(words), rng.choice((1, 1, 1, 2, 2, _MOST_WORDS))))
    # A person has one way of doing it.
    change = rng.choices(tuple(_OF_WORD), tuple(_OF_WORD.values()))[0]
    for match in sorted(chosen, key=lambda m: m.start(), reverse=True):
        text = text[: match.start()] + _or(change(match[0], rng), match[0]) + text[match.end() :]
    return text


def _or(changed: str, text: str) -> str:
    return changed if changed.strip() else text


def _some(word: str, rng: Random, table: Mapping[str, str]) -> str:
    """At least one of the letters in the table, and often all of them, for what stands there."""
    places = [at for at, c in enumerate(word) if c.lower() in table]
    if not places:
        return word
    changed = set(rng.sample(places, rng.randint(1, len(places))))
    return "".join(rng.choice(table[c.lower()]) if at in changed else c for at, c in enumerate(word))


def _leet(word: str, rng: Random) -> str:
    return _some(word, rng, LEET)


def _homoglyphs(word: str, rng: Random) -> str:
    return _some(word, rng, HOMOGLYPHS)


def _spaced(word: str, rng: Random) -> str:
    return rng.choice(SEPARATORS).join(word)


def _cut(word: str, rng: Random) -> str:
    at = rng.randint(1, len(word) - 1)
    return word[:at] + rng.choice((" ", ".", "-", "_", "*")) + word[at:]


def _masked(word: str, rng: Random) -> str:
    """A letter, two, or all but two; the most of a word only behind stars, which alone say that something is hidden."""
    hidden = min(rng.choice((1, 1, 1, 1, 2, len(word) - 2)), len(word) - 2)
    sign = "*" if 2 * hidden > len(word) else rng.choice(MASKS)
    start = rng.randint(1, len(word) - hidden)
    return word[:start] + sign * hidden + word[start + hidden :]


def _stretched(word: str, rng: Random) -> str:
    at = rng.randrange(len(word))
    return word[:at] + word[at] * rng.randint(3, 7) + word[at + 1 :]


def _invisible(word: str, rng: Random) -> str:
    at = rng.randint(1, len(word) - 1)
    return word[:at] + rng.choice(INVISIBLE) + word[at:]


def _swapped(word: str, rng: Random) -> str:
    at = rng.randint(0, len(word) - 2)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _dropped(word: str, rng: Random) -> str:
    at = rng.randrange(len(word))
    return word[:at] + word[at + 1 :]


def _doubled(word: str, rng: Random) -> str:
    at = rng.randrange(len(word))
    return word[:at] + word[at] + word[at:]


def _slipped(word: str, rng: Random) -> str:
    at = rng.randrange(len(word))
    return word[:at] + rng.choice(NEIGHBOURS[word[at].lower()]) + word[at + 1 :]


def _sounded(word: str, rng: Random) -> str:
    fits = [(sound, other) for sound, other in SOUNDS if sound in word.lower()]
    if not fits:
        return word
    sound, other = rng.choice(fits)
    at = word.lower().index(sound)
    return word[:at] + other + word[at + len(sound) :]


def _cased(word: str, rng: Random) -> str:
    if rng.random() < 0.5:  # noqa: PLR2004
        return word.upper()
    return "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in word)  # noqa: PLR2004


def _hashtag(word: str, rng: Random) -> str:
    return "#" + (word.lower() if rng.random() < 0.5 else word.capitalize())  # noqa: PLR2004


def _shouted(text: str, _: Random) -> str:
    return text.upper()


def _lowered(text: str, _: Random) -> str:
    return text.lower()


def _unpunctuated(text: str, _: Random) -> str:
    return _PUNCTUATION.sub("", text)


def _run_together(text: str, rng: Random) -> str:
    """Two words without the space between them, as a hurried thumb leaves them."""
    spaces = [
        at for at in range(1, len(text) - 1) if text[at] == " " and text[at - 1].isalpha() and text[at + 1].isalpha()
    ]
    if not spaces:
        return text
    at = rng.choice(spaces)
    return text[:at] + text[at + 1 :]


def _tagged(text: str, rng: Random) -> str:
    """Two or three words in a row as one hashtag."""
    words = list(_WORD.finditer(text))
    many = rng.randint(2, 3)
    if len(words) < many:
        return text
    first = rng.randint(0, len(words) - many)
    start, end = words[first].start(), words[first + many - 1].end()
    camel = rng.random() < 0.5  # noqa: PLR2004
    tag = "".join(w.capitalize() if camel else w.lower() for w in re.findall(r"[A-Za-z]+", text[start:end]))
    return f"{text[:start]}#{tag}{text[end:]}"


_OF_WORD: Final[Mapping[Change, float]] = {
    _leet: 3,
    _masked: 3,
    _spaced: 2,
    _cut: 1.5,
    _homoglyphs: 1.5,
    _stretched: 1.5,
    _invisible: 0.5,
    _swapped: 1.5,
    _dropped: 2,
    _doubled: 1,
    _slipped: 1,
    _sounded: 2,
    _cased: 1,
    _hashtag: 0.5,
}
"""What is done to a word, and how usual it is."""

_OF_TEXT: Final[tuple[Change, ...]] = (_shouted, _lowered, _unpunctuated, _run_together, _run_together, _tagged)
