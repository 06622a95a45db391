"""Dead letters: how one looks on Kafka, and how many are too many.

Only what is wrong with a record comes here. A bad deploy of a producer makes every record wrong: then the worker stops before
it has moved a topic into the dead letters.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from worker.errors import DeadLetterLimit, Reason
from worker.records import DeadLetter

Headers = list[tuple[str, bytes | None]]
PREFIX: Final = "screener-"


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
    }
    return letter.headers + [(PREFIX + name, value.encode()) for name, value in added.items()]


class Limit:
    """Watches the share of dead letters.

    Args:
        in_a_row: this many without a decision between them stop the worker.
        ratio: so does a larger share than this of the last `window` records, once there were that many.
    """

    def __init__(self, in_a_row: int, ratio: float, window: int) -> None:
        self._in_a_row = in_a_row
        self._ratio = ratio
        self._recent: deque[bool] = deque(maxlen=window)
        self._dead = 0
        self._row = 0

    def note(self, reasons: Sequence[Reason | None]) -> None:
        """Take in finished records in order: why each is a dead letter, or None for a decision.

        Raises:
            DeadLetterLimit: it is passed; the message says which limit, and the last reason.
        """
        for reason in reasons:
            dead = reason is not None
            if len(self._recent) == self._recent.maxlen:
                self._dead -= self._recent[0]
            self._recent.append(dead)
            self._dead += dead
            self._row = self._row + 1 if dead else 0
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
