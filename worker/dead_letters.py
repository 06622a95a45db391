"""Dead letters: how one looks on Kafka, written and read back, and how many are too many.

Only what is wrong with a record comes here. A bad deploy of a producer makes every record wrong: then the worker stops before
it has moved a topic into the dead letters. What whoever writes comments can bring about stops nothing.
"""

import importlib.metadata
from collections import deque
from collections.abc import Sequence
from itertools import islice, takewhile
from typing import Final

from worker.errors import DeadLetterLimit, Reason
from worker.records import DeadLetter

Headers = list[tuple[str, bytes | None]]
PREFIX: Final = "screener-"
WORKER_VERSION: Final = importlib.metadata.version("comment-screener")
"""This worker's, for the letters that it writes."""
_WORKER_VERSION_NAME: Final = PREFIX + "worker-version"


def headers(letter: DeadLetter) -> Headers:
    """The record's own headers, untouched, and ours behind them."""
    source = letter.source
    added = {
        "original-topic": source.topic if source else "",
        "original-partition": str(source.partition) if source else "",
        "original-offset": str(source.offset) if source else "",
        "original-timestamp": "" if letter.timestamp_ms is None else str(letter.timestamp_ms),
        "stage": letter.stage,
        "reason": letter.reason,
        "error-class": letter.error_class,
        "error-message": letter.error_message,
        "attempts": str(letter.attempts),
        "worker": letter.worker,
        "model": f"{letter.model.name}/{letter.model.version}/{letter.model.sha256}",
        "policy": f"{letter.policy.id}/{letter.policy.version}/{letter.policy.sha256}",
        "worker-version": letter.worker_version,
    }
    return letter.headers + [(PREFIX + name, value.encode()) for name, value in added.items()]


_FROM_THE_FIRST: Final = tuple(
    PREFIX + name
    for name in (
        "original-topic",
        "original-partition",
        "original-offset",
        "original-timestamp",
        "stage",
        "reason",
        "error-class",
        "error-message",
        "attempts",
        "worker",
        "model",
        "policy",
    )
)
"""What every version has written, in this order. Later ones write more behind it."""


def split(found: Sequence[tuple[str, bytes | None]]) -> tuple[Headers, dict[str, str]] | None:
    """The way back: the record's own headers, and ours by their names without the prefix. None: this is no dead letter.

    Ours are the last such row of names, so a record's own headers that look like ours stay its own. What stands behind ours was
    added on the way, by a client that traces for example, and belongs to neither.
    """
    names = [name for name, _ in found]
    length = len(_FROM_THE_FIRST)
    for start in range(len(names) - length, -1, -1):
        end = start + length
        if tuple(names[start:end]) == _FROM_THE_FIRST:
            end += names[end : end + 1] == [_WORKER_VERSION_NAME]
            ours = {
                name.removeprefix(PREFIX): (value or b"").decode(errors="replace") for name, value in found[start:end]
            }
            return list(found[:start]), ours
    return None


_OF_AUTHORS: Final = frozenset({Reason.INVALID_TEXT})
"""Why a record is wrong that a producer hands on as it should. Else anybody could stop all workers by writing enough of them."""


class Limit:
    """Watches the share of dead letters, but for those that authors bring about: they count on neither side.

    Args:
        in_a_row: this many without a decision between them stop the worker.
        ratio: so does a larger share than this of the last `window` records, once there were that many.
    """

    def __init__(self, in_a_row: int, ratio: float, window: int) -> None:
        self._in_a_row = in_a_row
        self._ratio = ratio
        self._recent: deque[bool] = deque(maxlen=window)
        """Which of the last records are dead letters."""
        self._dead = 0
        self._row = 0

    def note(self, reasons: Sequence[Reason | None]) -> None:
        """Take in finished records in order: why each is a dead letter, or None for a decision.

        Raises:
            DeadLetterLimit: it is passed; the message says which limit, and the last reason.
        """
        for reason in reasons:
            if reason in _OF_AUTHORS:
                continue
            dead = reason is not None
            if len(self._recent) == self._recent.maxlen:
                self._dead -= self._recent[0]
            self._recent.append(dead)
            self._dead += dead
            self._row = self._row + 1 if dead else 0
            self._check(reason)

    def refuse(self, reason: Reason, count: int) -> None:
        """So many records that were noted as decisions, of late, are dead letters after all. Raises as `note`."""
        decided = (at for at in reversed(range(len(self._recent))) if not self._recent[at])
        for at in islice(decided, count):
            self._recent[at] = True
            self._dead += 1
        self._row = max(self._row, sum(1 for _ in takewhile(bool, reversed(self._recent))))
        self._check(reason)

    def _check(self, reason: Reason | None) -> None:
        if self._row >= self._in_a_row:
            raise DeadLetterLimit(
                f"{self._row} dead letters in a row (SCREENER_DEAD_LETTERS_IN_A_ROW), the last for {reason}: "
                "look at what the producers send before starting again"
            )
        if len(self._recent) == self._recent.maxlen and self._dead > self._ratio * len(self._recent):
            raise DeadLetterLimit(
                f"{self._dead} of the last {len(self._recent)} records are dead letters "
                f"(SCREENER_DEAD_LETTERS_RATIO {self._ratio:g}): look at what the producers send before starting again"
            )
