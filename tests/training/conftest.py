"""One thread, since what else runs on the machine should not wait; and a model so small that training it takes seconds."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from training import train
from training.model import Screener


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """`train` and all that follows it build a small encoder, not the base one; the vocabulary is the real one."""
    monkeypatch.setattr(train, "load_model", tiny_model)


def tiny_model(tokenizer: Any, *_: Any) -> Screener:
    # Heads as wide as the exported graph has them.
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(vocab_size=len(tokenizer), attn_implementation="eager", **sizes, **still)
    return Screener(BertModel(config, add_pooling_layer=False))
