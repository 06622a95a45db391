"""What a classifier is: texts in, one score per label and text out.

Stands between normalisation and policy. The implementations (`worker.onnx`) are known only to the composition root; the
rest of the worker sees this protocol, and the tests' fake meets the same contract.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from worker.records import Model

HARM_LABELS: Final = (
    "toxicity",
    "severe_toxicity",
    "identity_attack",
    "insult",
    "profanity",
    "threat",
    "sexually_explicit",
    "self_harm",
)
KIND_LABELS: Final = ("kindness",)
LABELS: Final = HARM_LABELS + KIND_LABELS
"""Every label there is, in the order of the shipped model's outputs. A new label starts here."""

Scores = Mapping[str, float]
"""One score in [0, 1] for each label that the model knows; a label it does not know is absent, never zero."""

Tokens = Sequence[int]
"""The token ids of one piece of text, special tokens included."""


class Classifier(Protocol):
    """Scores texts. Thread-safe: `encode` and `score` may run in different threads at the same time.

    A text's scores depend on the text alone: not on its neighbours in a batch, and not on how often it is asked.
    """

    @property
    def model(self) -> Model:
        """Name, version and hash of what scores."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels it scores, a subset of `LABELS`."""

    def encode(self, texts: Sequence[str]) -> list[list[Tokens]]:
        """Turn each text into one or more pieces that fit the model; a long text becomes several."""

    def width(self, piece: Tokens) -> int:
        """The padded length, in tokens, at which this piece is scored. Only pieces of one width share a batch."""

    def score(self, pieces: Sequence[Tokens]) -> list[Scores]:
        """Score pieces of one width, in order.

        Raises:
            TransientError: out of memory; the same call may work later.
        """


def combine(pieces: Sequence[Scores]) -> Scores:
    """The scores of a text from those of its pieces: harm anywhere is harm; kindness has to hold on average."""
    if len(pieces) == 1:
        return pieces[0]
    return {
        label: sum(p[label] for p in pieces) / len(pieces) if label in KIND_LABELS else max(p[label] for p in pieces)
        for label in pieces[0]
    }
