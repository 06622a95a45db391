"""The model card: figures in, MODEL_CARD.md out. Everything that a number says in it comes from the last evaluation."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training import MAX_TOKENS, VERSION
from training.authored import LATER
from training.authored import SOURCE as AUTHORED
from training.labels import MEANING, Row
from training.recipe import (
    AGAIN,
    AVERAGE,
    AVERAGED,
    HEADS,
    INNER,
    KIND,
    LONG,
    NARROW,
    REFINED,
    REFINEMENT,
    RUNS,
    TAUGHT,
    TEACHER,
    TOLD,
    averaged,
)
from training.split import MIXES, rows_of
from training.wrapped import WRAPPED
from worker.classifier import LABELS


@dataclass(frozen=True, slots=True)
class Set:
    """What a user of the weights is owed to know of a data set."""

    title: str
    licence: str
    citation: str


_JIGSAW: Final = "Jigsaw / Conversation AI, Toxic Comment Classification Challenge, 2018"
SETS: Final[Mapping[str, Set]] = {
    "dynahate": Set("DynaHate", "CC-BY 4.0", "Vidgen et al., Learning from the Worst, ACL 2021"),
    "hatemoji": Set("HatemojiBuild", "CC-BY 4.0", "Kirk et al., Hatemoji, NAACL 2022"),
    "jigsaw": Set("Jigsaw toxic comments", "labels CC0, text CC-BY-SA 3.0", _JIGSAW),
    "jigsaw_balanced": Set("Jigsaw toxic comments, a balanced part", "labels CC0, text CC-BY-SA 3.0", _JIGSAW),
    "toxic_spans": Set(
        "Toxic Spans (Civil Comments)", "CC0", "Pavlopoulos et al., SemEval-2021 Task 5; Borkan et al., 2019"
    ),
    "paradetox": Set("ParaDetox", "CC0", "Logacheva et al., ParaDetox, ACL 2022"),
    "cad": Set("Contextual Abuse Dataset", "CC-BY 4.0", "Vidgen et al., Introducing CAD, NAACL 2021"),
    "hatexplain": Set("HateXplain", "MIT", "Mathew et al., HateXplain, AAAI 2021"),
    "mhs": Set("Measuring Hate Speech", "CC-BY 4.0", "Kennedy et al., 2020; Sachdeva et al., NLPerspectives 2022"),
    "implicit_hate": Set("Implicit Hate", "MIT", "ElSherief et al., Latent Hatred, EMNLP 2021"),
    "stormfront": Set("Hate speech from a forum", "CC-BY-SA 3.0 ES", "de Gibert et al., ALW2 2018"),
    "davidson": Set("Hate speech and offensive language", "MIT", "Davidson et al., ICWSM 2017"),
    "edos": Set("EDOS", "CC0", "Kirk et al., SemEval-2023 Task 10"),
    "misogyny": Set("Misogyny on Reddit", "MIT", "Guest et al., An Expert Annotated Dataset…, EACL 2021"),
    "foxnews": Set("Fox News comments", "MIT", "Gao and Huang, RANLP 2017"),
    "context_toxicity": Set(
        "Context toxicity", "Apache-2.0", "Pavlopoulos et al., Does Context Really Matter?, ACL 2020"
    ),
    "convabuse": Set("ConvAbuse", "CC-BY 4.0", "Cercas Curry et al., ConvAbuse, EMNLP 2021"),
    "goemotions": Set("GoEmotions", "Apache-2.0", "Demszky et al., GoEmotions, ACL 2020"),
    "hopeedi": Set("HopeEDI", "CC-BY 4.0", "Chakravarthi, HopeEDI, PEOPLES 2020"),
}

OURS: Final[Mapping[str, Set]] = {
    AUTHORED: Set("authored (synthetic)", "Apache-2.0", "this project"),
    LATER: Set("authored later (synthetic, none held back)", "Apache-2.0", "this project"),
    WRAPPED: Set("authored, between kind words (synthetic)", "Apache-2.0", "this project"),
}

_TEXT: Final = """\
# Model card: comment-screener default, version {version}

What it is: nine scores for one short English comment, and the places that the harm stands at. A MiniLM encoder of six layers,
cut down to {heads} attention heads and {inner} inner neurons a layer (17 M parameters; base weights
sentence-transformers/all-MiniLM-L6-v2, Apache-2.0; {emoji} emoji and signs added to its vocabulary); a label head over the mean
and the maximum of the tokens, a token head for the places, one pass for both; int8 ONNX, {size:.1f} MB, CPU. Each token has its
own scale: what is found in a text does not depend on its batch.

{meaning}

**For** putting comments in an order of attention: nudging, holding for a person, showing kind ones first, under a policy
that people wrote and review. **Not for** punishing somebody without a person in the loop, for private messages, for
finding out anything about the author, or as the only safeguard where a life may depend on it. A low `self_harm` or `threat`
score never means that nobody is in danger.

## Figures

Measured by `python -m training evaluate` on `model.onnx` itself, through the worker's own classifier. The dev rows were cut in
two by a hash of their text: one half chose calibration, thresholds and operating points, **the other half gave every figure
here**. Dev rows come from the same sets as the training rows, so expect less on your comments; `comment-screener evaluate` says
how much less. Rows that are made of one template may stand in both halves, which flatters labels whose rows are mostly ours:
`self_harm`, `threat`, `sexually_explicit`.
Most sets are rich in harm, so precision on a real platform, where one comment in fifty is harmful, is lower.

A comment *carries* a label from `threshold` on (`thresholds.json`). Its macro-F1, averaged over sets, is as good as the best, as
far as so many rows can tell; of those as good it is the lowest for harm: what is missed costs more than a look in vain.

{figures}

Without the authored rows:

{published}

Scores from which precision is at least so much (`operating_points.json`; the default policy holds, removes and escalates from
such scores on, by the age of the readers), on the half that chose them; in brackets the precision from there on among rows of the
other half, and how many those are. "never": not by so many rows that there is room for four mistakes among them.

{points}

`self_harm` and `sexually_explicit` count as negatives texts without a word of that vocabulary too, since hardly any set annotates
them; those negatives are easy, so their published figures are absent or flattering.

### Per set

ROC AUC, and macro-F1 at the threshold, where a set has at least ten rows on either side:

{sets}

### Against a peer

ROC AUC of `toxicity` beside that of alt-profanity-check, a linear model over words that also runs anywhere (it was trained
on the Wikipedia comments and Davidson's tweets, so those rows flatter it):

{peer}

### Behaviours

Held-back authored rows that were judged as their author meant, every known label on the right side of its threshold (but for
`severe_toxicity`, and that something is not kind is asked in the families of `kind` alone).
A quarter of each family's lines and of its templates, whole, was never trained on; but templates of a family share words and the
same hand wrote both parts, so this is kinder than life. `make test-quality` gates on it. The last two columns ask less: whether
a row is harmful at all (any harm label carried), of those rows of which that is known; alt-profanity-check at its .5.

{behaviours}

### Naming a group

Harmless rows that hold an identity term: how often `identity_attack` is carried all the same; and the ROC AUC of `toxicity`
among rows that hold it. Largest distance between two terms' AUC: {gap:.3f}.

{terms}

### Where in the text

Character F1 over the trial part of SemEval-2021 task 5 (the half not used to choose the threshold): **{span_f1:.3f}** on
{span_n} texts, pointing from {span_threshold:.2f} on.

### Undoing disguises

Mean ROC AUC of `toxicity` and `identity_attack` over the published rows, read as the worker reads them and with disguises left
in place. {changed:.1%} of the rows as people typed them are read differently.

| rows | disguises undone | left in place |
|---|--:|--:|
| as typed | {clean_read:.4f} | {clean_folded:.4f} |
| disguised at random | {disguised_read:.4f} | {disguised_folded:.4f} |

### int8

Labels on the other side of their threshold than with float32 (of a text's first 256 tokens): {flips:.2%} of all (row, label)
pairs; the most for one label {flips_most}.{reopened}

### Calibration

A slope and a shift per label, fitted on half of the dev rows and folded into the head. On the other half:

![Reliability, precision against recall, and confusion for each label](evaluation.png)

## Data

| set | training rows | seen in all | dev rows | licence | citation |
|---|--:|--:|--:|---|---|
{data}

**Licence of the weights**: Apache-2.0, like the code. Three of the sets have texts under CC-BY-SA. No text of theirs is in the
model's files, so this project takes the weights not to be bound by it. Whether weights are is not settled everywhere: who hands
them on should judge for themselves.

A wide model came first, of twelve heads and 1,536 neurons a layer. Its weights are a mean (`training/recipe.py`): {refined}.
The first of these is a mean itself: {average}.
The others went on from it for {again:,} rows in all, with its view of the published ones as a teacher. What the wide one can do
without most easily was cut off, and the rest fitted to make up for it (`training/narrow.py`); that learned from {narrow:,} rows
to do what the wide one does, layer by layer, and from our own what they are labelled. In the last of three such runs what
annotators said counted a fifth, and what is narrower is the mean of its beginning (two fifths) and its end.{begun}
A larger encoder (bge-small-en-v1.5, of 12 layers, MIT) learned {teacher:,} rows once, and the mean of what it and the wide one
say taught the narrow model, with {taught:,} rows more. In the last two of these runs harm between kind words and in nonsense
(`training/wrapped.py`) was among the rows; in the first of the two annotators alone told what is kind, and in the other the
wide model and the larger one as well, each after {kind:,} rows of GoEmotions, whose 28 feelings it learned to tell apart.
What is shipped: {told}.
{augmented:.0%} of the rows that the long run sees are disguised anew each time (`training/augment.py`) and pass through the
worker's normaliser again. The token head is fitted anew in the end, and on a mean's encoder what says `kindness` as well
(`training/refit.py`).

**Synthetic part.** {authored_train:,} authored rows (and {authored_dev:,} held back) were written for this project, with a
model's help, for what no licensed set holds: self-harm, threats, sexual talk between adults, exclusion without bad
words, banter, slang, negated and quoted hate, identity terms in plain sentences, kindness. They are in `training/authored/`.
{later:,} more were written once it was known which behaviours the model was bad at: they only teach, so what measures is what it
was, and that somebody had looked at it flatters the behaviours that they are about.
`self_harm` has practically no other positives.

**What a set does not say is unknown**, never negative: each row has a mask. Shares of annotators are soft targets. Some
negatives are inferred (`training/read.py` says which and why) and measure nothing.

- *Imbalance*: sets keep their own rate of positives, so that a score keeps its meaning; thresholds are chosen per label.
- *Weak labels*: Davidson's "offensive" followed swear words and is a soft .6 toxicity; hope speech is a cousin of kindness, a
  soft .7; both get little room.
- *Rare labels* (`threat`, `self_harm`, `sexually_explicit`): authored positives, and as negatives only texts without a single
  word of that vocabulary (`training/vocabulary.py`), so that they do not fire at everything they never saw.

Publishers' test splits were not used, nor were the texts or templates of published functional tests.

## Limits

- English only. The worker detects other languages and says so; their scores mean little.
- `self_harm`, and much of `sexually_explicit` and `threat`, learned from our own lines: they know our phrasings best.
- Comments are judged alone: no thread, no image, no idea who is talking to whom. Friendly teasing and bullying look alike.
- Annotators disagree, and the sets carry their biases: texts that merely name a group, and dialects, score higher than they
  should; the table above says how much. Irony, allusion and new slang are missed.
{wrong}
- Made for texts up to {max_tokens} tokens; training saw {train_tokens}. The worker scores longer ones in pieces.
- The thresholds and most figures depend on what annotators of Reddit, Wikipedia and Twitter found harmful, mostly adults
  about adults. How well they fit what children write is unmeasured.
- Scores are not probabilities on your platform. Set thresholds on your own labelled comments.

## Retraining

    pip install -e '.[training]'                 # from a checkout
    python -m training all --data DIR

`training/README.md` says where each set comes from and how to add your own; `training/RESULTS.md` what was tried.
"""

WRONG: Final = Path(__file__).with_name("known_wrong.md")
"""What was seen to go wrong when the model was tried by hand: list items for the card's limits."""


_REOPENED: Final = (
    " The weights are those of version {version}, read back from its int8 file and exported as another graph:\n"
    "what they lost when they became integers is not in this."
)
_BEGUN: Final = " {what} was read back from the\nint8 file of version {version}, for want of the float weights."

_CALLED: Final = {AVERAGED: "The first of these", REFINED: "The wide one"}


def card(
    train: Sequence[Row],
    dev: Sequence[Row],
    figures: Mapping[str, Any],
    folder: Path,
    reopened: tuple[str, str] | None = None,
) -> None:
    """Write MODEL_CARD.md beside the model in `folder`.

    Args:
        train: what taught.
        dev: what measured.
        figures: what `evaluate` found.
        folder: the model's.
        reopened: an earlier version, and for which mean its int8 weights stand; for none: they are this one's.
    """
    recipe = RUNS[LONG]
    taught, measured = Counter(r.source for r in train), Counter(r.source for r in dev)
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    lines = [
        f"| {s.title} | {taught[name]:,} | {seen(name):,} | {measured[name]:,} | {s.licence} | {s.citation} |"
        for name, s in (*SETS.items(), *OURS.items())
        if taught[name]
    ]
    version, stands_for = reopened or ("", "")
    aucs = [term["auc"] for term in figures["terms"].values()]
    most = max(LABELS, key=lambda label: figures["flips"][label])
    text = _TEXT.format(
        version=VERSION,
        emoji=sum(not t["special"] for t in vocabulary),
        size=(folder / "model.onnx").stat().st_size / 1e6,
        meaning="\n".join(f"- `{label}`: {MEANING[label]}" for label in LABELS),
        figures=label_table(figures["all"]),
        published=label_table(figures["published"]),
        points=point_table(figures["operating_points"], figures["reached"]),
        sets=set_table(figures["sets"]),
        peer=peer_table(figures["peer"]),
        behaviours=behaviour_table(figures["behaviours"], figures["harm_found"]),
        terms=term_table(figures["terms"]),
        gap=max(aucs, default=0.0) - min(aucs, default=0.0),
        span_f1=figures["spans"]["character_f1"]["f1"],
        span_n=figures["spans"]["character_f1"]["n"],
        span_threshold=figures["spans"]["threshold"],
        changed=figures["normaliser"]["clean"]["changed"],
        clean_read=figures["normaliser"]["clean"]["read"],
        clean_folded=figures["normaliser"]["clean"]["folded"],
        disguised_read=figures["normaliser"]["disguised"]["read"],
        disguised_folded=figures["normaliser"]["disguised"]["folded"],
        flips=figures["flips"]["all"],
        reopened=_REOPENED.format(version=version) if version and not stands_for else "",
        begun=_BEGUN.format(version=version, what=_CALLED[stands_for]) if stands_for else "",
        flips_most=f"{figures['flips'][most]:.2%} (`{most}`)",
        data="\n".join(lines),
        heads=HEADS,
        inner=INNER,
        refined=" + ".join(_named(of, share) for of, share in REFINEMENT.items()),
        average=" + ".join(_named(of, share) for of, share in AVERAGE.items()),
        again=sum(sum(MIXES[RUNS[run].mix].values()) for run in AGAIN),
        narrow=sum(sum(MIXES[RUNS[run].mix].values()) for run in NARROW),
        teacher=sum(MIXES[RUNS[TEACHER].mix].values()),
        taught=sum(sum(MIXES[RUNS[run].mix].values()) for run in TAUGHT),
        kind=sum(MIXES[RUNS[KIND[0]].mix].values()),
        told=" + ".join(_named(of, share) for of, share in TOLD.items()),
        later=taught[LATER],
        augmented=recipe.augmented,
        authored_train=taught[AUTHORED],
        authored_dev=measured[AUTHORED],
        wrong=WRONG.read_text(encoding="utf-8").strip(),
        max_tokens=MAX_TOKENS,
        train_tokens=recipe.max_tokens,
    )
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def seen(source: str) -> int:
    """Rows of a set that the runs behind the model saw, each time counted."""
    return sum(
        rows_of(source, MIXES[recipe.mix], last=recipe.is_last(epoch))
        for recipe in (RUNS[run] for run in (*averaged(), *AGAIN, *NARROW, TEACHER, *KIND, *TAUGHT))
        for epoch in range(recipe.epochs)
    )


def _named(of: tuple[str, int | None], share: float) -> str:
    run, step = of
    return f"{share:.1%} {run}" + (f" at step {step:,}" if step else "")


def label_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    head = (
        "| label | n | positives | ROC AUC | AP | threshold | precision | recall | F1 | macro-F1 |\n"
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    lines = [
        f"| {label} | {f['n']:,} | {f['positives']:,} | {f['roc_auc']:.3f} | {f['average_precision']:.3f} | "
        f"{f['threshold']:.2f} | {f['precision']:.2f} | {f['recall']:.2f} | {f['f1']:.2f} | {f['macro_f1']:.2f} |"
        for label, f in figures.items()
    ]
    return "\n".join([head, *lines])


def point_table(
    points: Mapping[str, Mapping[str, float | None]], reached: Mapping[str, Mapping[str, Sequence[float] | None]]
) -> str:
    """Each point, and behind it the precision that the other half has there, and among how many rows."""
    wanted = list(next(iter(points.values())))
    head = "| label | " + " | ".join(f"precision {w}" for w in wanted) + " |\n|---|" + "--:|" * len(wanted)

    def cell(at: float | None, there: Sequence[float] | None) -> str:
        if at is None:
            return "never"
        return f"{at:.3f}" if there is None else f"{at:.3f} ({there[1]:.2f} of {there[0]:,})"

    lines = [
        f"| {label} | " + " | ".join(cell(at, reached[label][w]) for w, at in of.items()) + " |"
        for label, of in points.items()
    ]
    return "\n".join([head, *lines])


def set_table(sets: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    labels = [label for label in LABELS if any(label in f for f in sets.values())]
    head = "| set | " + " | ".join(labels) + " |\n|---|" + "--:|" * len(labels)
    lines = [
        f"| {name} | "
        + " | ".join(
            f"{f[label]['roc_auc']:.3f} · {f[label]['macro_f1']:.2f}" if label in f else "" for label in labels
        )
        + " |"
        for name, f in sets.items()
    ]
    return "\n".join([head, *lines])


def peer_table(peer: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"| {name} | {of['ours']:.3f} | {of['theirs']:.3f} |" for name, of in peer.items()]
    return "\n".join(["| set | this model | alt-profanity-check |\n|---|--:|--:|", *lines])


def behaviour_table(behaviours: Mapping[str, Sequence[int]], harm: Mapping[str, Mapping[str, Sequence[int]]]) -> str:
    lines = [
        f"| {name} | {of} | {right / of:.0%} | {_share(harm['ours'].get(name))} | {_share(harm['theirs'].get(name))} |"
        for name, (right, of) in behaviours.items()
    ]
    right, of = _sum(behaviours) if behaviours else (0, 1)
    ours, theirs = _sum(harm["ours"]), _sum(harm["theirs"])
    head = "| behaviour | rows | as meant | harmful or not | alt-profanity-check |\n|---|--:|--:|--:|--:|"
    return "\n".join([head, *lines, f"| **all** | {of} | {right / of:.0%} | {_share(ours)} | {_share(theirs)} |"])


def _sum(counts: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    return sum(right for right, _ in counts.values()), sum(of for _, of in counts.values())


def _share(counts: Sequence[int] | None) -> str:
    return "" if counts is None else f"{counts[0] / counts[1]:.0%}"


def term_table(terms: Mapping[str, Mapping[str, float]]) -> str:
    lines = [
        f"| {name} | {int(of['n'])} | {of['false_positives']:.1%} | {of['auc']:.3f} |" for name, of in terms.items()
    ]
    return "\n".join(["| term | harmless rows | carried all the same | AUC of toxicity |\n|---|--:|--:|--:|", *lines])
