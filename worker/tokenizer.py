"""Texts → pieces as a model reads them, with a fast tokenizer: the same for every classifier.

`tokenizer.json` says by itself how to cut a text, and `tokenizers` reads it. transformers, which takes more than a second to
import and loads torch where there is one, is asked only for what that file does not say.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import tokenizers
from tokenizers import AddedToken, Encoding, Regex, pre_tokenizers
from tokenizers.models import WordPiece

from worker.classifier import Piece, Places
from worker.errors import StartupError
from worker.files import MIB, read_json

MAX_PIECE_TOKENS: Final = 256
"""Longer texts are scored in pieces of this many tokens: nothing hides behind a long preface."""
OVERLAP_TOKENS: Final = 32
"""Pieces share this much, so that a sentence cut in two is whole in one of them."""
_FILE: Final = "tokenizer.json"
_CONFIG: Final = "tokenizer_config.json"
LARGEST: Final = {_FILE: 64 * MIB, _CONFIG: MIB}
"""The largest vocabularies are a quarter of that."""
_RIGHT: Final = "right"
_TOKENS: Final = ("additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens")
"""Where a configuration names special tokens, beside `pad_token` and its like."""
_OTHERWISE: Final = ("fast_tokenizer_files", "fix_mistral_regex")
"""Settings by which transformers reads another file, or this one in another way."""
CPU_STEP: Final = 1
"""A run of the model costs a core what three tokens do, so a batch for each length is cheaper than any padding."""
GPU_STEP: Final = 8
"""What a GPU likes its matrices to be multiples of; it wants large batches besides, and few shapes."""
_JOINED: Final = "##"
_SIGNS: Final = r"[^\p{L}\p{M}\p{N}\s]|(?:[\p{L}&&[^\p{Latin}]]\p{M}*)+"
"""Signs and emoji one by one, and letters that are not Latin ones: none of them is part of an English word."""
_LONGEST_WORD: Final = 64
_RUST: Final = "pyo3_runtime"
"""Where the exception for a panic says that it lives; it cannot be imported."""


def keep_words(tokenizer: tokenizers.Tokenizer) -> None:
    """See to it that nothing that touches a word hides it, and that no word is too long to be read.

    WordPiece makes a single unknown token of a whole word in which there is one character that it does not know, such as an emoji
    without a space before it, and of one of more than a hundred letters. So those characters stand by themselves, and long words
    are cut. Tokenizers of another kind know every character.
    """
    if not isinstance(tokenizer.model, WordPiece):
        return
    known = tokenizer.get_vocab(with_added_tokens=False)
    in_words = {
        character for token in known for part in [token.removeprefix(_JOINED)] if len(part) > 1 for character in part
    }
    joinable = in_words | {token for token in known if len(token) == 1 and _JOINED + token in known}
    within = re.escape("".join(sorted(joinable)))
    alone = pre_tokenizers.Split(Regex(rf"{_SIGNS}|[^{within}\s]"), "isolated")
    short = pre_tokenizers.Split(Regex(rf"\S{{1,{_LONGEST_WORD}}}"), "isolated")
    own = [tokenizer.pre_tokenizer] if tokenizer.pre_tokenizer else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([alone, *own, short])


class Tokenizer:
    """What cuts a model's texts. Thread-safe.

    Args:
        folder: `tokenizer.json`, or the vocabulary of a tokenizer that has a fast one.
        max_tokens: that the model reads at once; more than `MAX_PIECE_TOKENS` makes no difference.
        width_step: widths are multiples of it. 1 leaves nothing to fill up; wider steps mean fewer, fuller batches.

    Attributes:
        pad: the token that pieces are filled up with.
        size: how many tokens there are, from 0 on.

    Raises:
        StartupError: it does not load, or is not a fast one.
    """

    def __init__(self, folder: Path, max_tokens: int, *, width_step: int) -> None:
        self._max_tokens = min(MAX_PIECE_TOKENS, max_tokens)
        self._width_step = width_step
        try:
            read = _by_itself(folder) or _by_transformers(folder)
            keep_words(read.fast)
            read.fast.enable_truncation(self._max_tokens, stride=OVERLAP_TOKENS, direction=read.cut_at)
        except StartupError:
            raise
        except Exception as error:
            raise StartupError(f"{folder}: its tokenizer does not load: {error}") from error
        read.fast.no_padding()
        # "[SEP]" in a comment is five characters, and no sign to the model that something ends there.
        read.fast.encode_special_tokens = True
        self._fast: Any = read.fast
        self.pad = read.pad
        self.size = read.fast.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[Piece]]:
        """Pieces of each text, as `Classifier.encode` has to give them."""
        try:
            encoded = self._fast.encode_batch(list(texts))
        except BaseException as error:
            # A panic in the tokenizer's Rust is no Exception, so nobody would blame the text for it.
            if type(error).__module__ != _RUST:
                raise
            raise RuntimeError("the tokenizer panicked") from error
        return [[_piece(part) for part in (encoding, *encoding.overflowing)] for encoding in encoded]

    def width(self, piece: Piece) -> int:
        """In steps, and never more than the model can read."""
        # At least one step: without special tokens, a text of which nothing is left is an empty piece.
        return min(max(1, -(-len(piece.tokens) // self._width_step)) * self._width_step, self._max_tokens)

    def widths(self) -> list[int]:
        """All that there are."""
        step = self._width_step
        return sorted({min(width, self._max_tokens) for width in range(step, MAX_PIECE_TOKENS + 1, step)})


def _piece(encoding: Encoding) -> Piece:
    # Places stay on the tokenizer's side until somebody asks: most comments have nothing to point at.
    return Piece(encoding.ids, partial(_places, encoding))


def _places(encoding: Encoding) -> Places:
    return [(start, end, word) for (start, end), word in zip(encoding.offsets, encoding.word_ids, strict=True)]


# ---- from a folder


class _Read(NamedTuple):
    """A tokenizer as a folder describes it.

    Attributes:
        pad: the token that pieces are filled up with.
        cut_at: the end of a long text from which pieces are cut off, `right` or `left`.
    """

    fast: tokenizers.Tokenizer
    pad: int
    cut_at: str


def _by_itself(folder: Path) -> _Read | None:
    """What `tokenizer.json` describes. None: transformers would make something else of this folder.

    That is where a setting beside the file names a special token that the file does not, or describes one in another way, where
    it has texts cut from the left, or reads another file.
    """
    if not (folder / _FILE).is_file():
        return None
    config = _settings(folder)
    if config is None:
        return None
    fast = tokenizers.Tokenizer.from_file(str(folder / _FILE))
    if fast.padding:
        config.setdefault("pad_token", fast.padding["pad_token"])
    added = fast.get_added_tokens_decoder().values()
    known, described = {token.content for token in added}, {repr(token) for token in added}
    cut_at = config.get("truncation_side", fast.truncation["direction"] if fast.truncation else _RIGHT)
    if (
        cut_at != _RIGHT
        or any(setting in config for setting in _OTHERWISE)
        or not {token for name, value in config.items() if _names_tokens(name) for token in _contents(value)} <= known
        or not {repr(AddedToken(**token)) for token in config.get("added_tokens_decoder", {}).values()} <= described
    ):
        return None
    pad = next(_contents(config.get("pad_token")), None)
    return _Read(fast, 0 if pad is None else fast.token_to_id(pad) or 0, cut_at)


def _settings(folder: Path) -> dict[str, Any] | None:
    """What stands beside `tokenizer.json`, in one file or in the three of former days; None where it adds tokens."""
    config = read_json(folder / _CONFIG) if (folder / _CONFIG).is_file() else {}
    if "added_tokens_decoder" in config:
        return config
    if (folder / "added_tokens.json").is_file():
        return None
    special = folder / "special_tokens_map.json"
    return config | read_json(special) if special.is_file() else config


def _names_tokens(setting: str) -> bool:
    return setting.endswith("_token") or setting in _TOKENS


def _contents(value: Any) -> Iterator[str]:
    """The special tokens that a setting names: a text, a description, or several."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in [value["content"]] if "content" in value else value.values():
            yield from _contents(each)
    elif isinstance(value, Sequence):
        for each in value:
            yield from _contents(each)


def _by_transformers(folder: Path) -> _Read:
    """What transformers makes of a folder. Raises StartupError where that is not a fast one."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast  # noqa: PLC0415  hardly a folder needs it
    from transformers.utils import logging  # noqa: PLC0415

    logging.set_verbosity_error()
    # The class that its configuration names would make one anew of the vocabulary, whatever else the file says.
    reader: Any = PreTrainedTokenizerFast if (folder / _FILE).is_file() else AutoTokenizer
    read: Any = reader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not read.is_fast:
        raise StartupError(f"{folder}: its tokenizer is a slow one; save it again as tokenizer.json")
    return _Read(read.backend_tokenizer, read.pad_token_id or 0, read.truncation_side)
