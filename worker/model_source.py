"""What a model's name stands for: one shipped with the worker, a folder, or a checkpoint on a hub.

Quick: to tell, nothing is loaded and nobody is asked.
"""

import re
from pathlib import Path
from typing import Final

from msgspec import Struct

from worker.errors import StartupError

SHIPPED: Final = Path(__file__).parent / "models"
_ON_A_HUB: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>\w[\w./-]*))?", re.ASCII
)
"""Without a revision it may as well be the path of a folder that is not there, and is taken for no more than that."""
_NAME: Final = re.compile(r"[\w-]+")
_WEIGHTS: Final = ("*.safetensors", "pytorch_model*.bin")


class OnHub(Struct, frozen=True):
    """A checkpoint on a hub: `org/name`, and a branch, tag or commit of it."""

    name: str
    revision: str


def folder_of(model: str) -> Path:
    """The folder of a shipped model, or the path as it is given, whether there is one or not."""
    # A name and no path: "." is a folder too, and not the one beside the shipped ones.
    is_name = _NAME.fullmatch(model) is not None
    return SHIPPED / model if is_name and (SHIPPED / model).is_dir() else Path(model)


def on_hub(model: str) -> OnHub | None:
    """The checkpoint on a hub that it names. What is there on this machine goes before what may be elsewhere."""
    found = _ON_A_HUB.fullmatch(model)
    if found is None or found["revision"] is None or folder_of(model).exists():
        return None
    return OnHub(found["name"], found["revision"])


def check_named(model: str) -> None:
    """See that it names something: what is here, or a checkpoint on a hub, which nobody is asked for yet.

    Raises:
        StartupError: it does not, in one line.
    """
    if folder_of(model).exists() or on_hub(model) is not None:
        return
    on_a_hub = _ON_A_HUB.fullmatch(model) is not None
    hint = f"; a model on a hub takes its revision: {model}@REVISION" if on_a_hub else ""
    raise StartupError(f"SCREENER_MODEL: {model} is none of the shipped models, and no folder{hint}")


def names_checkpoint(model: str) -> bool:
    """Whether it takes torch: a name on a hub, or a folder with a checkpoint's weights and no `model.onnx`."""
    folder = folder_of(model)
    if not folder.is_dir():
        return on_hub(model) is not None
    return not (folder / "model.onnx").is_file() and any(any(folder.glob(weights)) for weights in _WEIGHTS)
