"""What a classifier is: texts in, one score per label and text out.

Stands between normalisation and policy. The implementations (`worker.onnx`, `worker.checkpoint`) are known only to
`worker.loading`; the rest of the worker sees this protocol, and the tests' fake meets the same contract.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from worker.records import Model, Span

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

COMMON_NAMES: Final[Mapping[str, str]] = {
    "toxic": "toxicity",
    "severe_toxic": "severe_toxicity",
    "obscene": "profanity",
    "identity_hate": "identity_attack",
    "sexual_explicit": "sexually_explicit",
}
"""The label names of the Wikipedia data set, which public checkpoints and labelled files often use, to ours."""

Scores = Mapping[str, float]
"""One score in [0, 1] for each label that the model knows; a label it does not know is absent, never zero."""

Places = Sequence[tuple[int, int, int | None]]
"""Per token, the characters of the text that it stands for (start, end) and the number of its word; None: a special token."""


def _nowhere() -> Places:
    return ()


class Piece(NamedTuple):
    """A text, or a part of a long one, as the model reads it.

    Attributes:
        tokens: the token ids, special tokens included.
        places: where each stands in the whole text; called only for what has something to point at.
    """

    tokens: Sequence[int]
    places: Callable[[], Places] = _nowhere


class Found(NamedTuple):
    """What the model finds in a text: its scores, and where the harm stands (in code points of the normalised text)."""

    scores: Scores
    spans: tuple[Span, ...] = ()


class Classifier(Protocol):
    """Scores texts. Thread-safe: `encode` and `score` may run in several threads at the same time.

    What is found in a text depends on the text alone: not on its neighbours in a batch, and not on how often it is asked.
    """

    @property
    def model(self) -> Model:
        """Name, version and hash of what scores."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels it scores, a subset of `LABELS`."""

    @property
    def runs_at_once(self) -> int:
        """How many calls of `score` at the same time get the most out of this machine."""

    @property
    def batch_tokens(self) -> int:
        """How many padded tokens in one call of `score` do, unless somebody says otherwise."""

    def encode(self, texts: Sequence[str]) -> list[list[Piece]]:
        """Turn each text into one or more pieces that fit the model; a long text becomes several."""

    def width(self, piece: Piece) -> int:
        """The padded length, in tokens, at which this piece is scored. Only pieces of one width share a batch."""

    def score(self, pieces: Sequence[Piece]) -> list[Found]:
        """Score pieces of one width, in order.

        Raises:
            TransientError: out of memory; the same call may work later.
        """


def combine(pieces: Sequence[Found]) -> Found:
    """What is found in a text, from its pieces: harm anywhere is harm; kindness has to hold on average."""
    if len(pieces) == 1:
        return pieces[0]
    scores = {
        label: sum(p.scores[label] for p in pieces) / len(pieces)
        if label in KIND_LABELS
        else max(p.scores[label] for p in pieces)
        for label in pieces[0].scores
    }
    return Found(scores, _merged([span for p in pieces for span in p.spans]))


def _merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Spans in order; those that overlap (pieces do) become one, under the name of the surest."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        if merged and span.start < merged[-1].end:
            before = merged.pop()
            surest = max(before, span, key=lambda s: s.score)
            span = Span(before.start, max(before.end, span.end), surest.label, surest.score)  # noqa: PLW2901
        merged.append(span)
    return tuple(merged)
