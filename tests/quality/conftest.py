"""Prints one line per behaviour at the end, passed or not."""

from collections.abc import Sequence
from typing import Final

import pytest

MODEL: Final = "default"
RESULTS: dict[tuple[str, str], tuple[int, int, float]] = {}
"""Whose rows and behaviour → rows judged as meant, rows, floor."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for title in sorted({title for title, _ in RESULTS}):
        of_it = {behaviour: counts for (name, behaviour), counts in sorted(RESULTS.items()) if name == title}
        terminalreporter.section(f"{title}: rows judged as meant")
        for behaviour, (right, of, floor) in of_it.items():
            terminalreporter.write_line(
                f"{behaviour:<48} {right:>4} of {of:>4}  {right / of:>4.0%}  (floor {floor:.0%})"
            )
        right, of = sum(r for r, _, _ in of_it.values()), sum(n for _, n, _ in of_it.values())
        terminalreporter.write_line(f"{'all':<48} {right:>4} of {of:>4}  {right / of:>4.0%}")


def hold(title: str, name: str, verdicts: Sequence[bool], floor: float) -> None:
    """Note how many of a behaviour's rows are judged as meant, and fail where that is less than its floor."""
    right, of = sum(verdicts), len(verdicts)
    RESULTS[title, name] = (right, of, floor)

    assert right / of >= floor, f"{right} of {of} as meant, and the floor is {floor:.0%}"
