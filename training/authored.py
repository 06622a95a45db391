"""Authored examples: written by us for what no licensed set has, and marked synthetic wherever they are counted.

`authored/*.yaml` holds families, one behaviour each: `labels` (1 for every row of the family, or a map from label to target),
`unknown` (left out) and everything else 0; `lines`, each a row; `templates` with `slots`, of which at most `limit`
combinations are taken. Slots that many families need stand in `authored/slots.yaml`; a family's own come first.

A quarter of a family's lines and a quarter of its templates, whole, are held back: they measure and are never trained on.
Lines that are written once it is known how those came out stand under `teaches`: none of them is held back, so that what
measures stays what it was. They have a source of their own, and with it a quota of their own in an epoch.
"""

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from training.labels import SPAN_LABELS, Row, Split
from worker.classifier import LABELS
from worker.normalise import normalise

FOLDER: Final = Path(__file__).with_name("authored")
SOURCE: Final = "authored"
LATER: Final = "authored_later"
"""The source of what stands under `teaches`."""
HELD_BACK: Final = 4
"""One in so many lines, and one in so many templates, of a family measures."""

_SLOTS: Final = "slots.yaml"
_SLOT: Final = re.compile(r"\{(\w+)\}")


def read_authored(folder: Path = FOLDER, seed: int = 0) -> list[Row]:
    """Expand every family; `behaviour` is the family.

    Raises:
        ValueError: a family names a label or a slot that there is not, or stands twice.
    """
    shared = shared_slots(folder)
    rows: list[Row] = []
    names: set[str] = set()
    for path in sorted(folder.glob("*.yaml")):
        if path.name == _SLOTS:
            continue
        for family in yaml.safe_load(path.read_text(encoding="utf-8")):
            name = f"{path.stem}/{family['id']}"
            if name in names:
                raise ValueError(f"{name}: stands twice")
            names.add(name)
            slots = {**shared, **family.get("slots", {})}
            rows += _expand(name, family, slots, random.Random(f"{seed}{name}"))  # noqa: S311 - reproducible, not secret
    return rows


def shared_slots(folder: Path = FOLDER) -> Mapping[str, Sequence[str]]:
    """The slots that every family may use."""
    path = folder / _SLOTS
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _expand(
    name: str, family: Mapping[str, Any], slots: Mapping[str, Sequence[str]], rng: random.Random
) -> Iterator[Row]:
    targets = _targets(name, family)
    # Where a family has no harm at all, there is nothing to point at; where it has, nobody marked the place.
    spans = None if any(targets.get(label, 1.0) for label in SPAN_LABELS) else ()

    def row(text: str, source: str, *, held_back: bool = False) -> Row:
        side: Split = "dev" if held_back else "train"
        return Row(normalise(text), targets, source, side, behaviour=name, spans=spans)

    lines = [str(line) for line in family.get("lines", ())]
    measuring_lines = set(rng.sample(lines, len(lines) // HELD_BACK))
    for line in lines:
        yield row(line, SOURCE, held_back=line in measuring_lines)
    templates = family.get("templates", ())
    measuring = set(rng.sample(range(len(templates)), len(templates) // HELD_BACK))
    for number, template in enumerate(templates):
        for text in _fill(name, str(template["text"]), int(template["limit"]), slots, rng):
            yield row(text, SOURCE, held_back=number in measuring)
    for line in family.get("teaches", ()):
        yield row(str(line), LATER)


def _targets(name: str, family: Mapping[str, Any]) -> dict[str, float]:
    given, unknown = family["labels"], set(family.get("unknown", ()))
    positive = dict(given) if isinstance(given, dict) else dict.fromkeys(given, 1.0)
    if strange := (set(positive) | unknown) - set(LABELS):
        raise ValueError(f"{name}: no such label: {', '.join(sorted(strange))}")
    return {label: float(positive.get(label, 0.0)) for label in LABELS if label not in unknown}


def _fill(name: str, text: str, limit: int, slots: Mapping[str, Sequence[str]], rng: random.Random) -> Iterator[str]:
    """At most `limit` different fillings of a template, drawn evenly."""
    names = list(dict.fromkeys(_SLOT.findall(text)))
    if absent := set(names) - set(slots):
        raise ValueError(f"{name}: no such slot: {', '.join(sorted(absent))}")
    sizes = [len(slots[n]) for n in names]
    total = math.prod(sizes)
    # Drawn by number: the product of five slots is too long to list.
    for number in rng.sample(range(total), min(limit, total)):
        filled, rest = text, number
        for n, size in zip(names, sizes, strict=True):
            rest, at = divmod(rest, size)
            filled = filled.replace(f"{{{n}}}", str(slots[n][at]))
        yield filled
