"""Checkpoints as transformers saves them, so small that each test makes its own: two layers, random weights, our tokenizer."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from worker.model_source import SHIPPED

LABELS: Final = ("insult", "threat", "kindness")
_SHAPE: Final = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 72}
_VOCABULARY: Final = 31_232
_FAR_APART: Final = 0.5
"""Weights are drawn this wide, so that texts get scores that differ."""
_WORDS: Final = ("<s>", "<pad>", "</s>", "<unk>", "hello", "idiot", "lovely")


def write_bert(folder: Path, labels: Sequence[str] = LABELS, *, seed: int = 0, **config: Any) -> Path:
    """BERT with the shipped model's tokenizer."""
    save(folder, BertConfig(vocab_size=_VOCABULARY, **_SHAPE, **named(labels), **config), seed)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SHIPPED / "default" / name, folder / name)
    return folder


def write_roberta(folder: Path, *, positions: int) -> Path:
    """RoBERTa, which counts positions from behind the padding token's number, with a few words."""
    save(folder, RobertaConfig(vocab_size=len(_WORDS), max_position_embeddings=positions, **_SHAPE, **named(LABELS)), 0)
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(_WORDS)}, unk_token="<unk>"))  # noqa: S106  a token of text
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)  # noqa: S106
    return folder


def named(labels: Sequence[str]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: column for column, label in enumerate(labels)},
        "initializer_range": _FAR_APART,
    }


def save(folder: Path, config: PretrainedConfig, seed: int) -> None:
    torch.manual_seed(seed)
    AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).save_pretrained(folder)


def change_config(folder: Path, **changes: Any) -> None:
    """Other values in `config.json`."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
