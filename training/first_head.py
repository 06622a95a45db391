"""The first stage's head: what the shipped model thinks of training texts → a head that guesses it from its first layers.

The shipped graph is teacher and encoder in one: one pass gives its own logits and what it has seen behind its first layers. So
nothing is trained but the head, on vectors that are computed once.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from torch import nn

from training.augment import obfuscate
from training.evaluate import Array, open_session, pad
from training.labels import Row
from training.split import epoch_rows
from training.stages import Head, pooled_behind
from worker.batching import cut
from worker.classifier import LABELS, Piece
from worker.normalise import normalise
from worker.onnx import OnnxClassifier

TAUGHT: Final[Mapping[str, int]] = {
    # Comments as they come, most of them harmless: whom to let go …
    "goemotions": 26_000,
    "context_toxicity": 12_000,
    "hopeedi": 9_000,
    "toxic_spans": 9_000,
    "jigsaw": 7_000,
    "convabuse": 1_548,
    # … and those that were written or chosen to be harmful, some so that it does not show: whom not.
    "authored": 16_549,
    "authored_later": 545,
    "authored_wrapped": 6_000,
    "dynahate": 12_000,
    "hatemoji": 4_706,
    "paradetox": 5_000,
    "mhs": 4_000,
    "implicit_hate": 4_000,
    "edos": 4_000,
    "cad": 4_000,
    "hatexplain": 3_000,
    "stormfront": 3_000,
    "jigsaw_balanced": 3_000,
    "davidson": 2_500,
    "misogyny": 2_000,
    "foxnews": 1_389,
}
"""Training rows of each set. The teacher answers for them, so what their annotators left unknown does not matter."""

DISGUISED: Final = 0.12
"""Share of the rows that are disguised first, as in training."""
MAX_TOKENS: Final = 128
INNER: Final = 256
"""Size of the head's hidden layer."""
EPOCHS: Final = 12
BATCH: Final = 512
LEARNING_RATE: Final = 2e-3
DROPOUT: Final = 0.1
LOGITS: Final = (-7.0, 4.0)
"""The teacher's logits are cut to these: how far beyond doubt it is teaches nothing."""
LEAST_SPREAD: Final = 0.05
"""An input that hardly varies (the maximum where the same special token has it) is not blown up: float16 rounds it all one
way, and the head would learn the rounding, which is not there when it runs."""
SEED: Final = 17
_BATCH_TOKENS: Final = 4096


def texts_to_teach(rows: Sequence[Row]) -> list[str]:
    """The texts that the head is taught on, in an order of no meaning; the same each time."""
    rng = random.Random("early")  # noqa: S311 - reproducible, not secret
    texts = [rows[number].text for number in epoch_rows(rows, 0, TAUGHT)]
    return [normalise(obfuscate(text, rng)) or text if rng.random() < DISGUISED else text for text in texts]


def look(folder: Path, texts: Sequence[str], layers: Sequence[int]) -> tuple[dict[int, Array], Array]:
    """What the model in `folder` sees and says of texts, cut at `MAX_TOKENS`.

    Returns:
        Per layer, the mean and maximum of the hidden states behind it: float16 [texts, 2 · size]; and its logits: float32
        [texts, labels].
    """
    whole, names = pooled_behind(onnx.load(folder / "model.onnx"), layers)
    session = open_session(whole.SerializeToString(), 0)
    classifier = OnnxClassifier(folder, threads=1)
    tokens = [of_text[0].tokens[:MAX_TOKENS] for of_text in classifier.encode(texts)]
    widths = [classifier.width(Piece(t)) for t in tokens]
    seen: dict[int, Array] = {}
    logits = np.zeros((len(tokens), len(LABELS)), np.float32)
    for batch in cut(widths, _BATCH_TOKENS):
        ids, mask = pad([tokens[at] for at in batch], widths[batch[0]])
        logits[batch], *of_layers = session.run(["logits", *names], {"input_ids": ids, "attention_mask": mask})
        for layer, of_layer in zip(layers, of_layers, strict=True):
            all_of_layer = seen.setdefault(layer, np.zeros((len(tokens), of_layer.shape[2]), np.float16))
            all_of_layer[batch] = of_layer[:, 0]
    return seen, logits


def teach(seen: Array, logits: Array) -> Head:
    """Fit the head to the teacher's scores, which are soft targets. `seen`: [texts, 2 · size], `logits`: [texts, labels]."""
    torch.manual_seed(SEED)
    inputs = torch.from_numpy(seen.astype(np.float32))
    targets, wanted = torch.from_numpy(logits).sigmoid(), torch.from_numpy(logits).clamp(*LOGITS)
    mean, spread = inputs.mean(0), inputs.std(0).clamp(min=LEAST_SPREAD)
    inputs = (inputs - mean) / spread
    head = nn.Sequential(
        *(nn.Dropout(DROPOUT), nn.Linear(inputs.shape[1], INNER), nn.GELU()),
        *(nn.Dropout(DROPOUT), nn.Linear(INNER, len(LABELS))),
    )
    optimiser = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    steps = EPOCHS * -(-len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(inputs)).split(BATCH):
            found = head(inputs[chosen])
            # The first for the order among what is harmless, in which a probability hardly differs; the second for the rest.
            loss = nn.functional.smooth_l1_loss(found, wanted[chosen])
            loss = loss + nn.functional.binary_cross_entropy_with_logits(found, targets[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    wide, last = head[1], head[4]
    found = (mean, 1 / spread, wide.weight.T, wide.bias, last.weight, last.bias)
    return Head(*(t.detach().numpy() for t in found))
