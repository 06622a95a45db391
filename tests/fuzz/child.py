"""One target under libFuzzer, in a process of its own: `… TARGET INPUTS FIGURES FOUND [arguments of libFuzzer]`.

libFuzzer ends the process itself, so what was measured is written when the last input has been tried.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from typing import Any


def main(name: str, inputs: int, figures: Path, found: Path, arguments: list[str]) -> None:
    """Does not return. Exit status 0, or libFuzzer's where it found something."""
    atheris: Any = importlib.import_module("atheris")
    # What is imported from here on tells libFuzzer which branches an input takes.
    with atheris.instrument_imports(include=["worker", "yaml"]):
        check: Callable[[bytes], None] = importlib.import_module("tests.fuzz.targets").load_check(name)
    # Models are read before anything is measured.
    check(b"\x00hello")
    tried = 0
    slowest_ms = 0.0

    def try_input(data: bytes) -> None:
        nonlocal tried, slowest_ms
        started = time.thread_time()
        try:
            check(data)
        except BaseException:
            # As libFuzzer names what takes too long or too much memory: it does not always come to save this itself.
            (found / f"crash-{sha1(data, usedforsecurity=False).hexdigest()}").write_bytes(data)
            raise
        slowest_ms = max(slowest_ms, 1000 * (time.thread_time() - started))
        tried += 1
        if tried == inputs:
            figures.write_text(json.dumps({"inputs": tried, "slowest_ms": slowest_ms}))

    atheris.Setup([f"fuzz-{name}", *arguments], try_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
