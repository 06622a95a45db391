"""The engine offline, a contestant: `python -m bench.offline plain|remembering|unsorted [THREADS [TOKENS [SEED]]]`.

- plain: the worker's whole line on windows as the worker cuts them, three at a time as there, without the verdict cache.
- remembering: the same with it, as the section (of that seed) has filled it that the texts are of: with its stock texts.
- unsorted: the shipped model on ONNX Runtime as one would call it first, 64 texts a run in the order of their arrival.
"""

import sys
from typing import Any, Final

from bench.torchless import hide_torch

hide_torch()

import onnxruntime  # noqa: E402  after torch is hidden
from transformers import AutoTokenizer  # noqa: E402

from bench.contest import Work, serve  # noqa: E402
from bench.line import cut, prepare  # noqa: E402
from bench.texts import stock_texts  # noqa: E402
from worker.loading import load_classifier  # noqa: E402
from worker.onnx import model_folder  # noqa: E402
from worker.settings import Settings  # noqa: E402
from worker.tokenizer import MAX_PIECE_TOKENS  # noqa: E402

_BATCH: Final = 64


def main() -> None:
    """Serve rounds."""
    kind, *numbers = sys.argv[1:]
    threads, tokens, seed = [*map(int, numbers), 0, 0, 0][:3]
    settings = Settings(
        kafka_bootstrap_servers="none",
        inference_threads=threads,
        max_batch_tokens=tokens or None,
        cache_entries=Settings.model_fields["cache_entries"].default if kind == "remembering" else 0,
    )
    if kind == "unsorted":
        serve(prepare_unsorted)
    else:
        before = stock_texts(seed) if kind == "remembering" else []
        serve(lambda: prepare(settings, load_classifier(settings.model, threads=settings.inference_threads), before))


def prepare_unsorted() -> Work:
    """Nothing but tokeniser and model, each as it comes: one run on all cores."""
    folder = model_folder("default")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    inputs = [each.name for each in session.get_inputs()]

    def work(texts: list[str]) -> str:
        for batch in cut(texts, _BATCH):
            encoded = tokenizer(batch, padding=True, truncation=True, max_length=MAX_PIECE_TOKENS, return_tensors="np")
            session.run(None, {name: encoded[name] for name in inputs})
        return ""

    return work


if __name__ == "__main__":
    main()
