"""Overview and SLO: ill or well, at a glance; then which promise suffers, and where to look."""

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard

from deploy.dashboards import slo
from deploy.dashboards.colours import OF_PERCENTILE
from deploy.dashboards.frame import FIRING, MODEL, OVERVIEW, PIPELINE, TRUST_AND_SAFETY, Line, Row, frame
from deploy.dashboards.model import revisions
from deploy.dashboards.panels import (
    ABSENT,
    ANY_IS_BAD,
    ANY_IS_ODD,
    NONE,
    Steps,
    Words,
    bars,
    chart,
    stat,
    table,
    timeline,
)
from deploy.dashboards.queries import Query, increase, model_time, of, percentiles, rate, share
from deploy.dashboards.slo import AVAILABILITY, LATENCY, Objective

ILL_OR_WELL: Final = "Ill or well?"
_WELL, _STRAINED, _ILL, _DOWN = range(4)
_WORDS: Final[Words] = {
    str(_WELL): ("WELL", "green"),
    str(_STRAINED): ("STRAINED", "orange"),
    str(_ILL): ("ILL", "red"),
    str(_DOWN): ("DOWN", "dark-red"),
}
_NOBODY: Final = "nobody reports"
_UNCOUNTED: Final = "not counted yet"
_BEHIND_S, _FAR_BEHIND_S = 30, 60
"""Age of the oldest comment: from the second on, a partition counts as not served."""
_DEAD: Final = increase("screener_dead_letters_total", over="5m")
_DEAD_SHARE: Final = share(_DEAD, f"({increase('screener_comments_total', over='5m')} + {_DEAD})")
_MANY_DEAD: Final = 0.1
_NEUTRAL: Final = "semi-dark-blue"


def _is(level: int, sign: str, expression: str) -> str:
    """A sign of illness: `level` where the expression, a comparison with `bool`, is true."""
    return f'label_replace({level} * ({expression}), "sign", "{sign}", "", "")'


def _firing(severity: str) -> str:
    return FIRING.replace("critical|warning", severity)


def _named(expression: str, label: str) -> str:
    """With a dash for a label that is not there: an empty cell would say what stands there without data."""
    return f'label_replace({expression}, "{label}", "-", "{label}", "")'


_SIGNS: Final = (
    _is(_DOWN, "no worker answers", f"(sum({of('up')}) or vector(0)) == bool 0"),
    _is(_DOWN, "no worker reads", f"sum({of('screener_assigned_partitions')}) == bool 0"),
    _is(_ILL, "partitions are not served", f"({slo.UNSERVED}) > bool 0"),
    _is(_ILL, "over a minute behind", f"max({of('screener_lag_seconds')}) > bool {_FAR_BEHIND_S}"),
    _is(_ILL, "comments are held unscored", f"{increase('screener_shed_total', over='5m')} > bool 0"),
    _is(
        _STRAINED,
        "half a minute behind",
        f"max({of('screener_lag_seconds')} <= {_FAR_BEHIND_S}) > bool {_BEHIND_S}",
    ),
    _is(_STRAINED, "decisions are late", f"{slo.LATE_SHARE} > bool {LATENCY.budget:g}"),
    _is(_STRAINED, "many dead letters", f"{_DEAD_SHARE} > bool {_MANY_DEAD}"),
    _is(_STRAINED, "a worker is down", f"(count({of('up')} == 0) or vector(0)) > bool 0"),
    _is(_STRAINED, "a policy is refused", f"max({of('screener_policy_refused')}) > bool 0"),
    _is(_STRAINED, "a worker cannot finish its work", f"max({of('screener_paused')}) > bool 0"),
    _is(
        _ILL,
        "a critical alert fires",
        f"(count({_firing('critical')}) or vector(0)) > bool 0",
    ),
    _is(_STRAINED, "an alert fires", f"(count({_firing('warning')}) or vector(0)) > bool 0"),
)


def _at_a_glance() -> Row:
    verdict = stat(
        ILL_OR_WELL,
        Query(f"max({' or '.join(_SIGNS)})"),
        shows=(
            "The worst sign of all. **DOWN**: nobody screens. **ILL**: people may see what nobody has screened, or somebody else "
            "has to look at it. **STRAINED**: something is late or wrong, and nothing is seen unscreened yet."
        ),
        bad="anything but WELL. Beside it stands why, and what the alerts have pages for.",
        unit="none",
        no_value="NOBODY REPORTS",
        steps=((None, "red"),),
        words=_WORDS,
        filled=True,
    )
    signs = table(
        "What is wrong",
        [Query(f"max by (sign) ({' or '.join(_SIGNS)}) > 0")],
        shows="Each sign that the verdict is made of, the worst first.",
        bad="a line. Where it is no alert, the tile that has turned orange or red leads to more.",
        no_value="nothing",
        columns={"sign": "Sign"},
        values={"A": ("Level", "none")},
        words={"Level": _WORDS},
        widths={"Level": 110},
        sort_by="Level",
    )
    alerts = table(
        "Alerts that fire",
        [
            Query(
                f"sum by (severity, alertname, instance, partition) ({_named(_named(FIRING, 'instance'), 'partition')})"
            )
        ],
        shows="What is wrong by the rules, the critical ones first. Each has a page in deploy/runbooks under its name.",
        bad="a line that says critical: people see what nobody has screened, or will soon.",
        no_value="no alert fires",
        columns={"severity": "Severity", "alertname": "Alert", "instance": "Worker", "partition": "Partition"},
        widths={"Severity": 100, "Partition": 90},
        sort_by="Severity",
        descending=False,
    )
    return Row(
        "At a glance", [Line(6, [verdict, signs, alerts], (6, 7, 11)), Line(3, _tiles()[:4]), Line(3, _tiles()[4:])]
    )


def _tile(
    title: str,
    expression: str,
    *,
    shows: str,
    bad: str,
    unit: str,
    steps: Steps,
    link: builders.DashboardLink,
    nothing: str | None = "none",
    absent: str = "unknown",
    decimals: int | None = None,
) -> dashboard.Panel:
    """What may be wrong, in a word. Where nobody reports, that is red as well.

    A tile is orange where the verdict is STRAINED at least, and red where it is ILL; yellow can wait for the day.

    `nothing`: the word for 0, which has the first colour; None: 0 is a figure as any other.
    """
    words = {} if nothing is None else {"0": (nothing, steps[0][1])}
    return stat(
        title,
        Query(f"{expression} or vector({ABSENT})"),
        shows=shows,
        bad=bad,
        unit=unit,
        no_value=_NOBODY,
        steps=steps,
        words={**words, ABSENT: (absent, "red")},
        decimals=decimals,
        filled=True,
        link=link,
    )


def _tiles() -> list[dashboard.Panel]:
    return [
        _tile(
            "Workers down",
            f"count({of('up')} == 0) or 0 * count({of('up')})",
            shows="Workers that Prometheus knows of and that do not answer.",
            bad="one that stays: its partitions have gone to others, which have more to do.",
            unit="none",
            steps=ANY_IS_ODD,
            absent="all",
            link=PIPELINE.link("Workers"),
        ),
        _tile(
            "Partitions not served",
            f"({slo.UNSERVED})",
            shows="Partitions that no worker has, that are over a minute behind, or that stand still while more comes in.",
            bad="any: their comments are seen unscreened.",
            unit="none",
            steps=ANY_IS_BAD,
            link=PIPELINE.link("Partitions"),
        ),
        _tile(
            "Oldest comment waits",
            f"max({of('screener_lag_seconds')})",
            shows="The age of the oldest comment that was read and has no decision yet, over all partitions.",
            bad=f"over {_BEHIND_S} s and growing: more comes in than is screened.",
            unit="s",
            steps=((None, "green"), (5, "yellow"), (_BEHIND_S, "orange"), (_FAR_BEHIND_S, "red")),
            nothing="none waits",
            decimals=1,
            link=PIPELINE.link("Lag"),
        ),
        _tile(
            "Late decisions, 5 min",
            f"{slo.LATE_SHARE} or 0 * {slo.DUE}",
            shows="The share of comments whose decision took longer than a second, or has not come after one.",
            bad=f"over {LATENCY.budget:.0%}, which is what the objective allows.",
            unit="percentunit",
            steps=((None, "green"), (LATENCY.budget, "orange")),
            decimals=1,
            link=TRUST_AND_SAFETY.link("Time to decision"),
        ),
        _tile(
            "Held unscored, 5 min",
            increase("screener_shed_total", over="5m"),
            shows="Comments held for a person because they had waited longer than SCREENER_SHED_LAG_S.",
            bad="any: nobody has scored them, so threats and talk of self-harm among them were not escalated.",
            unit="short",
            steps=ANY_IS_BAD,
            decimals=0,
            link=TRUST_AND_SAFETY.link("Held for review"),
        ),
        _tile(
            "Dead letters, 5 min",
            f"{_DEAD_SHARE} or 0 * {_DEAD}",
            shows="The share of records that cannot be screened.",
            bad="over 1 %: mostly a producer has changed. An alert says so once it lasts.",
            unit="percentunit",
            steps=((None, "green"), (0.01, "yellow"), (_MANY_DEAD, "orange")),
            decimals=1,
            link=TRUST_AND_SAFETY.link("Dead letters"),
        ),
        _tile(
            "Decided a second",
            rate("screener_comments_total"),
            shows="Decisions that the broker has confirmed.",
            bad="none, at an hour when people write: the producers are silent, or nothing gets done. The tiles above know which.",
            unit="cps",
            # By itself it is neither good nor bad: in an outage none may not be green, and in a quiet night not red.
            steps=((None, _NEUTRAL),),
            link=PIPELINE.link("Rates"),
        ),
        _tile(
            "Model busy",
            f"max({model_time()})",
            shows="How much of what the busiest worker's model can run at once does run. The one figure to scale by.",
            bad="over 90 %: there is no room for more. Low while comments wait: something else holds them up.",
            unit="percentunit",
            steps=((None, _NEUTRAL), (0.9, "yellow")),
            nothing=None,
            decimals=0,
            link=MODEL.link("Model"),
        ),
    ]


def _objective(objective: Objective) -> Line:
    name, budget = objective.name, objective.budget
    attained = stat(
        f"{name}: attained",
        Query(objective.attained()),
        shows=(
            f"The objective: {objective.good}, {objective.target:.1%} of it over {slo.PERIOD}. Of the worst job. Days that "
            "are not known count as kept."
        ),
        bad=f"under {objective.target:.1%}: the promise is broken.",
        unit="percentunit",
        no_value=_UNCOUNTED,
        steps=((None, "red"), (objective.target, "green")),
        decimals=3,
    )
    left = stat(
        f"{name}: budget left",
        Query(objective.left()),
        shows=f"Of the {budget:.1%} in {slo.PERIOD} that may go wrong, what has not been spent.",
        bad="little of it, early in the month; negative: overspent. Then nothing risky is rolled out.",
        unit="percentunit",
        no_value=_UNCOUNTED,
        steps=((None, "red"), (0, "orange"), (0.25, "yellow"), (0.5, "green")),
        decimals=0,
    )
    known = stat(
        f"{name}: known",
        Query(objective.known_d()),
        shows=f"Of how many of the {slo.PERIOD_D} days Prometheus knows how they were. The rest counts as kept.",
        bad="falling: Prometheus was away, or has lost its data.",
        unit=f"suffix: of {slo.PERIOD_D} d",
        no_value=_UNCOUNTED,
        decimals=1,
    )
    now = bars(
        f"{name}: burn rate now",
        [Query(objective.burn(window), window, instant=True) for window in slo.HALVES],
        shows=(
            "How many times too fast the budget is spent, over windows that end now, once half of a window is known. At 1 it "
            "lasts just the month."
        ),
        bad=f"over {slo.FAST_BURN:g} in an hour and still in the last 5 minutes: gone in two days.",
        unit="suffix:x",
        no_value=_UNCOUNTED,
        # Red calls somebody and orange is a ticket, where a short window says that it goes on. That one calls nobody by itself.
        steps=((None, "green"), (1, "yellow"), (slo.FAST_BURN, "orange")),
        steps_of={
            "1h": ((None, "green"), (1, "yellow"), (slo.FAST_BURN, "red")),
            "6h": ((None, "green"), (1, "yellow"), (slo.SLOW_BURN, "red")),
            "1d": ((None, "green"), (1, "yellow"), (slo.TICKET_BURN, "orange")),
            "3d": ((None, "green"), (1, "orange")),
        },
        top=20,
        decimals=1,
    )
    over_time = chart(
        f"{name}: burn rate",
        [Query(objective.burn(window), window) for window in ("5m", "1h", "6h", "3d")],
        shows="The same over time. The short window shows when it began and whether it is over, the long ones what it cost.",
        bad=f"a long and a short window over one line: {slo.FAST_BURN:g} and {slo.SLOW_BURN:g} call somebody, 1 is a ticket.",
        unit="suffix:x",
        no_value=_UNCOUNTED,
        steps=((None, "transparent"), (1, "yellow"), (slo.SLOW_BURN, "orange"), (slo.FAST_BURN, "red")),
        top=2,
    )
    return Line(6, [attained, left, known, now, over_time], (4, 4, 3, 5, 8))


def _where() -> Row:
    comments = chart(
        "Decided, and why not",
        [
            Query(rate("screener_comments_total"), "decided"),
            Query(rate("screener_dead_letters_total"), "dead letters"),
            Query(rate("screener_shed_total"), "held unscored"),
        ],
        shows="Records finished a second.",
        bad="a cliff in what is decided; any that are held unscored; dead letters that begin with a producer's release.",
        unit="cps",
        no_value="no worker reports",
        colours={"decided": "green", "dead letters": "orange", "held unscored": "red"},
    )
    end_to_end = chart(
        "Event to decision",
        percentiles("screener_end_to_end_seconds", exemplars=True),
        shows="From a comment's Kafka timestamp to its decision confirmed by the broker, the wait on Kafka included.",
        bad="p99 over a second. It follows the lag; where there is none, see the stages on the pipeline dashboard.",
        unit="s",
        no_value="no traffic",
        steps=((None, "transparent"), (1, "red")),
        logarithmic=True,
        colours=OF_PERCENTILE,
    )
    lag = chart(
        "Lag in seconds, by partition",
        [Query(f"max by (partition) ({of('screener_lag_seconds')})", "{{partition}}")],
        shows="Age of the oldest comment that was read and is not finished.",
        bad="a line that climbs. All of them: too few workers. One of them: a hot key, or a record that holds it up.",
        unit="s",
        no_value="no worker reports",
        steps=((None, "transparent"), (_BEHIND_S, "orange"), (_FAR_BEHIND_S, "red")),
    )
    return Row("What happened", [Line(8, [comments, end_to_end, lag])])


def _workers() -> Row:
    ready = timeline(
        "Workers",
        Query(
            f"max by (instance) ({of('up')} + on (job, instance) {of('screener_ready')} or {of('up')} == 0)",
            "{{instance}}",
        ),
        shows="Whether each worker answers, and whether it is ready, as its /readyz says.",
        bad="one that is down or loading again and again; one that is up and stays not ready: /readyz says why.",
        no_value="no worker is known",
        words={"0": ("down", "red"), "1": ("not ready", "orange"), "2": ("ready", "green")},
    )
    restarts = stat(
        "Restarts",
        Query(f"sum(changes({of('process_start_time_seconds')}[$__range]))"),
        shows="How often workers began anew in the time shown, as far as they kept their name.",
        bad="more than were rolled out: exit 70 is the watchdog, 2 a setting, 1 says it in the log's last line.",
        unit="none",
        no_value=_NOBODY,
        steps=((None, "green"), (1, "yellow"), (3, "orange")),
        words=NONE,
        decimals=0,
    )
    differing = stat(
        "Revisions in force",
        Query(
            f"max(count(count by (sha256) ({of('screener_model_info')})) "
            f'or label_replace(count(count by (sha256) ({of("screener_policy_info")})), "of", "policy", "", ""))'
        ),
        shows="Different models, or different policies, whichever is more.",
        bad="more than one for longer than a roll-out.",
        unit="none",
        no_value=_NOBODY,
        steps=((None, "green"), (2, "orange")),
        words={"1": ("one", "green")},
        decimals=0,
    )
    return Row("Who works", [Line(7, [ready, revisions(), restarts, differing], (9, 9, 3, 3))])


def build() -> dashboard.Dashboard:
    return frame(
        OVERVIEW,
        "Ill or well, which promise suffers, and where to look.",
        [
            _at_a_glance(),
            Row("Objectives, over 30 days", [_objective(AVAILABILITY), _objective(LATENCY)]),
            _where(),
            _workers(),
        ],
        since="now-3h",
    )
