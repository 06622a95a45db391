"""The watermark: nothing is handed back before everything in front of it is finished, and everything exactly once."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from worker.watermark import Watermark


def watermark(*offsets: int) -> Watermark[str]:
    made: Watermark[str] = Watermark()
    for offset in offsets:
        made.read(offset, f"record {offset}")
    return made


def test_in_order() -> None:
    made = watermark(7, 8)

    assert made.finish(7) == ["record 7"]
    assert made.finish(8) == ["record 8"]
    assert made.position == 9


def test_out_of_order_waits_for_the_head() -> None:
    made = watermark(7, 8, 9)

    assert made.finish(9) == []
    assert made.finish(8) == []
    assert (made.position, made.oldest) == (7, "record 7")
    assert made.finish(7) == ["record 7", "record 8", "record 9"]
    assert (made.position, made.oldest) == (10, None)


def test_the_gap_that_faust_passes_is_not_passed() -> None:
    """Committed 2585 with 2586 to 2589 acked, Faust commits 2590 although 2585 is unfinished."""
    made = watermark(2585, 2586, 2587, 2588, 2589)

    assert [made.finish(offset) for offset in (2586, 2587, 2588, 2589)] == [[], [], [], []]
    assert made.position == 2585


def test_nor_is_any_gap_before_the_first_commit() -> None:
    """With nothing committed yet, or offset 0, Faust skips a gap of any size (fact 4)."""
    made = watermark(0, 1, 2, 3)

    assert [made.finish(offset) for offset in (2, 3)] == [[], []]
    assert made.position == 0
    assert made.finish(0) == ["record 0"]
    assert made.position == 1


def test_offsets_that_compaction_or_transactions_left_out_are_no_gaps() -> None:
    made = watermark(3, 10, 11, 500)

    assert made.finish(10) == []
    assert made.finish(3) == ["record 3", "record 10"]
    assert made.position == 11
    assert made.finish(500) == []
    assert made.finish(11) == ["record 11", "record 500"]
    assert made.position == 501


def test_no_position_before_the_first_record() -> None:
    assert Watermark[str]().position is None
    assert watermark(7).position == 7


@pytest.mark.parametrize("offset", [4, 5])
def test_a_record_read_again_means_that_the_caller_lost_track(offset: int) -> None:
    made = watermark(4, 5)

    with pytest.raises(ValueError, match=f"offset {offset} was read after 5"):
        made.read(offset, "again")


def test_and_so_it_does_when_all_before_are_finished() -> None:
    made = watermark(4)
    made.finish(4)

    with pytest.raises(ValueError, match="offset 4 was read after 4"):
        made.read(4, "again")


def test_what_is_dropped_is_never_handed_back_and_can_be_read_again() -> None:
    made = watermark(1, 2, 3)
    made.finish(3)
    made.drop(2)

    assert made.finish(1) == ["record 1"]
    assert made.position == 2
    made.read(2, "record 2, again")
    made.read(3, "record 3, again")
    assert made.finish(2) == ["record 2, again"]
    assert made.finish(3) == ["record 3, again"]


class WatermarkMachine(RuleBasedStateMachine):
    """Any order of reading, finishing and dropping, against a list that is searched from its start each time."""

    def __init__(self) -> None:
        super().__init__()
        self.watermark: Watermark[int] = self.make()
        self.next = 0
        self.read_offsets: list[int] = []
        self.finished: set[int] = set()
        self.acked: list[int] = []

    def make(self) -> Watermark[int]:
        return Watermark()

    @rule(gap=st.sampled_from([0, 0, 0, 1, 5]))
    def read(self, gap: int) -> None:
        self.next += gap
        self.watermark.read(self.next, self.next)
        self.read_offsets.append(self.next)
        self.next += 1

    @precondition(lambda self: set(self.read_offsets) - self.finished)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from([at for at in self.read_offsets if at not in self.finished]))
        self.finished.add(offset)
        self.acked += self.watermark.finish(offset)

    @precondition(lambda self: self.read_offsets and self.read_offsets[-1] not in self.finished)
    @rule()
    def drop(self) -> None:
        self.next = self.read_offsets.pop()
        self.watermark.drop(self.next)

    @invariant()
    def acks_are_the_unbroken_run_of_finished_records(self) -> None:
        assert self.acked == list(self.unbroken())

    @invariant()
    def the_position_passes_no_unfinished_record(self) -> None:
        unfinished = [offset for offset in self.read_offsets if offset not in self.finished]
        if unfinished and self.watermark.position is not None:
            assert self.watermark.position <= unfinished[0]
            assert self.watermark.oldest == unfinished[0]

    @invariant()
    def all_are_accounted_for(self) -> None:
        assert len(self.acked) + len(self.watermark._open) == len(self.read_offsets)

    def unbroken(self) -> Iterator[int]:
        for offset in self.read_offsets:
            if offset not in self.finished:
                return
            yield offset


WatermarkMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestWatermarkMachine = WatermarkMachine.TestCase


class PassesOneGap(Watermark[int]):
    """Faust's mistake: a single unfinished record in front of finished ones is passed."""

    def finish(self, offset: int) -> list[int]:
        ready = super().finish(offset)
        if not ready and len(self._open) > 1 and self._open[1][0] in self._finished:
            self._open.popleft()
            _, item = self._open.popleft()
            self._finished.discard(offset)
            return [item]
        return ready


class AcksAtOnce(Watermark[int]):
    """The naive way: whatever is finished is acked."""

    def finish(self, offset: int) -> list[int]:
        return [offset]


@pytest.mark.parametrize("mistaken", [PassesOneGap, AcksAtOnce])
def test_the_machine_above_would_catch_the_mistake(mistaken: type[Watermark[int]]) -> None:
    class Mistaken(WatermarkMachine):
        def make(self) -> Watermark[int]:
            return mistaken()

    case: Any = Mistaken.TestCase
    case.settings = settings(
        max_examples=300,
        stateful_step_count=30,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.generate],
    )
    with pytest.raises(AssertionError):
        case("runTest").runTest()


def test_what_was_dropped_was_not_taken_and_what_was_finished_not_yet_committed() -> None:
    watermark: Watermark[int] = Watermark()
    for offset in (3, 5, 9, 12):
        watermark.read(offset, offset)
    watermark.drop(9)
    watermark.finish(5)
    assert (watermark.taken, watermark.finished, watermark.uncommitted) == (2, 0, 2)

    watermark.finish(3)
    watermark.committed = watermark.finished
    assert (watermark.finished, watermark.uncommitted) == (2, 0)
