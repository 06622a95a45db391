"""The comments that the demo produces: those of `comments.yaml`, and ten records that no worker could screen.

Pure: a seed and a time in, records as bytes out.
"""

import json
import random
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from worker.errors import Reason
from worker.records import MAX_TEXT_CHARACTERS, AgeBand

KafkaRecord = tuple[bytes | None, bytes]
"""Key and value."""

_FILE: Final = Path(__file__).with_name("comments.yaml")
_COMMUNITIES: Final = ("art-club", "block-builders", "football", "homework-help", "music", "pets", "science")
_AUDIENCES: Final = {
    AgeBand.UNDER_13: 35,
    AgeBand.FROM_13_TO_15: 25,
    AgeBand.FROM_16_TO_17: 15,
    AgeBand.ADULT: 15,
    AgeBand.UNKNOWN: 10,
}
_CONTENTS: Final = 40
_AUTHORS: Final = 120


class Group(msgspec.Struct, frozen=True):
    """Comments of one flavour and language, as `comments.yaml` has them."""

    flavour: str
    texts: list[str]
    language: str = "en"
    audience: AgeBand | None = None
    times: int = 1


@cache
def read_groups() -> list[Group]:
    """Read `comments.yaml`."""
    return msgspec.yaml.decode(_FILE.read_bytes(), type=list[Group])


def demo_records(seed: int, n: int, now: datetime | None = None) -> list[KafkaRecord]:
    """Make `n` records in random order, about one in thirty of them malformed.

    Args:
        seed: the same seed and time give the same records; another seed gives other ids.
        n: past the end of what is written, everything comes again, in another order and under new ids.
        now: when they were created; None is the present.
    """
    chance = random.Random(seed)  # noqa: S311  an order that can be repeated, not a secret
    created_at = (now or datetime.now(UTC)).isoformat()
    records: list[KafkaRecord] = []
    while len(records) < n:
        deck: list[tuple[Group, str] | str] = [
            *((group, text) for group in read_groups() for text in group.texts * group.times),
            *malformed_values(""),
        ]
        chance.shuffle(deck)
        for card in deck[: n - len(records)]:
            comment_id = f"demo-{seed}-{len(records):05}"
            if isinstance(card, str):
                records.append((comment_id.encode(), malformed_values(comment_id)[card][1]))
            else:
                fields = _fields(chance, *card) | {"comment_id": comment_id, "created_at": created_at}
                records.append((fields["content_id"].encode(), _json(fields)))
    return records


def malformed_values(comment_id: str) -> dict[str, tuple[Reason, bytes]]:
    """What is wrong → the reason that a dead letter gives, and the value."""
    good = {"comment_id": comment_id, "text": "hello", "created_at": "2026-01-02T03:04:05Z"}
    return {
        "cut off": (Reason.INVALID_JSON, _json(good)[:-9]),
        "not UTF-8": (Reason.INVALID_UTF8, _json(good).replace(b"hello", b"hell\xf6")),
        "no text": (Reason.MISSING_FIELD, _json({"comment_id": comment_id, "created_at": good["created_at"]})),
        "empty": (Reason.INVALID_JSON, b""),
        "text too long": (Reason.INVALID_TEXT, _json(good | {"text": "long " * (MAX_TEXT_CHARACTERS // 5 + 1)})),
        "no date": (Reason.INVALID_TIMESTAMP, _json(good | {"created_at": "yesterday"})),
        "date without a zone": (Reason.INVALID_TIMESTAMP, _json(good | {"created_at": "2026-01-02T03:04:05"})),
        "NUL bytes": (Reason.INVALID_JSON, bytes(16)),
        "unknown age band": (Reason.INVALID_FIELD, _json(good | {"audience_age_band": "toddler"})),
        "a list": (Reason.NOT_AN_OBJECT, _json([good])),
    }


def _fields(chance: random.Random, group: Group, text: str) -> dict[str, Any]:
    content = chance.randrange(_CONTENTS)
    fields: dict[str, Any] = {
        "text": text,
        "author_id": f"author-{chance.randrange(_AUTHORS)}",
        "content_id": f"content-{content}",
        "content_owner_id": f"owner-{content % 7}",
        "community_id": _COMMUNITIES[content % len(_COMMUNITIES)],
    }
    audience = group.audience or chance.choices([*_AUDIENCES], [*_AUDIENCES.values()])[0]
    # Producers leave out what they do not know.
    if audience is not AgeBand.UNKNOWN or chance.random() < 0.5:  # noqa: PLR2004
        fields["audience_age_band"] = audience
    if group.audience is not None:
        fields |= {"author_age_band": group.audience, "community_id": "late-night-trivia"}
    if group.language != "en" or chance.random() < 0.5:  # noqa: PLR2004
        fields["language"] = group.language
    return fields


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
