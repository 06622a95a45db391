"""transformers' pipeline, a contestant: `python -m bench.pipelines 1|64`. What one would write first, on fp32 torch.

The model has the size of the shipped one, and random weights: what they are makes no difference to the time. `bench.twin`
says more.
"""

import sys
from typing import Any

from bench.contest import Work, serve
from bench.twin import MAX_TOKENS, ensure_twin, import_torch


def main() -> None:
    """Serve rounds."""
    batch = int(sys.argv[1])
    serve(lambda: prepare(batch))


def prepare(batch: int) -> Work:
    """Load the model."""
    torch, folder = import_torch(), ensure_twin()
    from transformers import pipeline  # noqa: PLC0415  loads torch

    classify: Any = pipeline("text-classification", model=str(folder), device="cpu", dtype=torch.float32, top_k=None)

    def work(texts: list[str]) -> str:
        options = {"truncation": True, "max_length": MAX_TOKENS}
        if batch == 1:
            for text in texts:
                classify(text, **options)
        else:
            classify(texts, batch_size=batch, **options)
        return f"{torch.get_num_threads()} threads"

    return work


if __name__ == "__main__":
    main()
