"""Rounding: what a layer puts out is nearer to what it was than if each weight went to the nearest integer."""

from typing import Any

import numpy as np
import pytest

from training.rounding import rounded

LIMIT = 63


@pytest.fixture
def inputs() -> np.ndarray:
    """Two thousand tokens whose forty inputs go together in eight ways, more or less."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(2000, 8)) @ rng.normal(size=(8, 40)) + 0.1 * rng.normal(size=(2000, 40))


def steps(weight: np.ndarray) -> Any:
    return (np.abs(weight).max(0) / LIMIT).astype(np.float32)


def off_by(inputs: np.ndarray, weight: np.ndarray, integers: np.ndarray, scale: np.ndarray) -> float:
    return float(np.square(inputs @ (integers * scale - weight)).mean())


def test_with_nothing_known_each_goes_to_the_nearest() -> None:
    weight = np.array([[0.4, -1.0], [1.6, 2.5]], np.float32)

    assert rounded(weight, np.array([1.0, 0.5], np.float32), LIMIT).tolist() == [[0, -2], [2, 5]]


def test_errors_cancel_where_inputs_go_together(inputs: np.ndarray) -> None:
    weight = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    scale = steps(weight)

    nearest = rounded(weight, scale, LIMIT)
    together = rounded(weight, scale, LIMIT, inputs.T @ inputs)

    assert off_by(inputs, weight, together, scale) < 0.25 * off_by(inputs, weight, nearest, scale)
    assert together.dtype == np.int8
    assert np.abs(together).max() <= LIMIT


def test_weights_that_are_integers_stay_what_they_are(inputs: np.ndarray) -> None:
    integers = np.random.default_rng(2).integers(-LIMIT, LIMIT + 1, (40, 5)).astype(np.int8)
    integers[0] = LIMIT
    scale = np.full(5, 0.01, np.float32)

    assert (rounded(integers * scale, scale, LIMIT, inputs.T @ inputs) == integers).all()


def test_what_was_learned_within_half_a_step_of_an_integer_is_not_rounded_away(inputs: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    before, scale = rng.integers(-40, 41, (40, 5)), np.full(5, 0.01, np.float32)
    learned = 0.4 * scale * rng.choice([-1.0, 1.0], (40, 5))
    weight = (before * scale + learned).astype(np.float32)

    nearest = rounded(weight, scale, LIMIT)
    together = rounded(weight, scale, LIMIT, inputs.T @ inputs)

    assert (nearest == before).all()
    assert off_by(inputs, weight, together, scale) < 0.25 * float(np.square(inputs @ learned).mean())
