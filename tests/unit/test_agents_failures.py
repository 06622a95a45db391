"""The Faust edge when the world is wrong: the process ends, nothing unfinished is acked, no topic drains into dead letters."""

from collections.abc import Callable, Sequence

import pytest

from tests.fakes import POISON, FailingPublisher, FakeClassifier, RecordingPublisher, comment_value, record
from tests.pipelines import DEAD_LETTERS, DECISIONS, Bench, run_to_its_end, source, values
from worker.acking import AckingPipeline
from worker.dead_letters import Limit
from worker.errors import DeadLetterLimit, FatalError, OutOfMemory
from worker.publisher import Message

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


async def test_what_was_put_back_and_is_still_wrong_stops_nobody_however_much_lies_together() -> None:
    """It is what `redrive` writes, and each start would read it again from its first."""
    publisher = RecordingPublisher()
    bench = Bench(publisher, limit=Limit(in_a_row=3, ratio=0.5, window=4))
    again = [record(b"{broken", at, headers=[("screener-redrives", b"1")]) for at in range(20)]
    async with bench.running():
        await bench.pipeline.admit(bench.consumer.hand_out(*again))
        await bench.until_settled(20)

    assert bench.consumer.acked == {0: list(range(20))}
    assert len(publisher.on(DEAD_LETTERS)) == 20


async def test_nor_does_it_hide_a_bad_deploy() -> None:
    bench = Bench(limit=Limit(in_a_row=3, ratio=1.0, window=100))
    put_back = [record(comment_value("fine", f"c{at}"), at, headers=[("screener-redrives", b"1")]) for at in (1, 3)]
    wrong = [record(b"{}", at, headers=[("screener-redrives", b"no count")]) for at in (0, 2, 4)]
    await bench.pipeline.admit(bench.consumer.hand_out(*sorted(put_back + wrong, key=lambda each: each.offset)))

    with pytest.raises(DeadLetterLimit, match="3 dead letters in a row"):
        await run_to_its_end(bench)


async def test_a_decision_on_it_that_is_too_large_counts_as_little() -> None:
    publisher = RecordingPublisher(too_large=on(DECISIONS))
    bench = Bench(publisher, limit=Limit(in_a_row=2, ratio=1.0, window=100))
    again = [record(comment_value("a", f"c{at}"), at, headers=[("screener-redrives", b"1")]) for at in range(4)]
    async with bench.running():
        await bench.pipeline.admit(bench.consumer.hand_out(*again))
        await bench.until_settled(4)

    assert len(publisher.on(DEAD_LETTERS)) == 4


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
