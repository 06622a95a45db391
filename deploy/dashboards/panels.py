"""Panels, one function a kind. What all have in common is decided here: colours, legends, what stands there without data.

Each panel says what it shows, what a bad picture looks like, and which metrics it is made of; the last is read off its queries.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import (
    bargauge,
    prometheus,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.builders import (
    common as common_builders,
)
from grafana_foundation_sdk.builders import (
    dashboard as builders,
)
from grafana_foundation_sdk.builders import (
    heatmap as heatmap_builders,
)
from grafana_foundation_sdk.builders import (
    stat as stat_builders,
)
from grafana_foundation_sdk.builders import (
    table as table_builders,
)
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models import prometheus as prometheus_models

from deploy.dashboards.queries import Query
from deploy.verify.promql import metrics

SOURCE: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
PARTS: Final = re.compile("_(?:bucket|count|sum)$")
"""What a histogram's name has behind it in a query. Recorded names have a colon there."""

Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first value is None."""
Words = Mapping[str, tuple[str, str]]
"""What stands there instead of a value, and in which colour."""

PLAIN: Final[Steps] = ((None, "text"),)
"""A figure that is neither good nor bad."""
"""The first colour of all steps is also that of the words which stand there without data."""
ANY_IS_BAD: Final[Steps] = ((None, "green"), (0.000001, "red"))
ANY_IS_ODD: Final[Steps] = ((None, "green"), (0.000001, "orange"))
NONE: Final[Words] = {"0": ("none", "green")}
_THICKEST: Final = 40
"""Pixels of a lying bar. A single one, or the words that stand there without data, would fill the panel."""
_NAMES: Final = 180
"""Pixels of a column of names in a matrix, the longest label among them."""
ABSENT: Final = "-1"
"""What a query gives where nobody reports: `or vector(-1)`. Then there is a colour for it too."""


def panel_metrics(queries: Sequence[Query]) -> list[str]:
    """The metrics that queries are made of, each once, as worker/metrics.py or the rules name them."""
    # A choice made at the top is no metric, as in `offset $baseline`.
    return sorted({PARTS.sub("", name) for query in queries for name in metrics(re.sub(r"\$\w+", "", query.expr))})


def describe(queries: Sequence[Query], shows: str, bad: str) -> str:
    """What a panel's (i) says. Grafana reads it as Markdown."""
    names = ", ".join(f"`{name}`" for name in panel_metrics(queries))
    return f"{shows}\n\n**Bad:** {bad}\n\n**From:** {names}."


def stat(
    title: str,
    query: Query,
    *,
    shows: str,
    bad: str,
    unit: str,
    no_value: str,
    steps: Steps = PLAIN,
    words: Words | None = None,
    decimals: int | None = None,
    filled: bool = False,
    link: builders.DashboardLink | None = None,
) -> dashboard.Panel:
    """One figure, or the words for it. `filled`: its colour is the whole tile's."""
    builder = (
        stat_builders.Panel()
        .title(title)
        .description(describe([query], shows, bad))
        .datasource(SOURCE)
        .with_target(_target(query, "A"))
        .unit(unit)
        .no_value(no_value)
        .color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .thresholds(_thresholds(steps))
        .mappings(_mappings(words or {}))
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .color_mode(common.BigValueColorMode.BACKGROUND_SOLID if filled else common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE)
        .justify_mode(common.BigValueJustifyMode.CENTER)
        .wide_layout(True)
    )
    if decimals is not None:
        builder.decimals(decimals)
    if link is not None:
        builder.links([link])
    return builder.build()


def chart(
    title: str,
    queries: Sequence[Query],
    *,
    shows: str,
    bad: str,
    unit: str,
    no_value: str,
    steps: Steps | None = None,
    colours: Mapping[str, str] | None = None,
    stacked: common.StackingMode | None = None,
    top: float | None = None,
    logarithmic: bool = False,
    bars: bool = False,
    right_axis: Mapping[str, str] | None = None,
) -> dashboard.Panel:
    """Lines over time, or layers where they are stacked.

    Args:
        steps: drawn as lines.
        colours: of the series with these names.
        top: what the axis reaches to at least.
        right_axis: names of series that have an axis of their own, and its unit.
    """
    builder = (
        timeseries.Panel()
        .title(title)
        .description(describe(queries, shows, bad))
        .datasource(SOURCE)
        .targets(_targets(queries))
        .unit(unit)
        .no_value(no_value)
        .min(0)
        .line_width(1)
        # Lines alone: what many of them fill becomes mud, and a limit would colour all that is below it.
        .fill_opacity(70 if stacked else 60 if bars else 0)
        .draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC))
        .thresholds(_thresholds(steps or PLAIN))
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    if stacked is not None:
        builder.stacking(common_builders.StackingConfig().mode(stacked).group("A"))
    if steps is not None:
        builder.thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    if bars:
        # What is counted has no fifths.
        builder.decimals(0)
    if (least := 1 if bars else top) is not None:
        # Without it, an axis of zeros reaches to a hundred.
        builder.axis_soft_max(least)
    if logarithmic:
        builder.scale_distribution(common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10))
    for name, colour in (colours or {}).items():
        builder.override_by_name(name, [_fixed(colour)])
    for name, its_unit in (right_axis or {}).items():
        builder.override_by_name(
            name,
            [
                dashboard.DynamicConfigValue("unit", its_unit),
                dashboard.DynamicConfigValue("custom.axisPlacement", "right"),
                # As above: of nothing but zeros, a share would reach to a hundred times all.
                dashboard.DynamicConfigValue("custom.axisSoftMax", 1),
            ],
        )
    return builder.build()


def bars(
    title: str,
    queries: Sequence[Query],
    *,
    shows: str,
    bad: str,
    unit: str,
    no_value: str,
    steps: Steps = PLAIN,
    steps_of: Mapping[str, Steps] | None = None,
    top: float | None = None,
    decimals: int | None = None,
    colours: Mapping[str, str] | None = None,
) -> dashboard.Panel:
    """Lying bars, one an answer, as they are now. `steps_of`: of the bars with these names, instead of `steps`."""
    builder = (
        bargauge.Panel()
        .title(title)
        .description(describe(queries, shows, bad))
        .datasource(SOURCE)
        .targets(_targets(queries))
        .unit(unit)
        .no_value(no_value)
        .min(0)
        .color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .thresholds(_thresholds(steps))
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .show_unfilled(True)
        .value_mode(common.BarGaugeValueMode.COLOR)
        .max_viz_height(_THICKEST)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )
    if top is not None:
        builder.max(top)
    if decimals is not None:
        builder.decimals(decimals)
    for name, its_steps in (steps_of or {}).items():
        builder.override_by_name(name, [dashboard.DynamicConfigValue("thresholds", _thresholds(its_steps).build())])
    for name, colour in (colours or {}).items():
        builder.override_by_name(name, [_fixed(colour)])
    return builder.build()


def heatmap(title: str, query: Query, *, shows: str, bad: str, unit: str, no_value: str) -> dashboard.Panel:
    """A histogram over time: the darker, the more. `unit` is the histogram's."""
    return (
        heatmap_builders.Panel()
        .title(title)
        .description(describe([query], shows, bad))
        .datasource(SOURCE)
        .with_target(_target(query, "A"))
        .unit("short")
        .no_value(no_value)
        .calculate(False)
        .y_axis(heatmap_builders.YAxisConfig().unit(unit).axis_placement(common.AxisPlacement.LEFT))
        .rows_frame(heatmap_builders.RowsHeatmapOptions().layout(common.HeatmapCellLayout.AUTO))
        .color(
            heatmap_builders.HeatmapColorOptions()
            .mode(heatmaps.HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .scale(heatmaps.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
            .reverse(False)
        )
        .cell_gap(1)
        .filter_values(heatmap_builders.FilterValueRange().le(1e-9))
        .show_legend()
        .tooltip(heatmap_builders.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE).y_histogram(True))
        .build()
    )


def timeline(title: str, query: Query, *, shows: str, bad: str, no_value: str, words: Words) -> dashboard.Panel:
    """A state over time, a line an answer, in words."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(describe([query], shows, bad))
        .datasource(SOURCE)
        .with_target(_target(query, "A"))
        .unit("none")
        .no_value(no_value)
        .color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .thresholds(_thresholds(PLAIN))
        .mappings(_mappings(words))
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(0)
        .build()
    )


def table(
    title: str,
    queries: Sequence[Query],
    *,
    shows: str,
    bad: str,
    no_value: str,
    columns: Mapping[str, str],
    unit: str = "none",
    values: Mapping[str, tuple[str, str]] | None = None,
    words: Mapping[str, Words] | None = None,
    widths: Mapping[str, int] | None = None,
    spread: tuple[str, str] | None = None,
    sort_by: str | None = None,
    descending: bool = True,
) -> dashboard.Panel:
    """Rows of labels and values, as they are now.

    Args:
        columns: labels that are shown, in this order, and what they are called.
        values: for each query, by its reference, what its values are called and their unit; none are shown without it.
        words: for a column, by its name.
        widths: pixels of columns that need few, by their names. The others share what is left.
        spread: labels whose values become the rows and the columns of a matrix.
        sort_by: the name of a column.
    """
    builder = (
        table_builders.Panel()
        .title(title)
        .description(describe(queries, shows, bad))
        .datasource(SOURCE)
        .targets(_targets(queries, table=True))
        .unit(unit)
        .no_value(no_value)
        .filterable(False)
        .decimals(0)
        # So that columns shrink instead of leaving the picture.
        .min_width(60)
        .thresholds(_thresholds(PLAIN))
        .cell_height(common.TableCellHeight.SM)
    )
    if spread is not None:
        row, column = spread
        builder.with_transformation(
            dashboard.DataTransformerConfig(
                "groupingToMatrix",
                options={"columnField": column, "rowField": row, "valueField": "Value", "emptyValue": "zero"},
            )
        )
        return builder.override_by_name(
            rf"{row}\{column}",
            [
                dashboard.DynamicConfigValue("displayName", columns[row]),
                dashboard.DynamicConfigValue("custom.width", _NAMES),
            ],
        ).build()
    shown = values or {}
    fields = {ref: f"Value #{ref}" if len(queries) > 1 else "Value" for ref in map(chr, range(65, 65 + len(queries)))}
    if len(queries) > 1:
        builder.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
    builder.with_transformation(
        dashboard.DataTransformerConfig(
            "organize",
            options={
                "excludeByName": {"Time": True, **{field: True for ref, field in fields.items() if ref not in shown}},
                "indexByName": {name: at for at, name in enumerate([*columns, *(fields[ref] for ref in shown)])},
                "renameByName": {**columns, **{fields[ref]: name for ref, (name, _) in shown.items()}},
            },
        )
    )
    for name, its_unit in shown.values():
        builder.override_by_name(name, [dashboard.DynamicConfigValue("unit", its_unit)])
    for name, of_column in (words or {}).items():
        builder.override_by_name(
            name,
            [
                dashboard.DynamicConfigValue("mappings", _mappings(of_column)),
                dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ],
        )
    for name, width in (widths or {}).items():
        builder.override_by_name(name, [dashboard.DynamicConfigValue("custom.width", width)])
    if sort_by is not None:
        builder.sort_by([common_builders.TableSortByFieldState().display_name(sort_by).desc(descending)])
    return builder.build()


def _targets(queries: Sequence[Query], *, table: bool = False) -> list[Builder[variants.Dataquery]]:
    return [_target(query, chr(ord("A") + at), table=table) for at, query in enumerate(queries)]


def _target(query: Query, reference: str, *, table: bool = False) -> Builder[prometheus_models.Dataquery]:
    target = prometheus.Dataquery().datasource(SOURCE).ref_id(reference).expr(query.expr).legend_format(query.legend)
    if query.exemplars:
        target.exemplar(True)
    if query.heatmap:
        target.format(prometheus_models.PromQueryFormat.HEATMAP)
    elif table:
        target.format(prometheus_models.PromQueryFormat.TABLE)
    return target.instant() if query.instant or table else target.range()


def _thresholds(steps: Steps) -> builders.ThresholdsConfig:
    return (
        builders.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([dashboard.Threshold(value, colour) for value, colour in steps])
    )


def _mappings(words: Words) -> list[dashboard.ValueMapping]:
    options = {
        value: dashboard.ValueMappingResult(text, colour, index=at)
        for at, (value, (text, colour)) in enumerate(words.items())
    }
    return [dashboard.ValueMap(options)] if options else []


def _fixed(colour: str) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
