"""8. Poison: bad JSON, huge, empty, NUL, bad UTF-8: exactly those are dead letters, byte for byte."""

import json
import random
from pathlib import Path
from typing import Final

import pytest

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import Input, comments
from tests.topics import Topics
from tests.workers import SLOWLY, WorkerProcess
from worker.demo.comments import malformed_values

GOOD: Final = {"comment_id": "poison", "text": "hello", "created_at": "2026-01-02T03:04:05Z"}
HEADERS: Final = [("trace", b"\x00\xff"), ("trace", b"twice"), ("empty", b"")]
HUGE_BYTES: Final = 900_000
"""As much as the brokers take by default, nearly."""


def poison(chance: random.Random) -> list[bytes]:
    good = json.dumps(GOOD).encode()
    return [
        *(value for _, value in malformed_values("poison").values()),
        *(good[: chance.randrange(1, len(good))] for _ in range(10)),
        *(chance.randbytes(chance.randrange(1, 200)) for _ in range(10)),
        b"",
        b"\0",
        good.replace(b"hello", b"hel\0lo"),
        good.replace(b"hello", b"hell\xc0\xaf"),
        good.replace(b"hello", b"\xed\xa0\x80"),
        b"[" * 100_000,
        bytes(HUGE_BYTES),
        chance.randbytes(HUGE_BYTES),
        json.dumps(GOOD | {"text": "x" * HUGE_BYTES}).encode(),
        json.dumps(GOOD | {"text": ["hello"] * (HUGE_BYTES // 10)}).encode(),
    ]


@pytest.mark.chaos_slice
async def test_exactly_the_poison_becomes_dead_letters(
    cluster: Cluster, topics: Topics, audit: Audit, seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    records: list[Input] = [*comments(800), *((b"poison", value) for value in poison(chance))]
    chance.shuffle(records)
    await audit.produce(records, headers=HEADERS)

    worker = WorkerProcess(cluster, topics, tmp_path, **SLOWLY)
    async with worker:
        await audit.until_more(200)
        worker.kill()
    async with worker:
        await audit.until_rest()
        assert await worker.terminate() == 0
    audit.check()

    dead = {place for place, outcomes in audit.outcomes.items() if outcomes[0].topic == topics.dead_letters}
    assert dead == {place for place, (key, _) in audit.inputs.items() if key == b"poison"}
    for letter in audit.dead_letters:
        # Key and value were compared by the audit already.
        headers = dict(letter.headers)
        assert list(letter.headers[: len(HEADERS)]) == HEADERS
        assert int(headers["screener-original-timestamp"]) == letter.timestamp
