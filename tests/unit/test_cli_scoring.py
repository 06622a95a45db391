"""What the commands without Kafka open: a model, a policy with its precisions, a detector."""

import json
from pathlib import Path

import pytest

from tests.fakes import POISON, FakeClassifier
from worker import cli_scoring
from worker.errors import FatalError, PolicyError

ASKING = "id: asking\nversion: 1\nlabels: {insult: {all: {hold: precision 0.80}}}\n"


@pytest.fixture(autouse=True)
def _fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_scoring, "load_classifier", lambda *_, **__: FakeClassifier())


def test_precisions_are_those_of_the_model_that_scores(tmp_path: Path) -> None:
    policy = tmp_path / "asking.yaml"
    policy.write_text(ASKING)
    with pytest.raises(PolicyError, match="the model states no operating points"):
        cli_scoring.open_screener(str(tmp_path), str(policy))

    (tmp_path / "operating_points.json").write_text(json.dumps({"insult": {"0.80": 0.71}}))
    before = cli_scoring.open_screener(str(tmp_path), str(policy)).policy
    (tmp_path / "operating_points.json").write_text(json.dumps({"insult": {"0.80": 0.72}}))
    after = cli_scoring.open_screener(str(tmp_path), str(policy)).policy

    assert before.id == after.id == "asking"
    assert before.sha256 != after.sha256


def test_scores_need_no_policy_whatever_the_default_one_asks_for(tmp_path: Path) -> None:
    assert cli_scoring.find_in("stupid", str(tmp_path)).scores["insult"] == 0.9
    assert cli_scoring.open_screener(str(tmp_path), None).policy.id == "none"


def test_who_only_wants_scores_loads_no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("loaded for nothing")

    monkeypatch.setattr(cli_scoring, "load_detector", fail)

    assert cli_scoring.find_in("stupid", None).scores["insult"] == 0.9


def test_a_text_that_cannot_be_scored_says_nothing_of_itself() -> None:
    with pytest.raises(FatalError, match=r"^the model cannot score this text: raised at fakes\.py:\d+$"):
        cli_scoring.find_in(POISON, None)


def test_a_language_is_that_of_the_normalised_text() -> None:
    assert cli_scoring.detect_language("d\u00adu bist so dumm, lösch dich").language == "de"
