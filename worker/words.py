"""The words that the normaliser knows, read once from `words.txt`, and what somebody may have meant by a disguised one.

`worker/obfuscation.py` asks, nobody else does. Every answer is a look-up, or a walk of bounded length.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from itertools import groupby, pairwise
from math import log
from pathlib import Path
from typing import Final, TypeVar

# ruff: noqa: D403  examples as people type them

_Key = TypeVar("_Key", bound=Hashable)

_LONGEST_TOKEN: Final = 24
"""Characters past which a token is no disguised word."""

_LONGEST_RUN_TOGETHER: Final = 64
"""Letters past which nothing is cut into words: no hashtag that anyone reads is longer."""

_LEET: Final = dict(zip("013456789@$!|+¡€¢©£¥", "oieasgtbgasiitieccly", strict=True))
_SHAPE: Final = str.maketrans({**_LEET, "£": "i", "l": "i"})
_EITHER_I_OR_L: Final = frozenset("1!|")

_LETTERS: Final = str.maketrans(_LEET)

Sections = dict[str, tuple[str, ...]]


def _read(path: Path) -> Sections:
    sections: dict[str, list[str]] = {}
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            words = sections.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            words.extend(line.split())
    return {name: tuple(found) for name, found in sections.items()}


def _by(key: Callable[[str], _Key], words: Iterable[str]) -> dict[_Key, tuple[str, ...]]:
    found: defaultdict[_Key, list[str]] = defaultdict(list)
    for word in words:
        found[key(word)].append(word)
    return {at: tuple(of) for at, of in found.items()}


def _runs(word: str) -> list[tuple[str, int]]:
    return [(letter, len(list(run))) for letter, run in groupby(word)]


def _bare(word: str) -> str:
    """The word without its doubled letters, by which a stretched one is found."""
    return "".join(letter for letter, _ in groupby(word))


_SECTIONS: Final = _read(Path(__file__).with_name("words.txt"))
_LIKELIEST: Final = _SECTIONS["likeliest"]
_MASKED: Final = _LIKELIEST + _SECTIONS["masked"]
_DISGUISED: Final = frozenset(_MASKED + _SECTIONS["harm"])
_IN_ORDER: Final = tuple(dict.fromkeys((*_MASKED, *_SECTIONS["harm"], *_SECTIONS["common"])))
_KNOWN: Final = frozenset(_IN_ORDER)

_BY_SHAPE: Final = _by(lambda word: word.translate(_SHAPE), _IN_ORDER)
_BY_BARE: Final = _by(_bare, _MASKED + _SECTIONS["harm"])
_MASKED_BY_ENDS: Final = _by(lambda word: (word[0], len(word)), _MASKED)
_LIKELIEST_BY_ENDS: Final = _by(lambda word: (word[0], len(word)), _LIKELIEST)

# Zipf: the n-th most frequent word is about 1/n as frequent as the first. Words of harm count as frequent ones.
_COST: Final = {
    **{word: log(200) for word in _DISGUISED},
    **{word: log(rank + 10) for rank, word in enumerate(_SECTIONS["common"])},
}
_LONGEST_WORD: Final = max(map(len, _COST))


def is_known(word: str) -> bool:
    return word in _KNOWN


def is_disguised(word: str) -> bool:
    """Whether people hide this word from filters."""
    return word in _DISGUISED


def spelt(token: str) -> str:
    """k1lly0urself → killyourself: each sign as the letter that it stands for most often, whatever comes of it."""
    return token.translate(_LETTERS)


def unleet(token: str) -> str | None:
    """1d10t → idiot. The token is in lower case, and of letters, digits and signs.

    A plausible number, measure or name stays: only hidden words may begin or end in a digit (5am, top5, hi5), and a code of
    a single letter (A55) is no word.
    """
    if not 3 <= len(token) <= _LONGEST_TOKEN:  # noqa: PLR2004  there is no shorter word to hide
        return None
    letters = sum(c.isalpha() for c in token)
    if letters == 0 or (letters == 1 and token.isalnum()):
        return None
    inside = token[0].isalpha() and (token[-1].isalpha() or (token[-1] == "0" and token[-2].isalpha()))
    for word in _BY_SHAPE.get(token.translate(_SHAPE), ()):
        if (inside or word in _DISGUISED) and all(map(_stands_for, token, word)):
            return word
    return None


def _stands_for(sign: str, letter: str) -> bool:
    return sign == letter or _LEET.get(sign) == letter or (letter == "l" and sign in _EITHER_I_OR_L)


def unmask(token: str) -> str | None:
    """f*ck → fuck, if no other word fits. The token is in lower case, begins with a letter, and what is no letter is hidden."""
    if not 3 <= len(token) <= _LONGEST_TOKEN:  # noqa: PLR2004  as above
        return None
    shown = sum(c.isalpha() for c in token)
    signs = set(token) - set("abcdefghijklmnopqrstuvwxyz")
    # Little is left of s***, and of a.s or d-e too little.
    among = _MASKED_BY_ENDS if 2 * shown >= len(token) and shown > 1 else _LIKELIEST_BY_ENDS
    if not signs <= {"*"} and (shown < 3 or len(token) - shown > shown):  # noqa: PLR2004  two of three letters are too few
        return None
    fits = [word for word in among.get((token[0], len(token)), ()) if all(map(_may_hide, token, word))]
    return fits[0] if len(fits) == 1 else None


def _may_hide(sign: str, letter: str) -> bool:
    return sign == letter or (not sign.isalnum()) or (sign.isdigit() and _stands_for(sign, letter))


def rejoin(parts: list[str]) -> str | None:
    """f-uck → fuck. Not where each part is a word of its own."""
    word = "".join(parts)
    return word if word in _DISGUISED and not all(map(is_known, parts)) else None


def unstretch(token: str) -> str | None:
    """fuuuuck → fuck. The token is in lower case; only what stands three times or more is taken to be stretched."""
    if len(token) > 4 * _LONGEST_TOKEN:
        return None
    runs = _runs(token)
    for word in _BY_BARE.get("".join(letter for letter, _ in runs), ()):
        if all(
            meant == written or (written >= 3 and meant < written)  # noqa: PLR2004  doubled letters are spelling
            for (_, meant), (_, written) in zip(_runs(word), runs, strict=True)
        ):
            return word
    return None


def cut_up(letters: str) -> list[str] | None:
    """killyourself → kill, yourself: the likeliest words, if it is made of nothing but words. It is in lower case."""
    if len(letters) > _LONGEST_RUN_TOGETHER:
        return None
    if letters in _KNOWN:
        return [letters]
    best: list[tuple[float, int] | None] = [(0.0, 0)]
    for end in range(1, len(letters) + 1):
        options = []
        for start in range(max(0, end - _LONGEST_WORD), end):
            before, cost = best[start], _COST.get(letters[start:end])
            if before is not None and cost is not None:
                options.append((before[0] + cost + 2, start))
        best.append(min(options, default=None))
    words: list[str] = []
    end = len(letters)
    while end:
        step = best[end]
        if step is None:
            return None
        words.append(letters[step[1] : end])
        end = step[1]
    words.reverse()
    # Short words fit in anywhere: is + is, mag + a.
    spelt = any(len(a) == len(b) == 1 for a, b in pairwise(words))
    return None if spelt or 5 * len(words) > 2 * len(letters) else words
