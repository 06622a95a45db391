"""Pauses between tries: they grow to a bound, and it is known for how long something has been failing."""

import contextlib
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import ManualClock
from worker.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    with Backoff(0.1, 0.5, jitter=lambda: 1.0).tries() as pauses:
        assert list(islice(pauses, 5)) == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])


@given(st.floats(0, 1))
def test_jitter_takes_away_half_of_a_pause_at_most(jitter: float) -> None:
    with Backoff(1.0, 1.0, jitter=lambda: jitter).tries() as pauses:
        assert 0.5 <= next(pauses) <= 1.0


def test_two_that_failed_together_do_not_try_again_together() -> None:
    with Backoff(1.0, 1.0).tries() as one, Backoff(1.0, 1.0).tries() as two:
        assert list(islice(one, 5)) != list(islice(two, 5))


def test_it_fails_from_the_first_pause_until_the_work_is_left() -> None:
    clock = ManualClock()
    backoff = Backoff(0.1, 1.0, clock=clock)
    with backoff.tries() as pauses:
        clock.advance(5.0)
        assert backoff.failing_s == 0.0
        next(pauses)
        clock.advance(3.0)
        next(pauses)
        clock.advance(1.0)
        assert backoff.failing_s == 4.0

    assert backoff.failing_s == 0.0


def test_it_is_known_for_how_long_work_has_been_going_on_before_it_fails() -> None:
    clock = ManualClock()
    backoff = Backoff(0.1, 1.0, clock=clock)
    with backoff.tries():
        clock.advance(2.0)
        with backoff.tries():
            clock.advance(1.0)
        assert (backoff.working_s, backoff.failing_s) == (3.0, 0.0)

    assert backoff.working_s == 0.0


def test_of_several_pieces_the_one_that_has_failed_longest_counts() -> None:
    clock = ManualClock()
    backoff = Backoff(0.1, 1.0, clock=clock)
    with backoff.tries() as second:
        with backoff.tries() as first:
            next(first)
            clock.advance(2.0)
            next(second)
            clock.advance(1.0)
            assert backoff.failing_s == 3.0
        assert backoff.failing_s == 1.0


def test_work_that_ends_in_an_error_fails_no_longer() -> None:
    clock = ManualClock()
    backoff = Backoff(0.1, 1.0, clock=clock)
    with contextlib.suppress(ZeroDivisionError), backoff.tries() as pauses:
        next(pauses)
        raise ZeroDivisionError
    clock.advance(1.0)

    assert backoff.failing_s == 0.0
