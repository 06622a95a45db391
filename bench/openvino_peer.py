"""The shipped model on OpenVINO, a contestant: `python -m bench.openvino_peer`. Batches as the engine cuts them, a core each.

The note says how far its logits are from ONNX Runtime's, and how far those of a text move with its company: fast is not enough.
"""

from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import onnxruntime

from bench.contest import NotInstalledError, Work, serve
from worker.batching import CPU_TOKENS, cut
from worker.onnx import OnnxClassifier, model_folder

_OUTPUT: Final = "logits"
_COMPARED: Final = 8
"""Pieces of one width whose logits are looked at."""
_CONFIGURATION: Final = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}


def main() -> None:
    """Serve rounds."""
    serve(prepare)


def prepare() -> Work:
    """Load the model."""
    if find_spec("openvino") is None:
        raise NotInstalledError("OpenVINO: pip install -e '.[bench]'")
    import openvino  # noqa: PLC0415  an extra

    folder = model_folder("default")
    classifier, path = OnnxClassifier(folder), folder / "model.onnx"
    compiled = openvino.Core().compile_model(openvino.Core().read_model(path), "CPU", _CONFIGURATION)
    queue = openvino.AsyncInferQueue(compiled)

    def logits(inputs: dict[str, Any]) -> Any:
        return compiled(inputs)[compiled.output(_OUTPUT)]

    theirs = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    notes: list[str] = []

    def work(texts: list[str]) -> str:
        pieces = [piece for of_text in classifier.encode(texts) for piece in of_text]
        widths = [classifier.width(piece) for piece in pieces]
        batches = [classifier.feeds([pieces[at] for at in batch]) for batch in cut(widths, CPU_TOKENS)]
        for batch in batches:
            queue.start_async(batch)
        queue.wait_all()
        if notes:
            return notes[0]
        # Once, when it warms up.
        largest = max(batches, key=lambda batch: len(batch["input_ids"]))
        some = {name: value[:_COMPARED] for name, value in largest.items()}
        together = logits(some)
        alone = np.concatenate(
            [logits({name: value[at : at + 1] for name, value in some.items()}) for at in range(len(together))]
        )
        off = np.abs(together - theirs.run([_OUTPUT], some)[0]).max()
        notes.append(f"logits off by {off:.1g}; alone and in company by {np.abs(together - alone).max():.1g}")
        return notes[0]

    return work


if __name__ == "__main__":
    main()
