"""Runs of the model: how many at once, who goes first, who goes along, and what is left when one fails."""

import gc
import os
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from itertools import count
from typing import NamedTuple

import pytest

from tests.fakes import until_waiting
from worker import runs
from worker.runs import Runs

PATIENCE_S = 10.0


MOST = 100
_widths = count(1_000)


class Batch(NamedTuple):
    """With a width of its own it goes with no other."""

    name: str
    width: int
    tokens: int = 10


def batch(name: str) -> Batch:
    return Batch(name, next(_widths))


def batches(*names: str) -> list[Batch]:
    return [batch(name) for name in names]


class Model:
    """Runs batches when it is let, and remembers in which order they came, and which of them together."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.most = 0
        self.open = threading.Event()
        self._under_way = 0
        self._changed = threading.Condition()

    def run(self, together: Sequence[Batch]) -> list[str]:
        names = [each.name for each in together]
        with self._changed:
            self.begun.append(" + ".join(names))
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._changed.notify_all()
        assert "poison" in names or self.open.wait(PATIENCE_S)
        with self._changed:
            self._under_way -= 1
        if "poison" in names:
            raise ValueError("poison")
        return [name.upper() for name in names]

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


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_each_batch_comes_back_with_its_result_and_so_many_are_run_at_once(model: Model, at_once: int) -> None:
    model.open.set()
    wanted = batches(*(f"batch {number}" for number in range(20)))

    found = dict(Runs(model.run, at_once, MOST).results(wanted, 20))

    assert found == {each: each.name.upper() for each in wanted}
    assert model.most <= at_once


def test_as_many_are_run_at_once_as_may_be(model: Model, callers: ThreadPoolExecutor) -> None:
    results = callers.submit(lambda: list(Runs(model.run, 3, MOST).results(batches("a", "b", "c", "d"), 4)))
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
    shared: Runs[Batch, str] = Runs(model.run, 1, MOST)
    much = callers.submit(lambda: list(shared.results(batches("much 1", "much 2", "much 3"), 3000)))
    model.until_begun(1)
    little = callers.submit(lambda: list(shared.results(batches("little"), 10)))
    until_waiting(shared, 3)
    model.open.set()

    assert (len(much.result(PATIENCE_S)), len(little.result(PATIENCE_S))) == (3, 1)
    assert model.begun == order


def test_when_one_fails_none_of_the_others_is_left_under_way(model: Model, callers: ThreadPoolExecutor) -> None:
    shared: Runs[Batch, str] = Runs(model.run, 2, MOST)
    wanted = batches("poison", *(f"batch {number}" for number in range(50)))

    failing = callers.submit(lambda: list(shared.results(wanted, 51)))
    # Its neighbours are held up; it is not.
    model.until_begun(2)
    with pytest.raises(TimeoutError):
        failing.result(0.01)
    model.open.set()

    with pytest.raises(ValueError, match="poison"):
        failing.result(PATIENCE_S)
    begun = len(model.begun)
    assert begun <= 3
    assert [found for _, found in shared.results(batches("b"), 1)] == ["B"]
    assert model.begun[begun:] == ["b"]


def test_a_failure_is_raised_whatever_was_asked_for_before_it(model: Model, callers: ThreadPoolExecutor) -> None:
    failing = callers.submit(lambda: list(Runs(model.run, 2, MOST).results(batches("slow", "poison", "behind it"), 3)))
    model.until_begun(2)

    # It comes out when none is under way any more; what "slow" found does not hide it.
    model.open.set()
    with pytest.raises(ValueError, match="poison"):
        failing.result(PATIENCE_S)


def test_results_come_in_the_order_of_their_batches_whichever_is_ready_first(callers: ThreadPoolExecutor) -> None:
    later_done = threading.Event()

    def run(together: Sequence[Batch]) -> list[str]:
        ((name, *_),) = together
        if name == "first":
            assert later_done.wait(PATIENCE_S)
        else:
            later_done.set()
        return [name]

    results = callers.submit(lambda: list(Runs(run, 2, MOST).results(batches("first", "later"), 2)))

    assert [found for _, found in results.result(PATIENCE_S)] == ["first", "later"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_its_threads_are_nicer_than_the_others() -> None:
    def niceness(_: Sequence[Batch]) -> list[int]:
        return [os.getpriority(os.PRIO_PROCESS, threading.get_native_id())]

    (mine,) = niceness([])
    ((_, theirs),) = Runs(niceness, 1, MOST).results(batches("a"), 1)

    assert (mine, theirs) == (os.getpriority(os.PRIO_PROCESS, 0), min(19, mine + 5))


def test_where_that_is_refused_it_runs_all_the_same(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    model.open.set()

    assert [found for _, found in Runs(model.run, 1, MOST).results(batches("a"), 1)] == ["A"]


class Held:
    """What a run has in hand, a GPU's memory perhaps."""


def test_what_a_failed_run_had_in_hand_goes_with_its_error() -> None:
    held: list[weakref.ref[Held]] = []

    def run(together: Sequence[Batch]) -> list[str]:
        in_hand = Held()
        held.append(weakref.ref(in_hand))
        raise ValueError(together[0].name)

    gc.collect()
    gc.disable()
    try:
        failing = Runs(run, 1, MOST)
        with pytest.raises(ValueError, match="poison"):
            list(failing.results(batches("poison"), tokens=1))
        # The thread lets go of its last frame a moment after its result is there.
        failing._executor.shutdown()
        assert [reference() for reference in held] == [None]
    finally:
        gc.enable()


# ---- together


def found_by(busy: Runs[Batch, str], wanted: Sequence[Batch]) -> list[str]:
    return [found for _, found in busy.results(wanted, 1)]


@pytest.fixture
def busy(model: Model, callers: ThreadPoolExecutor) -> Iterator[Runs[Batch, str]]:
    """One run at once, and that one is under way until the model is let."""
    only: Runs[Batch, str] = Runs(model.run, 1, MOST)
    before = callers.submit(found_by, only, batches("before"))
    model.until_begun(1)
    yield only
    model.open.set()
    assert before.result(PATIENCE_S) == ["BEFORE"]
    assert model.begun[0] == "before"


def test_batches_of_one_width_that_wait_are_one_run_whoever_wants_them(
    model: Model, busy: Runs[Batch, str], callers: ThreadPoolExecutor
) -> None:
    some = callers.submit(found_by, busy, [Batch("a", 5, 40), Batch("b", 6, 40)])
    until_waiting(busy, 2)
    others = callers.submit(found_by, busy, [Batch("c", 6, 40), Batch("d", 7, 40), Batch("e", 5, 60)])
    until_waiting(busy, 5)
    model.open.set()

    assert (some.result(PATIENCE_S), others.result(PATIENCE_S)) == (["A", "B"], ["C", "D", "E"])
    assert model.begun[1:] == ["a + e", "b + c", "d"]


def test_a_run_has_no_more_tokens_than_it_may(
    model: Model, busy: Runs[Batch, str], callers: ThreadPoolExecutor
) -> None:
    sizes = {"a": 60, "too much": 41, "b": 30, "c": 10, "d": 1, "more than may be": 101}
    some = callers.submit(found_by, busy, [Batch(name, 5, tokens) for name, tokens in sizes.items()])
    until_waiting(busy, len(sizes))
    model.open.set()

    assert some.result(PATIENCE_S) == [name.upper() for name in sizes]
    assert model.begun[1:] == ["a + b + c", "too much + d", "more than may be"]


def test_whoever_is_to_blame_fails_alone(model: Model, busy: Runs[Batch, str], callers: ThreadPoolExecutor) -> None:
    innocent = callers.submit(found_by, busy, [Batch("a", 5)])
    until_waiting(busy, 1)
    guilty = callers.submit(found_by, busy, [Batch("poison", 5)])
    until_waiting(busy, 2)
    model.open.set()

    assert innocent.result(PATIENCE_S) == ["A"]
    with pytest.raises(ValueError, match="poison"):
        guilty.result(PATIENCE_S)
    assert model.begun[1:] == ["a + poison", "a", "poison"]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_is_given_up_goes_along_with_nobody(
    model: Model, busy: Runs[Batch, str], callers: ThreadPoolExecutor, at: int
) -> None:
    """As a batch is whose caller has failed meanwhile."""
    names = ["a", "b"]
    names.insert(at, "given up")
    wanted = {}
    for waiting, name in enumerate(names):
        wanted[name] = callers.submit(found_by, busy, [Batch(name, 5)])
        until_waiting(busy, waiting + 1)
    assert busy._waiting[at].future.cancel()
    model.open.set()

    assert (wanted["a"].result(PATIENCE_S), wanted["b"].result(PATIENCE_S)) == (["A"], ["B"])
    with pytest.raises(CancelledError):
        wanted["given up"].result(PATIENCE_S)
    assert model.begun[1:] == ["a + b"]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_in_any_crowd_each_gets_its_own(model: Model, callers: ThreadPoolExecutor, at_once: int) -> None:
    crowd: Runs[Batch, str] = Runs(model.run, at_once, MOST)
    model.open.set()
    wanted = [[Batch(f"{caller} {n}", n % 7, 1 + n % 50) for n in range(200)] for caller in range(4)]

    found = list(callers.map(lambda each: dict(crowd.results(each, 200)), wanted))

    assert found == [{each: each.name.upper() for each in of_caller} for of_caller in wanted]
    assert sum(len(run.split(" + ")) for run in model.begun) == 800
    assert model.most <= at_once
