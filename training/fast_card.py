"""The fast model's card: its figures beside the default model's, whose own card says all the rest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from training import VERSION
from training.pace import NATURAL, ratio
from worker.classifier import LABELS
from worker.early import FIRST_STAGE

_WORST: Final = 10

_TEXT: Final = """\
# Model card: comment-screener fast, version {version}

The [default model](../default/MODEL_CARD.md), cut in two behind layer {layer} of its six. A small head there (`{first_stage}`,
{first} MB with the layers below it) guesses what the whole model would say. A comment that is surely harmless to it leaves
with the head's scores and no spans; all others go on, and get the default model's scores and spans, to the last digit. Whether
one leaves does not depend on its batch.

Its weights are under Apache-2.0 too. For whom and what for, what it was taught on, under which licences, and its limits: as the
default model's card says. Three more limits:

- Of the comments in which the default model finds harm, it misses **{missed_share:.2%}** ({missed} of {harmful}) in the dev rows
  that chose nothing, which are rich in harm that does not show; among those of sets with natural base rates {natural_missed} of
  {natural_harmful}. Of {acted:,} about which the default policy would do something where children read, it lets {let_through}
  through. Cutoffs for `threat` and `self_harm` are such that of the rows that chose them none leaves from the score on at which
  the default model is right in 70 of 100 cases, far below where they count as found. Of the other rows with such a score there
  left {signs}.
- What leaves has scores of the head's, which are the coarser ones: they serve to say that nothing is there,
  hardly to rank harmless comments by or to take their mean.
- It gains nothing where most comments are harmful, and loses a little there.

## Speed

{median:.2f} times as many comments a second as the default model ({least:.2f} to {most:.2f} in five rounds, in turns): tokenised
and scored on one thread, the dev rows of {natural} (`python -m training pace`).

## When a comment leaves

When each harm score of the head's is below its cutoff, and its kindness is below {kind_below} or not below {kind_from}.
Chosen on the half of the dev rows that also chose the thresholds, so that none of them leaves about which the default policy
would do something (`training/cutoffs.py`).

| label | leaves below |
|---|--:|
{cutoffs}

Who left, of the other half:

| set | rows | left | harm found by the default model | of those, left |
|---|--:|--:|--:|--:|
{left}

## Figures

On the half of the dev rows that chose nothing, at the default model's thresholds. The lines that lose most; where few rows are
on the rarer side, a single one makes a point:

| line | rows on its rarer side | points lost |
|---|--:|--:|
{worst}

ROC AUC · macro-F1 in percent, default → fast:

| label | all rows | without the authored rows | authored rows |
|---|--:|--:|--:|
{labels}

| set, label | ROC AUC · macro-F1 |
|---|--:|
{sets}

Held-back authored comments judged as meant: {behaviours_default:.1f} → {behaviours_fast:.1f} %. Character F1 of the spans:
{spans_default:.3f} → {spans_fast:.3f}.
"""


def card(figures: Mapping[str, Any], folder: Path) -> None:
    """Write MODEL_CARD.md beside the model in `folder`."""
    left, rule = figures["left"], figures["rule"]
    before, after = figures["default"], figures["fast"]
    natural = [left[source] for source in NATURAL if source in left]
    median, least, most = ratio(figures["pace"], "fast", "default")
    text = _TEXT.format(
        version=VERSION,
        layer=figures["layer"],
        first=round((folder / FIRST_STAGE).stat().st_size / 1e6, 1),
        first_stage=FIRST_STAGE,
        missed=left["all"]["missed"],
        signs=" and ".join(f"{of['missed']} of {of['harmful']} (`{label}`)" for label, of in figures["signs"].items()),
        harmful=left["all"]["harmful"],
        missed_share=left["all"]["missed"] / max(1, left["all"]["harmful"]),
        natural_missed=sum(of["missed"] for of in natural),
        natural_harmful=sum(of["harmful"] for of in natural),
        **figures["policy"],
        median=median,
        least=least,
        most=most,
        natural=", ".join(NATURAL[:-1]) + " and " + NATURAL[-1],
        kind_below=rule["kind_below"],
        kind_from=rule["kind_from"],
        cutoffs="\n".join(f"| {label} | {cutoff} |" for label, cutoff in rule["cutoffs"].items()),
        left="\n".join(_leavers(source, of) for source, of in left.items()),
        worst="\n".join(f"| {name} | {rarer:,} | {points:.2f} |" for points, name, rarer in figures["lost"][:_WORST]),
        labels=label_table(before, after),
        sets=set_table(before["sets"], after["sets"]),
        behaviours_default=_as_meant(before),
        behaviours_fast=_as_meant(after),
        spans_default=before["spans"]["f1"],
        spans_fast=after["spans"]["f1"],
    )
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def label_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """A line per label: over all rows, the published ones, our own."""
    return "\n".join(
        f"| {label} | "
        + " | ".join(
            _change(before[part][label], after[part][label]) if label in before[part] else ""
            for part in ("all", "published", "authored")
        )
        + " |"
        for label in LABELS
    )


def set_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """A line per set and label."""
    return "\n".join(
        f"| {source}, {label} | {_change(of, after[source][label])} |"
        for source, labels in before.items()
        for label, of in labels.items()
    )


def _change(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    return " · ".join(f"{100 * before[name]:.1f} → {100 * after[name]:.1f}" for name in ("roc_auc", "macro_f1"))


def _leavers(source: str, of: Mapping[str, int]) -> str:
    return f"| {source} | {of['n']:,} | {of['left'] / of['n']:.0%} | {of['harmful']:,} | {of['missed']} |"


def _as_meant(figures: Mapping[str, Any]) -> float:
    right, of = (sum(counts[at] for counts in figures["behaviours"].values()) for at in (0, 1))
    return float(100 * right / max(1, of))
