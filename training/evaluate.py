"""Evaluating: the exported file, as the worker will load it, on rows that it never saw → thresholds and figures.

Half of the dev rows chose the calibration, the thresholds and the operating points; every figure comes from the other half.
Everything is measured on model.onnx itself, through the worker's own classifier, never on the float weights.
"""

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from training.augment import obfuscate
from training.authored import FOLDER as AUTHORED_FOLDER
from training.authored import SOURCE as AUTHORED
from training.authored import shared_slots
from training.labels import NO_AT_MOST, SPAN_LABELS, YES_FROM, Row
from training.spans import best_threshold, character_f1
from training.split import halves
from worker.classifier import HARM_LABELS, LABELS, Found
from worker.cli_scoring import NO_POLICY, scored, tell_nothing
from worker.evaluation import HARM_ANY, collect, curves
from worker.evaluation import measure as measure_question
from worker.evaluation_picture import draw
from worker.evaluation_report import Method, Report, Rows, Thresholds
from worker.metrics import Metrics
from worker.normalise import fold, normalise
from worker.onnx import SLOW_FUSIONS, OnnxClassifier
from worker.screening import Screener

FEWEST: Final = 10
"""Rows on either side that a set needs before its own figure means anything."""

PRECISIONS: Final = ("0.50", "0.70", "0.80", "0.90", "0.95")
"""What a policy can ask for: hold what is probably harm (.80, say), remove what is as good as certain (.95)."""

DECIDING: Final[Mapping[str, tuple[str, ...]]] = {
    "identity_attack": ("dynahate", "hatemoji", AUTHORED),
    "kindness": ("goemotions",),
}
"""Sets whose annotators asked the label's own question, where some did and are there; else all sets that have a label decide.

The other sets of hate cut elsewhere: sexism, or what a forum's single sentences share."""

_MISTAKES: Final = 4
"""So many rows have to be found that a precision leaves room for so many mistakes among them: of ten that happen to be right
nobody knows whether nineteen in twenty are."""

_SMOOTHED: Final = 5
"""Steps of `_GRID` over whose mean a threshold is judged: a single one may be lucky."""

_DRAWS: Final = 2_000

UNDECIDED: Final = 0.5
"""The threshold of a label that no set decides."""

PEER_THRESHOLD: Final = 0.5
PICTURE: Final = "evaluation.png"

ASSUMED_NEGATIVES: Final = frozenset({"sexually_explicit", "self_harm"})
"""Labels whose negatives are texts without a single word of that vocabulary: no set annotates enough of them."""

_COSTLY: Final = frozenset(HARM_LABELS) - {"profanity"} - ASSUMED_NEGATIVES
"""Labels of which a miss costs more than a false alarm. Of some the positives are so few that the lowest threshold that may be as
good as the best is far below it."""

THRESHOLD_LIMITS: Final = (0.05, 0.95)
_GRID: Final = np.round(np.arange(THRESHOLD_LIMITS[0], THRESHOLD_LIMITS[1] + 0.001, 0.01), 3)
_TERM_FEWEST: Final = 30
_SOUNDS_KIND: Final = ("kind/", "wrapped/")

Array = np.ndarray[Any, Any]

_BATCH: Final = 16
"""Texts in a run of a session that is none of the worker's."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One label: counts, ranking, and what its threshold finds."""

    n: int
    positives: int
    roc_auc: float
    average_precision: float
    threshold: float
    precision: float
    recall: float
    f1: float
    macro_f1: float


class Model:
    """An exported model: normalised texts → what the worker would find in them."""

    def __init__(self, folder: Path) -> None:
        self.classifier = OnnxClassifier(folder)
        self._screener = Screener(self.classifier, NO_POLICY, detect=tell_nothing, observer=Metrics(), cache_entries=0)

    def find(self, texts: Sequence[str]) -> list[Found]:
        """In the order given. Raises FatalError for a text that it cannot score."""
        found = self._screener.find(texts)
        return [scored(found[text]) for text in texts]

    def __call__(self, texts: Sequence[str]) -> Array:
        """Scores in [0, 1], float64 [texts, labels]."""
        return table(self.find(texts))


def table(found: Sequence[Found]) -> Array:
    """Scores in [0, 1], float64 [texts, labels]."""
    return np.array([[each.scores[label] for label in LABELS] for each in found])


def cells(rows: Sequence[Row], label: str) -> tuple[list[int], list[bool]]:
    """Which rows measure a label, and what the truth is there: annotated, and not a tie."""
    chosen, truth = [], []
    for i, r in enumerate(rows):
        target = r.targets.get(label)
        if target is None or NO_AT_MOST < target < YES_FROM:
            continue
        if label in r.assumed and not (label in ASSUMED_NEGATIVES and target == 0):
            continue
        chosen.append(i)
        truth.append(target >= YES_FROM)
    return chosen, truth


def f1(truth: Array, found: Array) -> float:
    """Of the rows that are True; 0 where there are none."""
    right = float((truth & found).sum())
    return 2 * right / max(1.0, float(truth.sum() + found.sum()))


def macro_f1(truth: Array, found: Array) -> float:
    return (f1(truth, found) + f1(~truth, ~found)) / 2


def operating_threshold(rows: Sequence[Row], scores: Array, label: str) -> float | None:
    """A threshold whose macro-F1 is as good as the best, as far as so many rows can tell.

    The lowest of those for harm, since what is missed costs more than what is looked at in vain; the middle one for kindness, for
    swear words, which may be aimed at nobody, and where so few rows tell that the lowest is far from the best.
    Sets whose annotators asked the label's own question count by their rows on the rarer side, which is how surely they can tell;
    where others decide, each is an opinion, and counts the same. None where no set has `FEWEST` rows on both sides.
    """
    chosen, truth = cells(rows, label)
    by_set: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for i, positive in zip(chosen, truth, strict=True):
        by_set[rows[i].source].append((scores[i, LABELS.index(label)], positive))
    own = [source for source in DECIDING.get(label, ()) if source in by_set]
    deciding = own or list(by_set)
    sets = []
    for source, pairs in by_set.items():
        values, y = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        if source in deciding and min(y.sum(), (~y).sum()) >= FEWEST:
            sets.append((values, y))
    if not sets:
        return None
    curves = np.array([[macro_f1(y, values >= t) for t in _GRID] for values, y in sets])
    weights = np.array([float(min(y.sum(), (~y).sum())) if own else 1.0 for _, y in sets])
    weights /= weights.sum()
    mean = _smoothed(weights @ curves)
    best = _GRID[mean.argmax()]
    error = np.linalg.norm(
        [weight * _error(y, values >= best) for weight, (values, y) in zip(weights, sets, strict=True)]
    )
    as_good = np.flatnonzero(mean >= mean.max() - error / 2)
    return float(_GRID[as_good[0 if label in _COSTLY else len(as_good) // 2]])


def _error(truth: Array, found: Array) -> float:
    """The standard error of a macro-F1: how far it moves when as many rows are drawn from these anew."""
    right, missed, alarms = (float(cell.sum()) for cell in (truth & found, truth & ~found, ~truth & found))
    shares = np.array([right, missed, alarms, len(truth) - right - missed - alarms]) / len(truth)
    drawn = np.random.default_rng(0).multinomial(len(truth), shares, _DRAWS).astype(float)
    right_, missed_, alarms_, passed_ = drawn.T
    both = [2 * kept / np.maximum(1, 2 * kept + missed_ + alarms_) for kept in (right_, passed_)]
    return float(np.std(np.mean(both, axis=0)))


def _smoothed(curve: Array) -> Array:
    return np.convolve(np.pad(curve, _SMOOTHED // 2, "edge"), np.full(_SMOOTHED, 1 / _SMOOTHED), "valid")


def operating_points(rows: Sequence[Row], scores: Array, label: str) -> dict[str, float | None]:
    """Per wanted precision the score from which it is reached; None where it never is, by enough rows to tell."""
    chosen, truth = cells(rows, label)
    if not any(truth):
        return dict.fromkeys(PRECISIONS)
    values = scores[chosen, LABELS.index(label)]
    precision, _, thresholds = precision_recall_curve(truth, values)
    found = len(values) - np.searchsorted(np.sort(values), thresholds)
    points: dict[str, float | None] = {}
    first = 0
    for wanted in PRECISIONS:
        enough = found >= max(FEWEST, _MISTAKES / (1 - float(wanted)))
        # From there on up, not just there: a lucky row in the middle promises nothing.
        short = np.flatnonzero((precision[:-1] < float(wanted)) & enough)
        first = max(first, short[-1] + 1 if len(short) else 0)
        points[wanted] = round(float(thresholds[first]), 3) if first < len(thresholds) and enough[first] else None
    return points


def reached(
    rows: Sequence[Row], scores: Array, points: Mapping[str, Mapping[str, float | None]]
) -> dict[str, dict[str, tuple[int, float] | None]]:
    """Per label and wanted precision: how many rows its point finds, and the precision among them; None where it finds none."""
    figures: dict[str, dict[str, tuple[int, float] | None]] = {}
    for label, of in points.items():
        chosen, truth = cells(rows, label)
        values, y = scores[chosen, LABELS.index(label)], np.array(truth, bool)
        right = {wanted: y[values >= at] for wanted, at in of.items() if at is not None}
        figures[label] = {
            wanted: (len(right[wanted]), float(right[wanted].mean())) if len(right.get(wanted, ())) else None
            for wanted in of
        }
    return figures


def measure(truth: Sequence[bool], scores: Array, threshold: float) -> Figures:
    """Figures of one label.

    Raises:
        ValueError: there are no positives, or nothing else.
    """
    y = np.asarray(truth)
    if not 0 < y.sum() < len(y):
        raise ValueError("needs positives and negatives")
    found = scores >= threshold
    right = float((found & y).sum())
    return Figures(
        n=len(y),
        positives=int(y.sum()),
        roc_auc=float(roc_auc_score(y, scores)),
        average_precision=float(average_precision_score(y, scores)),
        threshold=threshold,
        precision=right / max(1, int(found.sum())),
        recall=right / int(y.sum()),
        f1=f1(y, found),
        macro_f1=macro_f1(y, found),
    )


def by_label(rows: Sequence[Row], scores: Array, thresholds: Mapping[str, float]) -> dict[str, Figures]:
    """Figures per label, over all rows that measure it; a label that cannot be measured is absent."""
    figures = {}
    for column, label in enumerate(LABELS):
        chosen, truth = cells(rows, label)
        if any(truth) and not all(truth):
            figures[label] = measure(truth, scores[chosen, column], thresholds[label])
    return figures


def is_right(r: Row, scores: Mapping[str, float], thresholds: Mapping[str, float]) -> bool:
    """Whether an authored row is judged as its author meant it: every label that is known and no tie is on the right side.

    Severe toxicity is left out: it says how bad, not whether, and its author had to guess. That something is not kind is asked
    of what sounds kind alone: elsewhere its author did not think of it.
    """
    sounds_kind = r.behaviour is not None and r.behaviour.startswith(_SOUNDS_KIND)
    for label, target in r.targets.items():
        if (
            label == "severe_toxicity"
            or NO_AT_MOST < target < YES_FROM
            or (label == "kindness" and target < YES_FROM and not sounds_kind)
        ):
            continue
        if (scores[label] >= thresholds[label]) != (target >= YES_FROM):
            return False
    return True


def behaviours(rows: Sequence[Row], scores: Array, thresholds: Mapping[str, float]) -> dict[str, tuple[int, int]]:
    """Per authored behaviour: rows judged as meant, and rows."""
    counts: dict[str, list[bool]] = defaultdict(list)
    for i, r in enumerate(rows):
        if r.behaviour is not None:
            of_row = dict(zip(LABELS, scores[i], strict=True))
            counts[r.behaviour].append(is_right(r, of_row, thresholds))
    return {name: (sum(right), len(right)) for name, right in sorted(counts.items())}


def harm_found(rows: Sequence[Row], flagged: Sequence[bool]) -> dict[str, tuple[int, int]]:
    """Per authored behaviour: rows rightly called harmful or not, and rows of which that is known.

    It is what a peer without our labels can be asked. A row is harmful if it carries any harm label, and harmless if it
    carries none and neither is any a tie.
    """
    counts: dict[str, list[bool]] = defaultdict(list)
    for r, found in zip(rows, flagged, strict=True):
        known = [target for label, target in r.targets.items() if label in HARM_LABELS]
        harmful = any(target >= YES_FROM for target in known)
        if r.behaviour is not None and (harmful or all(target <= NO_AT_MOST for target in known)):
            counts[r.behaviour].append(bool(found) == harmful)
    return {name: (sum(right), len(right)) for name, right in sorted(counts.items())}


def picture(rows: Sequence[Row], scores: Array, thresholds: Mapping[str, float], model: OnnxClassifier) -> bytes:
    """The report that `comment-screener evaluate --report` would draw of these rows: a PNG. Inferred targets do not count."""
    targets = [{label: t for label, t in r.targets.items() if label not in r.assumed} for r in rows]
    of_rows = [dict(zip(LABELS, row.tolist(), strict=True)) for row in scores]
    asked = [answers for answers in collect(targets, of_rows, thresholds) if answers.name != HARM_ANY]
    report = Report(
        file="the dev rows that chose nothing",
        model=model.model,
        rows=Rows(read=len(rows), scored=len(rows), without_label=0, bad=0),
        thresholds=Thresholds("those of the model (thresholds.json)", []),
        method=Method(),
        figures={answers.name: measure_question(answers) for answers in asked},
        not_scored=[],
        groups={},
    )
    return draw(report, {answers.name: curves(answers) for answers in asked})


def by_term(rows: Sequence[Row], scores: Array, thresholds: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """What merely naming a group does: per identity term, false positives of `identity_attack` and the AUC of `toxicity`.

    Over rows that hold the term as a word; terms with too few rows are left out.
    """
    column, toxic = LABELS.index("identity_attack"), LABELS.index("toxicity")
    attack_rows, attack = cells(rows, "identity_attack")
    toxicity_rows, toxicity = cells(rows, "toxicity")
    terms: dict[str, dict[str, float]] = {}
    for term in sorted({str(t).lower() for t in shared_slots(AUTHORED_FOLDER)["being"]}):
        word = re.compile(rf"\b{re.escape(term)}s?\b", re.IGNORECASE)
        harmless = [i for i, bad in zip(attack_rows, attack, strict=True) if not bad and word.search(rows[i].text)]
        named = [(i, bad) for i, bad in zip(toxicity_rows, toxicity, strict=True) if word.search(rows[i].text)]
        y = np.array([bad for _, bad in named], bool)
        if len(harmless) < _TERM_FEWEST or min(y.sum(), (~y).sum()) < FEWEST:
            continue
        terms[term] = {
            "n": len(harmless),
            "false_positives": float(np.mean(scores[harmless, column] >= thresholds["identity_attack"])),
            "auc": float(roc_auc_score(y, scores[[i for i, _ in named], toxic])),
        }
    return terms


def flips(scores: Array, float_scores: Array, thresholds: Mapping[str, float]) -> dict[str, float]:
    """Share of texts whose label changes sides at its threshold between int8 and float32, per label and over all."""
    at = np.array([thresholds[label] for label in LABELS])
    changed = (scores >= at) != (float_scores >= at)
    return {"all": float(changed.mean()), **{label: float(changed[:, i].mean()) for i, label in enumerate(LABELS)}}


def evaluate(
    rows: Sequence[Row],
    folder: Path,
    work: Path,
    *,
    float_scores: Callable[[Sequence[str]], Array],
    peer: Callable[[Sequence[str]], Array] | None = None,
) -> dict[str, Any]:
    """Choose thresholds on one half of the dev rows and write them to `folder`; measure on the other; figures.json in `work`.

    Args:
        rows: the dev rows.
        folder: the exported model; gets thresholds.json, operating_points.json, evaluation.png, and in config.json the span
            threshold.
        work: gets figures.json.
        float_scores: normalised texts → the float32 model's scores.
        peer: normalised texts → somebody else's score for `toxicity`, float64 [texts].
    """
    tune, held = halves(rows)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if (threshold := best_threshold(tune, folder)) is None:
        print(f"no dev row says where in the text; the span threshold stays {config['spans']['threshold']}")
    else:
        config["spans"]["threshold"] = threshold
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    model = Model(folder)
    tune_scores = model([r.text for r in tune])
    chosen = {label: operating_threshold(tune, tune_scores, label) for label in LABELS}
    for label in (label for label, threshold in chosen.items() if threshold is None):
        print(f"{label}: no set has {FEWEST} rows on both sides; its threshold is {UNDECIDED}")
    thresholds = {label: UNDECIDED if threshold is None else threshold for label, threshold in chosen.items()}
    points = {label: operating_points(tune, tune_scores, label) for label in LABELS}
    for name, content in (("thresholds.json", thresholds), ("operating_points.json", points)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    found = model.find([r.text for r in held])
    scores = table(found)
    figures = summarise(held, scores, thresholds)
    figures["spans"] = {
        "threshold": config["spans"]["threshold"],
        "character_f1": character_f1(held, [f.spans for f in found]),
        "labels": list(SPAN_LABELS),
    }
    figures["operating_points"] = points
    figures["reached"] = reached(held, scores, points)
    figures["flips"] = flips(scores, float_scores([r.text for r in held]), thresholds)
    figures["normaliser"] = undoing(held, scores, model)
    flagged = [any(of[label] >= thresholds[label] for label in HARM_LABELS) for of in (f.scores for f in found)]
    figures["harm_found"] = {"ours": harm_found(held, flagged)}
    if peer is not None:
        theirs = peer([r.text for r in held])
        figures["peer"] = compare_toxicity(held, scores, theirs)
        figures["harm_found"]["theirs"] = harm_found(held, list(theirs >= PEER_THRESHOLD))
    (folder / PICTURE).write_bytes(picture(held, scores, thresholds, model.classifier))
    (work / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def summarise(rows: Sequence[Row], scores: Array, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Figures over all rows, over those of published sets, over our own, per set, per behaviour and per identity term."""

    def part(keep: Callable[[Row], bool]) -> dict[str, Figures]:
        chosen = [i for i, r in enumerate(rows) if keep(r)]
        return by_label([rows[i] for i in chosen], scores[chosen], thresholds)

    sets = {}
    for source in sorted({r.source for r in rows}):
        measured = part(lambda r, source=source: r.source == source)  # type: ignore[misc]
        enough = {k: f for k, f in measured.items() if min(f.positives, f.n - f.positives) >= FEWEST}
        sets[source] = {
            label: {"roc_auc": f.roc_auc, "f1": f.f1, "macro_f1": f.macro_f1} for label, f in enough.items()
        }
    return {
        "all": _plain(by_label(rows, scores, thresholds)),
        "published": _plain(part(lambda r: r.source != AUTHORED)),
        "authored": _plain(part(lambda r: r.source == AUTHORED)),
        "sets": {s: f for s, f in sets.items() if f},
        "behaviours": behaviours(rows, scores, thresholds),
        "terms": by_term(rows, scores, thresholds),
    }


def undoing(rows: Sequence[Row], scores: Array, model: Callable[[Sequence[str]], Array]) -> dict[str, dict[str, float]]:
    """What undoing disguises is worth: mean ROC AUC of `toxicity` and `identity_attack` over the published sets.

    `clean` is the rows as people typed them, `disguised` the same rows disguised at random; each as the worker reads it and,
    `folded`, with disguises left in place.
    """
    published = [i for i, r in enumerate(rows) if r.source != AUTHORED]
    if not published:
        raise ValueError("no published row among the dev rows")
    kept = [rows[i] for i in published]
    rng = random.Random(0)  # noqa: S311 - reproducible, not secret
    disguised = [obfuscate(r.text, rng) for r in kept]

    def auc(of: Array) -> float:
        values = []
        for label in ("toxicity", "identity_attack"):
            chosen, truth = cells(kept, label)
            if any(truth) and not all(truth):
                values.append(float(roc_auc_score(truth, of[chosen, LABELS.index(label)])))
        return float(np.mean(values)) if values else float("nan")

    # Only what a disguise was undone in differs.
    folded = scores[published].copy()
    changed = [i for i, r in enumerate(kept) if r.written is not None]
    if changed:
        folded[changed] = model([fold(str(kept[i].written)) for i in changed])
    return {
        "clean": {"read": auc(scores[published]), "folded": auc(folded), "changed": len(changed) / len(kept)},
        "disguised": {
            "read": auc(model([normalise(text) for text in disguised])),
            "folded": auc(model([fold(text) for text in disguised])),
        },
    }


def compare_toxicity(rows: Sequence[Row], scores: Array, theirs: Array) -> dict[str, dict[str, float]]:
    """ROC AUC of `toxicity`, ours and a peer's, per set that has enough rows on both sides, and over all of them."""
    chosen, truth = cells(rows, "toxicity")
    table: dict[str, dict[str, float]] = {}
    sources = {rows[i].source for i in chosen}
    for source in ["all", *sorted(sources)]:
        mine = [(i, y) for i, y in zip(chosen, truth, strict=True) if source in ("all", rows[i].source)]
        y = np.array([positive for _, positive in mine])
        at = [i for i, _ in mine]
        if min(y.sum(), (~y).sum()) >= FEWEST:
            ours = scores[at, LABELS.index("toxicity")]
            table[source] = {"ours": float(roc_auc_score(y, ours)), "theirs": float(roc_auc_score(y, theirs[at]))}
    return table


def _plain(figures: Mapping[str, Figures]) -> dict[str, Any]:
    return {label: asdict(f) for label, f in figures.items()}


# ---- the bare graph, for comparing ways to export


def open_session(model: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOW_FUSIONS
    )


def score(session: Any, tokens: Sequence[Sequence[int]]) -> Array:
    """Token ids → scores, in the order given; sorted by length inside, so that little is padded."""
    scores = np.zeros((len(tokens), len(LABELS)))
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        scores[chosen] = sigmoid(logits(session, [tokens[i] for i in chosen]))
    return scores


def pad(tokens: Sequence[Sequence[int]], width: int = 0) -> tuple[Array, Array]:
    """Token ids → input_ids, attention_mask: int64 [batch, longest], or wider."""
    width = max([width, *map(len, tokens)])
    ids, mask = (np.zeros((len(tokens), width), np.int64) for _ in range(2))
    for i, t in enumerate(tokens):
        ids[i, : len(t)] = t
        mask[i, : len(t)] = 1
    return ids, mask


def logits(session: Any, tokens: Sequence[Sequence[int]], width: int = 0) -> Array:
    """One batch, padded to its longest or to `width` if that is more → float32 [batch, labels]."""
    ids, mask = pad(tokens, width)
    result: Array = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
    return result


def sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x.astype(np.float64)))
    return result


def coupling(session: Any, tokens: Sequence[Sequence[int]]) -> tuple[float, float, float]:
    """How far a text's scores move with the batch it is in: differences between alone and with others.

    Returns: largest and mean over batches of mixed length, padded; and the largest when all are padded to one width, as the
    worker does it, both alone and with others.
    """
    padded, same_width = [], []
    for start in range(0, len(tokens), _BATCH):
        together = tokens[start : start + _BATCH]
        width = max(map(len, together))
        alone = np.concatenate([sigmoid(logits(session, [t])) for t in together])
        alone_wide = np.concatenate([sigmoid(logits(session, [t], width)) for t in together])
        mixed = sigmoid(logits(session, together))
        padded.append(np.abs(alone - mixed))
        same_width.append(np.abs(alone_wide - mixed))
    all_padded = np.concatenate(padded)
    return float(all_padded.max()), float(all_padded.mean()), float(np.concatenate(same_width).max())
