"""What can go wrong, and what is then done about it.

    ScreenerError
    ├── InvalidRecord     the record is wrong: it becomes a dead letter and is never retried
    ├── TransientError    the world is wrong: try again, with a bound
    └── FatalError        stop: the process ends without an ack, and whoever supervises it starts it again
        ├── StartupError        it cannot run as configured; one clear line, exit 2
        │   └── PolicyError     nor by that policy
        ├── OutOfMemory         and it stays so: it ends as a stalled worker does, with its stacks, exit 70
        └── DeadLetterLimit     too many records are wrong: somebody has to look first

An `InvalidRecord` carries a `reason` from a closed set: the value of the metric label and of the dead letter's header.
"""

import traceback
from collections.abc import Sequence
from enum import StrEnum


class Stage(StrEnum):
    """Where in the flow a record failed."""

    DECODE = "decode"
    CLASSIFY = "classify"
    PUBLISH = "publish"


class Reason(StrEnum):
    """Why a record became a dead letter. Closed within a minor version: dashboards and consumers may list it."""

    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    INVALID_ID = "invalid_id"
    INVALID_TEXT = "invalid_text"
    """Empty, or too long."""
    INVALID_TIMESTAMP = "invalid_timestamp"
    INVALID_FIELD = "invalid_field"
    UNCLASSIFIABLE = "unclassifiable"
    DECISION_REFUSED = "decision_refused"


def is_about_the_world(error: BaseException) -> bool:
    """Whether it is of the network, the system or Kafka: its message says what to do, and quotes nobody."""
    return isinstance(error, OSError) or type(error).__module__.startswith("aiokafka.")


def where_raised(error: BaseException) -> str:
    """An error by its class and the places that it came through, a line each. Its message may quote a text."""
    return f"{type(error).__name__}, raised at (innermost last):\n" + "".join(traceback.format_tb(error.__traceback__))


class ScreenerError(Exception):
    """The root of every error that this package raises on purpose."""


class InvalidRecord(ScreenerError):  # noqa: N818  named for what it says of the record
    """This record can never be screened.

    Args:
        stage: where it failed.
        reason: why, from the closed set.
        message: one line for a person. It names fields and limits, and never holds text of the comment.
    """

    def __init__(self, stage: Stage, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.reason = reason
        self.message = message


class TransientError(ScreenerError):
    """The same work may succeed later: broker, memory, network."""


class FatalError(ScreenerError):
    """Nothing more can be done in this process. Unfinished comments stay uncommitted and are read again."""


class StartupError(FatalError):
    """The worker cannot run as configured."""


class PolicyError(StartupError):
    """The policy cannot be used. `problems` holds all that is wrong with it, a line each: `FILE:LINE: where: what`."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class OutOfMemory(FatalError):  # noqa: N818  named for what happened
    """There was no memory to screen with, however small the batch and however often it was tried."""


class DeadLetterLimit(FatalError):  # noqa: N818  the limit is the event
    """More records are wrong than an ordinary day explains."""
