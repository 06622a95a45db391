"""Prints one line per behaviour at the end, passed or not."""

import pytest

RESULTS: dict[tuple[str, str], tuple[int, int, float]] = {}
"""Model and behaviour → rows judged as meant, rows, floor."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not RESULTS:
        return
    for model in sorted({model for model, _ in RESULTS}):
        of_model = {behaviour: counts for (name, behaviour), counts in sorted(RESULTS.items()) if name == model}
        terminalreporter.section(f"{model}: behaviours, held-back rows judged as meant")
        for behaviour, (right, of, floor) in of_model.items():
            terminalreporter.write_line(
                f"{behaviour:<42} {right:>4} of {of:>4}  {right / of:>4.0%}  (floor {floor:.0%})"
            )
        right, of = sum(r for r, _, _ in of_model.values()), sum(n for _, n, _ in of_model.values())
        terminalreporter.write_line(f"{'all':<42} {right:>4} of {of:>4}  {right / of:>4.0%}")
