"""Texts that are like a comment section: many short, some repeated, a few as long as a record allows.

Pure: a count and a seed in, texts out. No text of anybody's is in here: words of `worker/words.txt` in random order, as
frequent as in English (Zipf), so a text is nonsense that costs what a comment costs.

Where the numbers come from. The HopeEDI set (comments on YouTube videos, 25,568 of them, as published, with what people
posted twice) was counted with the shipped tokenizer:

- tokens of a comment, special ones left out: log-normal, the logarithm's mean 2.72 and deviation 0.76
  (median 15, mean 21, 90 % up to 41, 99 % up to 102);
- 9.4 % of the comments are one of 1,140 texts that stand in it more than once (median 9 words), 5.0 % are the second or a
  later copy of an earlier one, the most frequent 22 times. A pool of 1,500 stock texts with Zipf's exponent 0.4, drawn from for
  9.4 % of the comments, gives the same shares at that size. In a longer stretch more of them are repeats, in a shorter one
  fewer. Users of chat bots repeat far more (31 % in ConvAbuse), so a live chat gets more out of the verdict cache than this.

Assumed, since no set shows it: one in a thousand is as long as a record may be. HopeEDI has none above one run of the model
(254 tokens); Wikipedia's talk pages (the Jigsaw set) have 5 % of these, and 0.5 % above 1,000 tokens. One in twenty holds a
rude word, so that there are spans and reasons to write.

More than half are typed as people do, with a number, a dash or an emoji: 56 % of 3,000 comments on Reddit (GoEmotions) hold
something that the normaliser has to look at twice.
"""

import json
import random
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from math import log
from pathlib import Path
from typing import Final

from worker.records import MAX_TEXT_CHARACTERS

LENGTH_MU: Final = 2.72
LENGTH_SIGMA: Final = 0.76
STOCK_SHARE: Final = 0.094
STOCK_TEXTS: Final = 1500
STOCK_EXPONENT: Final = 0.4
_STOCK_MEDIAN_TOKENS: Final = 9
LONGEST_SHARE: Final = 0.001
RUDE_SHARE: Final = 0.05
TYPED_SHARE: Final = 0.56
"""With more in them than words of letters, single marks and spaces."""
_MARKS: Final = (".", ".", "!", "?")
_NUMBERS: Final = ("2", "3", "10", "100")
_EMOJI: Final = ("😂", "🔥", "👍", "😭", "🙏")
_EMOJI_SHARE: Final = 0.15
"""Of those that are typed: every twelfth comment. All others have a number or a dash."""
HOSTILE_SHARE: Final = 0.01
"""Of a hostile mix: as long as a record may be. The rest is short."""
SHORT_TOKENS: Final = 5

_WORKER: Final = Path(__file__).parents[1] / "worker"
_STOCK_SEED: Final = 1_000_003
_LEAST_LETTERS: Final = 2
_ROOM: Final = 6
"""Tokens from which on a text has room for a mark as well."""


def comment_texts(count: int, seed: int) -> list[str]:
    """As in a comment section."""
    chance = _chance(seed)
    stock = stock_texts(seed)
    weights = list(accumulate((rank + 1) ** -STOCK_EXPONENT for rank in range(len(stock))))
    texts = []
    for _ in range(count):
        kind = chance.random()
        if kind < STOCK_SHARE:
            texts.append(chance.choices(stock, cum_weights=weights)[0])
        elif kind < STOCK_SHARE + LONGEST_SHARE:
            texts.append(longest_text(chance))
        else:
            texts.append(_text(chance, _log_normal(chance, LENGTH_MU)))
    return texts


def texts_of(tokens: int, count: int, seed: int) -> list[str]:
    """Each of so many tokens, special ones left out."""
    chance = _chance(seed)
    return [_text(chance, tokens) for _ in range(count)]


def hostile_texts(count: int, seed: int) -> list[str]:
    """Short ones, and every hundredth as long as a record may be: whoever waits behind it waits for half a minute's worth."""
    chance = _chance(seed)
    every = round(1 / HOSTILE_SHARE)
    return [
        longest_text(chance) if number % every == every // 2 else _text(chance, SHORT_TOKENS) for number in range(count)
    ]


def longest_text(chance: random.Random) -> str:
    """One of `MAX_TEXT_CHARACTERS`; the last word may be cut off."""
    return _words(chance, MAX_TEXT_CHARACTERS // _LEAST_LETTERS)[:MAX_TEXT_CHARACTERS]


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  texts that can be made again, not a secret


def stock_texts(seed: int) -> list[str]:
    """Those that a section repeats."""
    chance = _chance(seed + _STOCK_SEED)
    return [_text(chance, _log_normal(chance, log(_STOCK_MEDIAN_TOKENS))) for _ in range(STOCK_TEXTS)]


def _log_normal(chance: random.Random, mu: float) -> int:
    return max(1, round(chance.lognormvariate(mu, LENGTH_SIGMA)))


def _text(chance: random.Random, tokens: int) -> str:
    if chance.random() < TYPED_SHARE:
        return _typed(chance, tokens)
    return " ".join(_with_a_rude_one(chance, _words(chance, tokens).split()))


def _typed(chance: random.Random, tokens: int) -> str:
    """A capital, a mark where there is room, and an emoji, a dash or a number: each of these but the capital is a token."""
    words = _with_a_rude_one(chance, _words(chance, tokens).split())
    words[0] = words[0].capitalize()
    if chance.random() < _EMOJI_SHARE:
        words[-1] = chance.choice(_EMOJI)
    elif tokens < _ROOM:
        words[-1] = chance.choice(_NUMBERS)
    else:
        words[chance.randrange(1, tokens - 2)] = chance.choice((*_NUMBERS, "-"))
        # In the place of the last word.
        words[-2:] = [words[-2] + chance.choice(_MARKS)]
    return " ".join(words)


def _with_a_rude_one(chance: random.Random, words: list[str]) -> list[str]:
    if chance.random() < RUDE_SHARE:
        words[chance.randrange(len(words))] = chance.choice(_vocabulary()[2])
    return words


def _words(chance: random.Random, count: int) -> str:
    words, weights, _ = _vocabulary()
    return " ".join(chance.choices(words, cum_weights=weights, k=count))


@cache
def _vocabulary() -> tuple[Sequence[str], Sequence[float], Sequence[str]]:
    """Everyday words with their cumulative weights, and rude ones: each a single token, so that words count tokens.

    Without single letters: a row of these is taken for a word that somebody hides.
    """
    tokenizer = json.loads((_WORKER / "models" / "default" / "tokenizer.json").read_text("utf-8"))
    whole = tokenizer["model"]["vocab"]
    sections: dict[str, list[str]] = {}
    for line in (_WORKER / "words.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            section.extend(word for word in line.split() if word in whole and len(word) >= _LEAST_LETTERS)
    common = sections["common"]
    # Zipf: the n-th most frequent word is about 1/n as frequent as the first.
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(common))))
    return common, weights, sections["likeliest"] + sections["masked"]
