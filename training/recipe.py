"""What there is to choose in training: the runs, and what is averaged. Apart from `train`, so that the card needs no torch.

One pass generalises to what nobody wrote yet, several passes learn our own rare behaviours; the mean of their weights does both,
and better than either (RESULTS.md has the figures). All runs start from the same weights, which is what makes their mean a model.

What is written after that is learned by two more runs that go on from the mean, each with other rows of the sets that are to be
kept; half of what is refined is theirs. The model is narrower, and told by that, and in the end by a larger encoder as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from training.authored import LATER, SOURCE
from training.wrapped import WRAPPED

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
    begins: str | None = None
    """A run, or the average, whose weights it goes on from, heads and all; None: the base's, under new heads."""
    reads_like: str | None = None
    """A run, or the average, whose vocabulary it has; None: its own, of the emoji in the rows that teach it."""
    teachers: tuple[str, ...] = ()
    """Runs, or the average, whose view of every row, the mean of their logits, is learned beside what the row's annotators
    said. They read by the same vocabulary."""
    taught: float = 0.7
    """How much of a target is the teachers' view."""
    alike: float = 0.0
    """Of how far its layers' outputs are from those of the first teacher, who has as many, beside 1 for the label head's loss."""
    untaught: tuple[str, ...] = ()
    """Sets whose rows are learned from their annotators alone: what the teachers are bad at."""
    untaught_labels: tuple[str, ...] = ()
    """Labels of which that is so wherever an annotator knows them; elsewhere the teachers tell them like the others."""
    of_kindness: tuple[str, ...] = ()
    """Runs that tell that label instead of the teachers, as the mean of their logits."""
    feelings: float = 0.0
    """Of the loss of what tells `Row.feelings` apart, beside 1 for the label head's; it is not kept when the run is over."""
    skips: int = 0
    """So many epochs of its mix count as seen: what its first one sees is what another run left to it."""
    keep: tuple[int, ...] = ()
    """Steps after which the weights are kept, to be averaged."""
    seed: int = 7
    bf16: bool = True
    """Products in bfloat16, where the processor has such (`model.in_bfloat16`)."""

    def is_last(self, epoch: int) -> bool:
        """Whether an epoch is the last of several, which has a mix of its own; a single one is no last one."""
        return 0 < epoch == self.epochs - 1


LONG: Final = "long"
SHORT: Final = "short"
AGAIN: Final = ("again", "again_too")
NARROW: Final = ("narrow", "narrow_too", "narrow_longer")
TEACHER: Final = "teacher"
"""A larger encoder, which knows some things better than what is refined."""
TAUGHT: Final = ("taught", "taught_longer", "taught_last", "taught_kind")
KIND: Final = ("kind", "kind_too")
"""The larger encoder and the refined one, gone on to tell kindness and nothing else."""
AVERAGED: Final = "averaged"
"""The mean of the runs, with which others begin."""
REFINED: Final = "refined"
"""The mean of that and of those others."""
CUT: Final = "cut"
"""That with fewer heads and narrower layers, before it has learned anything."""
NARROWER: Final = "narrower"
"""The mean of what it was when it had."""
BASE: Final = "base"

HEADS: Final = 8
"""So many of a layer's twelve attention heads stay when it is cut."""
INNER: Final = 512
"""So many of its 1,536 inner neurons do."""

_FURTHER: Final = Recipe(
    begins=AVERAGED,
    teachers=(AVERAGED,),
    taught=1.0,
    untaught=(SOURCE, LATER),
    epochs=1,
    mix="again",
    augmented=0.1,
    learning_rate=1e-4,
)

_ALIKE: Final = replace(_FURTHER, begins=CUT, teachers=(REFINED,), mix="narrow", learning_rate=2e-4, alike=1.0, seed=61)

_LONGER: Final = replace(
    _ALIKE, begins=NARROW[1], mix="longer", taught=0.8, alike=0.25, learning_rate=1e-4, skips=1, seed=63
)

_BY_TWO: Final = replace(_LONGER, teachers=(REFINED, TEACHER))

_PUT_TOGETHER: Final = replace(_BY_TWO, untaught=(SOURCE, LATER, WRAPPED), learning_rate=1.5e-4)

_KIND: Final = Recipe(epochs=1, mix="kind", feelings=7.0, augmented=0.0, learning_rate=5e-5)

RUNS: Final[Mapping[str, Recipe]] = {
    LONG: Recipe(keep=(4_500, 7_500, 12_000)),
    SHORT: Recipe(epochs=1, mix="once", augmented=0.1, seed=11),
    # From the average on: our own rows, and some of all the others, of which they learn nothing but what the average says.
    **{run: replace(_FURTHER, skips=skips, seed=43 + skips) for skips, run in enumerate(AGAIN)},
    # What was cut learns to do what the whole did, layer by layer: from some rows, and then from others in smaller steps.
    NARROW[0]: _ALIKE,
    NARROW[1]: replace(_ALIKE, begins=NARROW[0], learning_rate=1e-4, skips=1, seed=62),
    # Then it learns more of what it still does worse, and what annotators said counts a little again.
    NARROW[2]: _LONGER,
    # What a larger encoder knows better than the wide one: the mean of both tells it, shortly and then for long.
    TEACHER: Recipe(
        base=BGE_SMALL, reads_like=REFINED, epochs=1, mix="narrow", augmented=0.1, learning_rate=1.5e-4, seed=21
    ),
    TAUGHT[0]: replace(_BY_TWO, begins=NARROW[2], mix="of_two", alike=0.0, seed=64),
    TAUGHT[1]: replace(_BY_TWO, begins=TAUGHT[0], mix="of_two_longer", learning_rate=1.5e-4, seed=65),
    # Neither of them is good at kindness; and what stands between kind words is new to both.
    TAUGHT[2]: replace(_PUT_TOGETHER, begins=TAUGHT[1], mix="of_two_last", untaught_labels=("kindness",), seed=66),
    # They learn that one thing well, and may forget the others: nothing but that is asked of them.
    KIND[0]: replace(_KIND, begins=TEACHER, seed=71),
    KIND[1]: replace(_KIND, begins=REFINED, seed=72),
    TAUGHT[3]: replace(_PUT_TOGETHER, begins=TAUGHT[2], mix="of_kindness", of_kindness=KIND, seed=67),
}

Shares = Mapping[tuple[str, int | None], float]
"""Run and step (None: its end) → its share of a mean."""

AVERAGE: Final[Shares] = {
    (SHORT, None): 0.5,
    (LONG, 4_500): 0.125,
    (LONG, 7_500): 0.125,
    (LONG, 12_000): 0.125,
    (LONG, None): 0.125,
}
"""Of the average. `BASE` may have one, too; the heads know none."""

REFINEMENT: Final[Shares] = {(AVERAGED, None): 0.5, **{(run, None): 0.25 for run in AGAIN}}
"""Of what is refined: what the runs began with, and their ends."""

NARROWED: Final[Shares] = {(NARROW[1], None): 0.4, (NARROW[2], None): 0.6}
"""Of what is narrower: what the last run began with, and its end."""

TOLD: Final[Shares] = {(TAUGHT[3], None): 1.0}
"""Of the model: the end of what two have taught. In a mean with what came before, kind words talk it out of harm again."""


def averaged() -> tuple[str, ...]:
    """The runs that the average is made of, in the order in which they are done."""
    return tuple(run for run in RUNS if run in {of for of, _ in AVERAGE})
