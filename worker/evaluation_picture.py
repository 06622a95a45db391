"""Figures → one PNG: for each label its reliability, its precision and recall, and its confusion.

It loads matplotlib (the extra `evaluate`); without pyplot, so that no state is shared and no display is needed. The same
report gives the same bytes: no date, and nothing of the machine's own settings.
"""

import io
from collections.abc import Mapping
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from worker.evaluation import HARM_ANY, Curves, Figures
from worker.evaluation_report import Report, shown, shown_name, title_of

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#8a8a8a"
_RIGHT, _WRONG = (0.0, 0.447, 0.698), (0.835, 0.369, 0.0)
_WIDTH, _HEIGHT, _HEAD = 9.0, 2.75, 0.75
_LONGEST_NAME: Final = 60


def draw(report: Report, drawn: Mapping[str, Curves]) -> bytes:
    """A PNG. Args: drawn: the curves of every question in `report.figures`."""
    columns = 2 if len(report.figures) > 1 else 1
    lines = -(-len(report.figures) // columns)
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
        figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * lines + _HEAD), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        gap = " " if columns > 1 else "\n"
        title = gap.join([_cut(title_of(report.model)), f"on {report.rows.scored:,} rows of {_cut(report.file)}"])
        # A dollar in a name is no formula.
        figure.suptitle(title, fontsize=14, fontweight="bold", parse_math=False)
        parts = figure.subfigures(lines, columns, squeeze=False).ravel()
        for part, (name, figures) in zip(parts, report.figures.items(), strict=False):
            _draw_question(part, name, figures, drawn[name])
        png = io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _draw_question(part: Any, name: str, figures: Figures, drawn: Curves) -> None:
    head = f"{shown_name(name)}   F1 {shown(figures.f1)}   AUC {shown(figures.roc_auc)}"
    part.suptitle(f"{head}   ({figures.positives:,} positive of {figures.n:,})", fontsize=11, fontweight="bold")
    reliability, tradeoff, confusion = part.subplots(1, 3)
    _draw_reliability(reliability, figures, drawn)
    _draw_tradeoff(tradeoff, name, figures, drawn)
    _draw_confusion(confusion, figures)


def _draw_reliability(axes: Any, figures: Figures, drawn: Curves) -> None:
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    axes.plot(
        [b.score for b in drawn.bins],
        [b.target for b in drawn.bins],
        color=_BLUE,
        marker="o",
        markersize=4,
        clip_on=False,
    )
    axes.set(xlabel="mean score", ylabel="mean label", title=f"calibration error {shown(figures.calibration_error)}")
    _square(axes)


def _draw_tradeoff(axes: Any, name: str, figures: Figures, drawn: Curves) -> None:
    at = "own thresholds" if name == HARM_ANY else f"from {figures.threshold:.3f}"
    marked = figures.precision is not None and figures.recall is not None
    axes.set(xlabel=f"recall (dot: {at})" if marked else "recall", ylabel="precision")
    axes.set(title=f"average precision {shown(figures.average_precision)}")
    _square(axes)
    if drawn.recall is None or drawn.precision is None:
        axes.text(0.5, 0.5, figures.undefined["average_precision"], ha="center", va="center", color=_GREY)
        return
    axes.plot(drawn.recall, drawn.precision, color=_BLUE, drawstyle="steps-post")
    axes.axhline(figures.positives / figures.n, color=_GREY, linewidth=1, linestyle=":")
    if marked:
        axes.plot([figures.recall], [figures.precision], "o", color=_ORANGE, markersize=9, clip_on=False)


def _draw_confusion(axes: Any, figures: Figures) -> None:
    """Shaded by the share of its row: of what is positive, and of what is not."""
    c = figures.confusion
    cells = [[(c.tp, _RIGHT), (c.fn, _WRONG)], [(c.fp, _WRONG), (c.tn, _RIGHT)]]
    picture = []
    for row, of_row in enumerate(cells):
        total = sum(count for count, _ in of_row)
        shades = [0.75 * count / total if total else 0.0 for count, _ in of_row]
        picture.append([[*colour, 0.05 + shade] for shade, (_, colour) in zip(shades, of_row, strict=True)])
        for column, (count, _) in enumerate(of_row):
            share = f"\n{count / total:.0%}" if total else ""
            axes.text(column, row, f"{count:,}{share}", ha="center", va="center", fontsize=10)
    axes.imshow(picture, aspect="equal")
    axes.set_xticks([0, 1], ["found", "not found"])
    axes.set_yticks([0, 1], ["positive", "negative"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.set(title=f"precision {shown(figures.precision)}  recall {shown(figures.recall)}")
    axes.spines[:].set_visible(False)


def _square(axes: Any) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
