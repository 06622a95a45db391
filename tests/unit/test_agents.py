"""The Faust edge over fakes: one confirmed outcome for each event, then its ack, in offset order, through rebalances too."""

import asyncio
import json
import random
from collections.abc import Sequence

import pytest

from tests.fakes import POISON, FakeConsumer, FakeStream, OneCallIsSlow, RecordingPublisher, comment_value, record
from tests.pipelines import DEAD_LETTERS, DECISIONS, NOW, POLICY, Bench, others, source, values
from worker.consumer import Fetch
from worker.dead_letters import WORKER_VERSION
from worker.publisher import Message

# ---- one outcome, then the ack


async def test_every_record_gets_one_outcome_and_is_then_acked_in_offset_order() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher)
    async with bench.running():
        await bench.admit(*values("hello", "stupid", "thanks", POISON, "bye"))
        await bench.admit(b"no json", comment_value("hello", "p1"), partition=1, start=70)
        await bench.until_settled(7)

    assert sorted(map(source, publisher.published)) == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 70), (1, 71)]
    assert bench.consumer.acked == {0: [0, 1, 2, 3, 4], 1: [70, 71]}
    assert sorted(map(source, publisher.on(DEAD_LETTERS))) == [(0, 3), (1, 70)]
    assert (bench.pipeline.finished, bench.pipeline.in_flight) == (7, 0)


async def test_the_agent_turns_off_automatic_acks_and_admits_every_fetch() -> None:
    bench = Bench()
    fetches = [bench.consumer.fetch(0, start, *[comment_value()] * 3) for start in (0, 3, 6)]
    async with bench.running():
        await bench.pipeline.agent(FakeStream(fetches))
        await bench.until_settled(9)

    assert bench.consumer.acked == {0: list(range(9))}


async def test_a_decision_is_written_under_the_comments_id() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher)
    async with bench.running():
        await bench.admit(comment_value("you are stupid", "c-7"), start=5)
        await bench.until_settled(1)

    (message,) = publisher.published
    assert (message.topic, message.key, message.headers, message.timestamp_ms) == (DECISIONS, b"c-7", (), None)
    decision = json.loads(message.value or b"")
    assert (decision["comment_id"], decision["action"]) == ("c-7", "hold")
    assert decision["source"] == {"topic": "comments", "partition": 0, "offset": 5}


async def test_a_dead_letter_keeps_key_value_timestamp_and_headers() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher)
    headers = [("trace", b"\xff\x00"), ("empty", None), ("trace", b"again")]
    original = record(b"\xff no json", 9, partition=3, key=b"\x00key", timestamp_ms=1_795_000_000_123, headers=headers)
    async with bench.running():
        await bench.pipeline.admit(bench.consumer.hand_out(original))
        await bench.until_settled(1)

    (letter,) = publisher.published
    assert (letter.topic, letter.key, letter.value, letter.timestamp_ms) == (
        DEAD_LETTERS,
        b"\x00key",
        b"\xff no json",
        1_795_000_000_123,
    )
    assert list(letter.headers) == [
        *headers,
        ("screener-original-topic", b"comments"),
        ("screener-original-partition", b"3"),
        ("screener-original-offset", b"9"),
        ("screener-original-timestamp", b"1795000000123"),
        ("screener-stage", b"decode"),
        ("screener-reason", b"invalid_utf8"),
        ("screener-error-class", b"InvalidRecord"),
        ("screener-error-message", b"not UTF-8 at byte 0"),
        ("screener-attempts", b"1"),
        ("screener-worker", b"worker-1"),
        ("screener-model", b"fake/1/" + b"f" * 64),
        ("screener-policy", f"test/1/{POLICY.version.sha256}".encode()),
        ("screener-worker-version", WORKER_VERSION.encode()),
    ]


async def test_a_tombstone_is_passed_over_counted_and_acked() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher)
    async with bench.running():
        await bench.admit(None, comment_value(), None)
        await bench.until_settled(3)

    assert [source(message) for message in publisher.published] == [(0, 1)]
    assert bench.consumer.acked == {0: [0, 1, 2]}
    assert bench.sample("screener_tombstones_total") == 2


async def test_nothing_is_acked_before_it_is_confirmed() -> None:
    publisher = RecordingPublisher()
    publisher.open.clear()
    bench = Bench(publisher)
    async with bench.running():
        await bench.admit(*values("a", "b"))
        await publisher.until(lambda: len(publisher.attempts) > 0)
        assert bench.consumer.acked == {}
        assert bench.sample("screener_comments_total", action="allow") == 0
        publisher.open.set()
        await bench.until_settled(2)

    assert bench.sample("screener_comments_total", action="allow") == 2


async def test_nor_is_a_dead_letter() -> None:
    publisher = RecordingPublisher()
    publisher.open.clear()
    bench = Bench(publisher)
    async with bench.running():
        await bench.admit(b"no json")
        await publisher.until(lambda: bool(publisher.attempts))
        assert bench.consumer.acked == {}
        assert bench.sample("screener_dead_letters_total", reason="invalid_json") == 0
        publisher.open.set()
        await bench.until_settled(1)

    assert bench.consumer.acked == {0: [0]}


async def test_a_window_that_overtakes_another_is_acked_behind_it() -> None:
    publisher = OneCallIsSlow()
    bench = Bench(publisher, max_window=2)
    async with bench.running():
        await bench.admit(*others("a", "b"))
        await publisher.until(lambda: len(publisher.attempts) == 1)
        await bench.admit(*others("c", "d"), start=2)
        await bench.admit(*others("e", "f"), partition=1)
        await publisher.until(lambda: len(publisher.published) == 4)
        await bench.consumer.until(lambda: bench.consumer.acked[1] == [0, 1])
        assert bench.consumer.acked[0] == []
        assert bench.pipeline.positions() == {0: 0, 1: 2}
        publisher.let_go.set()
        await bench.until_settled(6)

    assert bench.consumer.acked == {0: [0, 1, 2, 3], 1: [0, 1]}


def edit(consumer: FakeConsumer, offset: int, text: str, *, comment_id: str = "c1", partition: int = 0) -> Fetch:
    """A comment under its id, as producers are to write it."""
    value = comment_value(text, comment_id)
    return consumer.hand_out(record(value, offset, key=comment_id.encode(), partition=partition))


async def test_the_last_word_on_an_edited_comment_is_the_one_on_its_last_text() -> None:
    publisher = OneCallIsSlow()
    bench = Bench(publisher, max_window=1)
    async with bench.running():
        await bench.pipeline.admit(edit(bench.consumer, 0, "hello"))
        await publisher.until(lambda: len(publisher.attempts) == 1)
        await bench.pipeline.admit(edit(bench.consumer, 1, "you are stupid"))
        # Whoever shares no key with the one that waits is not kept; in another partition it is another record's.
        await bench.pipeline.admit(edit(bench.consumer, 2, "thanks", comment_id="c2"))
        await bench.pipeline.admit(edit(bench.consumer, 0, "hello", partition=1))
        await publisher.until(lambda: len(publisher.published) == 2)
        assert sorted(map(source, publisher.published)) == [(0, 2), (1, 0)]
        publisher.let_go.set()
        await bench.until_settled(4)

    written = [source(message) for message in publisher.published]
    assert written.index((0, 0)) < written.index((0, 1))
    assert bench.consumer.acked == {0: [0, 1, 2], 1: [0]}


async def test_whose_edit_it_is_does_not_follow_from_the_records_key() -> None:
    publisher = OneCallIsSlow()
    bench = Bench(publisher, max_window=1)
    async with bench.running():
        for offset, (text, comment_id) in enumerate([("hello", "c1"), ("stupid", "c2"), ("thanks", "c1")]):
            shared = record(comment_value(text, comment_id), offset, key=b"thread" if offset < 2 else None)
            await bench.pipeline.admit(bench.consumer.hand_out(shared))
        await publisher.until(lambda: len(publisher.published) == 1)
        assert [source(message) for message in publisher.published] == [(0, 1)]
        publisher.let_go.set()
        await bench.until_settled(3)

    assert [source(message) for message in publisher.published] == [(0, 1), (0, 0), (0, 2)]


async def test_counters_tell_what_was_confirmed() -> None:
    bench = Bench()
    async with bench.running():
        await bench.admit(*values("hello", "stupid"), b"{}", start=0)
        await bench.until_settled(3)

    assert bench.sample("screener_comments_total", action="allow") == 1
    assert bench.sample("screener_comments_total", action="hold") == 1
    assert bench.sample("screener_decisions_total", category="insult", age_band="unknown") == 1
    assert bench.sample("screener_decisions_total", category="none", age_band="unknown") == 1
    assert bench.sample("screener_languages_total", supported="undetermined") == 2
    assert bench.sample("screener_dead_letters_total", reason="missing_field") == 1
    assert bench.sample("screener_in_flight") == 0


async def test_the_time_from_a_comments_timestamp_is_measured() -> None:
    bench = Bench()
    written = record(comment_value(), timestamp_ms=1_000_000_000_000)
    async with bench.running():
        await bench.pipeline.admit(bench.consumer.hand_out(written))
        await bench.until_settled(1)

    assert bench.sample("screener_end_to_end_seconds_count") == 1
    assert bench.sample("screener_end_to_end_seconds_sum") == NOW - 1_000_000_000.0


async def test_the_oldest_unfinished_record_is_known_by_its_timestamp() -> None:
    publisher = RecordingPublisher()
    publisher.open.clear()
    bench = Bench(publisher)
    async with bench.running():
        written = [record(comment_value(), at, partition=2, timestamp_ms=ms) for at, ms in ((4, 50_000), (5, 60_000))]
        await bench.pipeline.admit(bench.consumer.hand_out(*written))
        assert bench.pipeline.oldest() == {2: 50.0}
        publisher.open.set()
        await bench.until_settled(2)

    assert bench.pipeline.oldest() == {}
    assert bench.pipeline.positions() == {2: 6}


# ---- rebalances and the end


async def test_a_pause_lets_go_of_what_was_not_begun_and_finishes_what_was() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher, max_window=2)
    bench.classifier.open.clear()
    async with bench.running():
        await bench.admit(*values("a", "b"))
        await bench.until_called(score=1)
        await bench.admit(*values("c", "d", "e", "f", "g", "h"), start=2)
        await bench.admit(*values("i"), partition=1)
        # One window in the model and two on their way there; a fourth is not taken.
        await bench.until_called(encode=3)
        bench.pipeline.pause()
        await bench.admit(*values("j"), start=8)
        assert bench.consumer.released == [(1, 0), (0, 7), (0, 6), (0, 8)]
        bench.classifier.open.set()
        await bench.until_settled(10)

    assert bench.consumer.acked == {0: [0, 1, 2, 3, 4, 5]}
    assert sorted(map(source, publisher.published)) == [(0, offset) for offset in range(6)]
    assert bench.pipeline.in_flight == 0


async def test_nothing_is_acked_past_a_record_that_was_let_go() -> None:
    bench = Bench(max_window=4)
    await bench.admit(*values("a", "b", "c"))
    bench.pipeline.pause()
    bench.pipeline._accepting = True
    async with bench.running():
        await bench.admit(*values("a", "b"))
        await bench.until_settled(5)

    assert bench.consumer.released == [(0, 2), (0, 1), (0, 0)]
    assert bench.consumer.acked == {0: [0, 1]}


async def test_after_a_new_assignment_it_reads_on() -> None:
    bench = Bench()
    async with bench.running():
        await bench.admit(*values("a", "b"), start=10)
        await bench.until_settled(2)
        bench.pipeline.pause()
        bench.consumer.generation = 2
        bench.pipeline.resume()
        assert bench.pipeline.positions() == {}
        await bench.admit(*values("a"), start=11)
        await bench.until_settled(3)

    assert bench.consumer.acked == {0: [10, 11, 11]}


@pytest.mark.parametrize("generation", [1, 2])
async def test_what_a_rebalance_overtook_is_published_and_released_but_never_acked(generation: int) -> None:
    """Even if the group's generation were the same: the assignment is another."""
    publisher = RecordingPublisher()
    publisher.open.clear()
    bench = Bench(publisher)
    async with bench.running():
        await bench.admit(*values("a", "b"))
        await publisher.until(lambda: bool(publisher.attempts))
        bench.pipeline.pause()
        bench.consumer.generation = generation
        bench.pipeline.resume()
        publisher.open.set()
        await bench.until_settled(2)

    assert bench.consumer.acked == {}
    assert bench.consumer.released == [(0, 0), (0, 1)]
    assert bench.sample("screener_stale_acks_total") == 2
    assert bench.pipeline.in_flight == 0


async def test_a_generation_that_ended_unnoticed_gets_no_acks_either() -> None:
    publisher = RecordingPublisher()
    publisher.open.clear()
    bench = Bench(publisher)
    async with bench.running():
        await bench.admit(*values("a"))
        await publisher.until(lambda: bool(publisher.attempts))
        bench.consumer.generation = 2
        publisher.open.set()
        await bench.until_settled(1)

    assert (bench.consumer.acked, bench.consumer.released) == ({}, [(0, 0)])


async def test_an_event_that_waited_through_a_whole_rebalance_is_let_go() -> None:
    """It will be read again, from the last commit; admitted, it would stand in the way of that."""
    publisher = RecordingPublisher()
    publisher.open.clear()
    bench = Bench(publisher, max_in_flight=1)
    async with bench.running():
        await bench.admit(*values("a"))
        waiting = asyncio.create_task(bench.admit(*values("b"), start=1))
        await publisher.until(lambda: bool(publisher.attempts))
        bench.consumer.generation = 2
        bench.pipeline.resume()
        publisher.open.set()
        await waiting
        assert (0, 1) in bench.consumer.released
        await bench.admit(*values("a", "b"))
        await bench.until_settled(4)

    assert sorted(bench.consumer.released) == [(0, 0), (0, 1)]
    assert bench.consumer.acked == {0: [0, 1]}


async def test_a_log_that_is_cut_short_under_a_worker_is_read_from_where_it_begins_again() -> None:
    """What stands there now is news, and what was read of the old one must not be committed behind it."""
    publisher = RecordingPublisher()
    publisher.open.clear()
    bench = Bench(publisher)
    async with bench.running():
        await bench.admit(*values("a", "b"), start=1000)
        await publisher.until(lambda: bool(publisher.attempts))
        await bench.admit(*values("c", "d"), start=0)
        publisher.open.set()
        await bench.until_settled(4)

    assert bench.consumer.acked == {0: [0, 1]}
    assert sorted(map(source, publisher.published)) == [(0, 0), (0, 1), (0, 1000), (0, 1001)]
    assert bench.pipeline.positions() == {0: 2}
    assert bench.pipeline.in_flight == 0


# ---- any interleaving


class UnevenPublisher(RecordingPublisher):
    """Confirms each call after a random number of turns of the loop, so that windows finish in any order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    async def publish(self, messages: Sequence[Message]) -> list[int]:
        for _ in range(self._random.choice([0, 0, 1, 5, 40])):
            await asyncio.sleep(0)
        return await super().publish(messages)


class Log(FakeConsumer):
    """Partitions with their commits, as the group keeps them, which checks every ack against what was confirmed."""

    def __init__(self, partitions: dict[int, dict[int, bytes | None]], publisher: RecordingPublisher) -> None:
        super().__init__()
        self.partitions = partitions
        self.committed = dict.fromkeys(partitions, 0)
        """How many records of each partition are finished."""
        self._publisher = publisher

    def advance(self, partition: int, position: int) -> None:
        """Any position told counts, and has to be of something that was handed out in this assignment."""
        told = [fetch for fetch in self._held if position - 1 in {record.offset for record in fetch.records}]
        assert any((fetch.partition, fetch.generation_id) == (partition, self.generation) for fetch in told), (
            "told for an assignment that is over"
        )
        offsets = list(self.partitions[partition])[self.committed[partition] :]
        confirmed = {source(written) for written in self._publisher.published}
        for offset in offsets:
            if offset >= position:
                break
            assert self.partitions[partition][offset] is None or (partition, offset) in confirmed, (
                "acked before confirmed"
            )
            self.committed[partition] += 1
        super().advance(partition, position)

    @property
    def done(self) -> bool:
        return all(self.committed[partition] == len(records) for partition, records in self.partitions.items())


def random_value(rng: random.Random, name: str) -> bytes | None:
    return rng.choice(
        [
            None,
            b"no json",
            comment_value(POISON, name),
            *[comment_value(rng.choice(["stupid", "thanks", "hello"]) + f" {rng.randrange(9)}", name)] * 7,
        ]
    )


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_the_interleaving_nothing_is_lost_and_no_ack_comes_early(seed: int) -> None:
    rng = random.Random(seed)
    partitions: dict[int, dict[int, bytes | None]] = {}
    for partition in range(rng.randint(1, 4)):
        offsets = sorted(rng.sample(range(200), rng.randint(1, 60)))
        partitions[partition] = {offset: random_value(rng, f"{partition}-{offset}") for offset in offsets}
    publisher = UnevenPublisher(seed)
    log = Log(partitions, publisher)
    bench = Bench(
        publisher,
        consumer=log,
        max_window=rng.randint(1, 9),
        batch_wait_s=rng.choice([0.0, 0.001]),
        max_in_flight=rng.randint(1, 40),
        max_in_flight_bytes=rng.choice([100, 1000, 10**6]),
    )
    async with bench.running():
        for rebalances_left in reversed(range(rng.randint(1, 4))):
            await read_on(bench, log, rng, to_the_end=not rebalances_left)
            if rebalances_left:
                bench.pipeline.pause()
                for _ in range(rng.randint(0, 20)):
                    await asyncio.sleep(0)
                log.generation = (log.generation or 0) + 1
                bench.pipeline.resume()
        # And until those are let go, too, that a rebalance overtook.
        await log.until(lambda: log.done and bench.pipeline.in_flight == 0)

    assert bench.pipeline._in_flight_bytes == 0
    outcomes: dict[tuple[int, int], set[tuple[str, bytes | None]]] = {}
    for message in publisher.published:
        outcomes.setdefault(source(message), set()).add((message.topic, message.value))
    expected = {(p, o) for p, records in partitions.items() for o, value in records.items() if value is not None}
    assert outcomes.keys() == expected
    assert all(len(same) == 1 for same in outcomes.values()), "a repeat differs"


async def read_on(bench: Bench, log: Log, rng: random.Random, *, to_the_end: bool) -> None:
    """Hand out records from the commits on, partitions mixed, to the end or to somewhere before it."""
    waiting = [
        [
            record(value, offset, partition=partition)
            for offset, value in list(records.items())[log.committed[partition] :]
        ]
        for partition, records in log.partitions.items()
    ]
    left = sum(map(len, waiting))
    left = left if to_the_end else rng.randint(0, left)
    while left > 0:
        records = rng.choice([records for records in waiting if records])
        count = min(left, rng.choice([1, 2, 7, 50]))
        await bench.pipeline.admit(log.hand_out(*records[:count]))
        left -= len(records[:count])
        del records[:count]
        if rng.random() < 0.2:
            await asyncio.sleep(0)
