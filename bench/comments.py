"""Texts → comments as a platform's service would put them on the topic.

Pure.
"""

import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from worker.records import AgeBand

_CREATED_AT: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).isoformat()
_COMMUNITIES: Final = 20
_CONTENTS: Final = 500
_AUTHORS: Final = 5000


def comment_values(texts: Iterable[str], prefix: str) -> list[bytes]:
    """One record's value each, under an id of its own that begins with the prefix."""
    chance = random.Random(0)  # noqa: S311  comments that can be made again, not a secret
    bands = [*AgeBand]
    return [
        msgspec.json.encode(
            {
                "comment_id": f"{prefix}-{number:07}",
                "text": text,
                "created_at": _CREATED_AT,
                "author_id": f"author-{chance.randrange(_AUTHORS)}",
                "author_age_band": chance.choice(bands),
                "content_id": f"content-{chance.randrange(_CONTENTS)}",
                "community_id": f"community-{chance.randrange(_COMMUNITIES)}",
                "audience_age_band": chance.choice(bands),
                "language": "en",
            }
        )
        for number, text in enumerate(texts)
    ]
