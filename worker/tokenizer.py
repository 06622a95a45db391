"""Texts → pieces as a model reads them, with transformers' fast tokenizer: the same for every classifier."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import Regex, pre_tokenizers
from tokenizers.models import WordPiece
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from worker.classifier import Piece, Places
from worker.errors import StartupError
from worker.files import MIB

MAX_PIECE_TOKENS: Final = 256
"""Longer texts are scored in pieces of this many tokens: nothing hides behind a long preface."""
OVERLAP_TOKENS: Final = 32
"""Pieces share this much, so that a sentence cut in two is whole in one of them."""
_FILE: Final = "tokenizer.json"
LARGEST: Final = {_FILE: 64 * MIB, "tokenizer_config.json": MIB}
"""The largest vocabularies are a quarter of that."""
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
        transformers_logging.set_verbosity_error()
        # The class that its configuration names would make one anew of the vocabulary, whatever else the file says.
        reader: Any = PreTrainedTokenizerFast if (folder / _FILE).is_file() else AutoTokenizer
        try:
            self._tokenize: Any = reader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise StartupError(f"{folder}: its tokenizer does not load: {error}") from error
        if not self._tokenize.is_fast:
            raise StartupError(f"{folder}: its tokenizer is a slow one; save it again as tokenizer.json")
        keep_words(self._tokenize.backend_tokenizer)
        self.pad: int = self._tokenize.pad_token_id or 0
        self.size: int = len(self._tokenize)
        self._max_tokens = min(MAX_PIECE_TOKENS, max_tokens)
        self._width_step = width_step

    def encode(self, texts: Sequence[str]) -> list[list[Piece]]:
        """Pieces of each text, as `Classifier.encode` has to give them."""
        try:
            encoded = self._tokenize(
                list(texts),
                truncation=True,
                max_length=self._max_tokens,
                stride=OVERLAP_TOKENS,
                return_overflowing_tokens=True,
                return_attention_mask=False,
                return_token_type_ids=False,
                # "[SEP]" in a comment is five characters, and no sign to the model that something ends there.
                split_special_tokens=True,
            )
        except BaseException as error:
            # A panic in the tokenizer's Rust is no Exception, so nobody would blame the text for it.
            if type(error).__module__ != _RUST:
                raise
            raise RuntimeError("the tokenizer panicked") from error
        pieces: list[list[Piece]] = [[] for _ in texts]
        for text, encoding in zip(encoded["overflow_to_sample_mapping"], encoded.encodings, strict=True):
            # Places stay on the tokenizer's side until somebody asks: most comments have nothing to point at.
            pieces[text].append(Piece(encoding.ids, partial(_places, encoding)))
        return pieces

    def width(self, piece: Piece) -> int:
        """In steps, and never more than the model can read."""
        # At least one step: without special tokens, a text of which nothing is left is an empty piece.
        return min(max(1, -(-len(piece.tokens) // self._width_step)) * self._width_step, self._max_tokens)

    def widths(self) -> list[int]:
        """All that there are."""
        step = self._width_step
        return sorted({min(width, self._max_tokens) for width in range(step, MAX_PIECE_TOKENS + 1, step)})


def _places(encoding: Any) -> Places:
    return [(start, end, word) for (start, end), word in zip(encoding.offsets, encoding.word_ids, strict=True)]
