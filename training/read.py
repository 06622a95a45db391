"""Reading: each published set, as its publisher hands it out → rows.

One function a set, because each set means something else by its labels; what a set does not annotate stays unknown. The
first step of the flow; `READERS` names them all, and README.md says where each set comes from.
"""

import ast
import csv
import html
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Final

from training.labels import SPAN_LABELS, SPANS_TRIAL, Row, Split
from training.vocabulary import MAY_BE, RUDE
from worker.normalise import fold, normalise, normalise_mapped

csv.field_size_limit(1 << 24)

# Annotators slip: what they call negative is so in about this share of cases at most, and targets of exactly 0 would make
# the model as good as certain.
_NO: Final = 0.03
_TOXIC: Final = 0.7
_CIVIL: Final = 0.1
_HARMLESS: Final = {"toxicity": 0.05, "severe_toxicity": 0.0, "insult": 0.03, "profanity": 0.02}
_KIND: Final = frozenset({"admiration", "caring", "gratitude", "love"})
_PLEASED: Final = frozenset({"approval", "optimism", "joy", "excitement", "relief", "pride"})
_CROSS: Final = frozenset({"anger", "annoyance", "disgust", "disapproval", "disappointment"})

_SPAN_TYPES: Final = {
    "Insult": "insult",
    "Profane/Obscene": "profanity",
    "Identity based Attack": "identity_attack",
    "Threat": "threat",
}

Read = Callable[[Path], Iterator[Row]]


def row(
    source: str,
    text: str,
    targets: Mapping[str, float],
    *,
    assumed: Mapping[str, float] | None = None,
    split: str | None = None,
    group: str | None = None,
) -> Row:
    """Make a row: the text as the worker would see it, what its set says, and what follows from that.

    What follows: the toxic are not kind (kindness is what makes people stay, toxicity what makes them leave); what is not
    toxic is not severely so; and a text without a single word of a rare label's vocabulary is a negative for that label.
    """
    typed = html.unescape(text)
    text = normalise(typed)
    written = None if fold(typed) == text else typed
    inferred = dict(assumed or {})
    toxicity = targets.get("toxicity", inferred.get("toxicity"))
    if toxicity is not None and toxicity >= _TOXIC:
        inferred.setdefault("kindness", 0.0)
    if toxicity is not None and toxicity <= _CIVIL:
        inferred.setdefault("severe_toxicity", 0.0)
    for label, vocabularies in MAY_BE.items():
        if not all(v.search(text) for v in vocabularies):
            inferred.setdefault(label, 0.0)
    inferred = {label: target for label, target in inferred.items() if label not in targets}
    # In what nobody finds toxic there is nothing to point at.
    spans = () if toxicity is not None and toxicity <= _CIVIL and not RUDE.search(text) else None
    return Row(
        text, {**targets, **inferred}, source, _given(split), frozenset(inferred), group, spans=spans, written=written
    )


def harmless(text: str) -> Mapping[str, float]:
    """What to assume of a text that is "not hateful": harmless if it has no word that may be rude, else nothing."""
    return {} if RUDE.search(text) else _HARMLESS


def _given(split: str | None) -> Split | None:
    if split in ("dev", "val", "valid", "validation"):
        return "dev"
    if split == "test":
        return "test"
    return "train" if split == "train" else None


def _table(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def _hate(
    source: str,
    text: str,
    *,
    hateful: bool,
    sure: float = 1.0,
    more: Mapping[str, float] | None = None,
    split: str | None = None,
) -> Row:
    """A set that asks one thing, "hateful towards a group or not". Hate is toxic, so we assume; not hate may still be rude."""
    if hateful:
        targets = {"identity_attack": sure, **(more or {})}
        return row(source, text, targets, assumed={"toxicity": sure}, split=split)
    return row(source, text, {"identity_attack": _NO, **(more or {})}, assumed=harmless(text), split=split)


def dynahate(folder: Path) -> Iterator[Row]:
    """Written to fool a model, over four rounds; most come in pairs that differ by a word, so the given split stays."""
    for r in _table(folder / "train_dev.csv"):
        yield _hate("dynahate", r["text"], hateful=r["label"] == "1", split=r["split"])


def hatemoji(folder: Path) -> Iterator[Row]:
    """As dynahate, with emoji."""
    for name, split in (("train.csv", "train"), ("validation.csv", "dev")):
        for r in _table(folder / name):
            threat = {"threat": 1.0, "severe_toxicity": 0.8} if r["type"] == "threateninglanguage" else {}
            yield _hate("hatemoji", r["text"], hateful=r["label_gold"] == "1", more=threat, split=split)


def jigsaw(folder: Path) -> Iterator[Row]:
    """The only set that annotates most of our labels at once. Obscene is our profanity."""
    for r in _table(folder / "comments.csv"):
        targets = {
            "toxicity": float(r["toxic"]),
            "severe_toxicity": float(r["severe_toxic"]),
            "identity_attack": float(r["identity_hate"]),
            "insult": float(r["insult"]),
            "profanity": float(r["obscene"]),
            "threat": float(r["threat"]),
        }
        yield row("jigsaw", r["comment_text"], targets)


def jigsaw_balanced(folder: Path) -> Iterator[Row]:
    """Toxic or not. There, toxic was the umbrella: what is not toxic is none of the others either."""
    for r in _table(folder / "comments.csv"):
        toxic = r["toxic"] == "1"
        assumed = {} if toxic else {**_HARMLESS, "identity_attack": 0.0, "threat": 0.0}
        yield row("jigsaw_balanced", r["text"], {"toxicity": float(toxic)}, assumed=assumed)


def toxic_spans(folder: Path) -> Iterator[Row]:
    """Shares of annotators who called a comment toxic, and who marked what in it.

    Where the shared task published the characters that the majority marked, those are the spans; its trial part measures.
    """
    marked: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for r in _table(folder / "spans.csv"):
        if r["type"] in _SPAN_TYPES or r["type"] == "Other Toxicity":
            marked[r["annotation"]].append((_SPAN_TYPES.get(r["type"], "toxicity"), int(r["start"]), int(r["end"])))
    toxic: dict[str, list[bool]] = defaultdict(list)
    votes: dict[str, list[list[tuple[str, int, int]]]] = defaultdict(list)
    for r in _table(folder / "annotations.csv"):
        comment, spans = r["comment_id"], marked.get(r["annotation"], [])
        toxic[comment].append(r["not toxic"] == "False")
        # "All toxic" without a span says nothing about the type or the place.
        if spans or r["not toxic"] == "True":
            votes[comment].append(spans)
    task = {
        r["text"]: (split, ast.literal_eval(r["spans"]))
        for name, split in (("tsd_train.csv", "train"), ("tsd_trial.csv", "dev"))
        for r in _table(folder / name)
    }
    for r in _table(folder / "comments.csv"):
        comment, text = r["comment_id"], r["comment_text"]
        if comment not in toxic:
            continue
        targets, shares = {"toxicity": fmean(toxic[comment])}, None
        if len(votes[comment]) > 1:
            typed = [{label for label, *_ in vote} for vote in votes[comment]]
            targets |= {label: fmean(label in kinds for kinds in typed) for label in _SPAN_TYPES.values()}
            shares = _shares(len(text), votes[comment])
        split, characters = task.get(text, (None, None))
        if characters is not None:
            shares = shares or {}
            shares["toxicity"] = [0.0] * len(text)
            for at in characters:
                shares["toxicity"][at] = 1.0
        # The trial part is what others measure on: apart from our own dev rows, whose spans nobody settled.
        group = SPANS_TRIAL if split == "dev" else None
        yield _with_spans(row("toxic_spans", text, targets, split=split, group=group), text, shares)


def _shares(length: int, votes: Sequence[Sequence[tuple[str, int, int]]]) -> dict[str, list[float]]:
    """Per label and character, the share of annotators who marked it; any mark counts as toxic."""
    shares = {label: [0.0] * length for label in SPAN_LABELS}
    for vote in votes:
        for label in SPAN_LABELS:
            mine = {
                at for said, start, end in vote if label in (said, "toxicity") for at in range(start, min(end, length))
            }
            for at in mine:
                shares[label][at] += 1 / len(votes)
    return shares


def _with_spans(r: Row, original: str, shares: Mapping[str, Sequence[float]] | None) -> Row:
    """The row with the characters' shares carried over to its normalised text, as runs of equal share."""
    normalised = normalise_mapped(original)
    # An HTML entity that was undone has moved what follows it.
    if not shares or normalised.text != r.text:
        return r
    spans = []
    for label, values in shares.items():
        per_character = []
        for at in range(len(r.text)):
            start, end = normalised.original(at, at + 1)
            per_character.append(round(max(values[start:end]), 3))
        at = 0
        for value, run in itertools.groupby(per_character):
            length = len(list(run))
            if value > 0:
                spans.append((at, at + length, label, min(1.0, value)))
            at += length
    return replace(r, spans=tuple(spans))


def paradetox(folder: Path) -> Iterator[Row]:
    """A toxic sentence and the same said civilly: what differs is all that matters. And some that cannot be rewritten."""
    for number, r in enumerate(_table(folder / "paradetox.tsv", "\t")):
        pair = f"paradetox-{number}"
        yield row("paradetox", r["toxic"] or "", {"toxicity": 0.97}, group=pair)
        for name in ("neutral1", "neutral2", "neutral3"):
            if r[name]:
                assumed = {"severe_toxicity": 0.0, "insult": 0.1, "profanity": 0.05}
                yield row("paradetox", r[name], {"toxicity": 0.08}, assumed=assumed, group=pair)
    for r in _table(folder / "paradetox_cannot_rewrite.tsv", "\t"):
        reasons = json.loads(r["OUTPUT:reasons"])
        if set(reasons) == {"toxic_content"}:
            yield row("paradetox", r["INPUT:toxic_comment"].strip('"'), {"toxicity": 0.95})
        elif set(reasons) == {"not_toxic"}:
            yield row("paradetox", r["INPUT:toxic_comment"].strip('"'), {"toxicity": 0.1})


def cad(folder: Path) -> Iterator[Row]:
    """Reddit, by experts, in context. One person's bullying is an insult; abuse of a party is toxic and no identity attack."""
    for r in _table(folder / "train_dev.csv"):
        labels = set(r["labels"].split(","))
        person, identity = "PersonDirectedAbuse" in labels, "IdentityDirectedAbuse" in labels
        abuse = person or identity or "AffiliationDirectedAbuse" in labels
        targets = {"toxicity": 0.95 if abuse else 0.04, "identity_attack": 1.0 if identity else _NO}
        if person or not abuse:
            targets["insult"] = 0.95 if person else _NO
        if "Slur" in labels:
            targets["profanity"] = 0.9
        if labels == {"CounterSpeech"}:
            targets = {"toxicity": 0.04, "identity_attack": _NO}
        yield row("cad", r["text"], targets, split=r["split"])


def hatexplain(folder: Path) -> Iterator[Row]:
    """Hate, offensive, or normal: and normal there means neither."""
    for r in _table(folder / "train_dev.csv"):
        targets: dict[str, float]
        if r["label"] == "hatespeech":
            targets = {"identity_attack": 0.97, "toxicity": 0.97}
        elif r["label"] == "offensive":
            targets = {"toxicity": 0.85}
        else:
            targets = {"identity_attack": _NO, "toxicity": 0.08, "insult": 0.08}
        yield row("hatexplain", r["text"], targets, split=r["split"])


def mhs(folder: Path) -> Iterator[Row]:
    """Measuring Hate Speech, cut in two."""
    for r in _table(folder / "binary.csv"):
        yield _hate("mhs", r["text"], hateful=r["label"] == "1", sure=0.95)


def implicit_hate(folder: Path) -> Iterator[Row]:
    """Hate said in a roundabout way. Its "threatening" intimidates more often than it threatens: half a threat."""
    for r in _table(folder / "posts.csv"):
        hateful = r["label"] != "not_hate"
        more = {"threat": 0.5} if r["implicit_class"] == "threatening" else {}
        sure = 0.95 if r["label"] == "explicit_hate" else 0.85
        yield _hate("implicit_hate", r["text"], hateful=hateful, sure=sure, more=more)


def stormfront(folder: Path) -> Iterator[Row]:
    """Single sentences of a hateful forum; most are harmless out of context."""
    for r in _table(folder / "sentences.csv"):
        yield _hate("stormfront", r["text"], hateful=r["label"] == "hate", sure=0.95)


def davidson(folder: Path) -> Iterator[Row]:
    """Collected by swear word, and annotators followed the word: "offensive" is a weak label."""
    by_class = {
        "0": {"identity_attack": 0.8, "toxicity": 0.95},
        "1": {"toxicity": 0.6, "profanity": 0.8},
        "2": {"identity_attack": _NO, "toxicity": 0.06, "insult": 0.05},
    }
    for r in _table(folder / "labeled_data.csv"):
        yield row("davidson", r["tweet"], by_class[r["class"]])


def _sexist(source: str, text: str, *, sexist: bool, more: Mapping[str, float], split: str | None = None) -> Row:
    """A set that asks about women alone: sexism is hate towards a group, and what is none may still be hate towards another."""
    if sexist:
        return _hate(source, text, hateful=True, sure=0.9, more=more, split=split)
    assumed = harmless(text)
    return row(source, text, more, assumed=assumed and {**assumed, "identity_attack": _NO}, split=split)


def edos(folder: Path) -> Iterator[Row]:
    """Sexism, with a category; the first category threatens or calls for harm."""
    for r in _table(folder / "edos_labelled_aggregated.csv"):
        vector = r["label_vector"].partition(" ")[0]
        more: dict[str, float] = {}
        if vector == "1.1":
            more = {"threat": 1.0, "severe_toxicity": 0.7}
        elif vector == "1.2":
            more = {"threat": 0.7, "severe_toxicity": 0.6}
        elif vector == "3.1":
            more = {"profanity": 0.7}
        yield _sexist("edos", r["text"], sexist=r["label_sexist"] == "sexist", more=more, split=r["split"])


def misogyny(folder: Path) -> Iterator[Row]:
    """Misogyny on Reddit. Its publisher has no rows to validate on: ours are cut from its training rows."""
    for r in _table(folder / "final_labels.csv"):
        split = r["split"] if r["split"] == "test" else None
        if "personal_attack" in r["level_2"] and r["level_1"] == "Nonmisogynistic":
            yield row("misogyny", r["body"], {"toxicity": 0.95, "insult": 0.95}, split=split)
            continue
        more = {"threat": 0.9} if r["level_3"].startswith("Threatening_") else {}
        yield _sexist("misogyny", r["body"], sexist=r["level_1"] == "Misogynistic", more=more, split=split)


def foxnews(folder: Path) -> Iterator[Row]:
    """News comments, hateful or not."""
    with (folder / "fox-news-comments.json").open(encoding="utf-8") as file:
        for line in file:
            r = json.loads(line)
            yield _hate("foxnews", r["text"], hateful=r["label"] == 1, sure=0.9)


def context_toxicity(folder: Path) -> Iterator[Row]:
    """Talk pages at their true base rate: one toxic in a hundred."""
    for name in ("gc.csv", "gn.csv"):
        for r in _table(folder / name):
            toxic = float(r["label"])
            assumed = {} if toxic else {**_HARMLESS, "identity_attack": 0.02, "threat": 0.0}
            yield row("context_toxicity", r["text"], {"toxicity": toxic or 0.02}, assumed=assumed)


def convabuse(folder: Path) -> Iterator[Row]:
    """What users say to a chatbot, voted on by up to eight. The same words come often; their votes are put together."""
    abuse, identity = (
        ("is_abuse.-1", "is_abuse.-2", "is_abuse.-3"),
        ("homophobic", "racist", "sexist", "transphobic", "ableist"),
    )
    for name, split in (("ConvAbuseEMNLPtrain.csv", "train"), ("ConvAbuseEMNLPvalid.csv", "dev")):
        votes: dict[str, list[set[str]]] = defaultdict(list)
        for r in _table(folder / name):
            for annotator in (f"Annotator{n}_" for n in range(1, 9)):
                if r[annotator + "is_abuse.1"]:
                    said = {
                        k.removeprefix(annotator) for k, v in r.items() if k.startswith(annotator) and v.startswith("1")
                    }
                    votes[r["user"]].append(said)
        for text, voters in votes.items():
            abusive = fmean(any(a in v for a in abuse) for v in voters)
            targets = {
                "toxicity": abusive,
                "severe_toxicity": fmean("is_abuse.-3" in v for v in voters),
                "identity_attack": fmean(any(i in v for i in identity) for v in voters),
                "sexually_explicit": fmean("sex_harassment" in v for v in voters),
            }
            assumed = {"insult": 0.0} if abusive == 0 else {}
            yield row("convabuse", text, targets, assumed=assumed, split=split)


def goemotions(folder: Path) -> Iterator[Row]:
    """Kindness is admiration, caring, gratitude or love. Approval, joy and hope are pleasant and not yet kind.

    Rows that annotators found kind or neutral, and that have no rude word, are also plain comments to learn harmlessness
    from: without them the model meets ordinary chatter only as the other side of somebody's hate. Which of the 28 they named
    is kept as well: who learns to tell them apart is surer of those four.
    """
    names = (folder / "labels.txt").read_text(encoding="utf-8").split()
    for name, split in (("train.tsv", "train"), ("dev.tsv", "dev")):
        for line in (folder / name).read_text(encoding="utf-8").split("\n"):
            if not line:
                continue
            text, indices, _ = line.split("\t")
            emotions = {names[int(i)] for i in indices.split(",")}
            cross = bool(emotions & _CROSS)
            kindness = 0.25 if emotions & _PLEASED and not cross else _NO
            if emotions & _KIND:
                kindness = 0.6 if cross else 0.95
            assumed = {} if cross else {**harmless(text)}
            if assumed:
                assumed["identity_attack"] = 0.02
            found = row("goemotions", text, {"kindness": kindness}, assumed=assumed, split=split)
            yield replace(found, feelings=tuple(sorted(emotions)))


def hopeedi(folder: Path) -> Iterator[Row]:
    """Hope speech: encouragement, inclusion. Close to kindness, not the same, so a soft target."""
    for name, split in (("english_train.csv", "train"), ("english_dev.csv", "dev")):
        for line in (folder / name).read_text(encoding="utf-8").split("\n"):
            text, _, label = line.rstrip(";\r").rpartition(";")
            if label in ("Hope_speech", "Non_hope_speech"):
                kindness = 0.7 if label == "Hope_speech" else 0.12
                yield row("hopeedi", text, {}, assumed={"kindness": kindness}, split=split)


READERS: Final[Mapping[str, Read]] = {
    read.__name__: read
    for read in (
        dynahate,
        hatemoji,
        jigsaw,
        jigsaw_balanced,
        toxic_spans,
        paradetox,
        cad,
        hatexplain,
        mhs,
        implicit_hate,
        stormfront,
        davidson,
        edos,
        misogyny,
        foxnews,
        context_toxicity,
        convabuse,
        goemotions,
        hopeedi,
    )
}


def read_all(data: Path, readers: Iterable[str] = tuple(READERS)) -> list[Row]:
    """Read every set below `data`; empty texts are left out, and what its publisher keeps to test with.

    Raises:
        FileNotFoundError: a set is not where README.md says.
    """
    return [r for name in readers for r in READERS[name](data / name) if r.text and r.split != "test"]
