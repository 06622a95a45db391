"""Bytes → text that has something in it to stumble over.

A fuzzer changes bytes. In UTF-8 most changes break a character, so half of the inputs spell their text in pieces instead: a
byte a piece, each a thing that some step of the normaliser looks for.
"""

# ruff: noqa: RUF001  characters that look like others are what this is about

from typing import Final

from worker.records import MAX_TEXT_CHARACTERS

MARKER: Final = "qwzxvj"
"""A word that nobody writes, and that no step changes."""

PIECES: Final = (
    *"abcdefghiklmnoprstuvwyzABEFHIKLNOSTU0123456789",
    *" \t\n\r\x00\x1b\x7f\x85\u00a0\u2028\u3000.,!?'\"-_*~^=+|/\\:;#@&%$<>()[]{}`’•·¡¢©€£¥",
    *"\u00ad\u034f\u061c\u115f\u1160\u180b\u180e\u200b\u200c\u200d\u200e\u200f\u202e\u2060\u2066\u2069\ufeff\ufff9\U000e0041",
    *"\u0301\u0320\u0323\u0336\u20d2\u20dd\u20e3\ufe0f\ufe00\u0f73\u0f75\uff9e\u09be\u09c7\u05bc\u0e31\u1161\u11a8\u3099",
    *"аеоіѕсвмиτνσμαφօԁᴀɢᴜꜱɑƒᎪꓮһ한ᄀÉéñßǅİıſﬀﬃǆ①Ⓐ𝓼ｓ㌀㋿ﷺﷻ﷽½²ªKÅΩ界おツن",
    *"🅱🆂🄰🇫🇺🇨🇰🇬🇧❤👩💻🦊👍🏽🏴",
    " i d i o t",
    "k.i.l.l",
    "f*ck",
    "sh**",
    "1d10t",
    "f-uck",
    "fuuuck",
    "aaaa",
    "****",
    "#GoHome",
    "#killyourself",
    "www.",
    "http://",
    "a@b.c",
    "&amp;",
    "haha",
    "lol",
    " the ",
    " you ",
    "idiot",
    "kill",
    " и ",
    " je ",
    "4️⃣",
    "1️⃣",
    "\u0301\u0320" * 5,
    "\u200b\u200d",
)

SEPARATOR: Final = b"\x1e"
"""Stands between the parts of an input that has several: the values of a window, the headers of a record."""

_LONGEST_RUN: Final = 64


UNITS: Final = {
    "letters": "ab",
    "words": "ab ",
    "spelt out": "a b ",
    "spelt with dots": "i.d.i.o.t ",
    "spelt on and on": "a-",
    "tags": "#aB",
    "a tag of many words": "killTheYou",
    "masked": "f*",
    "stars": "*",
    "digits": "1a",
    "addresses": "a.b@",
    "an address and a word": "http://a f*ck ",
    "marks": "\u0301\u0320",
    "marks on letters": "a\u0301\u0320\u0336",
    "marks of other scripts": "\u0f73",
    "vowel signs": "\u09be",
    "joiners": "\u200d",
    "joined letters": "a\u200d",
    "nothing to be seen": "\u200b",
    "mixed scripts": "аb",
    "twins": "сосо ",
    "small capitals": "ᴜɢʟʏ ",
    "ligatures": "ﬃ",
    "squared words": "㌖",
    "emoji letters": "🅱🇫",
    "indicators": "🇫🇺🇨",
    "keycaps": "h4\ufe0f\u20e3",
    "stretched": "fuuuck ",
    "spaces": " \t",
    "laughter": "haha",
    "Hangul": "한\u1161",
}
"""What a hostile text may be made of by saying it over and over: each keeps some step of the normaliser busy."""


def repeated(unit: str, characters: int) -> str:
    """A unit over and over, up to so many characters."""
    return unit * (characters // len(unit))


def read_text(data: bytes) -> str:
    """At most as long as a comment may be. The first byte says how the others are read: UTF-8, pieces, or pieces with counts."""
    match data[:1], data[1:]:
        case first, rest if first < b"\x40":
            text = rest.decode(errors="ignore")
        case first, rest if first < b"\xc0":
            text = "".join(PIECES[byte % len(PIECES)] for byte in rest)
        case _, rest:
            text = "".join(
                PIECES[byte % len(PIECES)] * (1 + times % _LONGEST_RUN)
                for byte, times in zip(rest[::2], rest[1::2], strict=False)
            )
    return text[:MAX_TEXT_CHARACTERS]
