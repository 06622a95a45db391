"""The two objectives, by the names under which deploy/prometheus/rules.yml records them.

The worker loses nothing: a comment is late, never gone. So there are two questions.

**Availability**: is every partition worked on? Counted in partition-time, since decisions out of comments would be nothing out of
nothing in an outage, just when it matters. A partition is served where a worker that can be scraped has it, its oldest
unfinished comment is at most 60 s old, and its lag does not grow while its watermark stands still.

**Latency**: does the decision come in time? Comments whose decision the broker has confirmed within a second of their Kafka
timestamp, out of all that were decided or became dead letters through our own fault. What was held unscored for overload has
waited longer, and is late.
"""

from typing import Final, NamedTuple

from deploy.dashboards.queries import of, share

PERIOD_D: Final = 30
PERIOD: Final = f"{PERIOD_D}d"
"""What the objectives hold for."""
HALVES: Final = {"5m": "150s", "30m": "15m", "1h": "30m", "2h": "1h", "6h": "3h", "1d": "12h", "3d": "36h"}
"""Over which the rules average beside it, and half of each."""
FAST_BURN: Final = 14.4
"""So fast, a month's budget is spent in two days: somebody is woken up."""
SLOW_BURN: Final = 6.0
"""In five days: likewise, a little later."""
TICKET_BURN: Final = 3.0
"""In ten days: by day."""
_CHOSEN: Final = '{job=~"$job"}'


class Objective(NamedTuple):
    """A promise, and the recorded series of what breaks it."""

    name: str
    good: str
    """What counts as kept, in words."""
    target: float
    errors: str
    """Recorded for each window, as `…_5m`: the share, from 0 to 1, in which it was broken. One a job."""
    known: str
    """Recorded: how much of the period is known, from 0 to 1. What is not counts as kept."""
    counted: str
    """Recorded: what all of this is counted in. It is there whenever anything is known."""

    @property
    def budget(self) -> float:
        """The share that may be broken."""
        return round(1 - self.target, 6)

    def broken(self, window: str) -> str:
        """Of the worst job that is chosen."""
        return f"max({self.errors}_{window}{_CHOSEN})"

    def attained(self) -> str:
        return f"1 - {self.broken(PERIOD)}"

    def left(self) -> str:
        """The part of the budget that is left; negative where it is overspent."""
        return f"1 - {self.broken(PERIOD)} / {self.budget:g}"

    def known_d(self) -> str:
        """Days that are known: of the job that is known for the shortest time."""
        return f"{PERIOD_D} * min({self.known}{_CHOSEN})"

    def burn(self, window: str) -> str:
        """How many times too fast for the budget to last; absent where less than half of the window is known, as in the alerts.

        An average over what is known would say of three days what was so for three minutes.
        """
        half = HALVES[window]
        before = f"present_over_time({self.counted}{_CHOSEN}[{half}] offset {half})"
        return f"max({self.errors}_{window}{_CHOSEN} and on (job) {before}) / {self.budget:g}"


AVAILABILITY: Final = Objective(
    "Availability",
    "partition-time in which a worker finishes what comes in",
    0.999,
    errors="job:screener_availability_error:ratio",
    known="job:screener_availability_known:ratio_30d",
    counted="job:screener_availability_error:ratio",
)
LATENCY: Final = Objective(
    "Latency",
    "comments decided within a second of their Kafka timestamp",
    0.99,
    errors="job:screener_latency_error:ratio",
    known="job:screener_latency_known:ratio_30d",
    counted="job:screener_comments_due:rate5m",
)

UNSERVED: Final = (
    f"sum(job:screener_partitions_known:count{_CHOSEN}) - sum(job:screener_partitions_served:count{_CHOSEN} or "
    f"0 * job:screener_partitions_known:count{_CHOSEN})"
)
"""Partitions that nobody works on now, those of workers that are gone included."""
DUE: Final = f"sum(job:screener_comments_due:rate5m{_CHOSEN})"
"""Comments a second, over five minutes."""
_LATE: Final = f"sum(job:screener_comments_late:rate5m{_CHOSEN})"
_OLD: Final = f"{of('screener_lag_messages')} and on (job, instance, partition) {of('screener_lag_seconds')} > 1"
_WAITING: Final = f"(sum({_OLD}) or vector(0))"
LATE_SHARE: Final = share(f"({_LATE} * 300 + {_WAITING})", f"({DUE} * 300 + {_WAITING})")
"""Of the comments of five minutes, those that were decided late, and those that are it already and not yet decided.

The objective counts a comment once it is decided: in an outage it would say for minutes that none is late.
"""
