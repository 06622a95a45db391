"""Normalising: what looks the same becomes the same, and what is plain stays as it is."""

# ruff: noqa: RUF001  characters that look like others are what this is about

import re
import sys
import time
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.normalise import (
    _ANY_MARK,
    _FOLDING,
    _LATIN_MARK,
    _LINE_THROUGH,
    _MARK,
    _PLAIN,
    _ROUNDS,
    _STEPS,
    _STRANGE_MARK,
    _apply,
    _walk,
    fold,
    normalise,
    normalise_mapped,
)
from worker.obfuscation import NOT_PLAIN, Edit, Trick

ZWJ = "\u200d"
FAMILY = "👨‍👩‍👧‍👦"
# U+202E is, too, and changes what is seen: it has tests of its own.
INVISIBLE = "\u00ad\u034f\u061c\u115f\u1160\u180f\u200b\u200c\u200e\u200f\u202a\u2060\u2066\u2069\ufeff\ufff3\U000e0041"

# Letters, marks that compose with them, everything invisible, spaces, controls, emoji, and characters that fold into several.
_tricky = st.sampled_from(
    "eaE\u0301\u0323ﬁ①Ａ\uffa0\u3164ᄀ\u1161👩💻\ufe0f" + INVISIBLE + "\u202e" + ZWJ + " \t\n\u00a0\u3000\x00\x1b\x85"
)


@pytest.mark.parametrize(
    "text",
    [
        "you are so kind",
        "What?! No way... :)",
        "naïve café, 3 × 4 = 12",
        "С днём рождения",
        "お誕生日おめでとう",
        "🦊🦊🦊 1️⃣",
        "aaa!!!",
        FAMILY,
        f"my {FAMILY}, all well",
        "👩‍💻 and 🏳️‍🌈",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize("character", INVISIBLE + ZWJ)
def test_an_invisible_character_does_not_cut_a_word_in_two(character: str) -> None:
    assert normalise(f"stu{character}pid") == "stupid"


@pytest.mark.parametrize("between", [ZWJ * 2, "\u200b" + ZWJ, ZWJ + "\u200b", ZWJ + "\u2060" + ZWJ])
def test_nor_do_several(between: str) -> None:
    assert normalise(f"stu{between}pid") == "stupid"


@pytest.mark.parametrize("character", INVISIBLE + ZWJ)
def test_an_invisible_character_does_not_keep_a_letter_from_its_accent(character: str) -> None:
    assert normalise(f"cafe{character}\u0301") == "café"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ｓｔｕｐｉｄ", "stupid"),
        ("𝓼𝓽𝓾𝓹𝓲𝓭", "stupid"),
        ("ⓢⓣⓤⓟⓘⓓ", "stupid"),
        ("ﬁne", "fine"),
        ("cafe\u0301", "café"),
    ],
)
def test_compatibility_forms_are_folded(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noooooooo", "nooo"),
        ("nooo", "nooo"),
        ("!!!!!!", "!!!"),
        ("🦊" * 9, "🦊🦊🦊"),
        ("no\u200bo\u200bo\u200bo\u200bo", "nooo"),
    ],
)
def test_runs_of_one_character_are_shortened_to_three(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    "space",
    [
        " ",
        "  ",
        "\t",
        "\n",
        "\v",
        "\f",
        "\r\n",
        "\x1c",
        "\x1f",
        "\x85",
        "\u00a0",
        "\u3000",
        "\u2028",
        "\u2800",
        " \x00 ",
    ],
)
def test_every_kind_of_space_is_one_space(space: str) -> None:
    assert normalise(f"{space}a{space}b{space}") == "a b"


@pytest.mark.parametrize("control", ["\x00", "\x01", "\x08", "\x0e", "\x1b", "\x7f", "\x80", "\x84", "\x86", "\x9f"])
def test_a_control_that_is_no_space_cuts_no_word(control: str) -> None:
    assert normalise(f"{control}kil{control}l your{control}self{control}") == "kill yourself"


@pytest.mark.parametrize("text", ["\u200b", " \n ", "\x00", "\u00ad\ufeff"])
def test_nothing_visible_is_nothing(text: str) -> None:
    assert normalise(text) == ""


@settings(max_examples=500)
@given(st.text(max_size=40) | st.text(_tricky, max_size=12))
def test_once_is_enough(text: str) -> None:
    once = normalise(text)

    assert normalise(once) == once


@settings(max_examples=300)
@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20), st.data())
def test_invisible_characters_anywhere_change_nothing(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    character = data.draw(st.sampled_from(INVISIBLE))

    assert normalise(text[:at] + character + text[at:]) == normalise(text)


@pytest.mark.parametrize("characters", ["\ufdfa\ufdfb", "㈝㈞", "⒇⒆", "㌀㌁", "⅒Ⅷ", "㋉㋊"])
def test_a_character_that_stands_for_many_does_not_make_a_text_many_times_as_long(characters: str) -> None:
    assert len(normalise(characters * 5000)) <= 30_000


def test_no_character_stands_for_more_than_three() -> None:
    longer = {c for c in map(chr, range(0x110000)) if not "\ud800" <= c < "\ue000" and len(fold(f"a{c}b")) > 5}

    assert longer == set()


# ---- what is drawn from right to left

OVERRIDE, POP = "\u202e", "\u202c"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (f"{OVERRIDE}flesruoy llik og{POP}", "go kill yourself"),
        (f"hey {OVERRIDE}toidi{POP} you", "hey idiot you"),
        (f"{OVERRIDE}toidi", "idiot"),
        (f"{OVERRIDE}toidi\nfine here", "idiot fine here"),
        (f"idi{OVERRIDE}to{POP}", "idiot"),
        (f"{OVERRIDE}e\u0301fac{POP}", "cafe\u0301"),
        (f"{OVERRIDE}ab{OVERRIDE}cd{POP}ef{POP}gh", "badcfegh"),
        (f"{OVERRIDE}\u202aab{POP}cd{POP}", "abdc"),
        (f"{POP}ab{POP}", "ab"),
        ("\u202dabc\u202c", "abc"),
    ],
)
def test_what_an_override_draws_is_read_as_it_is_seen(text: str, seen: str) -> None:
    assert normalise(text) == normalise(seen)


def test_arabic_and_hebrew_are_drawn_that_way_anyhow() -> None:
    assert normalise(f"{OVERRIDE}שלום{POP}") == "שלום"


def test_each_letter_of_what_was_drawn_backwards_stands_for_all_of_it() -> None:
    plain = normalise_mapped(f"hey {OVERRIDE}toidi{POP} you")

    assert plain.text == "hey idiot you"
    assert plain.original(4, 9) == plain.original(5, 6) == (4, 10)


# ---- tricks, a row each, and what looks like one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("you are an 1d10t", "you are an idiot"),
        ("ʇoıpı uɐ ǝɹɐ noʎ", "you are an idiot"),
        ("⒡⒰⒞⒦ you", "fuck you"),
        ("ƘƳS", "KYS"),
        ("Κ Υ Ѕ", "KYS"),
        ("k,y,s", "kys"),
        ("https://go-k!ll.it/1d10t", "https://go-kill.it/idiot"),
        ("k1ll@y0u.now", "kill@y0u.now"),
        ("#k1lly0urself", "#kill yourself"),
        ("i h4te you", "i hate you"),
        ("K1LL Y0URSELF", "KILL YOURSELF"),
        ("a$$", "ass"),
        ("b!tch", "bitch"),
        ("k!ll", "kill"),
        ("$hit", "shit"),
        ("@sshole", "asshole"),
        ("fu©k", "fuck"),
        ("уоu аrе іdіоt", "you are idiot"),
        ("a сосk, he said", "a cock, he said"),
        ("fυck", "fuck"),
        ("ᴜɢʟʏ", "ugly"),
        ("s̶t̶u̶p̶i̶d̶ ̶p̶i̶g̶", "stupid pig"),
        ("i̷̢̧d̴̛͜i̶̢̛o̷͜͝t̵̛͜", "idiot"),
        ("you i d i o t", "you idiot"),
        ("i.d.i.o.t", "idiot"),
        ("f-u-c-k off", "fuck off"),
        ("f . a . g", "fag"),
        ("1 d i 0 t", "idiot"),
        ("a i d i o t", "a idiot"),
        ("I h a t e y o u", "I hate you"),
        ("k.i.l.l.y.o.u", "kill you"),
        ("fuuuuuck", "fuck"),
        ("asssshole", "asshole"),
        ("f*ck", "fuck"),
        ("F*CK", "FUCK"),
        ("sh**", "shit"),
        ("f***", "fuck"),
        ("a**hole!", "asshole!"),
        ("f*ck1ng", "fucking"),
        ("f_ck", "fuck"),
        ("f-uck", "fuck"),
        ("ni.gg.er", "nigger"),
        ("🅱️itch", "Bitch"),
        ("🇫🇺🇨🇰 you", "FUCK you"),
        ("1️⃣d1️⃣0️⃣t", "idiot"),
        ("🆂🆃🆄🅿🅸🅳", "STUPID"),
        ("st\ufe0fupid", "stupid"),
        ("#killyourself", "#kill yourself"),
        ("#GoHomeNow", "#Go Home Now"),
        ("#IHateYou", "#I Hate You"),
        ("fUuUuUck", "fUck"),
        ("kiII yourseIf", "kill yourself"),
        ("you asshoIe", "you asshole"),
        ("kıll yourself, ıdıot", "kill yourself, idiot"),
        ("ur a b1tch.go away", "ur a bitch.go away"),
        ("b1tch...ugly", "bitch...ugly"),
        ("you=f*ck", "you=fuck"),
        ("k1ll?yourself", "kill?yourself"),
        ("k1ll!!now", "kill!!now"),
    ],
)
def test_a_disguise_is_undone(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "4 of 5, 2nd and 3d, h2o, mp3, gr8, b4, l8r, covid19, 1st, ps5, 90s, x2, G20, win10, area51, the A55",
        "5am, 7pm, 50s, hi5, top5, 10k, 3.5mm, $5, $100k, 5'10, 18+, 2+2=4",
        "@k1ller said so, me@h0me.com, https://a.b/g0od/f*ck?i.d.i.o.t=1#GoHomeNow, https://y.be/dQw4w9WgXcQ",
        "great!!! what?!No way! C# and C++, #covid19 #2024goals #top10",
        "/ˈɹɛdi/, /ʃʌt ʌp/",
        "С днём рождения, мой друг",
        "Καλημέρα σας",
        "нет, то је све",
        "I said спасибо and то је све to them",
        "the α-helix, ΔT = 5 μm, φ",
        "שָׁלוֹם, السَّلَامُ عَلَيْكُمْ, tiếng Việt, ᾄδω",
        "café naïve Straße über ação g̃ n̈",
        "a b c, i i i, U S A, e.g. this, p.s. that, A.I. and a.k.a. it",
        "A B C D, x y z w, 1 2 3 4 5, i i i i",
        "I'm a b c",
        "nooo, sooo good, yesss",
        "*emphasis*, **this**, 5*5, ***, password ***, c*, kill*, J*** D***, sh*, *hugs*",
        "a well-known T-shirt, a so-so e-mail, sci-fi",
        "🇺🇸🇬🇧 1️⃣ first 2️⃣ second",
        "jeg vil ha det før øl, łódź, ısı, WiFi AI's iPhone, McIntyre, aI",
        "file.3d a-4ever v2.0=b2b gr8.stuff",
        "#love #BLM #YouTube #McDonalds #iPhone #therapist #1 #c4",
        "🔥🖕👍🏽❤️ 🐀",
    ],
)
def test_what_only_looks_like_a_disguise_stays(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize(
    ("text", "piece", "original"),
    [
        ("you i d i o t!", "idiot", "i d i o t"),
        ("🇫🇺🇨🇰 you", "you", "you"),
        ("an 1d10t, yes", "idiot", "1d10t"),
        ("  oh\n\nno  ", "no", "no"),
        ("cafe\u0301 noir", "café", "cafe\u0301"),
        ("the ﬁsh", "f", "ﬁ"),
        ("a stu\u200bpid one", "stupid", "stu\u200bpid"),
        ("#GoHomeNow", "Home", "Home"),
        ("fuuuuuck off", "off", "off"),
        ("oh n*gger no", "nigger", "n*gger"),
        ("you are such an idiotttttttt", "idiot", "idiotttttttt"),
        ("you loooooserrrrrrr!", "loser", "loooooserrrrrrr"),
        ("a BITCHHHHHHH", "BITCH", "BITCHHHHHHH"),
        ("yesssss", "yesss", "yesssss"),
        ("🖕🖕🖕🖕🖕🖕 off", "🖕🖕🖕", "🖕🖕🖕🖕🖕🖕"),
        ("i\u0336d\u0336i\u0336o\u0336t\u0336 you", "idiot", "i\u0336d\u0336i\u0336o\u0336t\u0336"),
        ("z\u0310\u0312\u0313\u0314\u0315 z", "z", "z\u0310\u0312\u0313\u0314\u0315"),
        ("idiot\u0489 you", "idiot", "idiot\u0489"),
    ],
)
def test_a_piece_is_found_again_in_the_original(text: str, piece: str, original: str) -> None:
    normalised = normalise_mapped(text)
    at = normalised.text.index(piece)

    start, end = normalised.original(at, at + len(piece))

    assert text[start:end] == original


@pytest.mark.parametrize(("start", "end"), [(0, 0), (2, 1), (-1, 1), (0, 4)])
def test_what_is_no_slice_has_no_original(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="no slice"):
        normalise_mapped("abc").original(start, end)


# ---- for any text at all

# What the tricks are made of, so that they meet each other.
_made_up = st.lists(
    st.sampled_from(
        [
            *"fucktashi 0134@$!*#.-_~'&аоеіѕμνфж한\u1161ﬀé\u0301\u0320\u0336\u20dd\u0f73\uff9e\u09be\u09c7",
            *"\u200b\u200d\ufe0f\u20e3🅱🇫🇺🇨🇰❤👩ᴀɢ\ufdfa\ud800\n",
            "idiot",
            "kill",
            "i d i o t",
            "www.",
            "http://",
            "#GoHome",
            "f***",
        ]
    ),
    max_size=24,
).map("".join)
_any_text = st.text(st.characters(), max_size=40) | _made_up


@settings(max_examples=1500)
@given(_any_text)
def test_the_map_is_whole_and_in_order(text: str) -> None:
    normalised = normalise_mapped(text)
    slices = [normalised.original(at, at + 1) for at in range(len(normalised.text))]

    assert normalised.text == normalise(text)
    assert all(0 <= start < end <= len(text) for start, end in slices)
    assert [start for start, _ in slices] == sorted(start for start, _ in slices)
    assert [end for _, end in slices] == sorted(end for _, end in slices)


@settings(max_examples=1500)
@given(_made_up)
def test_once_is_enough_for_tricks_upon_tricks(text: str) -> None:
    once = normalise(text)

    assert normalise(once) == once


@settings(max_examples=300)
@given(st.lists(st.from_regex(r"\A[A-Za-z]{2,12}[,.?]?\Z"), min_size=1).map(" ".join))
def test_plain_sentences_stay_and_map_to_themselves(text: str) -> None:
    if any(a == b == c for a, b, c in zip(text, text[1:], text[2:], strict=False)):
        return
    normalised = normalise_mapped(text)

    assert normalised.text == text
    assert normalised.original(0, len(text)) == (0, len(text))


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "ab ",
        "a b ",
        "i.d.i.o.t ",
        "#aB",
        "f*",
        "1a",
        "a.b@",
        "www.",
        "\u0301\u0320",
        "\u0f73",
        "\u200d",
        "аb",
        "ﬀ",
        "🅱🇫",
    ],
)
def test_a_long_text_of_anything_takes_time_in_proportion(unit: str) -> None:
    def seconds(characters: int) -> float:
        text = unit * (characters // len(unit))
        # Of the processor's: on a busy machine the clock goes on while nothing is done.
        started = time.thread_time()
        normalise(text)
        return time.thread_time() - started

    # Eight times the text: quadratic would be sixty-four times the time.
    assert min(seconds(80_000) for _ in range(2)) < 24 * min(seconds(10_000) for _ in range(3)) + 0.02


@settings(max_examples=1000)
@given(st.from_regex(_PLAIN, fullmatch=True) | st.text("abiT' .,!?:;#1", max_size=24))
@example("i d i o t")
@example("don't a b")
@example("a b cd")
@example("nooo way")
@example("ab. cd, e fg? h")
def test_what_is_taken_for_plain_is_what_no_step_would_change(text: str) -> None:
    if _PLAIN.fullmatch(text) and not NOT_PLAIN.search(text):
        assert _walk(text, None, _STEPS) == text


def in_whole_rounds(text: str, steps: Sequence[Trick]) -> tuple[str, list[list[Edit]]]:
    """A text and its edits, where each round is gone through to its end, the last one too."""
    trace = []
    for _ in range(_ROUNDS):
        before = text
        for step in steps:
            if edits := step(text):
                text = _apply(text, edits)
                trace.append(edits)
        if text == before:
            break
    return text, trace


@settings(max_examples=1000)
@given(_any_text | st.text(_tricky, max_size=12))
@example("")
@example("i\u0336d\u0336i\u0336o\u0336t\u0336  you")
@example("#k1lly0urself")
@example("ʇoıpı uɐ ǝɹɐ noʎ")
def test_what_is_left_of_a_round_when_every_step_was_content_changes_nothing(text: str) -> None:
    for steps in (_FOLDING, _STEPS):
        trace: list[list[Edit]] = []
        assert (_walk(text, trace, steps), trace) == in_whole_rounds(text, steps)


def test_no_mark_is_looked_for_that_is_not_looked_for_first() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    wanted = re.compile(f"[{_LATIN_MARK}{_ANY_MARK}\u0f73\u0f75\u0f81\uff9e\uff9f{_LINE_THROUGH}{_STRANGE_MARK}]")

    assert set(wanted.findall(everything)) - set(_MARK.findall(everything)) == set()
