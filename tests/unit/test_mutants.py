"""The planted bugs still fit what stands in the worker, and a trial tells a bug that was noticed from one that was not."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.mutants.mutants import MUTANTS, SLOW_WORLD, Mutant
from tests.mutants.report import Failure, Report
from tests.mutants.trial import ROOT, Edit, TrialError, apply, copy_tree, judge, run_tests

BATCHING = ("tests/unit/test_batching.py::test_the_budget_counts_padded_tokens",)
BATCHES = "        size = max(1, max_tokens // width)\n"


def each(mutants: Sequence[Mutant]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("mutant", mutants, ids=[mutant.name for mutant in mutants])


def planted(edits: Sequence[Edit], folder: Path) -> None:
    """Make edits in copies of the files that they are of; what comes of them has to be Python."""
    for path in {edit.path for edit in edits}:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    apply(edits, folder)
    for path in {edit.path for edit in edits}:
        compile((folder / path).read_bytes(), path, "exec")


# ---- the table


@each(MUTANTS)
def test_a_bug_fits_what_stands_there(mutant: Mutant, tmp_path: Path) -> None:
    planted([mutant.edit], tmp_path)


@each([mutant for mutant in MUTANTS if mutant.broker])
def test_and_so_it_does_where_the_world_is_slow(mutant: Mutant, tmp_path: Path) -> None:
    planted([mutant.edit, *SLOW_WORLD], tmp_path)


@each(MUTANTS)
def test_the_tests_that_have_to_notice_are_there(mutant: Mutant) -> None:
    tests = [*mutant.unit, *([mutant.broker] if mutant.broker else [])]
    assert tests

    for test in tests:
        path, _, name = test.partition("[")[0].partition("::")
        assert not name or re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE)


def test_no_two_bugs_share_a_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize(("before", "found"), [("one", 2), ("three", 0)])
def test_a_snippet_that_does_not_stand_there_exactly_once_is_refused(before: str, found: int, tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text("one two one", "utf-8")

    with pytest.raises(TrialError, match=rf"^file\.py has it {found} times, not once:"):
        apply([Edit("file.py", before, "")], tmp_path)


# ---- what counts as noticed

SAID = Failure("test_a", "call", "AssertionError", "assert 1 == 2", said=True)
CRASHED = Failure("test_b", "call", "NameError", "name 'a' is not defined", said=False)


def test_a_test_that_says_so_has_noticed() -> None:
    outcome = judge(Report("", 3, [CRASHED, SAID]), 1.0, "")

    assert (outcome.caught, outcome.crashes) == (SAID, [CRASHED])


def test_one_that_could_not_even_run_has_not() -> None:
    outcome = judge(Report("", 3, [CRASHED]), 1.0, "")

    assert (outcome.caught, outcome.crashes) == (None, [CRASHED])


def test_no_test_at_all_says_nothing() -> None:
    with pytest.raises(TrialError, match=r"^no test was run"):
        judge(Report("", 0, []), 1.0, "")


# ---- trials


@pytest.mark.parametrize(
    ("after", "caught", "crashed"),
    [
        ("        size = 1 + max_tokens // width\n", "AssertionError", set()),
        ("        size = max(1, max_tokens // wdith)\n", None, {"NameError"}),
        ("        size = max(max_tokens // width, 1)\n", None, set()),
    ],
    ids=["a bug", "a crash", "no difference"],
)
def test_a_trial_in_a_copy(after: str, caught: str | None, crashed: set[str], tmp_path: Path) -> None:
    copy_tree(ROOT, tmp_path)
    apply([Edit("worker/batching.py", BATCHES, after)], tmp_path)

    outcome = run_tests(tmp_path, BATCHING, test_timeout_s=200, limit_s=250)

    assert (outcome.caught.error if outcome.caught else None) == caught
    assert {crash.error for crash in outcome.crashes} == crashed
    assert outcome.caught is None or outcome.caught.test == BATCHING[0]
    assert BATCHES in (ROOT / "worker/batching.py").read_text("utf-8")


def test_tests_of_anything_but_the_copy_say_nothing(tmp_path: Path) -> None:
    copy_tree(ROOT, tmp_path)
    shutil.rmtree(tmp_path / "worker")

    with pytest.raises(TrialError, match="which is not the copy"):
        run_tests(tmp_path, BATCHING, test_timeout_s=200, limit_s=250)
