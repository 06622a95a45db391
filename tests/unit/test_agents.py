"""The Faust edge over fakes: one confirmed outcome for each event, then its ack, in offset order, whatever goes wrong."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence

import pytest

from tests.fakes import (
    POISON,
    FailingPublisher,
    FakeClassifier,
    FakeConsumer,
    FakeStream,
    RecordingPublisher,
    comment_value,
    record,
)
from tests.pipelines import DEAD_LETTERS, DECISIONS, NOW, POLICY, Bench, run_to_its_end, source, values
from worker.acking import AckingPipeline
from worker.consumer import Fetch
from worker.dead_letters import WORKER_VERSION, Limit
from worker.errors import DeadLetterLimit, FatalError, OutOfMemory
from worker.publisher import Message

FOREVER_S = 3600.0


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


class OneCallIsSlow(RecordingPublisher):
    """This call waits until it is let go; the others overtake it."""

    def __init__(self, slow: int = 0) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self._slow = slow

    async def publish(self, messages: Sequence[Message]) -> list[int]:
        is_slow = len(self.attempts) == self._slow
        self.attempts.append(list(messages))
        self._changed.set()
        if is_slow:
            await self.let_go.wait()
        self.published += messages
        self._changed.set()
        return []


def others(*texts: str) -> list[bytes]:
    """Comments of which none is an edit of another: each has its text for an id."""
    return [comment_value(text, text) for text in texts]


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


# ---- the world is wrong: the process ends, and nothing unfinished is acked


async def test_what_cannot_be_published_is_not_acked_and_ends_the_process() -> None:
    publisher = FailingPublisher(after=1)
    bench = Bench(publisher, max_window=2)
    await bench.admit(*values("a", "b", "c", "d"))

    with pytest.raises(FatalError, match="2 records not confirmed"):
        await run_to_its_end(bench)

    assert bench.consumer.acked == {0: [0, 1]}


async def test_so_does_a_broken_model() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher)
    bench.classifier.broken = True
    await bench.admit(*values("a", "b"))

    with pytest.raises(FatalError, match="the model no longer answers"):
        await run_to_its_end(bench)

    assert (publisher.attempts, bench.consumer.acked) == ([], {})


async def test_out_of_memory_is_tried_again() -> None:
    bench = Bench(classifier=FakeClassifier(transient=7))
    async with bench.running():
        await bench.admit(comment_value())
        await bench.until_settled(1)

    assert bench.consumer.acked == {0: [0]}
    assert len(bench.classifier.batches) == 8
    assert bench.pipeline.failing_s == 0.0


async def test_and_known_for_how_long() -> None:
    classifier = FakeClassifier(transient=1)
    bench = Bench(classifier=classifier)
    failing_s: list[float] = []

    class Asking(RecordingPublisher):
        """Stands behind the screening, where it no longer fails."""

        async def publish(self, messages: Sequence[Message]) -> list[int]:
            failing_s.append(bench.pipeline.failing_s)
            return await super().publish(messages)

    assert isinstance(bench.pipeline, AckingPipeline)
    bench.pipeline._publisher = Asking()
    pause_s = iter([0.0])

    def note_and_end() -> float:
        failing_s.append(bench.pipeline.failing_s)
        return next(pause_s)

    bench.pipeline._backoff._jitter = note_and_end
    async with bench.running():
        await bench.admit(comment_value())
        await bench.until_settled(1)

    assert failing_s[0] > 0.0
    assert failing_s[1:] == [0.0]


async def test_but_not_for_ever() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher, classifier=FakeClassifier(transient=8))
    await bench.admit(comment_value())

    with pytest.raises(OutOfMemory, match=r"^screening failed 8 times: out of memory, for once$"):
        await run_to_its_end(bench)

    assert (publisher.attempts, bench.consumer.acked, len(bench.classifier.batches)) == ([], {}, 8)


async def test_a_window_too_large_for_memory_is_screened_in_parts() -> None:
    bench = Bench(classifier=FakeClassifier(fits=1))
    async with bench.running():
        await bench.admit(*values("a", "b", "c", "d"))
        await bench.until_settled(4)

    assert bench.consumer.acked == {0: [0, 1, 2, 3]}
    assert bench.pipeline.failing_s == 0.0


async def test_a_model_that_fails_for_every_text_but_the_probe_drains_nothing_into_dead_letters() -> None:
    publisher = RecordingPublisher()
    bench = Bench(
        publisher, classifier=FakeClassifier(poison=("a text",)), limit=Limit(in_a_row=3, ratio=1.0, window=100)
    )
    await bench.admit(*values(*(f"a text {number}" for number in range(4))))

    with pytest.raises(DeadLetterLimit, match="3 dead letters in a row"):
        await run_to_its_end(bench)

    assert (publisher.attempts, bench.consumer.acked) == ([], {})


async def test_progress_is_seen_while_a_window_is_being_halved_and_when_one_is_finished() -> None:
    bench = Bench(max_window=8)
    async with bench.running():
        bench.classifier.open.clear()
        await bench.admit(*values(*(f"{POISON} {number}" for number in range(8))))
        await bench.until_called(score=1)
        assert bench.pipeline.progress == 0
        bench.classifier.open.set()
        await bench.until_settled(8)

    # 15 runs of texts, for each that fails alone a probe and one more, 8 records.
    assert bench.pipeline.progress == 15 + 8 + 8 + 8


async def test_a_model_that_only_runs_out_of_memory_makes_no_progress() -> None:
    bench = Bench(classifier=FakeClassifier(fits=0))
    await bench.admit(comment_value())

    with pytest.raises(OutOfMemory):
        await run_to_its_end(bench)

    assert bench.pipeline.progress == 0


async def test_too_many_dead_letters_stop_it_before_any_of_that_window_is_written() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher, limit=Limit(in_a_row=3, ratio=1.0, window=100))
    await bench.admit(comment_value(), b"{}", b"{}", b"{}")

    with pytest.raises(DeadLetterLimit, match="3 dead letters in a row"):
        await run_to_its_end(bench)

    assert (publisher.attempts, bench.consumer.acked) == ([], {})


async def test_tombstones_are_neither_dead_letters_nor_decisions_to_the_limit() -> None:
    bench = Bench(limit=Limit(in_a_row=2, ratio=1.0, window=100))
    await bench.admit(b"{}", None, b"{}")

    with pytest.raises(DeadLetterLimit):
        await run_to_its_end(bench)


async def test_an_error_that_nobody_foresaw_ends_the_process_too() -> None:
    class Odd(RecordingPublisher):
        async def publish(self, messages: Sequence[Message]) -> list[int]:
            raise ZeroDivisionError(len(messages))

    bench = Bench(Odd())
    await bench.admit(comment_value())

    with pytest.raises(ZeroDivisionError):
        await run_to_its_end(bench)

    assert bench.consumer.acked == {}


# ---- too large


def on(topic: str) -> Callable[[Message], bool]:
    return lambda message: message.topic == topic


async def test_a_decision_that_is_too_large_becomes_a_dead_letter() -> None:
    publisher = RecordingPublisher(
        too_large=lambda message: message.topic == DECISIONS and b'"comment_id":"c1"' in (message.value or b"")
    )
    bench = Bench(publisher)
    async with bench.running():
        await bench.admit(*values("a", "b", "c"))
        await bench.until_settled(3)

    assert [source(message) for message in publisher.on(DECISIONS)] == [(0, 0), (0, 2)]
    (letter,) = publisher.on(DEAD_LETTERS)
    headers = dict(letter.headers)
    assert (source(letter), letter.value) == ((0, 1), comment_value("b", "c1"))
    assert (headers["screener-stage"], headers["screener-reason"]) == (b"publish", b"decision_refused")
    assert bench.consumer.acked == {0: [0, 1, 2]}
    assert bench.sample("screener_dead_letters_total", reason="decision_refused") == 1
    assert bench.sample("screener_comments_total", action="allow") == 2


@pytest.mark.parametrize("refuses", [on(DEAD_LETTERS), lambda _: True], ids=["dead letters", "everything"])
async def test_a_dead_letter_that_is_too_large_needs_a_person(refuses: Callable[[Message], bool]) -> None:
    bench = Bench(RecordingPublisher(too_large=refuses))
    await bench.admit(comment_value(), b"no json")

    with pytest.raises(FatalError, match=r"comments/0/1 is too large for dead-letters: raise .* max.message.bytes"):
        await run_to_its_end(bench)

    assert bench.consumer.acked == {}


async def test_so_does_one_made_of_a_decision_that_was() -> None:
    bench = Bench(RecordingPublisher(too_large=lambda _: True))
    await bench.admit(comment_value())

    with pytest.raises(FatalError, match="comments/0/0 is too large for dead-letters"):
        await run_to_its_end(bench)

    assert bench.consumer.acked == {}


async def test_a_topic_that_takes_no_decision_does_not_drain_the_comments_into_dead_letters() -> None:
    publisher = RecordingPublisher(too_large=on(DECISIONS))
    bench = Bench(publisher, limit=Limit(in_a_row=3, ratio=1.0, window=100))
    await bench.admit(*values("a", "b", "c"))

    with pytest.raises(DeadLetterLimit, match="3 dead letters in a row"):
        await run_to_its_end(bench)

    assert (publisher.on(DEAD_LETTERS), bench.consumer.acked) == ([], {})


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


# ---- windows and bounds


async def test_full_windows_are_taken_at_once_and_the_rest_when_the_model_is_free() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher, max_window=3, batch_wait_s=FOREVER_S)
    async with bench.running():
        await bench.admit(*values("a", "b", "c", "d", "e", "f"))
        await bench.until_settled(6)

    assert [len(call) for call in publisher.attempts] == [3, 3]


async def test_a_window_holds_no_more_bytes_than_a_model_can_read_in_time() -> None:
    """Each of them is short enough to share a window, and all of them would keep the model busy for long."""
    bench = Bench(max_window=100)
    await bench.admit(*values(*(f"{at} " + "word " * 340 for at in range(100))))
    async with bench.running():
        await bench.until_settled(100)

    windows = [len(window) for window in bench.classifier.encoded]
    assert sum(windows) == 100
    assert max(windows) > 1
    assert max(sum(len(text) for text in window) for window in bench.classifier.encoded) <= 64 * 1024


async def test_an_idle_worker_waits_for_others_to_share_the_batch() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher, max_window=3, batch_wait_s=FOREVER_S)
    async with bench.running():
        for offset, value in enumerate(values("a", "b", "c")):
            await bench.admit(value, start=offset)
            await asyncio.sleep(0)
        await bench.until_settled(3)

    assert [len(call) for call in publisher.attempts] == [3]


async def test_but_no_longer_than_the_batch_wait() -> None:
    bench = Bench(max_window=100, batch_wait_s=0.01)
    async with bench.running():
        await bench.admit(*values("a", "b"))
        await bench.until_settled(2)

    assert bench.consumer.acked == {0: [0, 1]}


async def test_what_comes_while_no_more_windows_may_be_under_way_goes_together_later() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher, max_window=100)
    bench.classifier.open.clear()
    async with bench.running():
        for offset in range(3):
            await bench.admit(*values(f"number {offset}"), start=offset)
            await bench.until_called(encode=offset + 1)
        for offset, value in enumerate(values("a", "b", "c"), 3):
            await bench.admit(value, start=offset)
            # Whoever would take it at once gets the chance.
            for _ in range(5):
                await asyncio.sleep(0)
        bench.classifier.open.set()
        await bench.until_settled(6)

    assert sorted(len(call) for call in publisher.attempts) == [1, 1, 1, 3]


async def test_a_long_comment_is_a_window_of_its_own() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher, max_window=100)
    await bench.admit(*values("a", "b", "word " * 500, "c", "word " * 501, "word " * 502, "d"))
    async with bench.running():
        await bench.until_settled(7)

    assert sorted(len(call) for call in publisher.attempts) == [1, 1, 1, 1, 1, 2]
    assert bench.consumer.acked == {0: list(range(7))}


async def test_a_pause_while_waiting_for_a_fuller_window_leaves_nothing_to_take() -> None:
    bench = Bench(max_window=3, batch_wait_s=0.01)
    async with bench.running():
        await bench.admit(*values("a"))
        await asyncio.sleep(0)
        bench.pipeline.pause()
        bench.pipeline.resume()
        await bench.admit(*values("a"))
        await bench.until_settled(2)

    assert (bench.consumer.released, bench.consumer.acked) == ([(0, 0)], {0: [0]})


async def test_no_more_is_taken_in_than_may_be_in_flight() -> None:
    publisher = RecordingPublisher()
    publisher.open.clear()
    bench = Bench(publisher, max_in_flight=3)
    async with bench.running():
        await bench.admit(*values("a", "b", "c"))
        fourth = asyncio.create_task(bench.admit(*values("d"), start=3))
        await publisher.until(lambda: bool(publisher.attempts))
        assert not fourth.done()
        assert bench.sample("screener_in_flight") == bench.pipeline.in_flight == 3
        publisher.open.set()
        async with asyncio.timeout(10):
            await fourth
        await bench.until_settled(4)

    assert bench.consumer.acked == {0: [0, 1, 2, 3]}


async def test_of_a_fetch_only_as_much_is_taken_in_as_there_is_room_for() -> None:
    publisher = RecordingPublisher()
    publisher.open.clear()
    bench = Bench(publisher, max_in_flight=3)
    async with bench.running():
        admitting = asyncio.create_task(bench.pipeline.admit(bench.consumer.fetch(0, 0, *values(*"abcdefgh"))))
        await publisher.until(lambda: bool(publisher.attempts))
        assert not admitting.done()
        assert (bench.pipeline.in_flight, bench.sample("screener_records_read_total", partition="0")) == (3, 3)
        publisher.open.set()
        async with asyncio.timeout(10):
            await admitting
        await bench.until_settled(8)

    assert bench.consumer.acked == {0: list(range(8))}
    assert bench.consumer.released == []
    assert bench.sample("screener_records_read_total", partition="0") == 8


async def test_a_pause_drops_what_of_a_fetch_was_not_begun_and_what_was_not_taken_in() -> None:
    bench = Bench(max_window=2, max_in_flight=7)
    bench.classifier.open.clear()
    async with bench.running():
        admitting = asyncio.create_task(bench.pipeline.admit(bench.consumer.fetch(0, 0, *values(*"abcdefghij"))))
        # One window in the model, two on their way there, one record in the queue, three outside.
        await bench.until_called(encode=3)
        bench.pipeline.pause()
        async with asyncio.timeout(10):
            await admitting
        # Faust has to wait for those that were begun, and with them for the fetch.
        assert bench.consumer.released == []
        bench.classifier.open.set()
        await bench.until_settled(10)

    assert bench.consumer.acked == {0: [0, 1, 2, 3, 4, 5]}
    assert bench.consumer.released == [(0, 6), (0, 7), (0, 8), (0, 9)]
    assert bench.pipeline.in_flight == 0


async def test_the_start_of_a_fetch_is_acked_before_its_end_is_finished() -> None:
    publisher = OneCallIsSlow(1)
    bench = Bench(publisher, max_window=2)
    async with bench.running():
        await bench.pipeline.admit(bench.consumer.fetch(0, 0, *values("a", "b", "c", "d")))
        await bench.until_settled(2)
        assert bench.consumer.acked == {0: [0, 1]}
        publisher.let_go.set()
        await bench.until_settled(4)

    assert bench.consumer.acked == {0: [0, 1, 2, 3]}


async def test_nor_more_bytes_but_for_the_last_record() -> None:
    publisher = RecordingPublisher()
    publisher.open.clear()
    value = comment_value("hello " * 20)
    bench = Bench(publisher, max_in_flight_bytes=2 * len(value) + 1)
    async with bench.running():
        await bench.admit(value, value, value)
        fourth = asyncio.create_task(bench.admit(value, start=3))
        await publisher.until(lambda: bool(publisher.attempts))
        assert not fourth.done()
        publisher.open.set()
        async with asyncio.timeout(10):
            await fourth
        await bench.until_settled(4)

    assert bench.consumer.acked == {0: [0, 1, 2, 3]}
    assert (bench.pipeline.in_flight, bench.pipeline._in_flight_bytes) == (0, 0)


async def test_keys_and_headers_are_bytes_too() -> None:
    value, header = comment_value(), ("trace", b"x" * 1000)
    bench = Bench(max_in_flight_bytes=2000)
    records = [record(value, at, key=b"key", headers=[header]) for at in range(3)]
    admitting = asyncio.create_task(bench.pipeline.admit(bench.consumer.hand_out(*records)))
    await asyncio.sleep(0)

    assert bench.pipeline.in_flight == 2
    assert bench.sample("screener_in_flight_bytes") == 2 * (len(value) + 3 + 5 + 1000)
    bench.pipeline.pause()
    await admitting
    assert bench.sample("screener_in_flight_bytes") == 0


async def test_headers_are_nothing_that_a_model_reads() -> None:
    """However long they are, the comments share a window."""
    bench = Bench(max_window=3)
    header = ("trace", b"x" * 100_000)
    await bench.pipeline.admit(
        bench.consumer.hand_out(
            *(record(value, at, headers=[header]) for at, value in enumerate(values("a", "b", "c")))
        )
    )
    async with bench.running():
        await bench.until_settled(3)

    assert [len(window) for window in bench.classifier.encoded] == [3]


async def test_a_record_larger_than_all_that_may_be_in_flight_goes_through_alone() -> None:
    bench = Bench(max_in_flight_bytes=10)
    async with bench.running(), asyncio.timeout(10):
        await bench.admit(*values("a", "b", "c"))
        await bench.until_settled(3)

    assert bench.consumer.acked == {0: [0, 1, 2]}


async def test_what_is_let_go_is_no_longer_in_flight() -> None:
    bench = Bench(max_in_flight_bytes=1000)
    await bench.admit(*values("a", "b"), None)
    bench.pipeline.pause()

    assert (bench.pipeline.in_flight, bench.pipeline._in_flight_bytes) == (0, 0)


async def test_what_waits_for_a_slower_record_before_it_is_still_in_flight() -> None:
    """Else one record that takes its time would let everything behind it pile up."""
    publisher = OneCallIsSlow()
    bench = Bench(publisher, max_window=1, max_in_flight=3)
    async with bench.running():
        await bench.admit(*others("a"))
        await publisher.until(lambda: len(publisher.attempts) == 1)
        await bench.admit(*others("b", "c"), start=1)
        await publisher.until(lambda: len(publisher.published) == 2)
        fourth = asyncio.create_task(bench.admit(*others("d"), start=3))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not fourth.done()
        assert bench.pipeline.in_flight == 3
        publisher.let_go.set()
        async with asyncio.timeout(10):
            await fourth
        await bench.until_settled(4)

    assert bench.consumer.acked == {0: [0, 1, 2, 3]}


async def test_a_pause_frees_who_waits_to_be_taken_in() -> None:
    publisher = RecordingPublisher()
    publisher.open.clear()
    bench = Bench(publisher, max_in_flight=1)
    async with bench.running():
        await bench.admit(*values("a"))
        second = asyncio.create_task(bench.admit(*values("b"), start=1))
        await publisher.until(lambda: bool(publisher.attempts))
        bench.pipeline.pause()
        async with asyncio.timeout(10):
            await second
        publisher.open.set()
        await bench.until_settled(2)

    assert (bench.consumer.acked, bench.consumer.released) == ({0: [0]}, [(0, 1)])


# ---- overload


async def admit_aged(bench: Bench, *ages_s: float | None, value: bytes | None = None) -> None:
    for offset, age_s in enumerate(ages_s):
        aged = record(
            comment_value(f"text {offset}", f"c{offset}") if value is None else value,
            offset,
            timestamp_ms=None if age_s is None else round((NOW - age_s) * 1000),
        )
        await bench.pipeline.admit(bench.consumer.hand_out(aged))


async def test_what_has_waited_too_long_is_held_unscored_and_nothing_is_dropped() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher, shed_lag_s=60.0, max_in_flight=1)
    async with bench.running():
        await admit_aged(bench, 1.0, 1.0, 300.0, 61.0, 60.0, 1.0, None)
        await bench.until_settled(7)

    decisions = {d["comment_id"]: (d["action"], d["degraded"]) for d in map(json.loads, written(publisher))}
    held, screened = ("hold", True), ("allow", False)
    assert decisions == {f"c{at}": held if at in {2, 3} else screened for at in range(7)}
    assert sorted(bench.classifier.scored) == [f"text {at}" for at in (0, 1, 4, 5, 6)]
    assert bench.consumer.acked == {0: list(range(7))}
    assert bench.sample("screener_shed_total") == 2
    assert bench.sample("screener_comments_total", action="hold") == 2


async def test_what_may_have_been_decided_before_a_crash_is_never_shed() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher, shed_lag_s=60.0, max_in_flight=2)
    async with bench.running():
        await admit_aged(bench, *[300.0] * 6)
        await bench.until_settled(6)
        bench.pipeline.pause()
        bench.pipeline.resume()
        await bench.pipeline.admit(bench.consumer.hand_out(record(comment_value("again", "c0"), 6, timestamp_ms=1000)))
        await bench.until_settled(7)

    degraded = [json.loads(value)["degraded"] for value in written(publisher)]
    # Twice what may be in flight, of each assignment.
    assert degraded == [False, False, False, False, True, True, False]


async def test_so_no_more_is_read_than_that_while_nothing_is_committed() -> None:
    """What lies beyond would be decided, read again after a crash, and shed."""
    bench = Bench(shed_lag_s=60.0, max_window=1, max_in_flight=2, commits=False)
    assert isinstance(bench.pipeline, AckingPipeline)
    async with bench.running(), asyncio.timeout(10):
        reading = asyncio.create_task(admit_aged(bench, *[1.0] * 9))
        await bench.until_settled(1)
        begun, told = bench.pipeline.committing(), len(bench.consumer.acked[0])
        for most in (4, 4 + told):
            await bench.until_settled(most)
            for _ in range(20):
                # Whoever would not wait gets the chance.
                await asyncio.sleep(0)
            assert bench.consumer.acked == {0: list(range(most))}
            assert not reading.done()
            # It is of what was told when it began, and of nothing that was finished since.
            begun()
        while not reading.done():
            bench.pipeline.committing()()
            await asyncio.sleep(0)
        await bench.until_settled(9)

    assert bench.consumer.acked == {0: list(range(9))}


async def test_nor_does_a_rebalance_wait_for_a_commit() -> None:
    bench = Bench(shed_lag_s=60.0, max_in_flight=1, commits=False)
    assert isinstance(bench.pipeline, AckingPipeline)
    async with bench.running(), asyncio.timeout(10):
        reading = asyncio.create_task(admit_aged(bench, 1.0, 1.0, 1.0))
        await bench.until_settled(2)
        late = bench.pipeline.committing()
        bench.pipeline.pause()
        await reading
        bench.consumer.generation = 2
        bench.pipeline.resume()
        # One of the assignment that is over says nothing of this one.
        late()
        again = asyncio.create_task(admit_aged(bench, 1.0, 1.0, 1.0))
        await bench.until_settled(5)
        bench.pipeline.committing()()
        await again
        await bench.until_settled(6)

    assert bench.consumer.released == [(0, 2)]


async def test_who_sheds_nothing_reads_on_without_a_commit() -> None:
    bench = Bench(max_in_flight=1, commits=False)
    async with bench.running(), asyncio.timeout(10):
        await bench.admit(*values(*"abcdef"))
        await bench.until_settled(6)


async def test_nothing_is_unless_it_is_asked_for() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher)
    await admit_aged(bench, 10**6)
    async with bench.running():
        await bench.until_settled(1)

    assert [json.loads(value)["degraded"] for value in written(publisher)] == [False]
    assert bench.sample("screener_shed_total") == 0


async def test_a_wrong_record_is_a_dead_letter_however_late() -> None:
    publisher = RecordingPublisher()
    bench = Bench(publisher, shed_lag_s=60.0, max_in_flight=1)
    async with bench.running():
        await admit_aged(bench, 300.0, 300.0, 300.0, value=b"no json")
        await bench.until_settled(3)

    assert len(publisher.on(DEAD_LETTERS)) == 3
    assert bench.sample("screener_shed_total") == 0


def written(publisher: RecordingPublisher) -> list[bytes]:
    return [message.value or b"" for message in publisher.on(DECISIONS)]


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
