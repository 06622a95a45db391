"""A torch model of the shipped one's size: six layers, 384 wide, the same tokenizer, nine labels.

It is for peers that cannot run ONNX, and for `bench.gpu`. Its weights are random, which costs the same time. Of the shipped one's
twelve attention heads four were cut off, which stock BERT cannot do: the twin has all twelve, and half of the inner neurons, so
that a token costs as many products. It has one head of BERT's own kind where ours has two over two poolings: a thousandth of the
work, in the peers' favour.
"""

import shutil
from pathlib import Path
from typing import Any, Final

from bench.contest import NotInstalledError
from worker.classifier import LABELS
from worker.model_source import SHIPPED
from worker.tokenizer import MAX_PIECE_TOKENS

MAX_TOKENS: Final = MAX_PIECE_TOKENS
"""Peers cut longer texts off here, where the worker reads on: in their favour."""
CACHE: Final = Path(__file__).parents[1] / ".cache" / "bench"

_FOLDER: Final = CACHE / "twin-256"
"""By its inner neurons: one of another size is another twin."""
_VOCABULARY: Final = 64
"""Its size is a multiple of this many, at least as large as the tokenizer's."""


def import_torch() -> Any:
    """The module. Raises NotInstalledError where it is not there."""
    try:
        import torch  # noqa: PLC0415  an extra
    except ImportError:
        raise NotInstalledError("torch: pip install -e '.[bench]'") from None
    return torch


def ensure_twin() -> Path:
    """The model's folder; it is made the first time.

    Raises:
        NotInstalledError: torch is not there to make it.
    """
    if _FOLDER.is_dir():
        return _FOLDER
    torch = import_torch()
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification  # noqa: PLC0415  loads torch

    shipped = SHIPPED / "default"
    tokenizer = AutoTokenizer.from_pretrained(shipped, local_files_only=True)
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=-(-len(tokenizer) // _VOCABULARY) * _VOCABULARY,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=256,
            hidden_act="relu",
            max_position_embeddings=512,
            num_labels=len(LABELS),
            id2label=dict(enumerate(LABELS)),
            label2id={label: column for column, label in enumerate(LABELS)},
            problem_type="multi_label_classification",
        )
    )
    making = _FOLDER.with_name("twin.making")
    shutil.rmtree(making, ignore_errors=True)
    model.save_pretrained(making)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shipped / name, making / name)
    making.rename(_FOLDER)
    return _FOLDER
