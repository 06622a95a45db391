"""As many cores as this process may use, on whatever system it runs."""

import os

import pytest

from worker.cores import usable_cores


def test_those_that_the_process_is_bound_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 7}, raising=False)

    assert usable_cores() == 3


@pytest.mark.parametrize(("there_are", "usable"), [(8, 8), (None, 1)])
def test_where_nobody_can_say_all_of_them_do(
    monkeypatch: pytest.MonkeyPatch, there_are: int | None, usable: int
) -> None:
    """As on macOS, which does not have that function."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: there_are)

    assert usable_cores() == usable
