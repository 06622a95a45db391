"""What a model reads of a word is the word, whatever touches it; and a tokenizer is the one that its file describes."""

import json
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Fast
from tokenizers import models, normalizers, pre_tokenizers

from worker.normalise import normalise
from worker.onnx import model_folder
from worker.tokenizer import CPU_STEP, Tokenizer

# Characters that Unicode tells programs not to draw.
IGNORABLE = [
    *(0xAD, 0x34F, 0x61C, *range(0x115F, 0x1161), *range(0x17B4, 0x17B6), *range(0x180B, 0x1810)),
    *(
        *range(0x200B, 0x2010),
        # Without U+202E, which has what follows drawn backwards.
        *range(0x202A, 0x202E),
        *range(0x2060, 0x2070),
        0x3164,
        *range(0xFE00, 0xFE10),
        0xFEFF,
        0xFFA0,
    ),
    *(*range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)),
]
ALL = [chr(code) for code in range(0x80, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
SIGNS = [c for c in ALL if unicodedata.category(c)[0] in "SP"]
MARKS = [c for c in ALL if unicodedata.category(c) in ("Mn", "Me")]
OTHER_LETTERS = ["ж", "ш", "ψ", "ש", "ض", "か", "漢", "한", "ก", "अ", "ᚠ", "ꙮ", "𐎠", "\U0001e900"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The shipped models': they have one between them."""
    default, fast = (model_folder(name) for name in ("default", "fast"))
    assert (default / "tokenizer.json").read_bytes() == (fast / "tokenizer.json").read_bytes()
    return Tokenizer(default, 256, width_step=CPU_STEP)


def tokens(tokenizer: Tokenizer, *texts: str) -> list[list[int]]:
    """Of each text's pieces together, without those around them."""
    pieces = tokenizer.encode([normalise(text) for text in texts])
    return [[token for piece in of_text for token in piece.tokens[1:-1]] for of_text in pieces]


@pytest.mark.parametrize("touching", ["{word}{sign}", "{sign}{word}", "{sign}{word}{sign}"])
def test_a_sign_that_touches_a_word_does_not_hide_it(tokenizer: Tokenizer, touching: str) -> None:
    (word,) = tokens(tokenizer, "idiot")
    texts = [touching.format(word="idiot", sign=sign) for sign in SIGNS + OTHER_LETTERS]

    found = tokens(tokenizer, *texts)

    lost = [text for text, of_text in zip(texts, found, strict=True) if not set(word) <= set(of_text)]
    # Some signs are letters or digits to the eye, and to the normaliser: those make another word of it.
    assert [text for text in lost if not re.search("[A-Za-z0-9]idiot|idiot[A-Za-z0-9]", normalise(text))] == []
    assert len(lost) < len(texts) / 20


def test_a_mark_or_an_invisible_character_in_a_word_does_not_hide_it(tokenizer: Tokenizer) -> None:
    (word,) = tokens(tokenizer, "idiot")
    characters = [*map(chr, IGNORABLE), *MARKS]

    found = tokens(tokenizer, *(f"idi{c}ot" for c in characters))

    lost = [c for c, of_text in zip(characters, found, strict=True) if of_text != word]
    assert [f"{ord(c):04x}" for c in lost] == []


def test_emoji_without_spaces_are_read_like_those_with(tokenizer: Tokenizer) -> None:
    glued, spaced = tokens(tokenizer, "🎮great day🌶️so good🫶", "🎮 great day 🌶️ so good 🫶")

    assert glued == spaced


@pytest.mark.parametrize("count", [14, 15, 100])
def test_no_word_is_too_long_to_be_read(tokenizer: Tokenizer, count: int) -> None:
    unknown, fuck = tokens(tokenizer, "⟶", "fuck")

    (found,) = tokens(tokenizer, "fuckyou" * count)

    assert set(fuck) <= set(found)
    assert not set(unknown) & set(found)


def test_places_of_a_word_that_a_sign_touches_are_its_own(tokenizer: Tokenizer) -> None:
    text = "you🫵idiot🫠!"

    ((piece,),) = tokenizer.encode([text])

    words = [text[start:end] for start, end, word in piece.places() if word is not None]
    assert words == ["you", "🫵", "idiot", "🫠", "!"]


def test_a_tokenizer_is_as_its_file_says(tmp_path: Path) -> None:
    """A cased one, in a folder whose configuration names the class of an uncased one."""
    words = ["[PAD]", "[UNK]", "Paris", "paris", "##s"]
    fast = Fast(models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))  # noqa: S106  a token of text
    fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.save(str(tmp_path / "tokenizer.json"))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")

    tokenizer = Tokenizer(tmp_path, 256, width_step=CPU_STEP)

    assert [list(piece.tokens) for (piece,) in tokenizer.encode(["Paris paris"])] == [[2, 3]]


@pytest.mark.parametrize("sign", ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"])
def test_what_looks_like_a_sign_to_the_model_is_text(tokenizer: Tokenizer, sign: str) -> None:
    found, spaced = tokens(tokenizer, sign, f"[ {sign[1:-1]} ]")

    assert found == spaced
    assert len(found) >= len("[]") + 1
