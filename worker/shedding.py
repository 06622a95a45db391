"""Overload: a comment that has waited for too long is held for a person, and the model is not asked.

Off unless `SCREENER_SHED_LAG_S` is set. Nothing is dropped: each such comment gets a decision like any other, marked `degraded`.
Pure. What is shed follows from each record's own age when it is taken up, so there is no mode to enter and leave: the oldest
are worked off at once until the next one is young enough to be screened.
"""

from typing import Final

from worker.policy import Verdict
from worker.records import OVERLOAD, Action, AgeBand, ReasonGiven

RULE: Final = "settings.shed_lag_s"
"""Where the rule stands: no policy has it."""


def is_overdue(written_at: float | None, now: float, shed_lag_s: float | None) -> bool:
    """Whether a record is too old to be screened.

    Args:
        written_at: its Kafka timestamp, epoch seconds; without one its age is not known, and it is screened.
        now: likewise.
        shed_lag_s: the age that is too old; None: none is.
    """
    return shed_lag_s is not None and written_at is not None and now - written_at > shed_lag_s


def hold(audience: AgeBand | None) -> Verdict:
    """What is decided of a comment that nobody looked at: a person will."""
    reason = ReasonGiven(OVERLOAD, None, None, audience or AgeBand.UNKNOWN, Action.HOLD, RULE)
    return Verdict(Action.HOLD, None, None, [reason])
