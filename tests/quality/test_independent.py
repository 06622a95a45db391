"""What the shipped model makes of comments by somebody who knew neither our rows nor our templates.

`independent/*.jsonl` was written for this from a list of kinds alone, and nothing was ever written to teach because of how it
came out: what is held back of `training/authored/` is of the same hand as what teaches, and this is not. `hate` and `emoji` ask
whether people are attacked for who they are; `moderation`, of texts as an assistant or a forum gets them, whether there is any
harm but swearing. Floors as in `test_behaviours`.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.quality.conftest import MODEL, hold
from training.evaluate import Model
from worker.classifier import HARM_LABELS
from worker.cli_scoring import model_thresholds
from worker.normalise import normalise
from worker.onnx import model_folder

FOLDER: Final = Path(__file__).with_name("independent")
FLOORS: Final[Mapping[str, float]] = yaml.safe_load((FOLDER / "floors.yaml").read_text(encoding="utf-8"))
ASKED: Final[Mapping[str, tuple[str, ...]]] = {
    "hate": ("identity_attack",),
    "emoji": ("identity_attack",),
    "moderation": tuple(label for label in HARM_LABELS if label != "profanity"),
}
"""The labels of which a comment must carry one to count as harmful."""

Rows = Mapping[str, list[tuple[str, bool]]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Kind, with its file's name → texts, and whether each is harmful."""
    found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for name in ASKED:
        for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found[f"{name}/{row['kind']}"].append((row["text"], row["harm"]))
    return found


@pytest.fixture(scope="module")
def verdicts(rows: Rows) -> Mapping[str, list[bool]]:
    """Per kind and row, whether it is judged as meant."""
    thresholds = model_thresholds(MODEL)
    assert thresholds is not None
    told: dict[str, list[bool]] = {}
    classifier = Model(model_folder(MODEL))
    for kind, of_kind in rows.items():
        labels = ASKED[kind.partition("/")[0]]
        found = classifier.find([normalise(text) for text, _ in of_kind])
        carries = [any(f.scores[label] >= thresholds[label] for label in labels) for f in found]
        told[kind] = [says == harm for says, (_, harm) in zip(carries, of_kind, strict=True)]
    return told


def test_every_kind_has_a_floor_and_every_floor_a_kind(rows: Rows) -> None:
    assert set(FLOORS) == set(rows)


@pytest.mark.parametrize("kind", FLOORS)
def test_kind(kind: str, verdicts: Mapping[str, list[bool]]) -> None:
    hold("independent rows", kind, verdicts[kind], FLOORS[kind])
