"""Cutting pieces into batches: nothing lost or repeated, one width a batch, the budget kept, arrival order inside."""

from itertools import chain, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.batching import cut

WIDTHS = st.lists(st.integers(1, 40).map(lambda steps: 8 * steps), max_size=200)
BUDGETS = st.integers(1, 4096)


def test_one_batch_a_width_in_arrival_order() -> None:
    assert cut([16, 8, 16, 8, 8], max_tokens=1000) == [[1, 3, 4], [0, 2]]


def test_the_budget_counts_padded_tokens() -> None:
    assert cut([8] * 5, max_tokens=16) == [[0, 1], [2, 3], [4]]
    assert cut([8] * 5, max_tokens=23) == [[0, 1], [2, 3], [4]]
    assert cut([8] * 5, max_tokens=40) == [[0, 1, 2, 3, 4]]


def test_a_piece_above_the_budget_has_a_batch_of_its_own() -> None:
    assert cut([256, 256], max_tokens=8) == [[0], [1]]


def test_nothing_gives_no_batch() -> None:
    assert cut([], max_tokens=8) == []


@settings(max_examples=200)
@given(WIDTHS, BUDGETS)
def test_nothing_is_lost_or_repeated(widths: list[int], max_tokens: int) -> None:
    assert sorted(chain.from_iterable(cut(widths, max_tokens))) == list(range(len(widths)))


@settings(max_examples=200)
@given(WIDTHS, BUDGETS)
def test_all_of_a_batch_have_one_width_and_keep_their_order(widths: list[int], max_tokens: int) -> None:
    for batch in cut(widths, max_tokens):
        assert len({widths[at] for at in batch}) == 1
        assert batch == sorted(batch)


@settings(max_examples=200)
@given(WIDTHS, BUDGETS)
def test_the_budget_is_kept(widths: list[int], max_tokens: int) -> None:
    for batch in cut(widths, max_tokens):
        assert batch
        assert len(batch) == 1 or sum(widths[at] for at in batch) <= max_tokens


@settings(max_examples=200)
@given(WIDTHS, BUDGETS)
def test_no_batch_is_left_half_full_before_another_of_its_width(widths: list[int], max_tokens: int) -> None:
    batches = cut(widths, max_tokens)

    for before, after in pairwise(batches):
        if widths[before[0]] == widths[after[0]]:
            assert (len(before) + 1) * widths[before[0]] > max_tokens
            assert before[-1] < after[0]
