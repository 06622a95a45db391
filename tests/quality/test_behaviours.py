"""What the shipped model makes of comments that were written to be judged: one line per behaviour.

The rows are the held-back part of `training/authored/`, which no training saw, some of it between kind words. A behaviour fails
when fewer of its rows than its floor in `floors.yaml` are judged as their author meant, at the shipped thresholds. A floor is a
promise: raise it when the model gets better, and lower it only with a reason in the commit.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.quality.conftest import MODEL, hold
from training.authored import read_authored
from training.evaluate import Model, is_right
from training.labels import Row
from training.split import split
from training.wrapped import wrapped
from worker.cli_scoring import model_thresholds
from worker.onnx import model_folder

FLOORS: Mapping[str, float] = yaml.safe_load(Path(__file__).with_name("floors.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def held_back() -> Mapping[str, list[Row]]:
    authored = read_authored()
    _, rows = split(authored + wrapped(authored))
    by_behaviour: dict[str, list[Row]] = defaultdict(list)
    for r in rows:
        assert r.behaviour is not None
        by_behaviour[r.behaviour].append(r)
    return by_behaviour


@pytest.fixture(scope="module")
def verdicts(held_back: Mapping[str, list[Row]]) -> Mapping[str, list[bool]]:
    """Per behaviour and row, whether it is judged as meant."""
    thresholds = model_thresholds(MODEL)
    assert thresholds is not None
    rows = [r for of_behaviour in held_back.values() for r in of_behaviour]
    found = Model(model_folder(MODEL)).find([r.text for r in rows])
    judged: dict[str, list[bool]] = defaultdict(list)
    for r, f in zip(rows, found, strict=True):
        judged[str(r.behaviour)].append(is_right(r, f.scores, thresholds))
    return judged


def test_every_behaviour_has_a_floor_and_every_floor_a_behaviour(held_back: Mapping[str, list[Row]]) -> None:
    assert set(FLOORS) == set(held_back)


@pytest.mark.parametrize("behaviour", FLOORS)
def test_behaviour(behaviour: str, verdicts: Mapping[str, list[bool]]) -> None:
    hold("held-back rows", behaviour, verdicts[behaviour], FLOORS[behaviour])
