"""The model card: figures in, MODEL_CARD.md out. Everything that a number says in it comes from the last evaluation."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training import MAX_TOKENS, VERSION
from training.authored import SOURCE as AUTHORED
from training.labels import MEANING, Row
from training.split import AUTHORED_REPEATS
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

_TEXT: Final = """\
# Model card: comment-screener default, version {version}

What it is: nine scores for one short English comment. A six-layer MiniLM encoder (22.7 M parameters; base weights
sentence-transformers/all-MiniLM-L6-v2, Apache-2.0; {emoji} emoji and signs added to its vocabulary), the mean over
tokens, one sigmoid per label; int8 ONNX, {size:.1f} MB, CPU. Each token has its own scale: a text's scores do not depend on
the batch that it is in.

{meaning}

**For** putting comments in an order of attention: nudging, holding for a person, showing kind ones first, under a policy
that people wrote and review. **Not for** punishing somebody without a person in the loop, for private messages, for
finding out anything about the author, or as the only safeguard where a life may depend on it. A low `self_harm` or `threat`
score never means that nobody is in danger.

## Figures

On the dev split, measured on `model.onnx` itself. `threshold` has the best F1 there and stands in `thresholds.json`. Dev
rows come from the same sets as the training rows, and thresholds were chosen on them: expect less on your comments. Most
sets are rich in harm, so precision on a real platform, where one comment in fifty is harmful, is lower at the same threshold.
Where a label has fewer than a hundred positives, its threshold is a rough guess: for `self_harm` choose one by what a missed
comment costs, not by this table.

Some sets give a label only positives (profanity: Davidson's offensive tweets; threat: the threatening classes of HatemojiBuild,
EDOS and misogyny), which flatters the pooled figure; the figures per set below do not have that.

{figures}

Score from which precision on dev is at least so much, and the recall there:

{at}

The figures of `sexually_explicit` and `self_harm` count as negatives texts without a word of that vocabulary, since hardly
any set annotates them; those negatives are easy. The authored (synthetic) rows alone, {authored_dev} held-back lines, by the
same hand as those trained on, so kinder than life:

{authored}

ROC AUC per set, where it has at least ten positives:

{sets}

## Data

| set | training rows | dev rows | licence | citation |
|---|--:|--:|---|---|
{data}

**Synthetic part.** The {authored_train:,} authored rows were written by the project for what no licensed set holds: self-harm,
first-person threats, sexual harassment between adults, exclusion without bad words, everyday comments, slang, kindness.
They are in `training/authored/`, each is seen {repeats} times, and `self_harm` has practically no other positives.

Labels that a set does not annotate are unknown, not negative. Some negatives are inferred (`training/read.py` says which and
why); none of those are in the figures, save for the two labels named above. Publishers' test splits were not used.

## Limits

- English only. Other languages get scores, and they mean nothing.
- `self_harm` and much of `sexually_explicit` and `threat` learned from our own lines: they know our phrasings best.
- Comments are judged alone: no thread, no image, no idea who is talking to whom. Friendly teasing and bullying look alike.
- Annotators disagree, and the sets carry their biases: texts that merely name a group, and dialects, score higher than they
  should. Irony, allusion and new slang are missed.
- Known to go wrong in 0.1.0: "gay" as the whole comment, "you slay" and "ok boomer" score as harm; so does game talk ("I'll
  destroy you in fifa") on `toxicity`; swearing at nobody ("my fucking laptop") is toxic to it; "i know where you live" is missed.
- Made for texts up to {max_tokens} tokens; training saw 96. The worker scores longer ones in pieces.
- The thresholds and most figures depend on what annotators of Reddit, Wikipedia and Twitter found harmful, mostly adults
  about adults. How well they fit what children write is unmeasured.
- Scores are not probabilities on your platform. Set thresholds on your own labelled comments.

## Retraining

    pip install 'comment-screener[training]'
    python -m training all --data DIR

`training/README.md` says where each set comes from; `training/RESULTS.md` what was tried.
"""


def card(train: Sequence[Row], dev: Sequence[Row], figures: Mapping[str, Any], folder: Path) -> None:
    """Write MODEL_CARD.md beside the model in `folder`."""
    taught, measured = Counter(r.source for r in train), Counter(r.source for r in dev)
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    lines = [
        f"| {s.title} | {taught[name]:,} | {measured[name]:,} | {s.licence} | {s.citation} |"
        for name, s in SETS.items()
        if taught[name]
    ]
    ours = taught[AUTHORED] // AUTHORED_REPEATS
    lines.append(f"| authored (synthetic) | {ours:,} | {measured[AUTHORED]:,} | Apache-2.0 | this project |")
    text = _TEXT.format(
        version=VERSION,
        emoji=sum(not t["special"] for t in vocabulary),
        size=(folder / "model.onnx").stat().st_size / 1e6,
        meaning="\n".join(f"- `{label}`: {MEANING[label]}" for label in LABELS),
        figures=label_table(figures["all"]),
        at=precision_table(figures["all"]),
        authored=label_table(figures["authored"]),
        authored_dev=measured[AUTHORED],
        authored_train=ours,
        repeats=AUTHORED_REPEATS,
        sets=set_table(figures["sets"]),
        data="\n".join(lines),
        max_tokens=MAX_TOKENS,
    )
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def label_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    head = "| label | n | positives | ROC AUC | AP | threshold | precision | recall | F1 |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    return "\n".join(
        [
            head,
            *(
                f"| {label} | {f['n']:,} | {f['positives']:,} | {f['roc_auc']:.3f} | {f['average_precision']:.3f} | "
                f"{f['threshold']:.2f} | {f['precision']:.2f} | {f['recall']:.2f} | {f['f1']:.2f} |"
                for label, f in figures.items()
            ),
        ]
    )


def precision_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    wanted = list(next(iter(figures.values()))["at"])
    head = "| label | " + " | ".join(f"precision {w}" for w in wanted) + " |\n|---|" + "--:|" * len(wanted)
    lines = [
        f"| {label} | "
        + " | ".join(f"{at[0]:.2f} (recall {at[1]:.2f})" if at else "never" for at in f["at"].values())
        + " |"
        for label, f in figures.items()
    ]
    return "\n".join([head, *lines])


def set_table(sets: Mapping[str, Mapping[str, float]]) -> str:
    labels = [label for label in LABELS if any(label in f for f in sets.values())]
    head = "| set | " + " | ".join(labels) + " |\n|---|" + "--:|" * len(labels)
    lines = [
        f"| {name} | " + " | ".join(f"{f[label]:.3f}" if label in f else "" for label in labels) + " |"
        for name, f in sets.items()
    ]
    return "\n".join([head, *lines])
