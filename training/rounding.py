"""Rounding weights to integers so that errors cancel in what a layer puts out, instead of each weight going to the nearest.

Nearest is worst where weights were integers before and have been trained on from there: each lies in the middle of its step, a
change of less than half of one is rounded away, and with it what was learned. Here the inputs are rounded one by one, and
those that are still to come make up for it, as far as they go together in texts (Frantar et al., GPTQ, ICLR 2023; after LeCun's
and Hassibi's optimal brain surgeon).
"""

from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]

_DAMPING: Final = 0.01
"""Of the mean square of an input, added to each: what was never seen together must not be taken for granted."""


def rounded(weight: Array, scale: Array, limit: int, together: Array | None = None) -> Array:
    """Weights as int8, in steps of `scale`.

    Args:
        weight: float32 [in, out].
        scale: float32 [out].
        limit: the largest integer, on either side.
        together: how the layer's inputs go together (`inputs.Inputs`); None: each weight to the nearest integer.
    """
    if together is None:
        return np.round(weight / scale).astype(np.int8)
    loads = np.diag(together)
    order = np.argsort(-loads, kind="stable")
    damped = together[np.ix_(order, order)] + np.eye(len(order)) * (_DAMPING * loads.mean())
    # Row i of the upper factor: how an error of input i is made up for by those behind it.
    ways = np.linalg.cholesky(np.linalg.inv(damped)).T
    left = weight[order].astype(np.float64)
    integers = np.empty(weight.shape, np.int8)
    for i, at in enumerate(order):
        integers[at] = np.clip(np.round(left[i] / scale), -limit, limit)
        error = (left[i] - integers[at] * scale.astype(np.float64)) / ways[i, i]
        left[i + 1 :] -= np.outer(ways[i, i + 1 :], error)
    return integers
