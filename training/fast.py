"""The fast model: the default one, cut in two behind a layer, with a head there that lets harmless comments leave.

Teach the head → cut the graph → choose when to leave → measure beside the default model → a card. Nothing of the default model
is trained again: what stays is scored as it would score it.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx

from training import cutoffs
from training.evaluate import Array, Model, summarise, table
from training.first_head import look, teach, texts_to_teach
from training.labels import Row
from training.lines import lines, lost
from training.pace import natural, pace
from training.spans import character_f1
from training.split import halves
from training.stages import Head, first_stage, rest
from worker.classifier import HARM_LABELS, LABELS, Found
from worker.cli_scoring import read_thresholds
from worker.early import FIRST_STAGE, Leaving
from worker.operating_points import Points, operating_points_of
from worker.policy import Policy
from worker.policy_file import load_policy
from worker.records import Action, AgeBand

LAYER: Final = 3
"""Behind which layer comments may leave. RESULTS.md has the others."""
FOLDER: Final = "fast"
"""In the work directory: what the default model saw and said of the texts that teach."""
FIGURES: Final = "figures-fast.json"
_THRESHOLDS: Final = "thresholds.json"
_AS_THEY_ARE: Final = ("tokenizer.json", "tokenizer_config.json", _THRESHOLDS, "operating_points.json")
_ALL_LEAVE: Final = Leaving(dict.fromkeys(HARM_LABELS, 1.0))


def fast(
    teach_rows: Sequence[Row], dev: Sequence[Row], default: Path, folder: Path, work: Path, *, layer: int = LAYER
) -> dict[str, Any]:
    """Make the model in `folder` from the one in `default`; returns its figures, which are also written to `work`."""
    head = taught(texts_to_teach(teach_rows), default, work / FOLDER, layer)
    export(head, layer, default, folder)
    tune, held = halves(dev)
    settle(tune, default, folder)
    figures = measure(held, default, folder)
    figures["pace"] = pace({"default": default, "fast": folder}, [r.text for r in natural(dev)])
    figures["layer"] = layer
    (work / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def taught(texts: Sequence[str], default: Path, kept: Path, layer: int) -> Head:
    """The head behind a layer. What this model makes of these texts is asked once and kept, a quarter of an hour's work."""
    of = sha256((default / "model.onnx").read_bytes() + "\0".join(texts).encode()).hexdigest()
    kept.mkdir(parents=True, exist_ok=True)
    files = (kept / f"{of}-behind{layer}.npy", kept / f"{of}-logits.npy")
    if not all(file.is_file() for file in files):
        seen, logits = look(default, texts, [layer])
        np.save(files[0], seen[layer])
        np.save(files[1], logits)
    return teach(np.load(files[0]), np.load(files[1]))


def export(head: Head, layer: int, default: Path, folder: Path) -> None:
    """Write both stages and the files that go with them; until `settle`, everything leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = onnx.load(default / "model.onnx")
    (folder / FIRST_STAGE).write_bytes(first_stage(whole, layer, head))
    (folder / "model.onnx").write_bytes(rest(whole, layer))
    for name in _AS_THEY_ARE:
        shutil.copyfile(default / name, folder / name)
    config = json.loads((default / "config.json").read_text(encoding="utf-8"))
    config["screener"]["name"] = "fast"
    _write_rule(folder, config, _ALL_LEAVE)


def settle(tune: Sequence[Row], default: Path, folder: Path) -> None:
    """Choose when to leave, and write it to config.json."""
    texts = [r.text for r in tune]
    points = operating_points_of(str(folder))
    thresholds = read_thresholds(folder / _THRESHOLDS)
    found = Model(default).find(texts)
    policy = load_policy("default", points)
    acted = np.array([_acts(policy, of_text) for of_text in found])
    rule = cutoffs.choose(tune, Model(folder)(texts), table(found), thresholds, _signs(points), acted=acted)
    _write_rule(folder, json.loads((folder / "config.json").read_text(encoding="utf-8")), rule)


def _signs(points: Points) -> dict[str, float]:
    """Per label that a policy may send to a person, from which of the default model's scores on nothing should leave."""
    return {label: sign for label in cutoffs.NEVER if (sign := points[label][cutoffs.SIGN]) is not None}


def measure(held: Sequence[Row], default: Path, folder: Path) -> dict[str, Any]:
    """Both models on the same rows: every line's figures, who left, and what was missed."""
    texts, thresholds = [r.text for r in held], read_thresholds(folder / _THRESHOLDS)
    points = operating_points_of(str(folder))
    before, after = Model(default).find(texts), Model(folder).find(texts)
    scores, fewer = table(before), table(after)
    # What stays has the default model's scores to the last digit.
    left = (scores != fewer).any(1)
    harm = cutoffs.harmful(scores, thresholds)
    figures = {"default": summarise(held, scores, thresholds), "fast": summarise(held, fewer, thresholds)}
    for name, found in (("default", before), ("fast", after)):
        figures[name]["spans"] = character_f1(held, [f.spans for f in found])
    sources = np.array([r.source for r in held])
    of_sets = {source: sources == source for source in sorted(set(sources))}
    return {
        **figures,
        "rule": json.loads((folder / "config.json").read_text(encoding="utf-8"))["early"],
        "lost": lost(lines(held), scores, fewer, thresholds),
        "policy": _decided(before, after, points),
        "signs": {
            label: _leavers(left, scores[:, LABELS.index(label)] >= sign) for label, sign in _signs(points).items()
        },
        "left": {source: _leavers(left[rows], harm[rows]) for source, rows in {"all": left | True, **of_sets}.items()},
    }


def _decided(before: Sequence[Found], after: Sequence[Found], points: Points) -> dict[str, int]:
    """How often the default policy does something about a comment that children would read, and how often no more."""
    policy = load_policy("default", points)
    acted = [at for at, found in enumerate(before) if _acts(policy, found)]
    return {"acted": len(acted), "let_through": sum(not _acts(policy, after[at]) for at in acted)}


def _acts(policy: Policy, found: Found) -> bool:
    """Whether it does something about a comment that children would read."""
    verdict = policy.decide(found.scores, AgeBand.UNDER_13, None, language_supported=True)
    return verdict.action not in (Action.ALLOW, Action.HIGHLIGHT)


def _leavers(left: Array, harm: Array) -> dict[str, int]:
    return {"n": len(left), "left": int(left.sum()), "harmful": int(harm.sum()), "missed": int((left & harm).sum())}


def _write_rule(folder: Path, config: Mapping[str, Any], rule: Leaving) -> None:
    content = json.dumps({**config, "early": msgspec.to_builtins(rule)}, indent=2)
    (folder / "config.json").write_text(content + "\n", encoding="utf-8")
