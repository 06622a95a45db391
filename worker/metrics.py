"""Every metric, named and described once.

Times in seconds, sizes in bytes or tokens, counters end in `_total`. Label values are created before they are used, so that
a rate over something that has not happened yet is 0 and not absent. No label takes values from the outside.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, PlatformCollector, ProcessCollector

from worker.classifier import LABELS, Scores
from worker.errors import Reason
from worker.histogram import Histogram
from worker.records import UNDETERMINED_LANGUAGE, UNSUPPORTED_LANGUAGE, Action, AgeBand, Model, PolicyVersion

STAGES: Final = ("decode", "queue", "tokenise", "infer", "decide", "publish")
NO_CATEGORY: Final = "none"
CATEGORIES: Final = (*LABELS, UNSUPPORTED_LANGUAGE, UNDETERMINED_LANGUAGE, NO_CATEGORY)
SUPPORT: Final = {True: "true", False: "false", None: "undetermined"}
"""What a decision says of its language → the value of the metric's label."""
_MILLISECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SCORES: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Fine enough to see a distribution move, and few: there are so many series for each label."""
_END_TO_END: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)


class Metrics:
    """The collectors of one worker, in a registry of their own (nothing global, so tests can have many)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        r = self.registry
        ProcessCollector(registry=r)
        PlatformCollector(registry=r)

        self.comments = Counter(
            "screener_comments_total", "Comments decided and confirmed by the broker.", ["action"], registry=r
        )
        self.decisions = Counter(
            "screener_decisions_total",
            "Decisions by the label behind them ('none' for a plain allow, 'unsupported_language' or 'undetermined_language' "
            "where no score is) and the audience's age band.",
            ["category", "age_band"],
            registry=r,
        )
        self.languages = Counter(
            "screener_languages_total",
            "Decisions by whether the model knows the comment's language ('undetermined' where it cannot be told).",
            ["supported"],
            registry=r,
        )
        self.dead_letters = Counter(
            "screener_dead_letters_total",
            "Records that cannot be screened, confirmed by the broker.",
            ["reason"],
            registry=r,
        )
        self.tombstones = Counter(
            "screener_tombstones_total", "Records without a value, passed over on purpose.", registry=r
        )
        self.stage_seconds = Histogram(
            "screener_stage_seconds",
            "Time in each stage: decode, decide and tokenise per window, infer per batch, queue per comment, publish per window.",
            ["stage"],
            buckets=_MILLISECONDS,
            registry=r,
        )
        self.end_to_end_seconds = Histogram(
            "screener_end_to_end_seconds",
            "From the comment's Kafka timestamp to its decision confirmed by the broker.",
            buckets=_END_TO_END,
            registry=r,
        )
        self.batch_size = Histogram(
            "screener_batch_size",
            "Pieces of text in one run of the model.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=r,
        )
        self.batch_tokens = Histogram(
            "screener_batch_tokens",
            "Tokens in one run of the model, padding included.",
            buckets=(16, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
            registry=r,
        )
        self.batch_tokens_limit = Gauge(
            "screener_batch_tokens_limit",
            "Padded tokens in one run of the model at most.",
            registry=r,
        )
        self.runs_at_once = Gauge(
            "screener_runs_at_once", "Runs of the model that may be under way at once.", registry=r
        )
        self.tokens = Counter("screener_tokens_total", "Tokens of text that went through the model.", registry=r)
        self.padding = Counter(
            "screener_padding_tokens_total", "Tokens of padding that went through the model.", registry=r
        )
        self.score = Histogram(
            "screener_score",
            "Scores of the comments that were decided by them, remembered ones too.",
            ["label"],
            buckets=_SCORES,
            registry=r,
        )
        self.bisections = Counter(
            "screener_bisections_total", "Batches that failed and were halved to find the record to blame.", registry=r
        )
        self.memory_failures = Counter(
            "screener_out_of_memory_total",
            "Runs of the model that found no memory; done again in halves, then after a pause.",
            registry=r,
        )
        self.shed = Counter(
            "screener_shed_total",
            "Comments held for a person, unscored, because they had waited longer than SCREENER_SHED_LAG_S.",
            registry=r,
        )
        self.cache_lookups = Counter(
            "screener_score_cache_lookups_total", "Look-ups of a text's scores by result.", ["result"], registry=r
        )
        self.cache_entries = Gauge("screener_score_cache_entries", "Texts whose scores are remembered.", registry=r)
        self.records_read = Counter(
            "screener_records_read_total",
            "Records taken in from Kafka, those included that are read again.",
            ["partition"],
            registry=r,
        )
        self.queue_length = Gauge(
            "screener_queue_length", "Records taken in that wait for the model to be free.", registry=r
        )
        self.in_flight = Gauge(
            "screener_in_flight", "Records read and not yet confirmed, the worker's own queue included.", registry=r
        )
        self.in_flight_limit = Gauge(
            "screener_in_flight_limit", "SCREENER_MAX_IN_FLIGHT: records in flight at most.", registry=r
        )
        self.in_flight_bytes = Gauge("screener_in_flight_bytes", "Bytes of the records in flight.", registry=r)
        self.in_flight_limit_bytes = Gauge(
            "screener_in_flight_limit_bytes",
            "SCREENER_MAX_IN_FLIGHT_BYTES: bytes in flight at most, and one record more.",
            registry=r,
        )
        self.gone_unread = Counter(
            "screener_gone_unread_total",
            "Offsets that the brokers deleted before this worker's group had read them, at most.",
            registry=r,
        )
        self._create_gauges_of_partitions(r)
        self.last_commit_seconds = Gauge(
            "screener_last_commit_timestamp_seconds",
            "When offsets were last committed, in epoch seconds; 0 before the first time.",
            registry=r,
        )
        self.assigned_partitions = Gauge(
            "screener_assigned_partitions", "Partitions of the comments topic that this worker reads.", registry=r
        )
        self.rebalances = Counter(
            "screener_rebalances_total", "Times the group handed out its partitions anew.", registry=r
        )
        self.stale_acks = Counter(
            "screener_stale_acks_total",
            "Finished records whose partition had moved on meanwhile; they are read again.",
            registry=r,
        )
        self.publish_retries = Counter(
            "screener_publish_retries_total", "Records sent again because the broker did not confirm them.", registry=r
        )
        self.paused = Gauge(
            "screener_paused",
            "1 while the brokers answer or confirm nothing, or there is no memory to screen with: no more is read than fits in "
            "flight.",
            registry=r,
        )
        self.ready = Gauge("screener_ready", "1 while the worker is ready, as /readyz says.", registry=r)
        self.load_seconds = Gauge(
            "screener_load_seconds",
            "How long model and policy took to load at start; 0 until they have.",
            registry=r,
        )
        self.loop_lag_seconds = Gauge(
            "screener_loop_lag_seconds", "How late the event loop last was; above 0.25 something blocks it.", registry=r
        )
        self.policy_reloads = Counter(
            "screener_policy_reloads_total",
            "Times the policy's file had changed, by what became of it: adopted, or refused because it is wrong.",
            ["result"],
            registry=r,
        )
        self.policy_refused = Gauge(
            "screener_policy_refused",
            "1 while the policy's file cannot be used; the last one that could decides.",
            registry=r,
        )
        # Without values they would be there all the same, and say that something scores before a model is loaded.
        self.model_info = Info("screener_model", "What scores.", registry=None)
        self.policy_info = Info("screener_policy", "What decides.", registry=None)
        self._described = False

        self._create_series()

    def _create_gauges_of_partitions(self, r: CollectorRegistry) -> None:
        """What only the worker that has a partition tells of it."""
        self.watermark = Gauge(
            "screener_watermark_offset", "The next offset to be finished: all before it are.", ["partition"], registry=r
        )
        self.earliest = Gauge(
            "screener_earliest_offset",
            "The first offset that the partition still has: what lay before it was deleted, read or not.",
            ["partition"],
            registry=r,
        )
        self.lag_messages = Gauge(
            "screener_lag_messages",
            "Offsets between the watermark and the end of the partition; 0 where no record is among them.",
            ["partition"],
            registry=r,
        )
        self.lag_seconds = Gauge(
            "screener_lag_seconds",
            "Age of the oldest unfinished record; 0 when there is none.",
            ["partition"],
            registry=r,
        )
        self.unstable_messages = Gauge(
            "screener_unstable_messages",
            "Offsets between the last stable one and the end of the log, which open transactions keep back; no part of the lag.",
            ["partition"],
            registry=r,
        )
        self.unstable_seconds = Gauge(
            "screener_unstable_seconds",
            "For how long the last stable offset has stood still with something behind it; 0 where nothing is kept back.",
            ["partition"],
            registry=r,
        )

    def _create_series(self) -> None:
        # To look a child up costs more than to count: what happens for every comment remembers it.
        self.read_of = cache(self.records_read.labels)
        self._stage_of = cache(self.stage_seconds.labels)
        self._score_of = cache(self.score.labels)
        for action in Action:
            self.comments.labels(action)
        for category in CATEGORIES:
            for band in AgeBand:
                self.decisions.labels(category, band)
        for supported in SUPPORT.values():
            self.languages.labels(supported)
        for reason in Reason:
            self.dead_letters.labels(reason)
        for label in LABELS:
            self._score_of(label)
        for stage in STAGES:
            self._stage_of(stage)
        for result in ("adopted", "refused"):
            self.policy_reloads.labels(result)
        for result in ("hit", "miss"):
            self.cache_lookups.labels(result)

    def describe(self, model: Model, policy: PolicyVersion) -> None:
        """Say which model and policy are in force, from now on."""
        if not self._described:
            self._described = True
            self.registry.register(self.model_info)
            self.registry.register(self.policy_info)
        self.model_info.info({"name": model.name, "version": model.version, "sha256": model.sha256})
        self.policy_info.info({"id": policy.id, "version": policy.version, "sha256": policy.sha256})

    def limits(self, *, in_flight: int, in_flight_bytes: int) -> None:
        """Say what the settings allow, so that a dashboard can show how full it is."""
        self.in_flight_limit.set(in_flight)
        self.in_flight_limit_bytes.set(in_flight_bytes)

    # What screening reports (`worker.screening.Observer`).

    def stage(self, name: str, seconds: float) -> None:
        self._stage_of(name).observe(seconds)

    def stages(self, name: str, seconds: Sequence[float]) -> None:
        """As `stage`, once for each of many."""
        self._stage_of(name).observe_all(seconds)

    def batch(self, size: int, tokens: int, padding: int) -> None:
        self.batch_size.observe(size)
        self.batch_tokens.observe(tokens + padding)
        self.tokens.inc(tokens)
        self.padding.inc(padding)

    def cache(self, hits: int, misses: int, entries: int) -> None:
        self.cache_lookups.labels("hit").inc(hits)
        self.cache_lookups.labels("miss").inc(misses)
        self.cache_entries.set(entries)

    def scored(self, scores: Sequence[Scores]) -> None:
        # One model, so the same labels for all.
        for label in scores[0] if scores else ():
            self._score_of(label).observe_all([of_one[label] for of_one in scores])

    def bisected(self) -> None:
        self.bisections.inc()

    def out_of_memory(self) -> None:
        self.memory_failures.inc()
