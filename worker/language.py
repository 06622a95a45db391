"""Which language a text is in, as far as that can be told, and whether the model knows it.

Stands beside the classifier: the model was trained on English, and its scores of anything else mean little. Pure: what ranks
languages is handed in (`worker.langid`), the rules for when to believe it stand here.

**What a text says** (`Detector.detect`, on normalised text; the answer depends on nothing else):

1. Words in another script than Latin make up a third of its letters, or twenty of them: not English, however short it is.
   A single letter is a face (`ツ`, `ಠ_ಠ`) and no word, unless it is a Chinese character that stands alone, or one of four of its
   script that do: those are a word that was spelt out.
2. Else only Latin words count: no links, @names, #tags, words with digits, and no laughter, which has no language. With fewer
   than 2 words or 10 letters left, it cannot be told: "lol", "gg", "❤️" and "nice vid" are everywhere.
3. English has at most 2 % and some language at least 30 %: not English. Which language is named from 50 % on, else `und`.
4. English has at least 50 %: English.
5. Else it cannot be told.

What cannot be told is **strange** where a word of it, of two letters or more, is no common English one (`worker/words.txt`), or
stands in another script: "ta gueule" is, and "nice one", "lol", "W" and a heart are not.

**Whom to believe** (`settle`), since producers often send the author's locale. What is no well-formed tag of BCP 47 (`!!`,
`unknown`, `english`), or names no language (`und`, `mul`, `zxx`), counts as not given; `en_US` and `eng` are read as `en-US` and
`en`:

- it cannot be told: the producer's word, be it `en` or `pt`; without one language and supported are null;
- both agree on whether the model knows it: supported as both say, and the producer's tag, which is often the finer one;
- they do not: the text. A Russian comment sent as `en` is never passed as safe, an English one sent as `pt` is not held.

Null is not supported, and not unsupported: such a comment is judged by its scores alone, as if it were English, because holding
every "lol" would hold most of what children write. A policy may do more with what is strange (`undetermined_language`).
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple

from worker.words import is_known

VERSION: Final = "4"
"""Raised with every change of these rules, or of what ranks languages: a decision's id depends on it."""
SUPPORTED: Final = frozenset({"en"})
"""Primary subtags of the languages that the model knows."""
UNNAMED: Final = "und"
"""BCP 47's tag for a language that is none of the supported ones, and cannot be named."""

_ENGLISH: Final = "en"
# Long for `en`, which is no tag but is sent.
_ENGLISH_IN_THREE: Final = "eng"
# A producer that sends one of these says that it does not know, or that there is no one language to know. `un` and `xx` are no
# language's; libraries and services answer with them.
_SAYS_NOTHING: Final = frozenset({UNNAMED, "mul", "mis", "zxx", "un", "xx"})
# Well-formed as RFC 5646 has it, but for primary subtags of four letters and more: no language has one, and words look like them.
_TAG: Final = re.compile(
    r"""
    (?:[a-z]{2,3} (?:-[a-z]{3}){0,3}                      # language
        (?:-[a-z]{4})?                                    # script
        (?:-(?:[a-z]{2}|[0-9]{3}))?                       # region
        (?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*          # variants
        (?:-[0-9a-wyz](?:-[a-z0-9]{2,8})+)*               # extensions
        (?:-x(?:-[a-z0-9]{1,8})+)?                        # private use
    | x(?:-[a-z0-9]{1,8})+ | i-[a-z]{2,8})                # private use alone, and what was registered before there were rules
    """,
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)

# Chosen on 72,804 English comments and 33,369 in four other languages (figures: README, design decisions).
_MIN_LETTERS: Final = 10
_MIN_WORDS: Final = 2
_ENGLISH_AT_LEAST: Final = 0.5
_ENGLISH_AT_MOST: Final = 0.02
_OTHER_AT_LEAST: Final = 0.3
_NAMED_FROM: Final = 0.5
_FOREIGN_LETTERS: Final = 20
_FOREIGN_SHARE: Final = 1 / 3
_SPELT_OUT: Final = 4

_NOISE: Final = re.compile(r"https?://\S+|www\.\S+|[@#]\w+|&#?\w+;|\brt\b|\b\w*\d\w*", re.IGNORECASE)
_LAUGHTER: Final = re.compile(
    r"\b(?:[aeio]*(?:[hj]+[aeio]+){2,}[hj]*|a*h+|ha+h*|heh+|k{2,}|l+(?:o+l+)+z*|lm+f?ao+|x+d+)\b"
)
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_APOSTROPHE: Final = re.compile("['\u2019]")
_LATIN: Final = "LATIN"
_EAST_ASIAN: Final = "CJK"
# Japanese writes one word in several of these.
_SCRIPTS: Final = {
    "HIRAGANA": _EAST_ASIAN,
    "KATAKANA": _EAST_ASIAN,
    "KATAKANA-HIRAGANA": _EAST_ASIAN,
    "MODIFIER": _LATIN,
}


class Ranked(NamedTuple):
    """What is likely of a text.

    Attributes:
        english: the probability that it is English.
        best: the likeliest language, an ISO 639 code as in BCP 47.
        probability: of that one.
    """

    english: float
    best: str
    probability: float


Rank = Callable[[Sequence[str]], Sequence[Ranked]]
"""Texts → what is likely of each, whatever the others are. Pure and thread-safe."""


class Detection(NamedTuple):
    """What a text says of its language.

    Attributes:
        language: a BCP 47 tag; `und` is surely none that the model knows; None cannot be told.
        confidence: how sure it is that the model knows it, or that it does not, from 0 to 1; 0 where it cannot be told.
        strange: it cannot be told, and one of its words is no common English one, or in another script.
    """

    language: str | None
    confidence: float
    strange: bool = False


UNDETERMINED: Final = Detection(None, 0.0)
STRANGE: Final = Detection(None, 0.0, strange=True)


class Language(NamedTuple):
    """What a decision says: the tag that was used, and whether the model knows that language. Both may be null.

    `undetermined`: both are, and the text is strange; the policy has a rule of its own for that.
    """

    tag: str | None
    supported: bool | None
    undetermined: bool = False


class Detector:
    """Applies the rules above to what `rank` makes of a text. As thread-safe as that is."""

    def __init__(self, rank: Rank) -> None:
        self._rank = rank

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Tell the language of each normalised text."""
        looks = [_look(text) for text in texts]
        ranked = iter(self._rank([look.words for look in looks if look.words]))
        return [_conclude(look, next(ranked)) if look.words else _untold(look) for look in looks]


class _Look(NamedTuple):
    """The words of a text that tell its language, none where they are too few, and whether other scripts than Latin settle it.

    `latin` are all words of Latin letters, and `mixed` says whether letters of other scripts stand beside them: only where
    nothing tells the language does anybody ask whether they are strange.
    """

    words: str
    foreign: bool
    latin: Sequence[str]
    mixed: bool


def _look(text: str) -> _Look:
    words = _WORD.findall(_LAUGHTER.sub(" ", _NOISE.sub(" ", text).lower()))
    foreign = ""
    if not text.isascii():
        foreign = _foreign(text)
        words = [word for word in words if _script(word[0]) == _LATIN]
    letters = sum(map(len, words))
    others = len(foreign) - foreign.count(" ")
    if others and (others >= _FOREIGN_LETTERS or others >= _FOREIGN_SHARE * (letters + others)):
        return _Look(foreign, foreign=True, latin=words, mixed=True)
    enough = len(words) >= _MIN_WORDS and letters >= _MIN_LETTERS
    return _Look(" ".join(words) if enough else "", foreign=False, latin=words, mixed=others > 0)


def _conclude(look: _Look, ranked: Ranked) -> Detection:
    if look.foreign:
        return Detection(_name(ranked), 1.0)
    if ranked.english >= _ENGLISH_AT_LEAST:
        return Detection(_ENGLISH, ranked.english)
    if ranked.english <= _ENGLISH_AT_MOST and ranked.probability >= _OTHER_AT_LEAST:
        return Detection(_name(ranked), 1 - ranked.english)
    return _untold(look)


def _untold(look: _Look) -> Detection:
    return STRANGE if look.mixed or not all(map(_is_common, look.latin)) else UNDETERMINED


def _is_common(word: str) -> bool:
    """Whether it is a common English word, or a letter. Isn't is listed as isnt, let's as let."""
    parts = _APOSTROPHE.split(word)
    return len(word) == 1 or is_known("".join(parts)) or is_known(parts[0])


def _name(ranked: Ranked) -> str:
    """The likeliest language where it is likely, and not one that the text was just said not to be in."""
    nothing = ranked.best in SUPPORTED or ranked.best in _SAYS_NOTHING
    return UNNAMED if nothing or ranked.probability < _NAMED_FROM else ranked.best


def settle(declared: str | None, detected: Detection) -> Language:
    """What to go by, the producer's word or the text; the rules stand at the top."""
    declared = None if declared is None else _tag(declared)
    if detected.language is None:
        if declared is None:
            return Language(None, None, detected.strange)
        return Language(declared, is_supported(declared))
    supported = is_supported(detected.language)
    if declared is not None and is_supported(declared) == supported:
        return Language(declared, supported)
    return Language(detected.language, supported)


def is_supported(tag: str) -> bool:
    """Whether the model knows the language of this BCP 47 tag, whatever its region and case."""
    return _primary(tag) in SUPPORTED


def _tag(declared: str) -> str | None:
    """The producer's word as a tag; None where it is none, or says nothing."""
    tag = declared.replace("_", "-")
    if not _TAG.fullmatch(tag) or _primary(tag) in _SAYS_NOTHING:
        return None
    first, hyphen, rest = tag.partition("-")
    return (_ENGLISH if first.lower() == _ENGLISH_IN_THREE else first) + hyphen + rest


def _primary(tag: str) -> str:
    primary = tag.replace("_", "-").split("-")[0].lower()
    return _ENGLISH if primary == _ENGLISH_IN_THREE else primary


def _foreign(text: str) -> str:
    """The words that are not in Latin script, each of one script, with a space between them."""
    # Vowel signs and accents are marks: they would cut a word in pieces, and are no letters.
    bare = "".join(character for character in text if not unicodedata.category(character).startswith("M"))
    found = []
    alone: dict[str, list[str]] = {}
    for letters in _LETTERS.findall(bare):
        runs = [(script, "".join(run)) for script, run in groupby(letters, _script)]
        for script, run in runs:
            if script != _LATIN and (len(run) > 1 or (len(runs) == 1 and _is_ideograph(run))):
                found.append(run)
            elif script != _LATIN and len(runs) == 1:
                alone.setdefault(script, []).append(run)
    return " ".join([*found, *("".join(run) for run in alone.values() if len(run) >= _SPELT_OUT)])


@lru_cache(4096)
def _script(character: str) -> str:
    """The script of a letter, by the first word of its name: Unicode's own property is not in the standard library."""
    first = unicodedata.name(character, "").partition(" ")[0]
    return _SCRIPTS.get(first, first)


def _is_ideograph(character: str) -> bool:
    return unicodedata.name(character, "").startswith("CJK UNIFIED")
