"""transformers' pipeline, a contestant: `python -m bench.pipelines 1|64`. What one would write first, on fp32 torch.

The model has the size of the shipped one, and random weights: what they are makes no difference to the time. `bench.twin`
says more.
"""

import sys
from typing import Any

from bench.contest import WARM_UP, NotInstalledError, Work, serve
from bench.texts import comment_texts
from bench.twin import MAX_TOKENS, ensure_twin


def main() -> None:
    """Serve rounds."""
    batch = int(sys.argv[1])
    serve(lambda: prepare(batch))


def prepare(batch: int) -> Work:
    """Load the model."""
    folder = ensure_twin()
    try:
        import torch  # noqa: PLC0415  an extra
    except ImportError:
        raise NotInstalledError("torch: pip install comment-screener[bench]") from None
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

    work(comment_texts(WARM_UP, 99))
    return work


if __name__ == "__main__":
    main()
