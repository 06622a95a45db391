"""`python -m tests.mutants [NAME…]`: does the suite notice? Each bug is planted in a copy, and the tests that know that part run.

Exit 1 where a bug is not noticed (a test is missing), and where nothing can be said: the copy without a bug fails, or a bug can
no longer be planted.
"""

import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.mutants.mutants import MUTANTS, SLOW_WORLD, Mutant
from tests.mutants.trial import ROOT, Edit, Outcome, TrialError, apply, copy_tree, run_tests
from worker.demo.broker import Kind, available

_WIDTH: Final = 150


class Stage(StrEnum):
    """Where mutants are tried."""

    UNIT = "unit"
    BROKER = "broker"


class Trial(Struct, frozen=True):
    """One mutant at one stage."""

    mutant: Mutant
    stage: Stage

    @property
    def tests(self) -> Sequence[str]:
        if self.stage is Stage.UNIT:
            return self.mutant.unit
        return () if self.mutant.broker is None else (self.mutant.broker,)


class Bench:
    """Where copies are made: all of one state of the working tree, which may change meanwhile.

    Args:
        folder: for the copies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pristine = folder / "pristine"
        copy_tree(ROOT, self._pristine)

    @contextlib.contextmanager
    def copy(self, edits: Sequence[Edit]) -> Iterator[Path]:
        """A copy with these edits. Raises TrialError where one does not fit."""
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as folder:
            # Resolved: what is imported says where it really lies.
            root = Path(folder).resolve() / "copy"
            root.mkdir()
            copy_tree(self._pristine, root)
            apply(edits, root)
            yield root

    def run(self, tests: Sequence[str], stage: Stage, *planted: Edit) -> Outcome:
        """Run tests in a copy of its own."""
        if stage is Stage.UNIT:
            with self.copy(planted) as root:
                return run_tests(root, tests, test_timeout_s=60, limit_s=300)
        with self.copy([*planted, *SLOW_WORLD]) as root:
            return run_tests(root, tests, test_timeout_s=240, limit_s=600)


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Which mutants; all of them if none is named.")] = None,
    on: Annotated[Stage | None, typer.Option(help="Only there; both if not said.")] = None,
) -> None:
    """Plant bugs, one at a time, and see whether the tests notice."""
    # Like Ctrl-C: whatever is running takes its brokers down with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    trials = [trial for stage in _stages(on, console) for trial in _trials(_chosen(names), stage)]
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder))
        try:
            _check_pristine(bench, trials, console)
            outcomes = [(trial, _try(bench, trial, console)) for trial in trials]
        except TrialError as error:
            console.print(Text(f"nothing can be said: {error}", "red"))
            raise typer.Exit(1) from None
    console.print(_table(outcomes))
    survivors = sorted({trial.mutant.name for trial, outcome in outcomes if outcome.caught is None})
    console.print(f"{len(outcomes)} trials, survivors: {', '.join(survivors) or 'none'}", highlight=False)
    raise typer.Exit(1 if survivors else 0)


def _stages(on: Stage | None, console: Console) -> Sequence[Stage]:
    why_not = available(Kind.KAFKA)
    if on is Stage.UNIT or why_not is None:
        return [on] if on else list(Stage)
    if on is Stage.BROKER:
        raise typer.BadParameter(f"no Apache Kafka here: {why_not}")
    console.print(f"no Apache Kafka here ({why_not}): bugs that only a broker shows are not tried")
    return [Stage.UNIT]


def _chosen(names: Sequence[str] | None) -> Sequence[Mutant]:
    known = {mutant.name: mutant for mutant in MUTANTS}
    if unknown := [name for name in names or () if name not in known]:
        raise typer.BadParameter(f"no mutant {unknown[0]!r}; there are: {', '.join(known)}")
    return [known[name] for name in names] if names else MUTANTS


def _trials(mutants: Sequence[Mutant], stage: Stage) -> Sequence[Trial]:
    return [trial for mutant in mutants if (trial := Trial(mutant, stage)).tests]


def _check_pristine(bench: Bench, trials: Sequence[Trial], console: Console) -> None:
    """Without a bug the same tests have to pass; and each bug has to fit, before time is spent on any.

    Raises:
        TrialError: they do not, or it does not.
    """
    for trial in trials:
        with bench.copy([trial.mutant.edit]):
            pass
    for stage in Stage:
        tests = list(dict.fromkeys(test for trial in trials if trial.stage is stage for test in trial.tests))
        if not tests:
            continue
        outcome = _watched(console, f"no bug, {stage}", lambda: bench.run(tests, stage))  # noqa: B023  called at once
        if failed := [failure for failure in (outcome.caught, *outcome.crashes) if failure]:
            raise TrialError(f"without a bug {failed[0].test} fails:\n{outcome.output}")
        console.print(f"{outcome.seconds:6.1f} s  no bug, {stage}: {outcome.passed} tests pass", highlight=False)


def _try(bench: Bench, trial: Trial, console: Console) -> Outcome:
    name = f"{trial.mutant.name}, {trial.stage}"
    outcome = _watched(console, name, lambda: bench.run(trial.tests, trial.stage, trial.mutant.edit))
    console.print(Text(f"{outcome.seconds:6.1f} s  {name}: ").append(_verdict(outcome)), soft_wrap=True)
    return outcome


def _watched(console: Console, what: str, run: Callable[[], Outcome]) -> Outcome:
    with console.status(what):
        return run()


def _verdict(outcome: Outcome) -> Text:
    """Ids of tests have brackets in them, so they are no markup."""
    if (caught := outcome.caught) is not None:
        return Text(caught.test.removeprefix("tests/")).append(f" {caught.error}: {caught.message}", "dim")
    if outcome.crashes:
        crash = outcome.crashes[0]
        return Text(f"nothing but crashes: {crash.error}: {crash.message} in {crash.test}", "red")
    return Text(f"survives {outcome.passed} tests", "bold red")


def _table(outcomes: Sequence[tuple[Trial, Outcome]]) -> Table:
    table = Table("mutant", "what it would do", "caught by", "s", show_lines=True)
    table.columns[2].overflow = "fold"
    for trial, outcome in outcomes:
        table.add_row(trial.mutant.name, trial.mutant.harm, _verdict(outcome), f"{outcome.seconds:.0f}")
    return table


if __name__ == "__main__":
    typer.run(main)
