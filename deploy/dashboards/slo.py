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

WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
"""Over which the rules average."""
PERIOD: Final = "30d"
"""What the objectives hold for."""
FAST_BURN: Final = 14.4
"""So fast, a month's budget is spent in two days: somebody is woken up."""
SLOW_BURN: Final = 6.0
"""In five days: likewise, a little later."""
_CHOSEN: Final = '{job=~"$job"}'


class Objective(NamedTuple):
    """A promise, and the recorded series of what breaks it."""

    name: str
    good: str
    """What counts as kept, in words."""
    target: float
    errors: str
    """Recorded for each of `WINDOWS`, as `…_5m`: the share, from 0 to 1, in which it was broken. One a job."""

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

    def burn(self, window: str) -> str:
        """How many times too fast for the budget to last."""
        return f"{self.broken(window)} / {self.budget:g}"


AVAILABILITY: Final = Objective(
    "Availability",
    "partition-time in which a worker finishes what comes in",
    0.999,
    "job:screener_availability_error:ratio",
)
LATENCY: Final = Objective(
    "Latency", "comments decided within a second of their Kafka timestamp", 0.99, "job:screener_latency_error:ratio"
)

UNSERVED: Final = (
    f"sum(job:screener_partitions_known:count{_CHOSEN}) - sum(job:screener_partitions_served:count{_CHOSEN} or "
    f"0 * job:screener_partitions_known:count{_CHOSEN})"
)
"""Partitions that nobody works on now, those of workers that are gone included."""
DUE: Final = f"sum(job:screener_comments_due:rate5m{_CHOSEN})"
LATE: Final = f"sum(job:screener_comments_late:rate5m{_CHOSEN})"
"""Comments a second, over five minutes."""
