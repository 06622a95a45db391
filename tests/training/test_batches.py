"""Batches: padded to a width that comes often, and every text once."""

import pytest
import torch

from training.batches import by_length, pad


@pytest.mark.parametrize(("longest", "width"), [(1, 8), (7, 8), (8, 8), (9, 16), (24, 24)])
def test_batches_are_a_multiple_of_eight_wide(longest: int, width: int) -> None:
    ids, mask = pad([[5], [7] * longest])

    assert ids.shape == mask.shape == (2, width)
    assert ids.dtype == mask.dtype == torch.int64
    assert mask.sum(1).tolist() == [1, longest]
    assert (ids != 0).equal(mask == 1)


def test_every_text_is_in_one_batch_beside_those_of_like_length() -> None:
    tokens = [[1] * length for length in (30, 2, 9, 2, 17)]

    batches = list(by_length(tokens, batch=2))

    assert [chosen for chosen, _, _ in batches] == [[1, 3], [2, 4], [0]]
    assert [mask.sum(1).tolist() for _, _, mask in batches] == [[2, 2], [9, 17], [30]]
    assert [ids.shape[1] for _, ids, _ in batches] == [8, 24, 32]
