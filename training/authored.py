"""Authored examples: written by us for what no licensed set has, and marked synthetic wherever they are counted.

`authored/*.yaml` holds families: `labels` (1 for every row of the family), `unknown` (left out) and everything else 0;
`lines`, each a row; `templates` with `slots`, of which at most `limit` combinations are taken.
"""

import itertools
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from training.labels import Row
from worker.classifier import LABELS
from worker.normalise import normalise

FOLDER: Final = Path(__file__).with_name("authored")
SOURCE: Final = "authored"
_SLOT: Final = re.compile(r"\{(\w+)\}")


def read_authored(folder: Path = FOLDER, seed: int = 0) -> list[Row]:
    """Expand every family. A quarter of a family's lines measures; its templates, whose rows resemble each other, teach.

    Raises:
        ValueError: a family names a label or a slot that there is not.
    """
    rows = []
    for path in sorted(folder.glob("*.yaml")):
        for family in yaml.safe_load(path.read_text(encoding="utf-8")):
            name = f"{path.stem}/{family['id']}"
            rows += list(_expand(name, family, random.Random(f"{seed}{name}")))  # noqa: S311 - reproducible, not secret
    return rows


def _expand(name: str, family: Mapping[str, Any], rng: random.Random) -> Iterator[Row]:
    positive, unknown = set(family["labels"]), set(family.get("unknown", ()))
    if strange := (positive | unknown) - set(LABELS):
        raise ValueError(f"{name}: no such label: {', '.join(sorted(strange))}")
    targets = {label: float(label in positive) for label in LABELS if label not in unknown}
    lines = [str(line) for line in family["lines"]]
    held_back = set(rng.sample(lines, len(lines) // 4))
    for line in lines:
        yield Row(normalise(line), targets, SOURCE, "dev" if line in held_back else "train")
    for template in family.get("templates", ()):
        text, slots = template["text"], family["slots"]
        names = _SLOT.findall(text)
        if absent := set(names) - set(slots):
            raise ValueError(f"{name}: no such slot: {', '.join(sorted(absent))}")
        combinations = list(itertools.product(*(slots[n] for n in names)))
        for chosen in rng.sample(combinations, min(template["limit"], len(combinations))):
            values = dict(zip(names, chosen, strict=True))
            yield Row(normalise(text.format(**values)), targets, SOURCE, "train")
