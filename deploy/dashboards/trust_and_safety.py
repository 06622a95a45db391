"""Trust and safety: what is decided, for whom, how soon, what waits for a person, and what could not be screened."""

from typing import Final

from grafana_foundation_sdk.models import common, dashboard

from deploy.dashboards import slo
from deploy.dashboards.colours import OF_ACTION, OF_AGE, OF_CATEGORY, OF_PERCENTILE
from deploy.dashboards.frame import TRUST_AND_SAFETY, Line, Row, frame
from deploy.dashboards.model import revisions
from deploy.dashboards.panels import ANY_IS_BAD, ANY_IS_ODD, NONE, bars, chart, heatmap, stat, table, timeline
from deploy.dashboards.queries import Query, buckets, increase, more_likely, of, percentiles, rate, share, where
from worker.classifier import KIND_LABELS
from worker.metrics import NO_CATEGORY
from worker.records import Action, AgeBand

_NOBODY: Final = "no worker reports"
_QUIET: Final = "no traffic"
_DECIDED: Final = rate("screener_decisions_total")
(_KIND,) = KIND_LABELS
_HARM: Final = f'category!~"{"|".join((*KIND_LABELS, NO_CATEGORY))}"'


def _at_a_glance() -> Row:
    escalated = stat(
        "Escalated",
        Query(increase("screener_comments_total", where("action", "escalate"))),
        shows="Comments for which a person is needed at once: threats and talk of self-harm.",
        bad="more than the people on duty can read, or a sudden many.",
        unit="short",
        no_value=_NOBODY,
        words=NONE,
        decimals=0,
    )
    held_for_review = stat(
        "Held for review",
        Query(increase("screener_comments_total", where("action", "hold"))),
        shows="Comments that wait for a person.",
        bad="more than reviewers get through in the same time.",
        unit="short",
        no_value=_NOBODY,
        words=NONE,
        decimals=0,
    )
    held_unscored = stat(
        "Held unscored",
        Query(increase("screener_shed_total")),
        shows="Of those, the ones that nobody has scored, because they had waited longer than SCREENER_SHED_LAG_S.",
        bad="any: review them first, by degraded true.",
        unit="short",
        no_value=_NOBODY,
        steps=ANY_IS_BAD,
        words=NONE,
        decimals=0,
    )
    removed = stat(
        "Removed",
        Query(increase("screener_comments_total", where("action", "remove"))),
        shows="Comments taken down without a person.",
        bad="a sudden many: a raid, or a policy that is too strict.",
        unit="short",
        no_value=_NOBODY,
        words=NONE,
        decimals=0,
    )
    kind = stat(
        "Kind",
        Query(more_likely(_KIND, increase)),
        shows="Share of the comments that the model takes to be kind, whatever the policy makes of it.",
        bad="falling over days. This is the figure to raise.",
        unit="percentunit",
        no_value=_QUIET,
        steps=((None, "green"),),
        decimals=1,
    )
    harmful = stat(
        "Harmful",
        Query(share(increase("screener_decisions_total", _HARM), increase("screener_decisions_total"))),
        shows="Share of the comments on which some rule for harm, or for an unknown language, acted.",
        bad="a jump: see below which category and which age.",
        unit="percentunit",
        no_value=_QUIET,
        decimals=1,
    )
    decided_in_time = stat(
        "Decided in time",
        Query(f"1 - {slo.LATE_SHARE}"),
        shows="Share of the comments decided within a second, over the last 5 minutes. What waits longer now is none of them.",
        bad=f"under {slo.LATENCY.target:.0%}: people see comments before they are screened.",
        unit="percentunit",
        no_value=_QUIET,
        steps=(
            (None, "red"),
            (1 - slo.FAST_BURN * slo.LATENCY.budget, "orange"),
            (slo.LATENCY.target, "green"),
        ),
        decimals=1,
    )
    dead_letters = stat(
        "Dead letters",
        Query(increase("screener_dead_letters_total")),
        shows="Records that became dead letters.",
        bad="many: see their reasons below, then `comment-screener dead-letters list`.",
        unit="short",
        no_value=_NOBODY,
        steps=ANY_IS_ODD,
        words=NONE,
        decimals=0,
    )
    return Row(
        "In the time shown",
        [
            Line(
                4,
                [
                    escalated,
                    held_for_review,
                    held_unscored,
                    removed,
                    kind,
                    harmful,
                    decided_in_time,
                    dead_letters,
                ],
            )
        ],
    )


def _actions() -> Row:
    comments_by_action = chart(
        "Comments by action",
        [Query(rate("screener_comments_total", where("action", action)), action) for action in Action],
        shows="Decided a second, the mildest action at the bottom.",
        bad="the upper layers grow while the whole does not.",
        unit="cps",
        no_value=_NOBODY,
        colours=OF_ACTION,
        stacked=common.StackingMode.NORMAL,
    )
    share_of_each_action = chart(
        "Share of each action, allow left out",
        [
            Query(
                share(
                    rate("screener_comments_total", where("action", action)),
                    rate("screener_comments_total"),
                ),
                action,
            )
            for action in Action
            if action is not Action.ALLOW
        ],
        shows="The same as shares.",
        bad="a jump. At a mark for a new model or policy: look at it. Without one: something happens on the platform.",
        unit="percentunit",
        no_value=_QUIET,
        colours=OF_ACTION,
    )
    for_a_person_to_see = chart(
        "For a person to see",
        [
            Query(rate("screener_comments_total", where("action", "escalate")) + " * 3600", "escalate"),
            Query(rate("screener_comments_total", where("action", "hold")) + " * 3600", "hold"),
            Query(rate("screener_shed_total") + " * 3600", "of these, unscored"),
        ],
        shows="Comments that are held or escalated, an hour: what reviewers have to keep up with.",
        bad="more than they read in an hour; any unscored.",
        unit="short",
        no_value=_NOBODY,
        colours={"escalate": "dark-red", "hold": "orange", "of these, unscored": "red"},
    )
    return Row("What is done", [Line(8, [comments_by_action, share_of_each_action, for_a_person_to_see])])


def _who() -> Row:
    decisions_by_category = chart(
        "Decisions by category",
        [
            Query(rate("screener_decisions_total", where("category", category)), category)
            for category in OF_CATEGORY
            if category != NO_CATEGORY
        ],
        shows="The label behind the action, or the language where no score is, decisions a second. Plain allows have none.",
        bad="one category that rises alone: a raid, a new fashion, or a word that the model gets wrong.",
        unit="cps",
        no_value=_NOBODY,
        colours=OF_CATEGORY,
        stacked=common.StackingMode.NORMAL,
    )
    category_by_age_of_the_readers = table(
        "Category by age of the readers",
        [
            Query(
                f"{increase('screener_decisions_total', where('category', NO_CATEGORY, '!='), by='category, age_band')} > 0"
            )
        ],
        shows="Decisions in the time shown, plain allows left out.",
        bad="much in the columns of the youngest.",
        no_value="none in the time shown",
        columns={"category": "Category", "age_band": "Readers"},
        unit="short",
        spread=("category", "age_band"),
    )
    decisions_by_age_of_the_readers = chart(
        "Decisions by age of the readers",
        [Query(share(rate("screener_decisions_total", where("age_band", band)), _DECIDED), band) for band in AgeBand],
        shows="Share of the decisions, plain allows included.",
        bad="much 'unknown': producers do not send audience_age_band, and the strictest rules apply.",
        unit="percentunit",
        no_value=_QUIET,
        colours=OF_AGE,
        stacked=common.StackingMode.NORMAL,
        top=1,
    )
    harm_by_age_of_the_readers = chart(
        "Harm by age of the readers",
        [
            Query(
                share(
                    rate("screener_decisions_total", where("age_band", band), _HARM),
                    rate("screener_decisions_total", where("age_band", band)),
                ),
                band,
            )
            for band in AgeBand
        ],
        shows="Of the comments for each age, the share on which a rule for harm, or for an unknown language, acted.",
        bad="the lines of the young above the others for longer than their stricter rules explain.",
        unit="percentunit",
        no_value=_QUIET,
        colours=OF_AGE,
    )
    kindness = chart(
        "Kindness",
        [
            Query(more_likely(_KIND), "kind"),
            Query(
                share(
                    rate("screener_comments_total", where("action", "highlight")),
                    rate("screener_comments_total"),
                ),
                "highlighted",
            ),
        ],
        shows="Share of the comments that the model takes to be kind, and of those that are put first for it.",
        bad="a line that sinks over days. Highlighted far below kind: the policy's threshold is high.",
        unit="percentunit",
        no_value=_QUIET,
        colours={"kind": "green", "highlighted": "blue"},
    )
    return Row(
        "Why, and for whom",
        [
            Line(12, [decisions_by_category, category_by_age_of_the_readers], (10, 14)),
            Line(7, [decisions_by_age_of_the_readers, harm_by_age_of_the_readers, kindness]),
        ],
    )


def _when() -> Row:
    time_to_decision = chart(
        "Time to decision",
        percentiles("screener_end_to_end_seconds", exemplars=True),
        shows="From a comment's Kafka timestamp to its decision confirmed by the broker.",
        bad="p99 over the line of a second: that many comments are seen before they are screened.",
        unit="s",
        no_value=_QUIET,
        steps=((None, "transparent"), (1, "red")),
        logarithmic=True,
        colours=OF_PERCENTILE,
    )
    spread = heatmap(
        "Time to decision, spread",
        buckets("screener_end_to_end_seconds"),
        shows="How many comments waited how long.",
        bad="anything above the row of one second.",
        unit="s",
        no_value=_QUIET,
    )
    return Row("How soon", [Line(8, [time_to_decision, spread])])


def _dead_letters() -> Row:
    dead_letters_by_reason = chart(
        "Dead letters by reason",
        [Query(rate("screener_dead_letters_total", by="reason"), "{{reason}}")],
        shows="Records a second that cannot be screened, byte for byte on the dead-letters topic.",
        bad="one that begins and stays: mostly a producer that changed. unclassifiable and decision_refused are ours.",
        unit="cps",
        no_value=_NOBODY,
        stacked=common.StackingMode.NORMAL,
    )
    dead_letters_in_the_time_shown = bars(
        "Dead letters in the time shown",
        [Query(f"sort_desc({increase('screener_dead_letters_total', by='reason')} > 0)", "{{reason}}", instant=True)],
        shows="The same, counted.",
        bad="any that nobody has looked at: `comment-screener dead-letters list`, then redrive or discard.",
        unit="short",
        no_value="none in the time shown",
        steps=((None, "green"), (1, "orange")),
        decimals=0,
    )
    return Row(
        "What could not be screened", [Line(7, [dead_letters_by_reason, dead_letters_in_the_time_shown], (14, 10))]
    )


def _policy() -> Row:
    in_use = timeline(
        "Policy file, by worker",
        Query(f"max by (instance) ({of('screener_policy_refused')})", "{{instance}}"),
        shows="Whether each worker decides by the policy's file as it lies there now. A file that is wrong is refused.",
        bad="the one before: somebody believes that a new policy is in force, and it is not. The log names the line.",
        no_value=_NOBODY,
        words={"0": ("as it lies there", "green"), "1": ("the one before", "orange")},
    )
    changes = chart(
        "Changes of the policy file",
        [
            Query(
                increase("screener_policy_reloads_total", where("result", result), over="$__rate_interval"),
                result,
            )
            for result in ("adopted", "refused")
        ],
        shows="How often a changed file was taken over, or refused because it is wrong; counted by each worker.",
        bad="refused; or fewer adopted than there are workers.",
        unit="short",
        no_value=_NOBODY,
        bars=True,
        colours={"adopted": "green", "refused": "red"},
    )
    return Row("The policy", [Line(6, [in_use, changes, revisions()], (6, 6, 12))])


def build() -> dashboard.Dashboard:
    return frame(
        TRUST_AND_SAFETY,
        "What is decided, for whom and how soon; what waits for a person; what could not be screened.",
        [_at_a_glance(), _actions(), _who(), _when(), _dead_letters(), _policy()],
        since="now-6h",
    )
