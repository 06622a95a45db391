"""A long run → one PNG: memory, lag in messages and in seconds, latency (from acknowledged to read back as a decision).

Every piece of trouble is marked, from its start until everything was back.

It loads matplotlib (the extra `evaluate`), without pyplot: no display is needed.
"""

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.chaos.long_run import Report, Sample
from tests.chaos.trouble import Kind

_COLOURS: Final = {
    Kind.KILL: "#d55e00",
    Kind.SIGTERM: "#e69f00",
    Kind.FREEZE: "#56b4e9",
    Kind.BOUNCE: "#009e73",
    Kind.BROKER_KILL: "#cc79a7",
}
_LINES: Final = ("#0072b2", "#8a8a8a")
_MINUTE_S: Final = 60.0


def draw(report: Report) -> bytes:
    """A PNG."""
    samples = report.samples
    minutes = [sample.at_s / _MINUTE_S for sample in samples]
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
        figure = Figure(figsize=(12, 10), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(_title(report), fontsize=13, fontweight="bold")
        memory, messages, seconds, latency = figure.subplots(4, 1, sharex=True)
        for name, colour in zip(_workers(samples), _LINES, strict=False):
            memory.plot(minutes, [sample.rss_mib.get(name) for sample in samples], color=colour, label=f"{name} worker")
        memory.set_ylabel("resident memory, MiB")
        memory.set_ylim(bottom=0)
        messages.plot(minutes, [sample.lag_messages for sample in samples], color=_LINES[0])
        messages.set_ylabel("lag, messages")
        seconds.plot(minutes, [sample.lag_s for sample in samples], color=_LINES[0])
        seconds.set_ylabel("lag, seconds")
        for name, colour in (("p50", _LINES[0]), ("p99", _LINES[1])):
            values = [getattr(sample, f"{name}_s") for sample in samples]
            latency.plot(minutes, [value or None for value in values], color=colour, label=name)
        latency.set_yscale("log")
        latency.set_ylabel("latency, seconds")
        latency.set_xlabel("minutes")
        for axes in (memory, messages, seconds, latency):
            _mark(axes, report)
        for axes in (memory, latency):
            axes.legend(loc="lower left", fontsize=8)
        figure.legend(
            handles=[mpl.patches.Patch(color=colour, alpha=0.4, label=kind) for kind, colour in _COLOURS.items()],
            loc="outside lower center",
            ncols=len(_COLOURS),
            frameon=False,
        )
        png = io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _title(report: Report) -> str:
    verdict = "all invariants hold" if not report.problems else f"{len(report.problems)} problems"
    return (
        f"seed {report.seed}, {report.rate:g} comments/s: {report.records:,} records, {report.repeats:,} repeats, "
        f"{len(report.events)} pieces of trouble; {verdict}"
    )


def _workers(samples: Sequence[Sample]) -> list[str]:
    return sorted({name for sample in samples for name in sample.rss_mib})


def _mark(axes: Any, report: Report) -> None:
    for event in report.events:
        colour = _COLOURS[Kind(event.kind)]
        axes.axvspan(event.at_s / _MINUTE_S, event.until_s / _MINUTE_S, color=colour, alpha=0.25, linewidth=0)
