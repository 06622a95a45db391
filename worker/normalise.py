"""Text as people type it → text as the model reads it.

The first step after decoding. Comments that look the same become the same string, so that invisible characters neither
change a score nor split the cache. The training code calls the same function.
"""

import re
import unicodedata
from typing import Final

# Zero-width and directional marks, soft hyphens, byte-order marks, word joiners: invisible, and used to cut words in two.
_INVISIBLE: Final = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
# U+200D stays where it joins emoji: without it a family becomes four strangers.
_JOINER_AT_LETTER: Final = re.compile(r"(?<=\w)\u200d+|\u200d+(?=\w)")
# Single characters for a whole phrase, which would make a text many times as long as it may be.
_PHRASES: Final = re.compile(r"[\ufdfa\ufdfb]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_SPACE: Final = re.compile(r"\s+")
# Past three, one more repeated letter carries no more meaning: "noooooooo" and "nooooo" are one text.
_STRETCHED: Final = re.compile(r"(.)\1{3,}")


def normalise(text: str) -> str:
    """Fold compatibility forms, drop what cannot be seen, single the spaces, shorten runs of one character to three."""
    text = unicodedata.normalize("NFKC", _PHRASES.sub(" ", text))
    text = _INVISIBLE.sub("", text)
    text = _JOINER_AT_LETTER.sub("", text)
    # Again, for a letter and the accent that were kept apart.
    text = unicodedata.normalize("NFKC", text)
    text = _CONTROL.sub(" ", text)
    text = _STRETCHED.sub(r"\1\1\1", text)
    return _SPACE.sub(" ", text).strip()
