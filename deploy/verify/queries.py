"""Every query that a person on call depends on: those of the dashboards' panels, and those of the rules.

Pure: the files' contents in, expressions out, with the place where each stands and the variables filled in as Grafana fills
them in. Nothing here asks Prometheus.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

_VARIABLE: Final = re.compile(r"\$(\w+)|\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)(?::(\w+))?\]\]")
_LABEL_VALUES: Final = re.compile(r"label_values\(\s*(?:(?P<selector>.+?)\s*,\s*)?(?P<label>\w+)\s*\)", re.DOTALL)
_ALL: Final = "$__all"
_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
# What Grafana makes of a resolution that is not round.
_ROUND_MS: Final = (
    (15, 10), (35, 20), (75, 50), (150, 100), (350, 200), (750, 500), (1500, 1000), (3500, 2000), (7500, 5000),
    (12_500, 10_000), (17_500, 15_000), (25_000, 20_000), (45_000, 30_000), (90_000, 60_000), (210_000, 120_000),
    (450_000, 300_000), (750_000, 600_000), (1_050_000, 900_000), (1_500_000, 1_200_000), (2_700_000, 1_800_000),
    (5_400_000, 3_600_000),
)  # fmt: skip

Kind = Literal["panel", "annotation", "variable", "alert", "record"]


class Query(Struct, frozen=True):
    """One expression, and where it stands."""

    file: str
    """`overview.json`"""
    title: str
    """Of the panel, the annotation, the variable, the alert or the recorded series."""
    kind: Kind
    expression: str
    """As it is written, with variables."""
    ref: str = ""
    """Which of a panel's queries: `A`."""
    panel: int = 0
    """The panel's id, 0 where there is none."""
    instant: bool = False
    exemplars: bool = False
    """Whether single measurements are asked for too, each with the trace that it belongs to."""
    least_step_ms: int = 0
    """What the panel or the query asks for as the least distance of two points."""
    points: int = 0
    """How many points the panel wants; 0 for one a pixel."""
    width: int = 24
    """Of the panel, in columns of 24."""

    @property
    def place(self) -> str:
        """`overview.json / Worst lag / A`, to be read by a person and matched by `excused.yml`."""
        return " / ".join(part for part in (self.file, self.title, self.ref) if part)


class UnknownVariable(ValueError):  # noqa: N818  named for what it says of the expression
    """An expression names a variable that its dashboard does not have."""


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel but the rows, those inside of collapsed rows included."""
    for panel in dashboard.get("panels", []):
        if panel["type"] == "row":
            yield from panels(panel)
        else:
            yield panel


def dashboard_queries(file: str, dashboard: Mapping[str, Any]) -> list[Query]:
    """What a dashboard asks: its panels, its annotations and its variables. Hidden ones too: others may count with them."""
    found = [
        Query(file, annotation["name"], "annotation", expression)
        for annotation in dashboard.get("annotations", {}).get("list", [])
        if (expression := annotation.get("expr") or annotation.get("target", {}).get("expr"))
    ]
    found += [
        Query(file, f"${variable['name']}", "variable", variable_query(variable))
        for variable in dashboard.get("templating", {}).get("list", [])
        if variable["type"] == "query"
    ]
    return found + [
        _panel_query(file, panel, target)
        for panel in panels(dashboard)
        for target in panel.get("targets", [])
        if target.get("expr")
    ]


def rule_queries(file: str, rules: Mapping[str, Any]) -> list[Query]:
    """What a file of Prometheus' rules asks."""
    return [
        Query(file, rule.get("alert") or rule["record"], "alert" if "alert" in rule else "record", str(rule["expr"]))
        for group in rules.get("groups", [])
        for rule in group["rules"]
    ]


def recorded(queries: Sequence[Query]) -> set[str]:
    """The names of the series that rules make."""
    return {query.title for query in queries if query.kind == "record"}


def variable_query(variable: Mapping[str, Any]) -> str:
    """What a variable asks for its values. Grafana keeps it in either of two places."""
    query = variable.get("query") or variable.get("definition") or ""
    return query["query"] if isinstance(query, dict) else query


def label_values(query: str) -> tuple[str | None, str]:
    """`label_values(up{job="a"}, instance)` → the selector (None where it has none) and the label.

    Raises:
        ValueError: it is not of that kind.
    """
    match = _LABEL_VALUES.fullmatch(query.strip())
    if match is None:
        raise ValueError(f"only label_values(…) is understood, not {query!r}")
    return match["selector"], match["label"]


def chosen(variable: Mapping[str, Any], values: Sequence[str]) -> str | list[str]:
    """What a variable stands for when the dashboard opens: everything where "All" is chosen.

    Args:
        variable: from the dashboard's list.
        values: what its query returned; of no use for the other types.
    """
    current = variable.get("current", {}).get("value")
    kind = variable["type"]
    if kind == "datasource":
        return "prometheus"
    if kind in {"constant", "textbox"}:
        return str(current if current not in {None, ""} else variable.get("query", ""))
    if kind in {"custom", "interval"}:
        # `text : value` or the value alone.
        values = [option.split(" : ")[-1].strip() for option in str(variable.get("query", "")).split(",")]
    if current in (_ALL, [_ALL]) or (not current and variable.get("includeAll")):
        return str(variable["allValue"]) if variable.get("allValue") else list(values)
    if not current:
        return values[0] if values else ""
    return [str(one) for one in current] if isinstance(current, list) else str(current)


def substituted(text: str, variables: Mapping[str, str | Sequence[str]]) -> str:
    """The text with its variables filled in. A list becomes a regular expression that takes each of its values.

    Raises:
        UnknownVariable: there is none of that name.
    """

    def fill(match: re.Match[str]) -> str:
        name = next(group for group in (match[1], match[2], match[4]) if group)
        if name not in variables:
            if name.isdecimal():  # `$1`: a group of label_replace, Prometheus' own
                return match[0]
            raise UnknownVariable(f"no variable ${name}")
        return _formatted(variables[name], match[3] or match[5] or "")

    return _VARIABLE.sub(fill, text)


def _panel_query(file: str, panel: Mapping[str, Any], target: Mapping[str, Any]) -> Query:
    return Query(
        file,
        panel.get("title") or f"panel {panel['id']}",
        "panel",
        target["expr"],
        ref=target.get("refId", "A"),
        panel=panel["id"],
        # Where both are asked for, the panel shows the curve.
        instant=bool(target.get("instant")) and not target.get("range"),
        exemplars=bool(target.get("exemplar")),
        least_step_ms=milliseconds(target.get("interval") or panel.get("interval") or "0s"),
        points=int(panel.get("maxDataPoints") or 0),
        width=int(panel.get("gridPos", {}).get("w", 24)),
    )


def _formatted(value: str | Sequence[str], form: str) -> str:
    values = [value] if isinstance(value, str) else list(value)
    if form == "raw" or (form == "" and isinstance(value, str)):
        return values[0] if len(values) == 1 else "{" + ",".join(values) + "}"
    if form == "csv":
        return ",".join(values)
    if form == "pipe":
        return "|".join(values)
    # Escaped once for the regular expression, and once more for the quotes that it stands in.
    escaped = [re.sub(r"([\\^$.*+?()\[\]{}|])", r"\\\\\1", one) for one in values]
    return escaped[0] if len(escaped) == 1 else "(" + "|".join(escaped) + ")"


def milliseconds(duration: str) -> int:
    """`1m30s` and the like; a bare number is seconds; `>10s`, Grafana's way to say "at least", is `10s`."""
    text = duration.strip().lstrip(">")
    if text.isdecimal():
        return int(text) * 1000
    parts = re.findall(r"(\d+)(ms|[smhdw])", text)
    if "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"not a duration: {duration!r}")
    return sum(int(number) * _UNITS_MS[unit] for number, unit in parts)


def step_ms(query: Query, range_ms: int, scrape_ms: int, page_width: int) -> int:
    """The distance of two points that Grafana asks for: as many as there are pixels, no closer than the scrapes.

    Args:
        query: whose panel it is for.
        range_ms: what the dashboard shows.
        scrape_ms: of the data source.
        page_width: pixels of the whole dashboard.
    """
    points = query.points or max(1, page_width * query.width // 24)
    wanted = range_ms / points
    rounded = next((step for below, step in _ROUND_MS if wanted < below), 7_200_000)
    return max(rounded, scrape_ms, query.least_step_ms)


def built_in(step: int, range_ms: int, scrape_ms: int) -> dict[str, str]:
    """Grafana's own variables, for one query. The interval for rates is four scrapes at least, so that none comes up empty."""
    rate_ms = max(step + scrape_ms, 4 * scrape_ms)
    return {
        "__interval": _duration(step),
        "__interval_ms": str(step),
        "__rate_interval": _duration(rate_ms),
        "__rate_interval_ms": str(rate_ms),
        "__range": _duration(range_ms),
        "__range_s": str(range_ms // 1000),
        "__range_ms": str(range_ms),
    }


def _duration(ms: int) -> str:
    return f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms}ms"
