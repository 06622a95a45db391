"""A checkpoint on a hub → a folder on this machine, with the commit that it is.

Data and nothing else is fetched: configuration, tokenizer and weights as safetensors, never code, never a pickle. Where and
whether it is fetched is what huggingface_hub's own variables say (`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`); it
reads them when it is imported, so `worker.loading` has made up its mind before this is.
"""

import sys
from pathlib import Path
from typing import Final

from huggingface_hub import snapshot_download
from huggingface_hub.utils.tqdm import disable_progress_bars
from msgspec import Struct

from worker.errors import StartupError
from worker.model_source import OnHub

_FILES: Final = ["*.json", "*.txt", "*.model", "*.safetensors"]
_LEFT: Final = ["*/*"]
"""The same once more for other runtimes lies in folders."""


class Fetched(Struct, frozen=True):
    """A checkpoint as it lies in the hub's cache here, and the commit's hash."""

    folder: Path
    commit: str


def fetch(source: OnHub) -> Fetched:
    """Download what is not here yet. What is here is not fetched again, though the hub is asked what there is.

    Raises:
        StartupError: there is no such checkpoint, or no way to it, in one line.
    """
    if not sys.stderr.isatty():
        # There it would stand among the lines of the log.
        disable_progress_bars()
    try:
        folder = Path(
            snapshot_download(source.name, revision=source.revision, allow_patterns=_FILES, ignore_patterns=_LEFT)
        )
    except Exception as error:
        # The libraries below have dozens, and write paragraphs.
        reason = " ".join(str(error).split())
        raise StartupError(
            f"SCREENER_MODEL: {source.name} at {source.revision} is not to be had from a hub: {reason}"
        ) from error
    # The cache names a snapshot's folder by its commit.
    return Fetched(folder, folder.name)
