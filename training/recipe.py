"""What there is to choose in training: the runs, and what is averaged. Apart from `train`, so that the card needs no torch.

A larger encoder learns in one pass, and teaches a small one in another; with more of them they learn rows by heart. The mean of
that and of the model before is better than either (RESULTS.md has the figures).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MINILM: Final = "minilm"
BGE_SMALL: Final = "bge-small"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One run. `max_tokens` is shorter than the worker's limit: most comments are far shorter."""

    base: str = MINILM
    """The weights that it begins with (`bases.py`): all runs that are averaged have the same."""
    epochs: int = 4
    mix: str = "broad"
    """Which of `split.MIXES` an epoch sees."""
    batch: int = 64
    learning_rate: float = 2e-4
    warm_up: float = 0.05
    weight_decay: float = 0.01
    max_tokens: int = 128
    window: int = 64
    """Batches are cut from windows of this many, sorted by length: little padding, and still a shuffled order."""
    augmented: float = 0.12
    """Share of an epoch's rows that are written as somebody would who wants to get past a filter."""
    token_weight: float = 0.5
    """Of the token head's loss, beside 1 for the label head's."""
    checkpoint_every: int = 500
    teacher: str | None = None
    """A run whose view of every row is learned beside what the row's annotators said."""
    taught: float = 0.7
    """How much of the loss is the teacher's view."""
    keep: tuple[int, ...] = ()
    """Steps after which the weights are kept, to be averaged."""
    seed: int = 7
    bf16: bool = True

    def is_last(self, epoch: int) -> bool:
        """Whether an epoch is the last of several, which has a mix of its own; a single one is no last one."""
        return 0 < epoch == self.epochs - 1


TEACHER: Final = "teacher"
TAUGHT: Final = "taught"
BEFORE: Final = "before"
"""No run: the default model before this one, a folder as it was exported. README.md says how it comes here."""

RUNS: Final[Mapping[str, Recipe]] = {
    TEACHER: Recipe(base=BGE_SMALL, epochs=1, mix="once", augmented=0.1, learning_rate=1.5e-4, seed=21),
    TAUGHT: Recipe(teacher=TEACHER, epochs=1, mix="once", augmented=0.1, seed=31),
}

AVERAGE: Final[Mapping[tuple[str, int | None], float]] = {
    (TAUGHT, None): 0.5,
    (BEFORE, None): 0.5,
}
"""Run and step (None: its end) → share of the model."""
