"""Prints one line per behaviour at the end, passed or not."""

import pytest

RESULTS: dict[str, tuple[int, int, float]] = {}
"""Behaviour → rows judged as meant, rows, floor."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not RESULTS:
        return
    terminalreporter.section("behaviours, held-back rows judged as meant")
    for behaviour, (right, of, floor) in sorted(RESULTS.items()):
        terminalreporter.write_line(f"{behaviour:<42} {right:>4} of {of:>4}  {right / of:>4.0%}  (floor {floor:.0%})")
    right, of = sum(r for r, _, _ in RESULTS.values()), sum(n for _, n, _ in RESULTS.values())
    terminalreporter.write_line(f"{'all':<42} {right:>4} of {of:>4}  {right / of:>4.0%}")
