"""What each layer of a model is given: in which range that lies, for integers to stand for it, and how it goes together.

One range for all of a layer's inputs, from texts that teach, asymmetric, since one channel of a transformer is often ten times as
large as the others, and on one side. What is not in it counts as its end.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from torch import Tensor, nn

from training.batches import watch
from training.labels import Row
from training.model import Screener
from training.recipe import Recipe
from training.split import share

Array = np.ndarray[Any, Any]

TEXTS: Final = 1_024
"""So many training rows show it: some thirty thousand tokens."""
RANGES: Final = "ranges.json"
_STEPS: Final = 255
_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a layer is given.

    Attributes:
        lowest: of all that was seen; 0 where that is above.
        highest: the same; 0 where that is below.
        together: how its inputs go together, summed over tokens, float64 [in, in]; None: not known.
        weight_steps: of the weights for each of its outputs, where these are integers already; None: they are not.
    """

    lowest: float
    highest: float
    together: Array | None = None
    weight_steps: tuple[float, ...] | None = None

    @classmethod
    def of_steps(cls, step: float, zero: int, weight_steps: Sequence[float]) -> Self:
        """What these say of it."""
        return cls(-zero * step, (_STEPS - zero) * step, weight_steps=tuple(weight_steps))

    @property
    def step(self) -> float:
        """How far apart two inputs are for which neighbours of 256 integers stand."""
        return max(self.highest - self.lowest, _TINY) / _STEPS

    @property
    def zero(self) -> int:
        """The integer that stands for zero."""
        return round(-self.lowest / self.step)


def some_of(rows: Sequence[Row], tokenizer: Any) -> list[list[int]]:
    """The tokens of `TEXTS` rows; which, depends on their texts alone."""
    texts = [r.text for r in sorted(rows, key=lambda r: share(f"moments{r.text}"))[:TEXTS]]
    found: list[list[int]] = tokenizer(texts, truncation=True, max_length=Recipe().max_tokens)["input_ids"]
    return found


def inputs_of(model: Screener, tokens: Sequence[Sequence[int]]) -> dict[str, Inputs]:
    """By the name of a linear layer: what it is given while the model reads these texts."""
    ranges: dict[str, tuple[float, float]] = {}
    together: dict[str, Array] = {}

    def look(name: str, given: Tensor) -> None:
        lowest, highest = ranges.get(name, (0.0, 0.0))
        least, most = (float(end) for end in torch.aminmax(given))
        ranges[name] = min(lowest, least), max(highest, most)
        exact = given.double()
        together[name] = together.get(name, 0.0) + (exact.T @ exact).numpy()

    layers = {m: n for n, m in model.named_modules() if isinstance(m, nn.Linear) and m is not model.head}
    watch(model, tokens, {module: partial(look, name) for module, name in layers.items()})
    return {name: Inputs(*ranges[name], together[name]) for name in ranges}


def write_ranges(work: Path, ranges: Mapping[str, Inputs]) -> None:
    """Keep what is known of a model whose weights are integers already."""
    content = {name: (inputs.lowest, inputs.highest, inputs.weight_steps) for name, inputs in ranges.items()}
    (work / RANGES).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_ranges(work: Path) -> dict[str, Inputs]:
    """The same. Raises FileNotFoundError."""
    found = json.loads((work / RANGES).read_text(encoding="utf-8"))
    return {
        name: Inputs(lowest, highest, weight_steps=tuple(steps)) for name, (lowest, highest, steps) in found.items()
    }
