"""Files that somebody put there, read whole and up to a size: a wrong path must not fill the memory."""

import json
from pathlib import Path
from typing import Any, Final

from worker.errors import StartupError

MIB: Final = 2**20


def read_bytes(path: Path, most: int) -> bytes:
    """What a file holds, where that is no more than `most` bytes.

    Raises:
        OSError: it cannot be read.
        StartupError: it is larger.
    """
    with path.open("rb") as file:
        # Asked of the content and not of its size: a device or a pipe has none.
        content = file.read(most + 1)
    if len(content) > most:
        raise too_large(path, most)
    return content


def check_size(path: Path, most: int) -> None:
    """For a file that a library reads by itself, if it is there. Raises StartupError where it is larger."""
    if path.is_file() and path.stat().st_size > most:
        raise too_large(path, most)


def read_text(path: Path, most: int) -> str:
    """The same as UTF-8.

    Raises:
        StartupError: it cannot be read, is larger, or is no UTF-8; in one line that shows nothing of it.
    """
    try:
        return read_bytes(path, most).decode()
    except OSError as error:
        raise StartupError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise StartupError(f"{path}: not UTF-8") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of at most a mebibyte. Raises StartupError, in one line, where it is none."""
    try:
        content = json.loads(read_bytes(path, MIB))
    except OSError as error:
        raise StartupError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise StartupError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise StartupError(f"{path}: not a JSON object")
    return content


def too_large(path: Path, most: int) -> StartupError:
    """The refusal, for those who word their other errors themselves."""
    size = f"{most // MIB} MiB" if most >= MIB else f"{most // 1024} KiB"
    return StartupError(f"{path}: larger than {size}, the most that is read")
