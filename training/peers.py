"""A peer that runs anywhere without a download, to read our figures against."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from profanity_check import predict_prob


def profanity_check(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """alt-profanity-check's probability of profanity (a linear model over words): float64 [texts]."""
    scores: np.ndarray[Any, Any] = predict_prob(list(texts))
    return scores
