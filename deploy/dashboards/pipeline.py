"""Pipeline: by partition and by worker, how much comes in and goes out, where the time goes, and what is waiting."""

from typing import Final

from grafana_foundation_sdk.models import common, dashboard

from deploy.dashboards.colours import OF_STAGE
from deploy.dashboards.frame import PIPELINE, Line, Row, choose, frame, pick
from deploy.dashboards.panels import ANY_IS_BAD, ANY_IS_ODD, NONE, bars, chart, heatmap, stat, table, timeline
from deploy.dashboards.queries import (
    PERCENTILES,
    Query,
    buckets,
    increase,
    mean,
    model_time,
    newest,
    of,
    offsets_finished,
    quantile,
    rate,
    share,
    slope,
    where,
)
from worker.metrics import STAGES

_NOBODY: Final = "no worker reports"
_QUIET: Final = "no traffic"
_LAG: Final = newest("screener_lag_messages", by="partition", partition=True)
_EARLIEST: Final = newest("screener_earliest_offset", by="partition", partition=True)
_KEPT_BACK: Final = (
    f"{newest('screener_unstable_messages', by='partition', partition=True)} "
    f"and on (partition) {newest('screener_unstable_seconds', by='partition', partition=True)} > 30"
)
"""Not by transactions that come and go."""
_FINISHED: Final = newest("screener_watermark_offset", by="partition", partition=True)
_KEPT: Final = f"({_LAG} + clamp_min({_FINISHED} - {_EARLIEST}, 0))"
_MOST: Final = 8
"""Bars that fit under each other."""
_SHRINKS: Final = f"(-1 * {slope('screener_lag_messages', by='partition')})"
_FEW: Final = 100
"""Messages that are always on their way under load."""
_TO_DRAIN: Final = f"0 * ({_LAG} <= {_FEW}) or {_LAG} / ({_SHRINKS} > 0) or ({_LAG} > {_FEW}) * Inf"


def _rates() -> Row:
    comes_in = chart(
        "Comes in, by partition",
        [
            Query(
                f"clamp_min({slope('screener_watermark_offset', by='partition')} "
                f"+ on (partition) {slope('screener_lag_messages', by='partition')}, 0)",
                "{{partition}}",
            )
        ],
        shows="What producers write, a second: how the ends of the partitions move. Includes markers of transactions.",
        bad="one line far above the others: a hot key, and more workers do not help. All at zero: the producers are silent.",
        unit="cps",
        no_value=_NOBODY,
    )
    goes_out = chart(
        "Goes out, by partition",
        [Query(offsets_finished(), "{{partition}}")],
        shows="Offsets finished, a second: how the watermarks move.",
        bad="zero where something waits: that partition stands still, and the watchdog ends the worker.",
        unit="cps",
        no_value=_NOBODY,
    )
    read = chart(
        "Read, by worker",
        [Query(rate("screener_records_read_total", by="instance", partition=True), "{{instance}}")],
        shows="Records taken in from Kafka, a second.",
        bad="more than is finished, for long: the same records are read again and again (rebalances, restarts).",
        unit="cps",
        no_value=_NOBODY,
    )
    finished = chart(
        "Finished, by worker",
        [
            Query(
                f"{rate('screener_comments_total', by='instance')} "
                f"+ on (instance) {rate('screener_dead_letters_total', by='instance')} "
                f"+ on (instance) {rate('screener_tombstones_total', by='instance')}",
                "{{instance}}",
            )
        ],
        shows="Decisions, dead letters and records without a value, a second: what a worker is done with.",
        bad="uneven among workers with as many partitions: one has less CPU, or a slow way to the brokers.",
        unit="cps",
        no_value=_NOBODY,
    )
    return Row("Rates", [Line(7, [comes_in, goes_out, read, finished])])


def _waiting() -> Row:
    lag_seconds = newest("screener_lag_seconds", by="partition", partition=True)
    lag_in_messages = chart(
        "Lag in messages, by partition",
        [Query(_LAG, "{{partition}}"), Query(_KEPT_BACK, "{{partition}}, kept back")],
        shows=(
            "Offsets between what is finished and the end of the partition. Kept back, and no part of it: those behind a "
            "transaction that has been open for half a minute."
        ),
        bad=(
            "a line that climbs. A small one that never moves is markers of transactions, and no work. Any that is kept back: "
            "nobody screens it before a producer ends its transaction."
        ),
        unit="short",
        no_value=_NOBODY,
    )
    lag_in_seconds = chart(
        "Lag in seconds, by partition",
        [Query(lag_seconds, "{{partition}}")],
        shows="Age of the oldest comment that was read and is not finished.",
        bad="over 30 s and climbing; over a minute people see what nobody has screened.",
        unit="s",
        no_value=_NOBODY,
        steps=((None, "transparent"), (30, "orange"), (60, "red")),
    )
    time_to_drain = chart(
        "Time to drain, by partition",
        [Query(_TO_DRAIN, "{{partition}}")],
        shows=f"How long until the lag is gone, as fast as it shrinks now. 0: fewer than {_FEW} messages wait.",
        bad="endless (above the top): the lag does not shrink, and will not by itself.",
        unit="s",
        no_value=_NOBODY,
    )
    unread = bars(
        "Unread of what is kept, by partition",
        [
            Query(
                f"sort_desc(topk({_MOST}, {share(_LAG, _KEPT)} and on (partition) ({_EARLIEST} > 0)))",
                "{{partition}}",
                instant=True,
            )
        ],
        shows=f"Of the records that a topic still has, the share that nobody has screened, once it deletes. The {_MOST} worst.",
        bad="over a half: retention is about to delete comments that nobody has screened.",
        unit="percentunit",
        no_value="nothing was deleted yet",
        steps=((None, "green"), (0.25, "orange"), (0.5, "red")),
        top=1,
        decimals=0,
    )
    partitions_now = table(
        "Partitions now",
        [
            Query(_FINISHED),
            Query(_LAG),
            Query(lag_seconds),
            Query(_TO_DRAIN),
            Query(offsets_finished()),
        ],
        shows="Each partition in figures, the longest lag first.",
        bad="lag with nothing going out. A partition that is missing has no worker.",
        no_value=_NOBODY,
        columns={"partition": "Partition"},
        values={
            "A": ("Watermark", "none"),
            "B": ("Lag", "short"),
            "C": ("Oldest", "s"),
            "D": ("To drain", "s"),
            "E": ("Out a second", "cps"),
        },
        sort_by="Lag",
    )
    partitions = chart(
        "Partitions, by worker",
        [Query(f"sum by (instance) ({of('screener_assigned_partitions')})", "{{instance}}")],
        shows="How many partitions of the comments topic each worker has.",
        bad="uneven by more than one, for long: a worker does not get into the group.",
        unit="none",
        no_value=_NOBODY,
        stacked=common.StackingMode.NORMAL,
    )
    rebalances_and_what_they_cost = chart(
        "Rebalances and what they cost",
        [
            Query(increase("screener_rebalances_total", over="$__rate_interval"), "rebalances"),
            Query(increase("screener_stale_acks_total", over="$__rate_interval"), "read again"),
            Query(increase("screener_tombstones_total", over="$__rate_interval"), "without a value"),
            Query(f"sum({of('screener_gone_unread_total')})", "gone unread, since the start"),
        ],
        shows=(
            "Rebalances of the group; records finished too late for their partition, which are read again; records without a "
            "value, passed over on purpose; and what the brokers deleted before it was read, since the workers started."
        ),
        bad="rebalances without a roll-out: workers die, are frozen, or miss their heartbeats. Anything gone unread: lost.",
        unit="short",
        no_value=_NOBODY,
        bars=True,
        colours={
            "rebalances": "blue",
            "read again": "orange",
            "without a value": "text",
            "gone unread, since the start": "red",
        },
    )
    return Row(
        "What waits",
        [
            Line(7, [lag_in_messages, lag_in_seconds, time_to_drain, unread]),
            Line(10, [partitions_now, partitions, rebalances_and_what_they_cost], (12, 5, 7)),
        ],
    )


def _stages() -> Row:
    waterfalls = [
        bars(
            f"Time in each stage, {name}",
            [
                Query(quantile(q, "screener_stage_seconds", where("stage", stage)), stage, instant=True)
                for stage in STAGES
            ],
            shows=(
                f"Top to bottom is the way of a comment: {what} take less. Queue is per comment, infer per run of the model, "
                "the rest per window."
            ),
            bad="queue long, infer short: something other than the model holds it up. Publish long: the brokers are slow.",
            unit="s",
            no_value=_QUIET,
            decimals=1,
            colours=OF_STAGE,
        )
        for (name, q), what in zip(PERCENTILES.items(), ("half", "95 of 100", "99 of 100"), strict=True)
    ]
    over_time = chart(
        "Time in each stage, mean",
        [Query(mean("screener_stage_seconds", where("stage", stage)), stage) for stage in STAGES],
        shows="The same over time, one layer a stage.",
        bad="a layer that grows thick. Which one says where to look.",
        unit="s",
        no_value=_QUIET,
        colours=OF_STAGE,
        stacked=common.StackingMode.NORMAL,
    )
    event_to_decision = heatmap(
        "Event to decision, spread",
        buckets("screener_end_to_end_seconds"),
        shows="How many comments took how long, from their Kafka timestamp to the confirmed decision.",
        bad="a second cloud above the first: some are held up, by a restart, a slow broker or a hot partition.",
        unit="s",
        no_value=_QUIET,
    )
    stage = heatmap(
        "Stage $stage, spread",
        buckets("screener_stage_seconds", 'stage="$stage"'),
        shows="How often the stage that is chosen at the top took how long.",
        bad="a cloud that climbs with the load, or a second one above the first.",
        unit="s",
        no_value=_QUIET,
    )
    return Row(
        "Where the time goes",
        [
            Line(7, [*waterfalls, over_time]),
            Line(8, [event_to_decision, stage]),
        ],
    )


def _inside() -> Row:
    queue = chart(
        "Queue, by worker",
        [Query(f"sum by (instance) ({of('screener_queue_length')})", "{{instance}}")],
        shows="Records taken in that wait for the model to be free.",
        bad="long and never short: the model is the bottleneck. Look at Model busy.",
        unit="short",
        no_value=_NOBODY,
    )
    in_flight = chart(
        "In flight, by worker",
        [
            Query(f"sum by (instance) ({of('screener_in_flight')})", "{{instance}}"),
            Query(f"max({of('screener_in_flight_limit')})", "limit"),
        ],
        shows="Records read and not yet confirmed, and how many there may be. Fewer where they are large.",
        bad="always at the limit: the worker is saturated, and the rest waits on Kafka, where it is safe.",
        unit="short",
        no_value=_NOBODY,
        colours={"limit": "red"},
    )
    bytes_in_flight = chart(
        "Bytes in flight, by worker",
        [
            Query(f"sum by (instance) ({of('screener_in_flight_bytes')})", "{{instance}}"),
            Query(f"max({of('screener_in_flight_limit_bytes')})", "limit"),
        ],
        shows="Bytes of the records in flight, and how many there may be.",
        bad="at the limit with few records in flight: somebody sends very large ones.",
        unit="bytes",
        no_value=_NOBODY,
        colours={"limit": "red"},
    )
    paused = timeline(
        "Paused, by worker",
        Query(f"max by (instance) ({of('screener_paused')})", "{{instance}}"),
        shows="Whether brokers do not answer or confirm nothing, or memory is short: no more is read than fits in flight.",
        bad="paused. It ends after SCREENER_PUBLISH_TIMEOUT_S, with nothing in hand after five minutes, sooner for want of "
        "memory; its /readyz says which it is.",
        no_value=_NOBODY,
        words={"0": ("reads", "green"), "1": ("paused", "red")},
    )
    event_loop_lag = chart(
        "Event loop lag, by worker",
        [Query(f"max by (instance) ({of('screener_loop_lag_seconds')})", "{{instance}}")],
        shows="How late the event loop last was.",
        bad="over 0.25 s: something blocks it, and heartbeats and confirmations come late.",
        unit="s",
        no_value=_NOBODY,
        steps=((None, "transparent"), (0.25, "red")),
    )
    memory = chart(
        "Memory, by worker",
        [Query(f"max by (instance) ({of('process_resident_memory_bytes')})", "{{instance}}")],
        shows="Resident memory.",
        bad="a line that climbs for hours after the score cache is full, or one near the container's limit.",
        unit="bytes",
        no_value=_NOBODY,
    )
    cpu = chart(
        "CPU, by worker",
        [Query(rate("process_cpu_seconds_total", by="instance"), "{{instance}}")],
        shows="Cores in use.",
        bad="at the container's limit while the event loop is late: SCREENER_INFERENCE_THREADS counts on more.",
        unit="cores",
        no_value=_NOBODY,
    )
    model_busy = chart(
        "Model busy, by worker",
        [Query(model_time(), "{{instance}}")],
        shows="How much of what the model can run at once does run.",
        bad="near 100 %: more comments need more workers. Low while comments wait: something else holds them up.",
        unit="percentunit",
        no_value=_NOBODY,
        top=1,
    )
    trouble = chart(
        "Trouble",
        [
            Query(increase("screener_publish_retries_total", over="$__rate_interval"), "sent again"),
            Query(increase("screener_bisections_total", over="$__rate_interval"), "batches halved"),
            Query(increase("screener_out_of_memory_total", over="$__rate_interval"), "no memory"),
        ],
        shows=(
            "Records sent again because the brokers did not confirm them, batches halved to find the record that breaks "
            "them, runs of the model that found no memory."
        ),
        bad="any that go on.",
        unit="short",
        no_value=_NOBODY,
        bars=True,
        colours={"sent again": "orange", "batches halved": "purple", "no memory": "red"},
    )
    since_the_last_commit = chart(
        "Since the last commit, by worker",
        [
            Query(
                f"time() - (max by (instance) ({of('screener_last_commit_timestamp_seconds')}) > 0)",
                "{{instance}}",
            )
        ],
        shows="How long ago offsets were last committed: what a kill would have done again.",
        bad="growing while comments are finished. It grows when there is nothing to do, too.",
        unit="s",
        no_value="nothing committed yet",
    )
    paused_now = stat(
        "Paused now",
        Query(f"sum({of('screener_paused')})"),
        shows="Workers that read no more than fits in flight.",
        bad="any.",
        unit="none",
        no_value=_NOBODY,
        steps=ANY_IS_BAD,
        words=NONE,
    )
    read_again = stat(
        "Read again",
        Query(
            share(
                increase("screener_stale_acks_total"),
                f"({increase('screener_comments_total')} + {increase('screener_stale_acks_total')})",
            )
        ),
        shows="Share of the work in the time shown that was done for nothing, because its partition had moved.",
        bad="over 1 %: rebalances cost more than they should.",
        unit="percentunit",
        no_value=_QUIET,
        steps=ANY_IS_ODD,
        words=NONE,
        decimals=2,
    )
    started = table(
        "Started",
        [
            Query(f"max by (instance) (time() - {of('process_start_time_seconds')})"),
            Query(f"max by (instance) ({of('screener_load_seconds')})"),
        ],
        shows="How long each worker has run, and how long its model took to load.",
        bad="short lives, again and again; a load that takes longer than the probe allows.",
        no_value=_NOBODY,
        columns={"instance": "Worker"},
        values={"A": ("Has run", "s"), "B": ("Loaded in", "s")},
    )
    return Row(
        "Inside the workers",
        [
            Line(7, [queue, in_flight, bytes_in_flight, paused]),
            Line(7, [event_loop_lag, memory, cpu, model_busy]),
            Line(6, [trouble, since_the_last_commit, paused_now, read_again, started], (6, 6, 3, 3, 6)),
        ],
    )


def build() -> dashboard.Dashboard:
    return frame(
        PIPELINE,
        "By partition and by worker: how much comes in and goes out, where the time goes, and what waits.",
        [_rates(), _waiting(), _stages(), _inside()],
        since="now-1h",
        variables=[
            choose(
                "partition",
                "Partition",
                'screener_lag_messages{job=~"$job"}',
                "Which partitions of the comments topic.",
            ),
            pick(
                "stage", "Stage", ("infer", *(stage for stage in STAGES if stage != "infer")), "Whose spread is shown."
            ),
        ],
    )
