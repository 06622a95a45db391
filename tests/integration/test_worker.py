"""From a comment on Kafka to a decision on Kafka, by the worker as it is deployed."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from aiokafka.producer import message_accumulator

from tests.audit import Audit
from tests.comments import Input, comments, is_comment
from tests.raw_headers import NAME, READ_AS, SpoilingBuilder
from tests.topics import Topics
from tests.workers import WorkerProcess
from worker.demo.broker import Broker
from worker.demo.comments import demo_records, malformed_values
from worker.errors import Reason
from worker.header_names import Records

HEADERS = [("trace", b"\x00\xff"), ("trace", b"twice")]


async def test_every_record_is_accounted_for_and_decided_as_screen_decides_it(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    mixed: list[Input] = [*demo_records(7, 2000), *((b"gone", None) for _ in range(20))]

    async with Audit(broker, topics) as audit, WorkerProcess(broker, topics, tmp_path) as worker:
        await audit.produce(mixed)
        await audit.until_complete()
        await audit.until_committed()
        metrics = await asyncio.to_thread(worker.metrics)
        assert await worker.terminate() == 0
        audit.check()

    assert len(audit.decisions) + len(audit.dead_letters) == 2000
    assert len(audit.dead_letters) > 20
    assert audit.repeats == 0
    assert "screener_tombstones_total 20.0" in metrics

    values = {decision["comment_id"]: decision for decision in audit.decisions}
    lines = [value for _, value in mixed if value is not None and is_comment(value)]
    (tmp_path / "comments.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    screen = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "worker", "screen", "--input", str(tmp_path / "comments.jsonl")),
        *("--output", str(tmp_path / "decisions.jsonl")),
    )
    assert await screen.wait() == 0
    screened = [json.loads(line) for line in (tmp_path / "decisions.jsonl").read_text("utf-8").splitlines()]
    assert len(screened) == len(values)
    for decision in screened:
        from_worker = values[decision["comment_id"]]
        for changes in ("source", "decided_at"):
            del decision[changes], from_worker[changes]
        assert decision == from_worker


async def test_exactly_the_poison_becomes_dead_letters_byte_for_byte(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    poison: list[tuple[Reason, bytes]] = list(malformed_values("p").values())
    records: list[Input] = []
    for number, good in enumerate(comments(len(poison) * 10)):
        records.append(good)
        if number % 10 == 5:
            records.append((f"poison-{number // 10}".encode(), poison[number // 10][1]))

    async with Audit(broker, topics) as audit, WorkerProcess(broker, topics, tmp_path) as worker:
        await audit.produce(records, headers=HEADERS)
        await audit.until_rest()
        assert await worker.terminate() == 0
        audit.check()

    assert len(audit.decisions) == len(poison) * 10
    assert {letter.key: letter.value for letter in audit.dead_letters} == {
        f"poison-{number}".encode(): value for number, (_, value) in enumerate(poison)
    }
    for letter in audit.dead_letters:
        assert list(letter.headers[:2]) == HEADERS
        headers = dict(letter.headers)
        assert headers["screener-reason"].decode() == poison[int(letter.key.removeprefix(b"poison-"))][0]
        assert headers["screener-original-topic"].decode() == topics.comments
        assert int(headers["screener-original-timestamp"]) == letter.timestamp


async def test_a_header_whose_name_is_no_utf8_holds_nobody_up(
    broker: Broker, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The audit reads the comments topic as well.
    Records.install()
    async with Audit(broker, topics) as audit, WorkerProcess(broker, topics, tmp_path) as worker:
        await audit.produce(comments(20))
        with monkeypatch.context() as spoiling:
            spoiling.setattr(message_accumulator, "BatchBuilder", SpoilingBuilder)
            await audit.produce([*comments(20, 2), (b"poison", b"no json")], headers=[(NAME, b"\xfe"), ("ok", b"1")])
        await audit.produce(comments(20, 3))
        await audit.until_rest()
        assert await worker.terminate() == 0
        audit.check()

    assert len(audit.decisions) == 60
    (letter,) = audit.dead_letters
    assert (letter.key, letter.value) == (b"poison", b"no json")
    assert list(letter.headers[:2]) == [(READ_AS, b"\xfe"), ("ok", b"1")]
