"""What stands around the panels: places, choices at the top, ways to the other dashboards, marks on the time axis."""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from deploy.dashboards.panels import SOURCE

WIDTH: Final = 24
"""Columns of Grafana's grid."""
TAG: Final = "comment-screener"
FIRING: Final = 'ALERTS{alertname=~"CommentScreener.*", alertstate="firing", severity=~"critical|warning"}'
"""Every alert that somebody is told of; one that always fires, to show that alerts arrive, has another severity."""


class Place(NamedTuple):
    """A dashboard, as others know it."""

    file: str
    uid: str
    title: str

    def link(self, title: str) -> builders.DashboardLink:
        """From a panel to here, with the same choices and the same time."""
        return (
            builders.DashboardLink(title)
            .type(dashboard.DashboardLinkType.LINK)
            .url(f"/d/{self.uid}?${{__url_time_range}}&${{__all_variables}}")
        )


OVERVIEW: Final = Place("overview-slo", "comment-screener", "Comment screener: overview and SLO")
PIPELINE: Final = Place("pipeline", "comment-screener-pipeline", "Comment screener: pipeline")
MODEL: Final = Place("model", "comment-screener-model", "Comment screener: model")
TRUST_AND_SAFETY: Final = Place(
    "trust-and-safety", "comment-screener-trust-and-safety", "Comment screener: trust and safety"
)
PLACES: Final = (OVERVIEW, PIPELINE, MODEL, TRUST_AND_SAFETY)


class Line(NamedTuple):
    """Panels side by side. Without widths they share the line evenly."""

    height: int
    panels: Sequence[dashboard.Panel]
    widths: Sequence[int] = ()


class Row(NamedTuple):
    """Lines under a heading."""

    title: str
    lines: Sequence[Line]


def choose(name: str, label: str, metric: str, why: str, *, every: str | None = ".*") -> builders.QueryVariable:
    """A choice among the values that a label has, several or all at once.

    `every`: the regular expression for all of them; None: they are listed, so that nothing else is meant.
    """
    query = f"label_values({metric}, {name})"
    builder = (
        builders.QueryVariable(name)
        .label(label)
        .description(why)
        .datasource(SOURCE)
        .definition(query)
        .query({"query": query, "refId": name})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .current(dashboard.VariableOption(text=["All"], value=["$__all"]))
    )
    return builder if every is None else builder.all_value(every)


def pick(name: str, label: str, values: Sequence[str], why: str) -> builders.CustomVariable:
    """A choice of one among these, the first to begin with."""
    return (
        builders.CustomVariable(name)
        .label(label)
        .description(why)
        .values(",".join(values))
        .options([dashboard.VariableOption(selected=value == values[0], text=value, value=value) for value in values])
        .current(dashboard.VariableOption(selected=True, text=values[0], value=values[0]))
        .multi(False)
        .include_all(False)
    )


def frame(
    place: Place,
    description: str,
    rows: Sequence[Row],
    *,
    since: str,
    variables: Sequence[builders.QueryVariable | builders.CustomVariable] = (),
) -> dashboard.Dashboard:
    """A whole dashboard. `since`: the time that it shows at first, up to now."""
    builder = (
        builders.Dashboard(place.title)
        .uid(place.uid)
        .description(description)
        .tags([TAG, "kafka", "moderation"])
        .editable()
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time(since, "now")
        .variables(
            [
                builders.DatasourceVariable("datasource")
                .label("Data source")
                .type("prometheus")
                .current(dashboard.VariableOption(text="Prometheus", value="prometheus")),
                # Every target in Prometheus has a job, and not all are ours.
                choose("job", "Job", "screener_ready", "Which deployment: its job in Prometheus.", every=None),
                choose("instance", "Worker", 'screener_ready{job=~"$job"}', "Which workers of it."),
                *variables,
            ]
        )
        .annotations(
            [
                _mark("Alerts", "red", FIRING, "{{alertname}}", "{{instance}} {{partition}}"),
                _mark("Model revisions", "blue", _new("model", "name"), "Model {{name}} {{version}}", "{{sha256}}"),
                _mark("Policy revisions", "purple", _new("policy", "id"), "Policy {{id}} {{version}}", "{{sha256}}"),
            ]
        )
        .links([_way(other) for other in PLACES if other != place])
    )
    built = builder.build()
    built.panels = _laid_out(rows)
    return built


def encode(built: dashboard.Dashboard) -> str:
    """As it lies in the file."""
    return json.dumps(json.loads(JSONEncoder().encode(built)), indent=2, ensure_ascii=False) + "\n"


def _laid_out(rows: Sequence[Row]) -> list[dashboard.Panel | dashboard.RowPanel]:
    """Line under line, numbered in the order of reading."""
    panels: list[dashboard.Panel | dashboard.RowPanel] = []
    y = 0
    for row in rows:
        heading = dashboard.GridPos(h=1, w=WIDTH, x=0, y=y)
        panels.append(dashboard.RowPanel(title=row.title, grid_pos=heading, id_val=len(panels) + 1))
        y += 1
        for line in row.lines:
            x = 0
            widths = line.widths or [WIDTH // len(line.panels)] * len(line.panels)
            for panel, width in zip(line.panels, widths, strict=True):
                panel.id_val = len(panels) + 1
                panel.grid_pos = dashboard.GridPos(h=line.height, w=width, x=x, y=y)
                panels.append(panel)
                x += width
            y += line.height
    return panels


def _way(place: Place) -> builders.DashboardLink:
    return (
        builders.DashboardLink(_short(place))
        .type(dashboard.DashboardLinkType.LINK)
        .icon("dashboard")
        .tooltip(place.title)
        .url(f"/d/{place.uid}")
        .include_vars(True)
        .keep_time(True)
    )


def _short(place: Place) -> str:
    name = place.title.removeprefix("Comment screener: ")
    return name[0].upper() + name[1:]


def _new(kind: str, name: str) -> str:
    """A revision that was not in force five minutes before."""
    labels = f"{name}, version, sha256"
    now = f'count by ({labels}) (screener_{kind}_info{{job=~"$job"}})'
    before = f'count by ({labels}) (screener_{kind}_info{{job=~"$job"}} offset 5m)'
    return f"{now} unless {before}"


def _mark(name: str, colour: str, expression: str, title: str, text: str) -> builders.AnnotationQuery:
    return (
        builders.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .hide(False)
        .icon_color(colour)
        .expr(expression)
        .title_format(title)
        .text_format(text)
    )
