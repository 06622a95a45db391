"""Normalising: what looks the same becomes the same, and what is plain stays as it is."""

# ruff: noqa: RUF001  characters that look like others are what this is about

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.normalise import normalise

ZWJ = "\u200d"
FAMILY = "👨‍👩‍👧‍👦"
INVISIBLE = "\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200c\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\U000e0041"

# Letters, marks that compose with them, everything invisible, spaces, controls, emoji, and characters that fold into several.
_tricky = st.sampled_from(
    "eaE\u0301\u0323ﬁ①Ａ\uffa0\u3164ᄀ\u1161👩💻\ufe0f" + INVISIBLE + ZWJ + " \t\n\u00a0\u3000\x00\x1b\x85"
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
    "space", [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\x00", "\x1b", " \x00 "]
)
def test_every_kind_of_space_and_control_is_one_space(space: str) -> None:
    assert normalise(f"{space}a{space}b{space}") == "a b"


@pytest.mark.parametrize("text", ["\u200b", " \n ", "\x00", "\u00ad\ufeff"])
def test_nothing_visible_is_nothing(text: str) -> None:
    assert normalise(text) == ""


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40) | st.text(_tricky, max_size=12))
def test_once_is_enough(text: str) -> None:
    once = normalise(text)

    assert normalise(once) == once


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20), st.data())
def test_invisible_characters_anywhere_change_nothing(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    character = data.draw(st.sampled_from(INVISIBLE))

    assert normalise(text[:at] + character + text[at:]) == normalise(text)


def test_a_character_that_stands_for_a_phrase_does_not_make_a_text_longer() -> None:
    assert len(normalise("\ufdfa\ufdfb" * 5000)) <= 10_000
