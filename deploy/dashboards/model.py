"""Model: what it makes of the comments and whether that has moved; how well its time is used; what it does not know."""

from typing import Final

from grafana_foundation_sdk.models import common, dashboard

from deploy.dashboards.colours import OF_CATEGORY, OF_LABEL, OF_PERCENTILE, OF_SUPPORT
from deploy.dashboards.frame import MODEL, Line, Row, frame, pick
from deploy.dashboards.panels import Steps, bars, chart, heatmap, stat, table
from deploy.dashboards.queries import (
    Query,
    buckets,
    increase,
    mean,
    model_time,
    more_likely,
    of,
    percentiles,
    quantile,
    rate,
    share,
    where,
)
from worker.classifier import LABELS
from worker.metrics import NO_CATEGORY, SUPPORT

_NOBODY: Final = "no worker reports"
_QUIET: Final = "no traffic"
_ENOUGH: Final = 500
"""Comments, below which two hours differ by chance alone."""
_MOVED: Final[Steps] = ((None, "text"), (0, "green"), (0.1, "orange"), (0.2, "red"))


_TOO_FEW: Final = f"needs {_ENOUGH} comments in each of the two hours"
_THEN: Final = " offset $baseline"


def _distribution(offset: str, *bounds: str) -> str:
    """How much of an hour's comments scored no higher than each bound, by label; absent where they are too few."""
    below = f"sum by (label, le) (increase({of('screener_score_bucket', *bounds)}[1h]{offset}))"
    all_of_them = f"sum by (label) (increase({of('screener_score_count')}[1h]{offset}))"
    return f"{below} / on (label) group_left () ({all_of_them} > {_ENOUGH})"


_MOVED_BY: Final = f"max by (label) (abs({_distribution('')} - on (label, le) {_distribution(_THEN)}))"
"""The largest difference between two distributions: Kolmogorov and Smirnov's, at the histogram's bounds."""


def revisions() -> dashboard.Panel:
    """What is in force, worker by worker."""
    named = f"""label_replace({of("screener_policy_info")}, "name", "$1", "id", "(.*)")"""
    in_force = {"model": of("screener_model_info"), "policy": named}
    return table(
        "Model and policy",
        [
            Query(
                f"max by (instance, what, name, version, revision) (label_replace(label_replace({series}, "
                f'"what", "{what}", "", ""), "revision", "$1", "sha256", "(.{{12}}).*"))'
            )
            for what, series in in_force.items()
        ],
        shows="What each worker scores and decides with. A change is marked on the time axis of every chart.",
        bad="two revisions of either for longer than a roll-out: the same comment gets different decisions.",
        no_value=_NOBODY,
        columns={
            "instance": "Worker",
            "what": "What",
            "name": "Name",
            "version": "Version",
            "revision": "SHA-256",
        },
        widths={"What": 70, "Version": 80, "SHA-256": 120},
    )


def _at_a_glance() -> Row:
    scored_a_second = stat(
        "Scored a second",
        Query(rate("screener_score_count", where("label", LABELS[0]))),
        shows="Comments decided by their scores, those included whose scores were remembered.",
        bad="far from what is decided: comments are held unscored.",
        unit="cps",
        no_value=_NOBODY,
    )
    moved_most = stat(
        "Moved most",
        Query(f"max({_MOVED_BY})"),
        shows=(
            "How far the scores of the last hour are from those of the hour that is chosen at the top, for the label that has "
            "moved most: this share of the comments lies on the other side of some score."
        ),
        bad="over 10 %: another model, another community, or an attack. Look which label it is, below.",
        unit="percentunit",
        no_value="too few comments",
        steps=_MOVED,
        decimals=0,
    )
    model_busy = stat(
        "Model busy",
        Query(f"max({model_time()})"),
        shows="How much of what the busiest worker's model can run at once does run.",
        bad="over 90 %: there is no room for more.",
        unit="percentunit",
        no_value=_NOBODY,
        steps=((None, "green"), (0.75, "yellow"), (0.9, "orange")),
        decimals=0,
    )
    not_understood = stat(
        "Not understood",
        Query(share(rate("screener_languages_total", where("supported", "false")), rate("screener_languages_total"))),
        shows="Share of the comments in a language that the model does not know.",
        bad="rising: people write what is held, or passed unjudged, and reviewers who read it are needed.",
        unit="percentunit",
        no_value=_QUIET,
        steps=((None, "green"), (0.1, "orange"), (0.3, "red")),
        decimals=1,
    )
    return Row(
        "What scores",
        [Line(6, [revisions(), scored_a_second, moved_most, model_busy, not_understood], (10, 3, 4, 3, 4))],
    )


def _scores() -> Row:
    scores_of = heatmap(
        "Scores of $label",
        buckets("screener_score", 'label="$label"'),
        shows="How many comments got which score, for the label that is chosen at the top.",
        bad="the weight moves within minutes, without a new model: something happens on the platform.",
        unit="none",
        no_value=_QUIET,
    )
    mean_score = chart(
        "Mean score, by label",
        [Query(mean("screener_score", where("label", label)), label) for label in LABELS],
        shows="The mean of each label's scores.",
        bad="a step at a mark for a new model: its thresholds have to be looked at again.",
        unit="none",
        no_value=_QUIET,
        colours=OF_LABEL,
    )
    scored_over_a_half = chart(
        "Scored over a half, by label",
        [Query(more_likely(label), label) for label in LABELS],
        shows="Share of the comments with a score over 0.5: what the model takes to be more likely so than not.",
        bad="a line far from where it was at this hour on other days.",
        unit="percentunit",
        no_value=_QUIET,
        colours=OF_LABEL,
    )
    drift_against_ago = bars(
        "Drift against $baseline ago, by label",
        [Query(f"sort_desc({_MOVED_BY})", "{{label}}", instant=True)],
        shows=(
            "The largest difference between the distributions of two hours: this share of the comments has moved to the other "
            "side of some score. It is the deployment's own past that is compared with, so no reference has to be right."
        ),
        bad=(
            "over 10 %, for several hours: another model, another community, or an attack. A week ago it was the same hour of "
            "the week."
        ),
        unit="percentunit",
        no_value=_TOO_FEW,
        steps=_MOVED,
        top=0.3,
        decimals=0,
    )
    drift_over_time = chart(
        "Drift over time, by label",
        [Query(_MOVED_BY, "{{label}}")],
        shows="The same, hour by hour.",
        bad="a step that stays. A hump that passes was an event.",
        unit="percentunit",
        no_value=_TOO_FEW,
        steps=((None, "transparent"), (0.1, "orange"), (0.2, "red")),
        colours=OF_LABEL,
    )
    now_and_then = chart(
        "Scores of $label, this hour and $baseline ago",
        [
            Query(
                f"1 - max({_distribution(offset, where('label', '$label'), where('le', bound))})",
                f"over {bound}, {when}",
            )
            for bound in ("0.5", "0.8")
            for when, offset in (("now", ""), ("then", _THEN))
        ],
        shows="Share of the comments that scored over a half and over 0.8, in the last hour and in the one it is compared with.",
        bad="a pair of lines, now and then, that part: the policy acts more often, or more seldom, than it did.",
        colours={"over 0.5, now": "orange", "over 0.5, then": "text", "over 0.8, now": "red", "over 0.8, then": "text"},
        unit="percentunit",
        no_value=_TOO_FEW,
    )
    return Row(
        "Scores",
        [
            Line(8, [scores_of, mean_score, scored_over_a_half]),
            Line(8, [drift_against_ago, drift_over_time, now_and_then]),
        ],
    )


def _batches() -> Row:
    limit = f"max({of('screener_batch_tokens_limit')})"
    padded = f"({rate('screener_tokens_total')} + {rate('screener_padding_tokens_total')})"
    batch_fill = chart(
        "Batch fill",
        [
            Query(share(mean("screener_batch_tokens"), limit), "mean"),
            Query(share(f"({quantile(0.95, 'screener_batch_tokens')})", limit), "p95"),
        ],
        shows="Tokens in one run of the model, of SCREENER_MAX_BATCH_TOKENS. Small when there is little to do, as it should be.",
        bad="small while comments wait: texts are long and of many widths, or the limit is too high for them.",
        unit="percentunit",
        no_value=_QUIET,
        top=1,
        colours={"mean": "light-blue", "p95": "purple"},
    )
    batch_size = chart(
        "Batch size",
        [
            Query(mean("screener_batch_size"), "mean"),
            Query(quantile(0.95, "screener_batch_size"), "p95"),
        ],
        shows="Pieces of text in one run of the model. It grows with the load.",
        bad="near 1 while the model is busy: it works at its worst price.",
        unit="short",
        no_value=_QUIET,
        colours={"mean": "light-blue", "p95": "purple"},
    )
    tokens = chart(
        "Tokens",
        [
            Query(rate("screener_tokens_total"), "text"),
            Query(rate("screener_padding_tokens_total"), "padding"),
            Query(share(rate("screener_padding_tokens_total"), padded), "padding, share"),
        ],
        shows="Tokens a second that went through the model: text, and the padding that makes a batch rectangular.",
        bad="a share of padding over 25 %, work for nothing.",
        unit="short",
        no_value=_NOBODY,
        colours={"text": "blue", "padding": "orange", "padding, share": "red"},
        right_axis={"padding, share": "percentunit"},
    )
    score_cache = chart(
        "Score cache",
        [
            Query(
                share(
                    rate("screener_score_cache_lookups_total", where("result", "hit")),
                    rate("screener_score_cache_lookups_total"),
                ),
                "known",
            ),
            Query(f"sum({of('screener_score_cache_entries')})", "remembered"),
        ],
        shows="Share of texts whose scores were known (left), and how many are remembered over all workers (right).",
        bad="a share that falls: people write other things than before, or the cache is too small for them.",
        unit="percentunit",
        no_value=_QUIET,
        colours={"known": "green", "remembered": "text"},
        right_axis={"remembered": "short"},
    )
    tokens_in_a_batch = heatmap(
        "Tokens in a batch, spread",
        buckets("screener_batch_tokens"),
        shows="How many runs of the model had how many tokens, padding included.",
        bad="all in the lowest rows while the model is busy.",
        unit="short",
        no_value=_QUIET,
    )
    a_run_of_the_model = chart(
        "A run of the model",
        percentiles("screener_stage_seconds", where("stage", "infer")),
        shows="How long one run takes.",
        bad="longer than before, with batches of one size: less CPU than SCREENER_INFERENCE_THREADS counts on, or another model.",
        unit="s",
        no_value=_QUIET,
        colours=OF_PERCENTILE,
    )
    what_breaks_it = chart(
        "What breaks it",
        [
            Query(increase("screener_bisections_total", over="$__rate_interval"), "batches halved"),
            Query(increase("screener_out_of_memory_total", over="$__rate_interval"), "no memory"),
            Query(
                increase("screener_dead_letters_total", where("reason", "unclassifiable"), over="$__rate_interval"),
                "texts given up",
            ),
        ],
        shows="Batches that failed and were halved, runs that found no memory, texts that the model cannot score at all.",
        bad="any that go on, and texts given up: report the place that the dead letter names.",
        unit="short",
        no_value=_NOBODY,
        bars=True,
        colours={"batches halved": "purple", "no memory": "red", "texts given up": "orange"},
    )
    return Row(
        "Batches and the cache",
        [
            Line(7, [batch_fill, batch_size, tokens, score_cache]),
            Line(7, [tokens_in_a_batch, a_run_of_the_model, what_breaks_it]),
        ],
    )


def _says() -> Row:
    decided = rate("screener_decisions_total")
    label_mix = chart(
        "Label mix",
        [
            Query(share(rate("screener_decisions_total", where("category", category)), decided), category)
            for category in OF_CATEGORY
            if category != NO_CATEGORY
        ],
        shows="The label behind each decision, as a share of all. Plain allows have none and are left out.",
        bad="a jump at a mark: look at the new model or policy. Without one: something happens on the platform.",
        unit="percentunit",
        no_value=_QUIET,
        colours=OF_CATEGORY,
        stacked=common.StackingMode.NORMAL,
    )
    languages = chart(
        "Languages: known to the model",
        [
            Query(
                share(
                    rate("screener_languages_total", where("supported", value)),
                    rate("screener_languages_total"),
                ),
                value,
            )
            for value in SUPPORT.values()
        ],
        shows="Whether the model knows the language of a comment: share of decisions. 'undetermined' is short texts and emoji.",
        bad="'false' rises: such comments are held, or passed unjudged, as the policy has it.",
        unit="percentunit",
        no_value=_QUIET,
        colours=OF_SUPPORT,
        stacked=common.StackingMode.NORMAL,
        top=1,
    )
    return Row("What it finds", [Line(8, [label_mix, languages])])


def build() -> dashboard.Dashboard:
    return frame(
        MODEL,
        "What the model makes of the comments, whether that has moved, and how well its time is used.",
        [_at_a_glance(), _scores(), _batches(), _says()],
        since="now-6h",
        variables=[
            pick("label", "Label", LABELS, "Whose scores are spread out."),
            pick(
                "baseline",
                "Compared with",
                ("1d", "1w", "1h"),
                "How long ago the hour was that the last one is compared with.",
            ),
        ],
    )
