"""Averaging: shares add up, heads know no base, and what is missing is named."""

from pathlib import Path

import pytest
import torch

from training import REOPENED
from training.average import average, mean
from training.recipe import AVERAGE, NARROWED, REFINEMENT, TOLD, Shares
from training.train import EMOJI, SIZES, WEIGHTS, kept

A = {"encoder.w": torch.tensor([1.0]), "head.weight": torch.tensor([10.0])}
B = {"encoder.w": torch.tensor([3.0]), "head.weight": torch.tensor([30.0])}
BASE = {"encoder.w": torch.tensor([0.0]), "head.weight": torch.tensor([999.0])}


def test_each_part_counts_by_its_share_and_heads_know_no_base() -> None:
    shares = {("base", None): 0.5, ("a", None): 0.125, ("b", 7): 0.375}

    found = mean({("base", None): BASE, ("a", None): A, ("b", 7): B}, shares)

    assert found["encoder.w"].tolist() == [1.25]
    assert found["head.weight"].tolist() == [25.0]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for run, state in (("a", A), ("b", B)):
        (tmp_path / run).mkdir()
        (tmp_path / run / EMOJI).write_text("[]")
        (tmp_path / run / SIZES).write_text("{}")
        torch.save(state, tmp_path / run / WEIGHTS)
    torch.save(B, tmp_path / "a" / kept(5))
    return tmp_path


def test_runs_and_their_kept_steps_become_one_model(work: Path) -> None:
    path = average(work, {("a", None): 0.5, ("a", 5): 0.25, ("b", None): 0.25}, work / "to")

    assert path == work / "to" / WEIGHTS
    assert torch.load(path, weights_only=True)["encoder.w"].tolist() == [2.0]
    assert (work / "to" / EMOJI).read_text() == "[]"
    assert (work / "to" / SIZES).read_text() == "{}"


def test_what_was_trained_is_no_reopened_model_any_more(work: Path) -> None:
    (work / REOPENED).write_text('{"version": "0.1.9"}')

    average(work, {("a", None): 1.0}, work)

    assert not (work / REOPENED).exists()


def test_shares_that_are_no_average_are_refused(work: Path) -> None:
    with pytest.raises(ValueError, match=r"shares of 0\.9 in all make no average"):
        average(work, {("a", None): 0.9}, work)


def test_runs_of_different_rows_are_refused(work: Path) -> None:
    (work / "b" / EMOJI).write_text('["x"]')

    with pytest.raises(ValueError, match="the runs saw different rows"):
        average(work, {("a", None): 0.5, ("b", None): 0.5}, work)


def test_a_step_that_was_not_kept_is_named(work: Path) -> None:
    with pytest.raises(FileNotFoundError, match="step-6"):
        average(work, {("a", 6): 1.0}, work)


@pytest.mark.parametrize("shares", [AVERAGE, REFINEMENT, NARROWED, TOLD])
def test_the_shares_in_the_recipe_add_up(shares: Shares) -> None:
    assert sum(shares.values()) == pytest.approx(1)
