"""Every record that crosses the worker's border: comments in, decisions and dead letters out.

Wire and domain in one: the struct that the code works with is the JSON that Kafka carries, and `schemas/` is generated from
these definitions. Unknown fields are ignored, so that producers can move first. A new field starts here.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from worker.errors import Reason, Stage

MAX_ID_CHARACTERS = 500
MAX_TEXT_CHARACTERS = 10_000

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARACTERS)]
Timestamp = Annotated[
    datetime,
    Meta(tz=True, description="RFC 3339, with a zone. Kept to the microsecond, so compare times, not texts."),
]
Score = Annotated[float, Meta(ge=0, le=1)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Partition = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Offset = Annotated[
    int, Meta(ge=0, le=2**63 - 1, description="64 bits. May pass 2^53, from where on a double is not exact.")
]
TimestampMs = Annotated[
    int,
    Meta(ge=0, le=2**63 - 1, description="Kafka's, in epoch milliseconds, 64 bits; null where the record has none."),
]


class AgeBand(StrEnum):
    """How old a person is, as far as the platform knows."""

    UNDER_13 = "under_13"
    FROM_13_TO_15 = "13_15"
    FROM_16_TO_17 = "16_17"
    ADULT = "adult"
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What to do with a comment, mildest first.

    `highlight`: show it first. `nudge`: ask the author to think again. `limit`: the author and their friends see it. `hold`:
    nobody does until a person has looked. `remove`: nobody does. `escalate`: nobody does, and a person looks now.
    """

    HIGHLIGHT = "highlight"
    ALLOW = "allow"
    NUDGE = "nudge"
    LIMIT = "limit"
    HOLD = "hold"
    REMOVE = "remove"
    ESCALATE = "escalate"

    @property
    def strength(self) -> int:
        """Its place in the order above: the strongest that any rule asks for wins."""
        return _STRENGTH[self]


_STRENGTH = {action: strength for strength, action in enumerate(Action)}


class Mode(StrEnum):
    """What a decision is for: to act on, to compare, or to run history again.

    The worker does the same in each; a consumer does not. `live`: act. `shadow`: compare, and never act. `replay`: act; it takes
    the place of an earlier decision on the same record.
    """

    LIVE = "live"
    SHADOW = "shadow"
    REPLAY = "replay"


class References(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a comment belongs to; a decision hands it on untouched."""

    author_id: Id | None = None
    author_age_band: AgeBand | None = None
    content_id: Id | None = None
    content_owner_id: Id | None = None
    parent_comment_id: Id | None = None
    community_id: Id | None = None
    audience_age_band: AgeBand | None = None


class Comment(References, frozen=True, kw_only=True):
    """One comment, as a platform's service puts it on the topic."""

    comment_id: Id
    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
    created_at: Timestamp
    language: (
        Annotated[
            str,
            Meta(
                max_length=35,
                description="BCP 47 tag. What is no such tag, be it empty, or names no language (und, mul, mis, zxx), counts as "
                "not given.",
            ),
        ]
        | None
    ) = None


class Model(Struct, frozen=True):
    """What scored a comment."""

    name: str
    version: str
    sha256: Sha256


class PolicyVersion(Struct, frozen=True):
    """What turned scores into an action."""

    id: str
    version: str
    sha256: Sha256


class Source(Struct, frozen=True):
    """Where a record was read."""

    topic: str
    partition: Partition
    offset: Offset


class Place(Struct, frozen=True, order=True):
    """Where in its topic a record is."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


class Span(Struct, frozen=True):
    """A stretch of the original text, in Unicode code points, end not included."""

    start: Annotated[int, Meta(ge=0)]
    end: Annotated[int, Meta(ge=0)]
    label: str
    score: Score


UNSUPPORTED_LANGUAGE = "unsupported_language"
"""Stands where a label stands, as a category and in a reason, when no score but the language is behind an action."""

UNDETERMINED_LANGUAGE = "undetermined_language"
"""Likewise, when what is behind an action is that nobody can tell the language."""


OVERLOAD = "overload"
"""Stands where a label stands in the reason of a comment that was held unscored, because it had waited for too long."""


class ReasonGiven(Struct, frozen=True):
    """One rule that fired: the label's score reached the threshold for this audience.

    Or the policy's rule for languages that the model does not know, or that cannot be told: then the label is
    `unsupported_language` or `undetermined_language`, and score and threshold are null, because no score was looked at. Or the
    worker's own for overload: then there is no score at all.
    """

    label: Annotated[
        str, Meta(description="A label of the scores, unsupported_language, undetermined_language or overload.")
    ]
    score: Annotated[Score | None, Meta(description="Null where the label is none of the scores.")]
    threshold: Annotated[Score | None, Meta(description="Null where the label is none of the scores.")]
    age_band: AgeBand
    action: Annotated[
        Action,
        Meta(
            description="What the rule asks for. A hold for danger (a label that the policy escalates for there or everywhere) "
            "is raised to escalate where another label would have the comment removed: somebody has to see it. What a rule would "
            "remove is held where the model does not know the language."
        ),
    ]
    rule: Annotated[
        str,
        Meta(
            description="Where the rule stands in the policy, for example labels.insult.under_13.hold. "
            "unsupported_language.default is what holds where the policy says nothing of it; settings.shed_lag_s is the "
            "worker's own, for overload."
        ),
    ]


class Decision(References, frozen=True, kw_only=True):
    """What is done with one comment, and why. Never its text.

    `decision_id` is a hash of the work, so the same comment screened again by the same worker, model and policy overwrites
    itself. It names no event: a comment that was edited, and then edited back, has the first id again, and that decision is the
    last word. Of two on one comment, from one partition, the one with the higher `source.offset` counts; at equal offsets (a
    replay, or work that was done twice) the one that was written last, with the later `decided_at`. Between partitions offsets
    say nothing, and `decided_at` tells. One whose `mode` is shadow takes no part in that: compare it, and never act on it.
    """

    decision_id: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,500}$")]
    comment_id: Id
    action: Action
    category: Annotated[
        str | None,
        Meta(
            description="The label behind the action, or unsupported_language or undetermined_language; null where nothing but "
            "allow was asked for, or where degraded."
        ),
    ]
    severity: Annotated[
        Score | None, Meta(description="The highest harm score, whatever the policy made of it; null where degraded.")
    ]
    scores: dict[str, Score]
    spans: list[Span]
    reasons: list[ReasonGiven]
    language: Annotated[
        str | None,
        Meta(
            description="BCP 47 tag that was gone by: the producer's, or the text's where that says otherwise; und is none "
            "that the model knows, unnamed; null where it cannot be told."
        ),
    ]
    language_supported: Annotated[
        bool | None,
        Meta(description="Whether the model knows the language; if not, the scores mean little. Null: cannot be told."),
    ]
    model: Model
    policy: PolicyVersion
    mode: Mode
    degraded: Annotated[
        bool, Meta(description="Held for a person without being scored, because the worker was too far behind.")
    ]
    source: Source | None
    created_at: Timestamp
    decided_at: Timestamp


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A record that can never be screened, byte for byte, and why.

    On Kafka the key, value, timestamp and headers stand where they stood and the rest becomes `screener-…` headers; as JSON
    (the `screen` command) the bytes are Base64.
    """

    stage: Stage
    reason: Reason
    error_class: str
    error_message: Annotated[str, Meta(description="Names fields and limits; never text of the comment.")]
    attempts: Annotated[
        int,
        Meta(
            ge=1, description="1: a record is given up when it was read once. screener-redrives counts what came after."
        ),
    ]
    worker: Annotated[str, Meta(description="The worker's name.")]
    worker_version: str
    model: Model
    policy: PolicyVersion
    source: Source | None
    timestamp_ms: TimestampMs | None
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes | None]]
