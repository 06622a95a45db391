"""What a model reads of a word is the word, whatever touches it; and a tokenizer is the one that its file describes."""

import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Fast

from worker.classifier import Places
from worker.normalise import normalise
from worker.onnx import model_folder
from worker.tokenizer import CPU_STEP, OVERLAP_TOKENS, Tokenizer, _by_itself, keep_words

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
    """The shipped model's."""
    return Tokenizer(model_folder("default"), 256, width_step=CPU_STEP)


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


# ---- the same as transformers makes of a folder, without it

TEXTS = [
    "",
    " ",
    "hello world",
    "you are such an idiot, really?!",
    "[SEP] </s> [CLS]<s>[MASK]<mask> [PAD]<pad>[UNK]<unk> ▁ Ġ ##s",
    "fuckyou" * 72,
    " ".join(f"word{number} of many" for number in range(234)),
    "nice 👍🏽 day 👩‍💻🏳️‍🌈🫠! 🎮great🌶️",
    "שלום לכולם, السَّلَامُ عَلَيْكُمْ",
    "お誕生日おめでとう 漢字 한국어 \u1112\u1161 С днём рождения",  # noqa: RUF001
    "Caf\u00e9 cafe\u0301 NAÏVE\ttab\nline  two   spaces ",
    "\u200b\u200d\ufeff \x00 \x1f \U0001d165 \U000e0041",
]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
Change = Callable[[Path], None]


def write(folder: Path, fast: Fast, **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    fast.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def named(names: Sequence[str] = SPECIAL) -> dict[str, str]:
    kinds = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    return dict(zip(kinds, names, strict=True)) | {"cls_token": names[0], "sep_token": names[2]}


def byte_pairs(folder: Path) -> Path:
    """As RoBERTa has it."""
    fast = Fast(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fast.train_from_iterator(TEXTS, trainer)
    fast.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    fast.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return write(folder, fast, add_prefix_space=False, add_bos_token=True, model_max_length=512, **named())


def sentence_pieces(folder: Path) -> Path:
    """As XLM-RoBERTa has it."""
    fast = Fast(models.Unigram())
    fast.normalizer = normalizers.NFKC()
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)  # noqa: S106
    fast.train_from_iterator(TEXTS, trainer)
    fast.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return write(folder, fast, tokenizer_class="XLMRobertaTokenizer", **named())


def padded_and_cut(folder: Path) -> Path:
    """As sentence-transformers leaves it, the names of its tokens in a file of their own."""
    fast = Fast.from_file(str(model_folder("default") / "tokenizer.json"))
    fast.enable_truncation(128, stride=3)
    fast.enable_padding(length=128, pad_id=0, pad_token="[PAD]")  # noqa: S106  a token of text
    write(folder, fast, do_lower_case=True)
    special = {"cls_token": "[CLS]", "sep_token": {"content": "[SEP]", "normalized": False, "lstrip": False}}
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
    return folder


def described(folder: Path) -> Path:
    """As transformers 4 saves it: every token that was added, once more."""
    fast = Fast.from_file(str(byte_pairs(folder) / "tokenizer.json"))
    flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    decoder = {
        str(at): {flag: getattr(token, flag) for flag in flags} for at, token in fast.get_added_tokens_decoder().items()
    }
    return write(folder, fast, added_tokens_decoder=decoder, extra_special_tokens={"image_token": "<mask>"}, **named())


def bare(folder: Path) -> Path:
    """Only tokenizer.json."""
    fast = Fast(models.WordLevel({"[UNK]": 0, "hello": 1, "world": 2, "of": 3, "many": 4}, unk_token="[UNK]"))  # noqa: S106
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    write(folder, fast)
    (folder / "tokenizer_config.json").unlink()
    return folder


def shipped(_: Path) -> Path:
    return model_folder("default")


def change_settings(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), encoding="utf-8")

    return change


def have_it_cut_from_the_left(folder: Path) -> None:
    fast = Fast.from_file(str(folder / "tokenizer.json"))
    fast.enable_truncation(128, direction="left")
    fast.save(str(folder / "tokenizer.json"))


def have_it_padded_with_a_token_that_it_lacks(folder: Path) -> None:
    fast = Fast.from_file(str(folder / "tokenizer.json"))
    fast.enable_padding(pad_token="[NOTHING]")  # noqa: S106  a token of text
    write(folder, fast)


def add_a_token_in_a_file_of_its_own(folder: Path) -> None:
    (folder / "added_tokens.json").write_text(json.dumps({"idiot": 1000}), encoding="utf-8")


def name_a_token_in_a_file_of_its_own(folder: Path) -> None:
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "[NOTHING]"}), encoding="utf-8")


def by_transformers(
    folder: Path, texts: Sequence[str], most: int
) -> tuple[int, int, list[list[tuple[list[int], Places]]]]:
    """Padding token, size, and of each text's pieces tokens and places: with nothing but transformers."""
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415  takes a second

    tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    keep_words(tokenizer.backend_tokenizer)
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=most,
        stride=OVERLAP_TOKENS,
        return_overflowing_tokens=True,
        split_special_tokens=True,
    )
    pieces: list[list[tuple[list[int], Places]]] = [[] for _ in texts]
    for text, part in zip(encoded["overflow_to_sample_mapping"], encoded.encodings, strict=True):
        places = [(start, end, word) for (start, end), word in zip(part.offsets, part.word_ids, strict=True)]
        pieces[text].append((part.ids, places))
    return tokenizer.pad_token_id or 0, len(tokenizer), pieces


def check_the_same(folder: Path) -> None:
    for most in (256, 48):
        ours = Tokenizer(folder, most, width_step=CPU_STEP)
        pieces = [[(list(piece.tokens), piece.places()) for piece in of_text] for of_text in ours.encode(TEXTS)]

        assert (ours.pad, ours.size, pieces) == by_transformers(folder, TEXTS, most)
        assert max(map(len, pieces)) > 1


@pytest.mark.parametrize("make", [shipped, byte_pairs, sentence_pieces, padded_and_cut, described, bare])
def test_tokenizer_json_alone_says_what_transformers_makes_of_it(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = make(tmp_path)

    assert _by_itself(folder) is not None
    check_the_same(folder)


@pytest.mark.parametrize(
    "change",
    [
        change_settings(mask_token="[NOTHING]"),  # noqa: S106  a token of text
        change_settings(image_token="idiot"),  # noqa: S106
        change_settings(extra_special_tokens=["idiot"]),
        change_settings(additional_special_tokens=["idiot"]),
        change_settings(extra_special_tokens={"image_token": "idiot"}),
        change_settings(added_tokens_decoder={"4": {"content": "<mask>", "special": True, "rstrip": True}}),
        change_settings(added_tokens_decoder={"1000": {"content": "idiot", "special": False}}),
        change_settings(truncation_side="left"),
        change_settings(fix_mistral_regex=False),
        have_it_cut_from_the_left,
        have_it_padded_with_a_token_that_it_lacks,
        add_a_token_in_a_file_of_its_own,
        name_a_token_in_a_file_of_its_own,
    ],
)
def test_where_a_setting_says_something_else_transformers_is_asked(tmp_path: Path, change: Change) -> None:
    folder = byte_pairs(tmp_path)
    change(folder)

    assert _by_itself(folder) is None
    check_the_same(folder)


def test_the_shipped_model_is_loaded_without_transformers() -> None:
    program = (
        "import sys; from worker.loading import load_classifier; from worker.screening import PROBE; "
        "classifier = load_classifier('default', threads=1); classifier.score(classifier.encode([PROBE])[0]); "
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert set(ended.stdout.split()) & {"transformers", "torch", "huggingface_hub"} == set()
