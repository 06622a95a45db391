"""What the Faust edge takes in at once: windows, records and bytes in flight, and what has waited too long."""

import asyncio
import json

from tests.fakes import OneCallIsSlow, RecordingPublisher, comment_value, record
from tests.pipelines import DEAD_LETTERS, DECISIONS, NOW, Bench, others, values
from worker.acking import AckingPipeline

FOREVER_S = 3600.0


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
