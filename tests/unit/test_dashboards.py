"""The dashboards: what lies in deploy/grafana is what the code makes; what they show exists, is explained, is within reach."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.dashboards import slo
from deploy.dashboards.__main__ import FOLDER, files, main, stale
from deploy.dashboards.frame import OVERVIEW, PLACES, WIDTH
from deploy.dashboards.panels import PARTS, describe
from deploy.dashboards.queries import Query, mean, quantile, share
from deploy.verify.promql import metrics, selectors
from deploy.verify.queries import milliseconds
from tests.exported import KNOWN, OF_EVERY_TARGET, OURS, RECORDED, RULES, check_exported, values_of
from worker.classifier import LABELS
from worker.metrics import CATEGORIES, NO_CATEGORY, STAGES, SUPPORT, Metrics
from worker.records import Action, AgeBand

TOP: Final = Path(__file__).parents[2]
DASHBOARDS: Final[dict[str, dict[str, Any]]] = {
    path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}
EACH: Final = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
PANELS: Final[list[tuple[str, dict[str, Any]]]] = [
    (f"{name} {panel['title']}", panel)
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]
EACH_PANEL: Final = pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=[name for name, _ in PANELS])

BUILT_IN: Final = {"__rate_interval", "__range", "__interval", "__url_time_range", "__all_variables"}


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    """All that a dashboard asks Prometheus, its choices at the top apart."""
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["expr"]
    for panel in dashboard["panels"]:
        yield from asked(panel)


def asked(panel: dict[str, Any]) -> Iterator[str]:
    """What a panel asks, with what stands for a time filled in; the other choices stand between quotes or brackets."""
    return (target["expr"].replace("$baseline", "1d") for target in panel.get("targets", []))


def shown(panel: dict[str, Any]) -> set[str]:
    """The metrics of a panel, as worker/metrics.py names them."""
    return {PARTS.sub("", name) for expression in asked(panel) for name in metrics(expression)}


def divisors(expression: str) -> Iterator[str]:
    """What stands behind each `/`, up to the end of its bracket or number."""
    for match in re.finditer(r" / (?:(?:on|ignoring) \([^)]*\) )?(?:group_left \(\) )?", expression):
        rest = expression[match.end() :]
        if rest.startswith("("):
            depth = 0
            for at, character in enumerate(rest):
                depth += (character == "(") - (character == ")")
                if depth == 0:
                    yield rest[: at + 1]
                    break
        else:
            yield re.split(r"[ )]", rest)[0]


# ---- what lies there


def test_what_lies_in_the_folder_is_what_the_code_makes() -> None:
    assert stale() == [], "make dashboards"


def test_there_is_one_file_for_each_place() -> None:
    assert DASHBOARDS.keys() == {f"{place.file}.json" for place in PLACES}
    for place in PLACES:
        dashboard = DASHBOARDS[f"{place.file}.json"]
        assert (dashboard["uid"], dashboard["title"]) == (place.uid, place.title)


def test_what_is_stale_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("deploy.dashboards.__main__.FOLDER", tmp_path)
    assert main([]) == 0
    assert main(["--check"]) == 0

    (tmp_path / "model.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pipeline.json").unlink()
    (tmp_path / "nobody's.json").write_text("{}", encoding="utf-8")

    assert stale() == ["model.json", "nobody's.json", "pipeline.json"]
    assert main(["--check"]) == 1
    assert "model.json is stale: make dashboards" in capsys.readouterr().err


def test_the_same_code_makes_the_same_bytes() -> None:
    assert files() == files()


def test_it_does_nothing_that_it_was_not_asked_for() -> None:
    assert main(["--chekc"]) == 2


def test_grafana_opens_with_the_overview() -> None:
    compose = yaml.safe_load((TOP / "docker-compose.yml").read_text(encoding="utf-8"))
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).name == f"{OVERVIEW.file}.json"
    assert f"./deploy/grafana/dashboards:{Path(home).parent}:ro" in compose["services"]["grafana"]["volumes"]


# ---- what is asked


@EACH
def test_every_metric_and_label_that_is_asked_for_is_exported(dashboard: dict[str, Any]) -> None:
    for expression in expressions(dashboard):
        check_exported(expression, choices=True)


@EACH
def test_what_is_asked_is_of_the_workers_that_were_chosen(dashboard: dict[str, Any]) -> None:
    for panel in dashboard["panels"]:
        for expression in asked(panel):
            for selector in selectors(expression):
                if not selector.startswith("ALERTS"):
                    assert 'job=~"$job"' in selector, panel["title"]
                if selector.startswith("screener_"):
                    assert 'instance=~"$instance"' in selector, panel["title"]


def test_every_metric_of_ours_is_on_some_dashboard() -> None:
    families = {PARTS.sub("", name) for name in OURS}
    on_show = set().union(*(shown(panel) for _, panel in PANELS))
    assert families - on_show == set()


@EACH_PANEL
def test_every_legend_names_a_label_that_is_left(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", target["expr"])
        assert named <= {label.strip() for labels in grouped for label in labels.split(",")}
        several = len(panel["targets"]) > 1 and panel["type"] != "table"
        assert target["legendFormat"] or not several


# ---- no traffic, no worker


@EACH_PANEL
def test_what_stands_there_without_data_is_said(panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["noValue"]


@EACH
def test_nothing_is_divided_by_nothing(dashboard: dict[str, Any]) -> None:
    for expression in expressions(dashboard):
        for divisor in divisors(expression):
            assert re.fullmatch(r"\(.* > [\d.]+\)|[\d.]+", divisor), expression


@EACH
def test_a_quantile_of_nothing_is_absent_and_not_nan(dashboard: dict[str, Any]) -> None:
    for expression in expressions(dashboard):
        assert expression.count("histogram_quantile(") == expression.count(" >= 0")


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("a / (b > 0)", ["(b > 0)"]),
        ("a / on (x) group_left () (sum(b) > 5) - c / 0.5", ["(sum(b) > 5)", "0.5"]),
        ("(a / b) + 1", ["b"]),
        (share("a", "b", each="x"), ["(b > 0)"]),
    ],
)
def test_what_is_divided_by_is_found(expression: str, found: list[str]) -> None:
    assert list(divisors(expression)) == found


def test_a_share_a_mean_and_a_quantile_are_guarded() -> None:
    assert share("a", "b") == "a / (b > 0)"
    assert mean("h").endswith(" > 0)")
    assert quantile(0.5, "h").endswith(" >= 0")


def test_the_tiles_that_say_ill_or_well_have_a_colour_when_nobody_reports() -> None:
    tiles = [
        panel
        for panel in DASHBOARDS[f"{OVERVIEW.file}.json"]["panels"]
        if panel["type"] == "stat" and panel["options"]["colorMode"] == "background_solid"
    ]
    verdict, *signs = tiles
    assert verdict["fieldConfig"]["defaults"]["thresholds"]["steps"] == [{"color": "red", "value": None}]
    assert len(signs) == 8
    for tile in signs:
        [mapping] = tile["fieldConfig"]["defaults"]["mappings"]
        assert tile["targets"][0]["expr"].endswith(" or vector(-1)")
        assert mapping["options"]["-1"]["color"] == "red"
        assert tile["links"]


def test_what_can_make_a_tile_orange_or_red_is_part_of_the_verdict() -> None:
    verdict, *tiles = [
        panel
        for panel in DASHBOARDS[f"{OVERVIEW.file}.json"]["panels"]
        if panel["type"] == "stat" and panel["options"]["colorMode"] == "background_solid"
    ]
    bad = [
        tile
        for tile in tiles
        if {"orange", "red"} & {step["color"] for step in tile["fieldConfig"]["defaults"]["thresholds"]["steps"]}
    ]
    assert len(bad) == 6
    for tile in bad:
        assert shown(tile) <= shown(verdict), tile["title"]


# ---- what is said


@EACH_PANEL
def test_a_panel_says_what_it_shows_what_is_bad_and_what_it_is_made_of(panel: dict[str, Any]) -> None:
    shows, bad, made_of = panel["description"].split("\n\n")
    assert shows.endswith(".")
    assert re.fullmatch(r"\*\*Bad:\*\* .+\.", bad)
    assert set(re.findall(r"`([^`]+)`", made_of)) == shown(panel)


def test_a_description_names_histograms_as_we_do_and_recorded_series_as_they_are() -> None:
    queries = [Query("rate(screener_score_bucket[1m]) / rate(screener_score_count[1m])"), Query("job:screener_x:count")]
    assert (
        describe(queries, "It.", "more.")
        == "It.\n\n**Bad:** more.\n\n**From:** `job:screener_x:count`, `screener_score`."
    )


@EACH_PANEL
def test_a_panel_has_a_unit_and_a_source(panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"]
    for part in (panel, *panel["targets"]):
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@EACH
def test_panels_and_queries_are_told_apart(dashboard: dict[str, Any]) -> None:
    for what in ("id", "title"):
        values = [panel[what] for panel in dashboard["panels"]]
        assert len(set(values)) == len(values)
    for panel in dashboard["panels"]:
        references = [target["refId"] for target in panel.get("targets", [])]
        assert len(set(references)) == len(references)


@pytest.mark.parametrize(
    ("file", "title", "values"),
    [
        ("trust-and-safety", "Comments by action", set(Action)),
        ("trust-and-safety", "Decisions by category", set(CATEGORIES) - {NO_CATEGORY}),
        ("trust-and-safety", "Decisions by age of the readers", set(AgeBand)),
        ("model", "Label mix", set(CATEGORIES) - {NO_CATEGORY}),
        ("model", "Languages: known to the model", set(SUPPORT.values())),
        ("model", "Mean score, by label", set(LABELS)),
        ("pipeline", "Time in each stage, mean", set(STAGES)),
        ("pipeline", "Time in each stage, p95", set(STAGES)),
    ],
)
def test_every_value_has_its_colour_and_its_query(file: str, title: str, values: set[str]) -> None:
    [panel] = [panel for panel in DASHBOARDS[f"{file}.json"]["panels"] if panel["title"] == title]
    assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} >= values
    assert {target["legendFormat"] for target in panel["targets"]} == values


def test_actions_are_shown_mildest_first_and_stages_in_the_order_of_the_flow() -> None:
    order = {panel["title"]: [target["legendFormat"] for target in panel["targets"]] for _, panel in PANELS}
    assert order["Comments by action"] == list(Action)
    assert order["Time in each stage, p50"] == list(STAGES)


# ---- where it stands, and the ways between


@EACH
def test_panels_do_not_overlap_and_leave_no_hole(dashboard: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    height = max(y for _, y in taken) + 1
    assert len(taken) == WIDTH * height
    assert max(x for x, _ in taken) == WIDTH - 1


@EACH
def test_every_variable_that_is_used_exists_and_every_one_that_exists_is_used(dashboard: dict[str, Any]) -> None:
    there = {variable["name"] for variable in dashboard["templating"]["list"]}
    text = json.dumps({**dashboard, "templating": None}) + json.dumps(
        [variable["query"] for variable in dashboard["templating"]["list"]]
    )
    # `$1` is Prometheus' own.
    used = {name for name in re.findall(r"\$\{?([a-z_]\w*)", text) if name not in BUILT_IN}
    assert used == there
    assert {"datasource", "job", "instance"} <= there


@EACH
def test_a_choice_is_among_the_values_of_a_label_that_exists(dashboard: dict[str, Any]) -> None:
    before: set[str] = set()
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
            assert label in KNOWN[selector.partition("{")[0]].keys() | OF_EVERY_TARGET
            assert variable["query"]["query"] == variable["definition"]
            assert set(re.findall(r"\$(\w+)", selector)) <= before, "it asks for what is chosen after it"
        elif variable["type"] == "custom":
            values = [option["value"] for option in variable["options"]]
            assert variable["query"] == ",".join(values)
            assert variable["current"]["value"] == values[0]
            assert set(values) <= (values_of(variable["name"]) or set(values))
        before.add(variable["name"])


def test_all_jobs_are_all_of_ours() -> None:
    for dashboard in DASHBOARDS.values():
        [job] = [variable for variable in dashboard["templating"]["list"] if variable["name"] == "job"]
        # With `.*` for all, the targets that are up would include everybody's.
        assert "allValue" not in job


@EACH
def test_every_dashboard_leads_to_the_others_with_what_was_chosen(dashboard: dict[str, Any]) -> None:
    assert {link["url"] for link in dashboard["links"]} == {
        f"/d/{place.uid}" for place in PLACES if place.uid != dashboard["uid"]
    }
    for link in dashboard["links"]:
        assert (link["type"], link["includeVars"], link["keepTime"]) == ("link", True, True)
    for panel in dashboard["panels"]:
        for link in panel.get("links", []):
            uid, chosen = re.fullmatch(r"/d/([\w-]+)\?(.+)", link["url"]).groups()  # type: ignore[union-attr]
            assert uid in {place.uid for place in PLACES} - {dashboard["uid"]}
            assert chosen == "${__url_time_range}&${__all_variables}"


@EACH
def test_alerts_and_new_revisions_are_marked(dashboard: dict[str, Any]) -> None:
    marked = set().union(*(metrics(annotation["expr"]) for annotation in dashboard["annotations"]["list"]))
    assert marked == {"ALERTS", "screener_model_info", "screener_policy_info"}
    for annotation in dashboard["annotations"]["list"]:
        named = set(re.findall(r"{{(\w+)}}", annotation["titleFormat"] + annotation["textFormat"]))
        [metric] = metrics(annotation["expr"])
        assert named <= KNOWN[metric].keys() | OF_EVERY_TARGET


# ---- the objectives


@pytest.mark.parametrize("objective", [slo.AVAILABILITY, slo.LATENCY], ids=lambda objective: objective.name)
def test_an_objective_is_recorded_over_every_window(objective: slo.Objective) -> None:
    assert {f"{objective.errors}_{window}" for window in (*slo.HALVES, slo.PERIOD)} <= RECORDED
    assert {objective.known, objective.counted} <= RECORDED


@pytest.mark.parametrize("objective", [slo.AVAILABILITY, slo.LATENCY], ids=lambda objective: objective.name)
def test_dashboards_and_alerts_have_one_objective(objective: slo.Objective) -> None:
    limits = [
        tuple(map(float, found))
        for rule in RULES
        if "alert" in rule
        for found in re.findall(rf"{objective.errors}_\w+ > ([\d.]+) \* ([\d.]+)", rule["expr"])
    ]
    assert {budget for _, budget in limits} == {objective.budget}
    assert {slo.FAST_BURN, slo.SLOW_BURN, 1.0} <= {times for times, _ in limits}


@pytest.mark.parametrize(("window", "half"), slo.HALVES.items())
def test_half_of_a_window_is_half_of_it(window: str, half: str) -> None:
    assert milliseconds(window) == 2 * milliseconds(half)


@pytest.mark.parametrize("objective", [slo.AVAILABILITY, slo.LATENCY], ids=lambda objective: objective.name)
def test_alerts_and_dashboards_look_at_a_window_once_half_of_it_is_known(objective: slo.Objective) -> None:
    long_windows = ["1h", "6h", "1d", "3d"]
    alerts = " ".join(
        rule["expr"] for rule in RULES if rule.get("alert", "").startswith(f"CommentScreener{objective.name}")
    )
    for window in long_windows:
        half = slo.HALVES[window]
        known = f"{objective.counted}[{half}] offset {half})"
        assert known in alerts
        assert known in objective.burn(window).replace('{job=~"$job"}', "")


def test_a_second_is_a_bound_of_the_histogram() -> None:
    bounds = {
        sample.labels["le"]
        for family in Metrics().end_to_end_seconds.collect()
        for sample in family.samples
        if "le" in sample.labels
    }
    asked = re.findall(r'screener_end_to_end_seconds_bucket\{le="([^"]+)"\}', json.dumps(RULES).replace('\\"', '"'))
    assert asked
    assert set(asked) <= bounds
