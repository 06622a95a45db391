"""A report → one PNG: a panel for each part and unit, medians as bars, with the rounds' least and most.

It loads matplotlib (the extra `evaluate`), without pyplot: no display is needed.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report import TIMES, Row, number

_COLOURS: Final = {"ours": "#0072b2", "theirs": "#8a8a8a"}
_PEERS: Final = ("transformers", "infinity", "plain", "Faust agent", "the same model")
_ROW_IN: Final = 0.32
_PANEL_IN: Final = 0.9


def draw(rows: Sequence[Row], machine: Mapping[str, str]) -> bytes:
    """A PNG. What could not be measured stands in it by name, without a bar."""
    panels: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        panels.setdefault((row.part, row.unit), []).append(row)
    heights = [len(of_panel) * _ROW_IN + _PANEL_IN for of_panel in panels.values()]
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
        figure = Figure(figsize=(11, sum(heights) + 0.6), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(f"{machine['cpu']}, {machine['cores']} cores", fontsize=10)
        axes: Any = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0] if panels else []
        for each, ((part, unit), of_panel) in zip(axes, panels.items(), strict=True):
            _panel(each, of_panel, f"{part}: {unit}")
        png = io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _panel(axes: Any, rows: Sequence[Row], title: str) -> None:
    for place, row in enumerate(rows):
        middle = row.median
        if middle is None:
            axes.text(0, place, f" {row.note}", va="center", fontsize=8, color="#8a8a8a")
            continue
        spread = [[middle - min(row.values)], [max(row.values) - middle]]
        axes.barh(place, middle, xerr=spread, color=_colour(row.name), height=0.7, error_kw={"lw": 1, "capsize": 2})
        axes.text(max(row.values), place, f"  {number(middle)}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.12 * max((max(row.values) for row in rows if row.values), default=1.0) or 1.0)
    if rows[0].unit == TIMES:
        axes.axvline(1, color="#222222", lw=0.8)
    axes.set_title(title, loc="left", fontweight="bold", fontsize=9)


def _colour(name: str) -> str:
    return _COLOURS["theirs" if name.startswith(_PEERS) else "ours"]
