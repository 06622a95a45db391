"""`comment-screener policy`: what people and pipelines read from it."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner, Result

from tests.fakes import detect
from worker.classifier import Found
from worker.cli_policy import app
from worker.language import STRANGE
from worker.policy_file import preset_names, preset_path
from worker.records import Span

GOOD = """\
id: mine
version: "2"
labels:
  insult: {under_13: {hold: 0.5}, all: {nudge: 0.7, hold: 0.9}}
communities:
  "[club]": {labels: {insult: {adult: {remove: 0.8}}}}
"""
BAD = GOOD.replace("hold", "holt")


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})


def row(output: str, band: str) -> str:
    """The cells of one audience's first line."""
    (line,) = [line for line in output.splitlines() if line.strip("│ ").startswith(f"{band} ")]
    return " ".join(line.replace("│", " ").split())


def test_check_says_what_is_right(good: str) -> None:
    result = run("check", good)

    first, *warnings = result.stdout.splitlines()
    assert first.startswith(f"{good}: ok, mine, version 2, sha256 ")
    assert first.endswith(", 4 rules")
    assert f"{good}:3: warning: labels.threat: no rule looks at this label" in warnings
    assert result.exit_code == 0


def test_check_tells_warnings_from_errors(good: str, bad: str) -> None:
    Path(good).write_text(GOOD.replace("communities:", "  self_harm: {all: {remove: 0.9}}\ncommunities:"))

    right, both = run("check", good), run("check", good, bad)

    warning = f"{good}:5: warning: labels.self_harm.all.remove: a cry for help that vanishes reaches nobody"
    assert any(line.startswith(warning) for line in right.stdout.splitlines())
    assert (right.stderr, right.exit_code) == ("", 0)
    assert right.stdout == both.stdout
    assert ": warning: " not in both.stderr
    assert both.exit_code == 2


def test_check_tells_every_problem_of_every_file_and_goes_on(good: str, bad: str) -> None:
    result = run("check", bad, good, "nowhere.yaml")

    assert result.stderr.splitlines() == [
        f"{bad}:4: labels.insult.all.holt: no such action; did you mean hold?",
        f"{bad}:4: labels.insult.under_13.holt: no such action; did you mean hold?",
        f"nowhere.yaml: no such file, and no preset either; the presets are {', '.join(preset_names())}",
    ]
    assert f"{good}: ok" in result.stdout
    assert result.exit_code == 2


def test_check_goes_on_behind_a_file_that_is_too_large(bad: str, tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b" " * 2**21)

    result = run("check", str(large), bad)

    assert str(large) in result.stderr
    assert f"{bad}:4: labels.insult.all.holt: no such action" in result.stderr


@pytest.mark.parametrize("name", preset_names())
def test_presets_pass_without_a_warning(name: str) -> None:
    result = run("check", name)

    assert len(result.stdout.splitlines()) == 1
    assert result.exit_code == 0


@pytest.mark.parametrize("scores", ["insult=0.7, toxicity=0.1", '{"insult": 0.7, "toxicity": 0.1}'])
def test_explain_shows_every_audience_what_fires_and_what_nearly_does(good: str, scores: str) -> None:
    result = run("explain", "--scores", scores, "--policy", good)

    assert row(result.stdout, "under_13") == "under_13 hold insult insult 0.7000 ≥ 0.5 labels.insult.under_13.hold"
    assert row(result.stdout, "adult") == "adult nudge insult insult 0.7000 ≥ 0.7 labels.insult.all.nudge"
    assert row(result.stdout, "unknown") == "unknown hold insult insult 0.7000 ≥ 0.5 labels.insult.under_13.hold"
    assert result.exit_code == 0


def test_explain_shows_the_rule_nearest_to_firing(good: str) -> None:
    result = run("explain", "--scores", "insult=0.45,threat=0.9", "--policy", good)

    assert row(result.stdout, "adult") == "adult allow nearest: insult 0.4500, 0.2500 below 0.7 labels.insult.all.nudge"


def test_explain_says_what_is_not_removed_for_danger(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "{id: p, version: 1, labels: {insult: {all: {remove: 0.9}}, threat: {all: {hold: 0.5, escalate: 0.9}}}}",
        "utf-8",
    )
    result = run("explain", "--scores", "insult=0.95,threat=0.6", "--policy", str(policy))

    assert result.exit_code == 0
    words = " ".join(result.stdout.replace("│", " ").split())
    assert "threat 0.6000 ≥ 0.5 labels.threat.all.hold raised to escalate: another label removes" in words
    assert "insult 0.9500 ≥ 0.9 labels.insult.all.remove" in words
    assert "remove raised" not in words


def test_the_nearest_rule_is_so_by_share_of_its_threshold(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "{id: p, version: 1, labels: {insult: {all: {hold: 0.5}}, self_harm: {all: {hold: 0.09}}}}", "utf-8"
    )
    result = run("explain", "--scores", "insult=0.3,self_harm=0.001", "--policy", str(policy))

    assert row(result.stdout, "adult") == "adult allow nearest: insult 0.3000, 0.2000 below 0.5 labels.insult.all.hold"


def test_explain_says_what_an_unknown_language_makes_of_rules_that_fire(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "{id: p, version: 1, labels: {insult: {all: {nudge: 0.3, remove: 0.9}}, kindness: {all: {highlight: 0.8}}},"
        " unsupported_language: {all: allow}}",
        "utf-8",
    )
    passed_over = "passed over, the model does not know the language: labels."

    kind, rude, removed = (
        row(run("explain", "--scores", scores, "--policy", str(policy), "--language", "pt").stdout, "adult")
        for scores in ("kindness=0.9", "insult=0.4,kindness=0.1", "insult=0.95")
    )

    assert kind == f"adult allow {passed_over}kindness.all.highlight"
    assert rude.startswith("adult allow nearest: insult 0.4000, 0.5000 below 0.9")
    assert removed == (
        "adult hold insult insult 0.9500 ≥ 0.9 labels.insult.all.remove held instead: the model does not know the language"
    )


def test_explain_cuts_no_name_of_a_rule(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    name = "a-community-with-a-name-that-is-as-long-as-they-come-in-a-large-platform-" * 2
    policy.write_text(
        f"{{id: p, version: 1, labels: {{insult: {{all: {{hold: 0.5}}}}}}, communities: {{{name}: {{labels: {{insult:"
        " {under_13: {nudge: 0.3}}}}}}",
        "utf-8",
    )
    result = run("explain", "--scores", "insult=0.4", "--policy", str(policy), "--community", name)

    assert f"communities.{name}.labels.insult.under_13.nudge" in "".join(result.stdout.replace("│", " ").split())


def test_explain_knows_no_nearest_rule_where_no_rule_looks_at_the_scores(good: str) -> None:
    result = run("explain", "--scores", "threat=0.9", "--policy", good)

    assert row(result.stdout, "adult") == "adult allow"


def test_explain_follows_a_community_whatever_its_name(good: str) -> None:
    result = run("explain", "--scores", "insult=0.8", "--policy", good, "--community", "[club]")

    assert "communities.[club].labels.insult.adult.remove" in row(result.stdout, "adult")
    assert result.stderr == ""


def test_explain_says_so_where_the_policy_does_not_name_the_community(good: str) -> None:
    result = run("explain", "--scores", "insult=0.8", "--policy", good, "--community", "elsewhere")

    assert result.stderr == f"{good}: says nothing of the community elsewhere; its general rules apply\n"
    assert result.exit_code == 0


def test_explain_as_json(good: str) -> None:
    result = run("explain", "--scores", "insult=0.65", "--policy", good, "--json")

    explained = json.loads(result.stdout)
    assert explained["policy"]["id"] == "mine"
    assert list(explained["audiences"]) == ["under_13", "13_15", "16_17", "adult", "unknown"]
    assert explained["audiences"]["under_13"]["verdict"]["action"] == "hold"
    assert explained["audiences"]["under_13"]["nearest"] is None
    assert explained["audiences"]["adult"]["nearest"] == {
        "label": "insult",
        "score": 0.65,
        "missing": 0.05,
        "action": "nudge",
        "threshold": 0.7,
        "rule": "labels.insult.all.nudge",
    }


def test_explain_scores_a_text_with_the_model(good: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()

    def find_in(text: str, model: str | None, label_map: Path | None) -> Found:
        return Found({"insult": 0.95 if (text, model, label_map) == ("you fool", "small", None) else 0.1})

    scoring = ModuleType("worker.cli_scoring")
    scoring.__dict__.update(find_in=find_in, detect_language=lambda text: detect([text])[0])
    monkeypatch.setitem(sys.modules, "worker.cli_scoring", scoring)

    result = run("explain", "you fool", "--model", "small", "--policy", good)

    assert row(result.stdout, "adult") == "adult hold insult insult 0.9500 ≥ 0.9 labels.insult.all.hold"
    assert "language" not in result.stdout

    foreign = run("explain", "hallo", "--model", "small", "--policy", good)

    held = "under_13 hold unsupported_language unsupported_language unsupported_language.default"
    assert row(foreign.stdout, "under_13") == held
    assert row(foreign.stdout, "adult").startswith("adult allow nearest: insult 0.1000")
    assert "insult 0.100; language de, which the model does not know" in foreign.stdout


def test_explain_says_what_is_done_where_the_language_cannot_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    careful = tmp_path / "careful.yaml"
    careful.write_text(GOOD + "undetermined_language: {under_13: hold}\n", encoding="utf-8")
    scoring = ModuleType("worker.cli_scoring")
    scoring.__dict__.update(find_in=lambda *_: Found({"insult": 0.1}), detect_language=lambda _: STRANGE)
    monkeypatch.setitem(sys.modules, "worker.cli_scoring", scoring)

    result = run("explain", "ta gueule", "--policy", str(careful))

    held = "hold undetermined_language undetermined_language undetermined_language.under_13"
    assert row(result.stdout, "under_13") == f"under_13 {held}"
    assert row(result.stdout, "unknown") == f"unknown {held}"
    assert row(result.stdout, "13_15").startswith("13_15 allow ")
    assert row(run("explain", "ta gueule", "--policy", str(careful), "--language", "en").stdout, "under_13").startswith(
        "under_13 allow "
    )
    assert row(run("explain", "--scores", "insult=0.1", "--policy", str(careful)).stdout, "under_13").startswith(
        "under_13 allow "
    )


def test_explain_says_what_the_worker_would_do_where_a_place_hurts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = tmp_path / "kind.yaml"
    kind.write_text("{id: kind, version: 1, labels: {kindness: {all: {highlight: 0.8}}}}", encoding="utf-8")
    found = Found({"kindness": 0.9, "insult": 0.1}, (Span(0, 4, "insult", 0.6),))
    scoring = ModuleType("worker.cli_scoring")
    scoring.__dict__.update(find_in=lambda *_: found, detect_language=lambda text: detect([text])[0])
    monkeypatch.setitem(sys.modules, "worker.cli_scoring", scoring)

    result = run("explain", "thanks, fool", "--policy", str(kind))

    assert row(result.stdout, "adult").startswith(
        "adult allow passed over, a place hurts: labels.kindness.all.highlight"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("",), "invalid_text: "),
        (("x" * 10_001,), "invalid_text: "),
        (("lol", "--language", "x" * 36), "language"),
        (("caf\udce9",), "invalid_utf8: not UTF-8 at byte"),
        (("--scores", '{"insult": ' + "1" * 5000 + "}"), "--scores: not JSON"),
        (("--scores", '{"a":' * 20_000), "--scores: not JSON"),
        (("lol", "--model", "tpyo"), "SCREENER_MODEL: tpyo is none of the shipped models"),
    ],
)
def test_explain_stops_where_a_worker_would_not_get_as_far(arguments: tuple[str, ...], said: str) -> None:
    result = run("explain", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert said in line


def test_explain_asks_the_model_and_the_policy_that_the_worker_beside_it_has(
    good: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def find_in(text: str, model: str | None, label_map: Path | None) -> Found:
        asked.append((text, model, label_map))
        return Found({"insult": 0.95})

    scoring = ModuleType("worker.cli_scoring")
    scoring.__dict__.update(find_in=find_in, detect_language=lambda text: detect([text])[0])
    monkeypatch.setitem(sys.modules, "worker.cli_scoring", scoring)
    for name, value in (("MODEL", str(tmp_path)), ("POLICY", good), ("LABEL_MAP", "names.json")):
        monkeypatch.setenv(f"SCREENER_{name}", value)

    result = run("explain", "you fool")

    assert asked == [("you fool", str(tmp_path), Path("names.json"))]
    assert row(result.stdout, "adult") == "adult hold insult insult 0.9500 ≥ 0.9 labels.insult.all.hold"


@pytest.mark.parametrize(
    ("language", "action", "caption"),
    [("en-GB", "allow", "language en-GB"), ("pt", "hold", "language pt, which the model does not know")],
)
def test_explain_takes_a_producers_word_for_the_language(good: str, language: str, action: str, caption: str) -> None:
    result = run("explain", "--scores", "insult=0.1", "--language", language, "--policy", good)

    assert row(result.stdout, "13_15").startswith(f"13_15 {action} ")
    assert f"insult 0.100; {caption}\n" in "\n".join(line.strip() for line in result.stdout.splitlines()) + "\n"


def test_explain_as_json_says_which_language_was_gone_by(good: str) -> None:
    result = run("explain", "--scores", "insult=0.1", "--language", "pt", "--policy", good, "--json")

    explained = json.loads(result.stdout)
    assert (explained["language"], explained["language_supported"]) == ("pt", False)
    (reason,) = explained["audiences"]["unknown"]["verdict"]["reasons"]
    assert (reason["label"], reason["score"], reason["threshold"]) == ("unsupported_language", None, None)


ASKING = GOOD.replace("hold: 0.5", "hold: precision 0.80")


@pytest.fixture
def asking(tmp_path: Path) -> str:
    """A policy that asks for a precision, beside a model that states it."""
    (tmp_path / "asking.yaml").write_text(ASKING)
    model = tmp_path / "model"
    model.mkdir()
    (model / "operating_points.json").write_text('{"insult": {"0.80": 0.61, "0.99": null}}')
    return str(tmp_path / "asking.yaml")


def model_beside(policy: str) -> str:
    return str(Path(policy).with_name("model"))


def test_check_takes_the_precisions_of_the_model_that_is_named(asking: str) -> None:
    result = run("check", asking, "--model", model_beside(asking))

    assert result.stdout.startswith(f"{asking}: ok, ")
    assert f"{asking}:4: labels.insult.under_13.hold: precision 0.80 is 0.61" in result.stdout.splitlines()
    assert result.exit_code == 0


def test_check_refuses_precisions_that_the_model_does_not_state(asking: str, tmp_path: Path) -> None:
    result = run("check", asking, "--model", str(tmp_path))

    assert result.stderr == (
        f"{asking}:4: labels.insult.under_13.hold: asks for precision 0.80 of insult, and the model states no operating "
        "points (operating_points.json in its folder)\n"
    )
    assert result.exit_code == 2


def test_check_warns_of_a_precision_that_is_never_reached(asking: str) -> None:
    Path(asking).write_text(ASKING.replace("0.80", "0.99"))

    result = run("check", asking, "--model", model_beside(asking))

    warning = "the model never reaches precision 0.99 for insult: the rule is dropped"
    assert f"{asking}:4: warning: labels.insult.under_13.hold: {warning}" in result.stdout.splitlines()
    assert result.exit_code == 0


def test_explain_shows_the_scores_that_precisions_stand_for(asking: str) -> None:
    result = run("explain", "--scores", "insult=0.62", "--policy", asking, "--model", model_beside(asking))

    assert row(result.stdout, "under_13") == "under_13 hold insult insult 0.6200 ≥ 0.61 labels.insult.under_13.hold"


@pytest.mark.parametrize("arguments", [("check", "default"), ("explain", "--scores", "insult=0.5")])
def test_operating_points_that_are_none_are_refused_in_a_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "operating_points.json").write_text("[]")

    result = run(*arguments, "--model", str(tmp_path))

    assert result.stderr == f"{tmp_path}/operating_points.json: not a JSON object\n"
    assert result.exit_code == 2


def test_show_gives_the_policy_as_it_is_read_with_a_model(asking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.policy_file._PRESET_DIRECTORY", Path(asking).parent)

    assert run("show", "asking").stdout == ASKING
    with_model = run("show", "asking", "--model", model_beside(asking))
    assert with_model.stdout == GOOD.replace("hold: 0.5", "hold: 0.61")
    without = run("show", "asking", "--model", str(Path(asking).parent))
    assert without.stderr.startswith("asking:4: labels.insult.under_13.hold: asks for precision 0.80 of insult, ")
    assert without.exit_code == 2


@pytest.mark.parametrize(
    ("scores", "problems"),
    [
        ("insults=0.5", ["--scores: insults: no such label; did you mean insult?"]),
        ("insult=1.5", ["--scores: insult: a score is a number from 0 to 1, not 1.5"]),
        ("insult=nan", ["--scores: insult: a score is a number from 0 to 1, not nan"]),
        ("insult=much", ["--scores: insult: a score is a number from 0 to 1, not much"]),
        ("insult", ["--scores: insult: a score is a number from 0 to 1, not nothing"]),
        ("insult=0.1,insult=0.2", ["--scores: insult: given twice"]),
        ('{"insult": 0.1, "insult": 0.2}', ["--scores: insult: given twice"]),
        ('{"insult": true}', ["--scores: insult: a score is a number from 0 to 1, not True"]),
        ('{"insult": null}', ["--scores: insult: a score is a number from 0 to 1, not nothing"]),
        ('{"insult": 1' + "0" * 400 + "}", ["--scores: insult: a score is a number from 0 to 1, not 1" + "0" * 400]),
        ("{}", ["--scores: no score in it"]),
        ('{"insult"', ["--scores: not JSON: Expecting ':' delimiter: line 1 column 10 (char 9)"]),
        (
            "insults=0.5,threat=2",
            [
                "--scores: insults: no such label; did you mean insult?",
                "--scores: threat: a score is a number from 0 to 1, not 2",
            ],
        ),
    ],
)
def test_explain_refuses_scores_that_are_none(scores: str, problems: list[str]) -> None:
    result = run("explain", "--scores", scores)

    assert result.stderr.splitlines() == problems
    assert result.exit_code == 2


def test_explain_names_the_labels_where_one_is_missing() -> None:
    result = run("explain", "--scores", "")

    assert result.stderr.startswith("--scores: an empty label: no such label; it has to be one of toxicity, ")


@pytest.mark.parametrize("arguments", [(), ("a text", "--scores", "insult=0.5")])
def test_explain_wants_a_text_or_scores(arguments: tuple[str, ...]) -> None:
    result = run("explain", *arguments)

    assert result.stderr == "explain: give either a text or --scores\n"
    assert result.exit_code == 2


def test_explain_refuses_a_wrong_policy(bad: str) -> None:
    result = run("explain", "--scores", "insult=0.5", "--policy", bad)

    assert f"{bad}:4: labels.insult.all.holt: no such action; did you mean hold?" in result.stderr.splitlines()
    assert result.exit_code == 2


@pytest.mark.parametrize(("arguments", "name"), [((), "default"), (("lenient-forum",), "lenient-forum")])
def test_show_prints_a_preset_as_it_is(arguments: tuple[str, ...], name: str) -> None:
    result = run("show", *arguments)

    assert result.stdout == preset_path(name).read_text()


def test_show_knows_its_presets() -> None:
    result = run("show", "defalt")

    assert result.stderr == "defalt: no such preset; did you mean default?\n"
    assert result.exit_code == 2
