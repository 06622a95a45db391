"""What takes seconds to load, loaded when somebody needs it: the model and the detector of languages.

The only file that knows which implementation stands behind a model's name.
"""

# ruff: noqa: PLC0415  each brings a library that the others do without

import os
from pathlib import Path

import structlog

from worker.classifier import Classifier
from worker.model_source import check_named, names_checkpoint, on_hub
from worker.screening import Detect

log = structlog.get_logger()


def load_classifier(
    model: str, *, threads: int = 0, batch_tokens: int | None = None, label_map: Path | None = None
) -> Classifier:
    """The model of this name: shipped, in a folder, or on a hub. Imports ONNX Runtime, or torch and transformers.

    Args:
        model: as SCREENER_MODEL has it.
        threads: that it may use; 0 means one per CPU.
        batch_tokens: padded tokens in one run at most, for a model whose runs have one size; None: what suits the device.
        label_map: file with the model's label names → ours; None: `labels.json` in the folder, where there is one.

    Raises:
        StartupError: there is no such model, or it does not load, in one line.
    """
    check_named(model)
    if on_hub(model) is None:
        # All of it is on this machine; nothing is to be asked of a hub. The libraries below read it when they are imported.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")

    from worker.outputs import read_label_map

    names = None if label_map is None else read_label_map(label_map)
    if names_checkpoint(model):
        from worker.checkpoint import open_checkpoint

        checkpoint = open_checkpoint(model, threads=threads, batch_tokens=batch_tokens, label_map=names)
        # Without a GPU it goes on, many times slower: somebody may wonder.
        log.info("torch", device=checkpoint.device, precision=checkpoint.precision)
        return checkpoint

    from worker.onnx import OnnxClassifier, model_folder

    return OnnxClassifier(model_folder(model), threads=threads, label_map=names)


def load_detector() -> Detect:
    """What tells languages. Imports its library, which takes half a second.

    Raises:
        StartupError: its model does not load.
    """
    from worker.langid import open_detector

    return open_detector().detect
