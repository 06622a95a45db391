"""Figures → what is read: tables for a terminal, JSON for a program. The picture is in `worker.evaluation_picture`.

What stands here is made of names and numbers. No text of a comment reaches it, and no date: the same rows and the same model
give the same report, to the byte.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.evaluation import (
    BINS,
    FEWEST,
    HARM_ANY,
    LEVEL,
    POSITIVE_FROM,
    RESAMPLES,
    SEED,
    Answers,
    Figures,
    Interval,
    Rate,
    false_positive_rates,
)
from worker.records import Model
from worker.terminal import unbroken

UNDEFINED: Final = "\N{EN DASH}"
_NAMES: Final = {HARM_ANY: "harm, any"}
_FIELDS: Final = {
    "f1": "F1",
    "f1_interval": "F1 interval",
    "roc_auc": "ROC AUC",
    "roc_auc_interval": "ROC AUC interval",
}


class Rows(Struct, frozen=True):
    """What became of the rows of the file: the last three add up to the first."""

    read: int
    scored: int
    without_label: int
    bad: int


class Thresholds(Struct, frozen=True):
    """Where the thresholds are from. `assumed` names the labels that had none there and got `POSITIVE_FROM`."""

    source: str
    assumed: list[str]


class Method(Struct, frozen=True):
    """How the figures were made."""

    positive_from: float = POSITIVE_FROM
    calibration_bins: int = BINS
    interval_level: float = LEVEL
    interval_resamples: int = RESAMPLES
    interval_seed: int = SEED
    interval_least: int = FEWEST


class Report(Struct, frozen=True):
    """What `--json` writes. `figures` has a label's name or `harm_any` for its keys.

    `not_scored` names the labels that the rows have and the model lacks; `groups` is by column, value and label.
    """

    file: str
    model: Model
    rows: Rows
    thresholds: Thresholds
    method: Method
    figures: dict[str, Figures]
    not_scored: list[str]
    groups: dict[str, dict[str, dict[str, Rate]]]


def shown_name(name: str) -> str:
    """A label as people read it."""
    return _NAMES.get(name, name)


def by_group(asked: Sequence[Answers], groups: Sequence[str | None]) -> dict[str, dict[str, Rate]]:
    """False-positive rates by group and label. Args: groups: of each row; None: of no group."""
    rates = {answers.name: false_positive_rates(answers, groups) for answers in asked}
    values = sorted({group for group in groups if group is not None})
    return {value: {name: of_value[value] for name, of_value in rates.items()} for value in values}


def title_of(model: Model) -> str:
    """Name, version, and enough of the hash to tell two apart."""
    return f"{model.name} {model.version} ({model.sha256[:12]})"


def to_json(report: Report) -> bytes:
    """UTF-8, indented, with a line's end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def show(report: Report, console: Console) -> None:
    """Print the tables and what has to be known to read them. Where nobody watches, no line is broken."""
    unbroken(console)
    console.print(Text(f"{title_of(report.model)} on {report.rows.scored:,} rows of {report.file}", "bold"))
    console.print()
    console.print(_figures_table(report.figures))
    console.print()
    console.print(_counts_table(report.figures))
    for column, groups in report.groups.items():
        console.print()
        console.print(Text(f"Negatives that were found all the same, by {column}", "bold"))
        console.print(_groups_table(groups))
    console.print()
    for note in notes(report):
        console.print(Text(note, "dim"))


def notes(report: Report) -> Iterator[str]:
    """What a reader has to know, a line each."""
    rows = report.rows
    yield (
        f"{rows.read:,} rows = {rows.scored:,} scored + {rows.without_label:,} without a label that the model scores"
        f" + {rows.bad:,} bad."
    )
    yield f"Thresholds: {report.thresholds.source}."
    if assumed := report.thresholds.assumed:
        yield f"No threshold is known for {', '.join(assumed)}: {POSITIVE_FROM:g} is assumed."
    yield f"A share counts as positive from {POSITIVE_FROM:g}; calibration and Brier take it as it is."
    yield f"ECE: expected calibration error, {BINS} bins of equal mass. Intervals: {LEVEL:.0%}, {RESAMPLES} resamples."
    if harm := report.figures.get(HARM_ANY):
        yield (
            f"{shown_name(HARM_ANY)}: the highest of {', '.join(harm.of)}; found where any reaches its own threshold;"
            f" rows where some are unknown and none is positive are left out."
        )
    if report.not_scored:
        yield f"The model does not score {', '.join(report.not_scored)}."
    yield from _undefined(report.figures)


def _undefined(by_name: Mapping[str, Figures]) -> Iterator[str]:
    """What each dash means: a line for each reason and the figures that it takes away."""
    names: dict[tuple[str, str], list[str]] = {}
    for name, figures in by_name.items():
        for reason in dict.fromkeys(figures.undefined.values()):
            fields = [_shown_field(field) for field, why in figures.undefined.items() if why == reason]
            names.setdefault((reason, ", ".join(fields)), []).append(shown_name(name))
    for (reason, missing), of in names.items():
        yield f"{UNDEFINED} {'; '.join(of)}: {reason}, so no {missing}."


def _figures_table(by_name: Mapping[str, Figures]) -> Table:
    table = _table("label", "rows", "pos.", "thres-\nhold", "preci-\nsion", "recall", "F1", "ROC\nAUC", "avg.\nprec.")
    for column in ("ECE", "Brier"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, f in by_name.items():
        values = (f.precision, f.recall, f.f1, f.roc_auc, f.average_precision, f.calibration_error, f.brier)
        threshold = "own" if f.threshold is None else f"{f.threshold:.3f}"
        table.add_row(shown_name(name), str(f.n), str(f.positives), threshold, *map(shown, values))
    return table


def _counts_table(by_name: Mapping[str, Figures]) -> Table:
    columns = (
        "right\n(tp)",
        "wrong\n(fp)",
        "missed\n(fn)",
        "passed\n(tn)",
        "F1\ninterval",
        "ROC AUC\ninterval",
    )
    table = _table("label", *columns)
    for name, f in by_name.items():
        c = f.confusion
        intervals = (_shown_interval(f.f1_interval), _shown_interval(f.roc_auc_interval))
        table.add_row(shown_name(name), *map(str, (c.tp, c.fp, c.fn, c.tn)), *intervals)
    return table


def _groups_table(groups: Mapping[str, Mapping[str, Rate]]) -> Table:
    """A row for each label and group: nine labels side by side fit on no terminal."""
    table = _table("label", "group", "found", "of", "rate")
    table.columns[1].justify = "left"
    table.columns[1].no_wrap = False
    names = list(dict.fromkeys(name for rates in groups.values() for name in rates))
    for name in names:
        for group, rates in groups.items():
            if rate := rates.get(name):
                cells = (str(rate.false_positives), str(rate.negatives), shown(rate.rate))
                # Text, because a name in square brackets would be read as markup.
                table.add_row(shown_name(name), Text(group), *cells)
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for other in others:
        table.add_column(other, justify="right", no_wrap=True)
    return table


def shown(value: float | None) -> str:
    """Three decimals, or a dash."""
    return UNDEFINED if value is None else f"{value:.3f}"


def _shown_field(name: str) -> str:
    return _FIELDS.get(name, name.replace("_", " "))


def _shown_interval(interval: Interval | None) -> str:
    return UNDEFINED if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
