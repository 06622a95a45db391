"""Pieces of text → batches for the model.

Pure. A batch holds pieces of one padded width, so that what a piece is computed with depends on the piece alone: the same
text gets the same scores in whatever company it arrives, to the last bit. It also leaves next to no padding.

Who goes first is no question here: see `worker.runs`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

CPU_TOKENS: Final = 256
"""Padded tokens in one run that suit a core. Larger runs cost a token as much, or more when they no longer fit into a cache, and
last longer: whoever comes meanwhile waits."""
GPU_TOKENS: Final = 16384
"""Chosen for a GPU, and not measured: its runs are many times as fast, and too small for it below some thousands."""


def cut(widths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Sort pieces by width and cut them into batches.

    Args:
        widths: padded width of each piece, in tokens.
        max_tokens: padded tokens in one batch at most; a single piece above it still gets a batch of its own.

    Returns:
        Indices into `widths`, each exactly once; in a batch all widths are equal, and arrival order is kept.
    """
    by_width: defaultdict[int, list[int]] = defaultdict(list)
    for index, width in enumerate(widths):
        by_width[width].append(index)
    batches = []
    for width, indices in sorted(by_width.items()):
        size = max(1, max_tokens // width)
        batches += [indices[start : start + size] for start in range(0, len(indices), size)]
    return batches
