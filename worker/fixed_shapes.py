"""Runs of a torch model in which a row comes out the same to the last bit, whatever stands in the others.

Products of other shapes may be summed in another order. So each width has one shape: a run has the same number of rows whether
there are pieces for all of them or not, and one is computed by the same kernels as ever. That number is

- on a GPU the whole budget of a batch, since one is seldom full; when the worker starts, each shape is tried, and has fewer rows
  where one row came out otherwise than another;
- on a CPU one, where rows left over would cost what others cost.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, Final

import numpy as np
import torch

from worker.classifier import Piece
from worker.errors import TransientError

CPU_ROWS: Final = 1
"""What four would save and cost: six layers of 384 on one core, texts of 16 to 24 tokens, take about 35 % less time a text with
all four rows in use, and 2.6 times as much for a text alone. With one there are no others that it could depend on."""
_SEED: Final = 1
_NO_MEMORY: Final = ("DefaultCPUAllocator", "not enough memory")
"""How torch says it of a CPU's, for which it has no exception."""

Logits = np.ndarray[Any, np.dtype[np.float32]]


class FixedShapes:
    """A model and its device. Thread-safe; a GPU has one run at a time.

    Args:
        model: `input_ids` and `attention_mask`, int64 [rows, width] → `logits` [rows, outputs]; on `device`, for inference.
        pad: the token that rows are filled up with.
        rows: width → rows of a run at that width, one at least.
    """

    def __init__(self, model: Any, device: torch.device, *, pad: int, rows: Callable[[int], int]) -> None:
        self._model = model
        self._device = device
        self._pad = pad
        self._rows_at_most = rows
        self._rows: dict[int, int] = {}
        self._inputs: dict[int, torch.Tensor] = {}
        self._on_gpu = device.type == "cuda"
        self._running: AbstractContextManager[Any] = Lock() if self._on_gpu else nullcontext()

    def rows(self, width: int) -> int:
        """Rows of a run at this width."""
        return self._rows.get(width) or self._rows_at_most(width)

    def settle(self, widths: Iterable[int], vocabulary: int, end: int | None = None) -> None:
        """Try the shape of each width, and take half of the rows until all come out alike, whatever stands beside them.

        It is also what loads the kernels and claims the memory for them, before there is a comment that waits.

        Args:
            widths: all that there are.
            vocabulary: how many tokens there are.
            end: the one that ends a text, where there is such: some models (BART) find their answer by it.

        Raises:
            TransientError: out of memory.
        """
        for width in widths:
            rows = self.rows(width)
            while rows > 1 and not self._are_alike(rows, width, vocabulary, end):
                rows //= 2
            self._rows[width] = rows

    def logits(self, pieces: Sequence[Piece], width: int) -> Logits:
        """What the model makes of pieces of one width: float32 [pieces, outputs]; more than the rows take several runs.

        Raises:
            TransientError: out of memory. As every run has all of its rows, fewer pieces would need no less.
        """
        rows = self.rows(width)
        runs = [
            self._run([piece.tokens for piece in pieces[start : start + rows]], rows, width)
            for start in range(0, len(pieces), rows)
        ]
        return np.concatenate(runs)

    def _are_alike(self, rows: int, width: int, vocabulary: int, end: int | None) -> bool:
        """One text by itself, in the first row beside others, and in every row: the same to the last bit each time?"""
        tokens = np.random.default_rng(_SEED).integers(vocabulary, size=(rows, width))
        if end is not None:
            tokens[tokens == end] = self._pad
            tokens[:, -1] = end
        texts = tokens.tolist()
        (alone,) = self._run(texts[:1], rows, width)
        among = self._run(texts, rows, width)[0]
        everywhere = self._run(texts[:1] * rows, rows, width)
        return all(found.tobytes() == alone.tobytes() for found in (among, *everywhere))

    def _run(self, texts: Sequence[Sequence[int]], rows: int, width: int) -> Logits:
        """Logits of texts, one a row: float32 [texts, outputs]."""
        with self._running, torch.inference_mode():
            try:
                found: Logits = self._forward(self._fill(texts, rows, width))[: len(texts)].cpu().numpy()
            except torch.OutOfMemoryError as error:
                raise TransientError("out of memory in the model") from error
            except RuntimeError as error:
                if any(words in str(error) for words in _NO_MEMORY):
                    raise TransientError("out of memory in the model") from error
                raise
        return found

    def _fill(self, texts: Sequence[Sequence[int]], rows: int, width: int) -> torch.Tensor:
        """Token ids and mask: int64 [2, rows, width], on a GPU's account in memory from which it can fetch them by itself."""
        inputs = self._inputs.get(width)
        if inputs is None or inputs.shape[1] != rows:
            inputs = torch.empty((2, rows, width), dtype=torch.int64, pin_memory=self._on_gpu)
        if self._on_gpu:
            self._inputs[width] = inputs
        tokens, mask = inputs.numpy()
        tokens.fill(self._pad)
        mask.fill(0)
        # Attention to nothing at all is 0 / 0.
        mask[:, 0] = 1
        for row, text in enumerate(texts):
            tokens[row, : len(text)] = text
            mask[row, : len(text)] = 1
        # Rows that are left over hold the first text, though nobody looks at it: one without an end is none to some models.
        tokens[len(texts) :, : len(texts[0])] = texts[0]
        return inputs

    def _forward(self, inputs: torch.Tensor) -> torch.Tensor:
        tokens, mask = inputs.to(self._device, non_blocking=True)
        logits: torch.Tensor = self._model(input_ids=tokens, attention_mask=mask).logits
        return logits.float()
