"""Contestants that work offline: each a process of its own, so that none has the threads or the memory of another.

    part ─► {"texts": FILE} ─► child: the same work once more ─► {"seconds": 1.5, "note": "…"} ─► part

A child that lacks what it needs says so instead of being ready, and its rows say it in turn.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from msgspec import Struct

from bench.texts import comment_texts

Work = Callable[[list[str]], str]
"""Texts → a note, once all of them are done."""
Renew = Callable[[], None]
"""Done before each round, beside the clock."""
_WARM_UP: Final = 64
"""Texts that a contestant is given before anything is timed."""
_WARM_UP_SEED: Final = 99
_GRACE_S: Final = 10.0


class NotInstalledError(Exception):
    """What a contestant lacks, in a few words."""


class Lap(Struct, frozen=True):
    """One round of one contestant."""

    seconds: float
    note: str = ""


class Contestant:
    """One child. Started where it is made, and ready when that returns.

    Args:
        program: what python runs.
        log: where its messages go.

    Attributes:
        missing: why it cannot take part; None where it does.
    """

    def __init__(self, program: Sequence[str], log: Path) -> None:
        self._name = " ".join(program)
        self._log = log.open("ab")
        self._child = subprocess.Popen(  # noqa: S603  our own programs
            [sys.executable, *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        try:
            self.missing: str | None = self._answer().get("missing")
        except BaseException:
            self.close()
            raise

    def run(self, texts: Path) -> Lap:
        """Do the work once: `texts` is a JSON file of them. Raises RuntimeError where the child has died."""
        assert self._child.stdin is not None  # noqa: S101  opened above; for the type checker
        self._child.stdin.write(json.dumps({"texts": str(texts)}) + "\n")
        self._child.stdin.flush()
        answer = self._answer()
        return Lap(answer["seconds"], answer["note"])

    def close(self) -> None:
        """End it."""
        assert self._child.stdin is not None  # noqa: S101  as above
        assert self._child.stdout is not None  # noqa: S101  as above
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None  # noqa: S101  as above
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} died: {self._log.name}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def contestants(programs: dict[str, Sequence[str]], folder: Path) -> Iterator[dict[str, Contestant]]:
    """Start them, one after the other, and end them all."""
    with contextlib.ExitStack() as stack:
        started = {}
        for name, program in programs.items():
            child = Contestant(program, folder / f"{'-'.join(program[1:])}.log")
            stack.callback(child.close)
            started[name] = child
        yield started


def serve(prepare: Callable[[], Work | tuple[Work, Renew]]) -> None:
    """The child's side: prepare and warm up, then work each time that a line asks for it."""
    # Libraries print: what goes to standard output from here on is ours alone.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        prepared = prepare()
        work, renew = prepared if isinstance(prepared, tuple) else (prepared, lambda: None)
        renew()
        work(comment_texts(_WARM_UP, _WARM_UP_SEED))
    except NotInstalledError as missing:
        _say(answers, {"missing": str(missing)})
        return
    _say(answers, {"ready": True})
    for line in sys.stdin:
        texts: list[str] = json.loads(Path(json.loads(line)["texts"]).read_text("utf-8"))
        renew()
        started = time.perf_counter()
        note = work(texts)
        _say(answers, {"seconds": time.perf_counter() - started, "note": note})


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()
