"""Operating points: what a model states of its precision, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from worker.errors import StartupError
from worker.operating_points import FILE, operating_points_of, read_operating_points


def write(folder: Path, content: Any) -> Path:
    (folder / FILE).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_each_label_states_scores_by_precision_or_that_it_never_reaches_it(tmp_path: Path) -> None:
    written = {"insult": {"0.80": 0.71, "0.95": 1, "0.99": None}, "threat": {}}

    points = read_operating_points(write(tmp_path, written))

    assert points == {"insult": {0.8: 0.71, 0.95: 1.0, 0.99: None}, "threat": {}}
    assert operating_points_of(str(tmp_path)) == points


def test_a_model_that_states_none_has_none(tmp_path: Path) -> None:
    assert read_operating_points(tmp_path) == {}
    assert operating_points_of(str(tmp_path)) == {}
    assert operating_points_of("unitary/toxic-bert@main") == {}


@pytest.mark.parametrize("model", ["tpyo", "/no/such/folder", "models/new", "."])
def test_a_model_that_is_not_there_states_nothing_that_a_policy_could_be_checked_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Not even none: `policy check` would say that all is well. The folder that one is in is a path, and no shipped model."""
    monkeypatch.chdir(tmp_path)
    if model == ".":
        write(tmp_path, {"insult": {"0.80": 0.71}})
        assert operating_points_of(model) == {"insult": {0.8: 0.71}}
    else:
        with pytest.raises(StartupError, match="none of the shipped models, and no folder"):
            operating_points_of(model)


def test_a_file_in_the_place_of_the_folder_is_for_those_who_open_the_model_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()

    assert read_operating_points(path) == {}


def test_a_shipped_model_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.model_source.SHIPPED", tmp_path)
    (tmp_path / "shipped").mkdir()
    write(tmp_path / "shipped", {"insult": {"0.80": 0.71}})

    assert operating_points_of("shipped") == {"insult": {0.8: 0.71}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ([], "not a JSON object"),
        ({"insutl": {"0.80": 0.5}}, "insutl is none of toxicity, "),
        ({"insult": 0.5}, "insult: not a JSON object of precisions"),
        ({"insult": {"much": 0.5}}, "insult: a precision is a number above 0 and up to 1, not much"),
        ({"insult": {"0": 0.5}}, "insult: a precision is a number above 0 and up to 1, not 0"),
        ({"insult": {"nan": 0.5}}, "insult: a precision is a number above 0 and up to 1, not nan"),
        ({"insult": {"0.8": 0.5, "0.80": 0.6}}, "insult: precision 0.80 stands there twice"),
    ],
)
def test_what_is_no_such_table_stops_a_start_with_one_line(tmp_path: Path, content: Any, problem: str) -> None:
    with pytest.raises(StartupError) as caught:
        read_operating_points(write(tmp_path, content))

    assert str(caught.value).startswith(f"{tmp_path / FILE}: {problem}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("score", [0, -0.1, 1.1, True, "0.5", []])
def test_a_score_is_a_number_above_0_and_up_to_1_or_null(tmp_path: Path, score: object) -> None:
    with pytest.raises(StartupError) as caught:
        read_operating_points(write(tmp_path, {"insult": {"0.80": score}}))

    problem = "insult: the score of precision 0.80 is a number above 0 and up to 1, or null"
    assert str(caught.value) == f"{tmp_path / FILE}: {problem}"


def test_what_cannot_be_read_stops_a_start(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()

    with pytest.raises(StartupError, match=f"{FILE}: Is a directory"):
        read_operating_points(tmp_path)
