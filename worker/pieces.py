"""Pieces of a window's texts → batches of one width; what is found in batches → in pieces → in texts. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from worker.batching import cut
from worker.classifier import Found, Piece, combine


class Batch(NamedTuple):
    """Pieces of one width, and which of all pieces they are."""

    at: Sequence[int]
    pieces: Sequence[Piece]
    width: int

    @property
    def tokens(self) -> int:
        """With what each is filled up with."""
        return self.width * len(self.pieces)


def batches_of(pieces: Sequence[Piece], widths: Sequence[int], max_tokens: int) -> list[Batch]:
    """Every piece in one batch; arguments as for `cut`."""
    return [Batch(at, [pieces[index] for index in at], widths[at[0]]) for at in cut(widths, max_tokens)]


def of_batches(batches: Sequence[Batch], found: Iterable[Found]) -> list[list[Found]]:
    """What is found in the pieces of several batches, one after another → in those of each."""
    in_order = iter(found)
    return [list(islice(in_order, len(batch.pieces))) for batch in batches]


def of_texts(pieces_of_text: Sequence[Sequence[Piece]], found: Mapping[int, Found]) -> list[Found]:
    """What is found in each text, from what is found in the pieces of all, numbered through."""
    in_order = (found[number] for number in range(len(found)))
    return [combine(list(islice(in_order, len(pieces)))) for pieces in pieces_of_text]
