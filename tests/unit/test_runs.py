"""Runs of the model: how many at once, who goes first, and what is left when one fails."""

import gc
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker import runs
from worker.runs import Runs

PATIENCE_S = 10.0


class Model:
    """Runs batches when it is let, and remembers in which order they came."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.most = 0
        self.open = threading.Event()
        self._under_way = 0
        self._changed = threading.Condition()

    def run(self, batch: str) -> str:
        with self._changed:
            self.begun.append(batch)
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._changed.notify_all()
        assert batch == "poison" or self.open.wait(PATIENCE_S)
        with self._changed:
            self._under_way -= 1
        if batch == "poison":
            raise ValueError(batch)
        return batch.upper()

    def until_begun(self, number: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) >= number, PATIENCE_S)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def until_waiting(waiting: "Runs[str, str]", number: int) -> None:
    """Until so many batches wait to be run."""
    until = threading.Event()
    for _ in range(1000):
        if len(waiting._waiting) == number:
            return
        until.wait(PATIENCE_S / 1000)
    raise AssertionError(f"{len(waiting._waiting)} wait, not {number}")


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_each_batch_comes_back_with_its_result_and_so_many_are_run_at_once(model: Model, at_once: int) -> None:
    model.open.set()
    batches = [f"batch {number}" for number in range(20)]

    found = dict(Runs(model.run, at_once).results(batches, 20))

    assert found == {batch: batch.upper() for batch in batches}
    assert model.most <= at_once


def test_as_many_are_run_at_once_as_may_be(model: Model, callers: ThreadPoolExecutor) -> None:
    results = callers.submit(lambda: list(Runs(model.run, 3).results(["a", "b", "c", "d"], 4)))
    model.until_begun(3)
    model.open.set()

    assert len(results.result(PATIENCE_S)) == 4
    assert model.most == 3


@pytest.mark.parametrize(
    ("patience_s", "order"),
    [
        (1.0, ["much 1", "little", "much 2", "much 3"]),
        # Three microseconds later, the patience of who wants much is over.
        (1e-9, ["much 1", "much 2", "much 3", "little"]),
    ],
    ids=["who wants much waits", "but not for ever"],
)
def test_who_wants_little_passes_who_wants_much(
    model: Model, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, patience_s: float, order: list[str]
) -> None:
    monkeypatch.setattr(runs, "PATIENCE_S", patience_s)
    shared: Runs[str, str] = Runs(model.run, 1)
    much = callers.submit(lambda: list(shared.results(["much 1", "much 2", "much 3"], 3000)))
    model.until_begun(1)
    little = callers.submit(lambda: list(shared.results(["little"], 10)))
    until_waiting(shared, 3)
    model.open.set()

    assert (len(much.result(PATIENCE_S)), len(little.result(PATIENCE_S))) == (3, 1)
    assert model.begun == order


def test_when_one_fails_none_of_the_others_is_left_under_way(model: Model, callers: ThreadPoolExecutor) -> None:
    shared: Runs[str, str] = Runs(model.run, 2)
    batches = ["poison", *(f"batch {number}" for number in range(50))]

    failing = callers.submit(lambda: list(shared.results(batches, 51)))
    # Its neighbours are held up; it is not.
    model.until_begun(2)
    with pytest.raises(TimeoutError):
        failing.result(0.01)
    model.open.set()

    with pytest.raises(ValueError, match="poison"):
        failing.result(PATIENCE_S)
    begun = len(model.begun)
    assert begun <= 3
    assert dict(shared.results(["b"], 1)) == {"b": "B"}
    assert model.begun[begun:] == ["b"]


def test_a_failure_is_raised_whatever_was_asked_for_before_it(model: Model, callers: ThreadPoolExecutor) -> None:
    failing = callers.submit(lambda: list(Runs(model.run, 2).results(["slow", "poison", "behind it"], 3)))
    model.until_begun(2)

    # It comes out when none is under way any more; what "slow" found does not hide it.
    model.open.set()
    with pytest.raises(ValueError, match="poison"):
        failing.result(PATIENCE_S)


def test_results_come_in_the_order_of_their_batches_whichever_is_ready_first(callers: ThreadPoolExecutor) -> None:
    later_done = threading.Event()

    def run(batch: str) -> str:
        if batch == "first":
            assert later_done.wait(PATIENCE_S)
        else:
            later_done.set()
        return batch

    results = callers.submit(lambda: list(Runs(run, 2).results(["first", "later"], 2)))

    assert [batch for batch, _ in results.result(PATIENCE_S)] == ["first", "later"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_its_threads_are_nicer_than_the_others() -> None:
    def niceness(_: str) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    mine = niceness("")
    ((_, theirs),) = Runs(niceness, 1).results(["a"], 1)

    assert (mine, theirs) == (os.getpriority(os.PRIO_PROCESS, 0), min(19, mine + 5))


def test_where_that_is_refused_it_runs_all_the_same(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    model.open.set()

    assert dict(Runs(model.run, 1).results(["a"], 1)) == {"a": "A"}


class Held:
    """What a run has in hand, a GPU's memory perhaps."""


def test_what_a_failed_run_had_in_hand_goes_with_its_error() -> None:
    held: list[weakref.ref[Held]] = []

    def run(batch: str) -> str:
        in_hand = Held()
        held.append(weakref.ref(in_hand))
        raise ValueError(batch)

    gc.collect()
    gc.disable()
    try:
        failing = Runs(run, at_once=1)
        with pytest.raises(ValueError, match="poison"):
            list(failing.results(["poison"], tokens=1))
        # The thread lets go of its last frame a moment after its result is there.
        failing._executor.shutdown()
        assert [reference() for reference in held] == [None]
    finally:
        gc.enable()
