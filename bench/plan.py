"""How much is done: full size takes a quarter of an hour on two cores, `--quick` a fraction, to see that everything works."""

from pathlib import Path

from msgspec import Struct


class Plan(Struct, frozen=True):
    """What every part is told.

    Attributes:
        rounds: how often each contestant comes round.
        seed: of the texts.
        size: 1 is full size; counts are multiplied by it.
        million: with a backlog of a million as well.
        folder: for logs and files of texts; empty.
    """

    rounds: int
    seed: int
    size: float
    million: bool
    folder: Path

    def count(self, full: int, least: int = 64) -> int:
        """So many at full size."""
        return max(least, round(full * self.size))
