"""Scores, a language and an audience in, an action with its reasons out.

Stands after the classifier. Pure: `worker.policy_file` reads the YAML, this decides.
"""

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from worker.classifier import HARM_LABELS, LABELS
from worker.records import UNDETERMINED_LANGUAGE, UNSUPPORTED_LANGUAGE, Action, AgeBand, PolicyVersion, ReasonGiven

VERSION: Final = "4"
"""Raised whenever the same policy may come to another action on the same scores, since decisions are named by it."""

_NOT_IN_PRAISE: Final = frozenset({"insult", "identity_attack", "threat"})
"""The labels of places that hurt somebody. What else is pointed at may be a swear word, which may stand in praise."""

_GENERAL: Final = frozenset({"toxicity", "severe_toxicity"})
"""Labels that say that something is wrong and not what."""

KNOWN_BANDS: Final = tuple(band for band in AgeBand if band is not AgeBand.UNKNOWN)
"""The bands that a policy can name, youngest first. What an unknown audience gets is derived from them."""


class Rule(Struct, frozen=True):
    """From this score on, do this. `name` says where the rule stands in the policy."""

    action: Action
    threshold: float
    name: str


Rules = Mapping[tuple[str, AgeBand], Sequence[Rule]]
"""The rules of each label for each known band."""


NEVER: Final = math.inf
"""The threshold of a rule for which the model is never sure enough. It does not fire; what it escalates for is a danger all the
same."""


class LanguageRule(Struct, frozen=True):
    """What is done with a comment for its language, whatever it scores. `name` as in `Rule`."""

    action: Action
    name: str


LanguageRules = Mapping[tuple[str, AgeBand], LanguageRule]
"""One rule for each known band: of `unsupported_language`, which the model does not know, and of `undetermined_language`, which
nobody can tell."""

LANGUAGE_DEFAULT: Final[LanguageRules] = {
    (kind, band): LanguageRule(
        Action.HOLD
        if kind == UNSUPPORTED_LANGUAGE and band in (AgeBand.UNDER_13, AgeBand.FROM_13_TO_15)
        else Action.ALLOW,
        f"{kind}.default",
    )
    for kind in (UNSUPPORTED_LANGUAGE, UNDETERMINED_LANGUAGE)
    for band in KNOWN_BANDS
}
"""What holds where a policy says nothing. What the model does not know waits for a person where children read, so that no policy
is silently safe; what cannot be told is judged by its scores, since much of it is slang."""


class Verdict(Struct, frozen=True):
    """What the policy makes of one comment's scores.

    Attributes:
        action: the strongest that any rule asks for; `escalate` where one would remove what another holds for danger, `hold`
            where it would remove what the model cannot read.
        category: the label of the first reason, be it `unsupported_language` or `undetermined_language`; None where no rule
            fired.
        severity: the highest harm score, whatever the policy made of it; None where nothing was scored.
        reasons: at most one a label, the strongest action first, then dangers, then the highest score; the one for the language
            behind the labels that ask for the same, and before those that say least.
    """

    action: Action
    category: str | None
    severity: float | None
    reasons: list[ReasonGiven]


# Label, whether it is a harm, the lowest threshold, the rules that may fire, strongest first.
_Row = tuple[str, bool, float, tuple[Rule, ...]]


class Policy:
    """A community's rules for every audience, laid out for quick decisions.

    Args:
        version: what decisions carry.
        rules: what holds where a community says nothing of its own.
        communities: all rules of each community that does, the inherited ones included.
        language: what is done with languages that the model does not know, or that cannot be told, likewise.
        community_languages: the same of each community that has its own, the inherited ones included.
        warnings: what whoever wrote it should look at again.
        resolved: the scores that its precisions stand for, a line each.
    """

    def __init__(
        self,
        version: PolicyVersion,
        rules: Rules,
        communities: Mapping[str, Rules],
        warnings: Sequence[str] = (),
        *,
        language: LanguageRules = LANGUAGE_DEFAULT,
        community_languages: Mapping[str, LanguageRules] | None = None,
        resolved: Sequence[str] = (),
    ) -> None:
        self.version = version
        self.warnings = tuple(warnings)
        self.resolved = tuple(resolved)
        self._dangers = _dangers(rules)
        self._community_dangers = {
            community_id: self._dangers | _dangers(own) for community_id, own in communities.items()
        }
        self._default = _rows_by_band(rules)
        self._communities = {community_id: _rows_by_band(own) for community_id, own in communities.items()}
        self._language = _with_unknown(language)
        self._community_languages = {
            community_id: _with_unknown(own) for community_id, own in (community_languages or {}).items()
        }

    @property
    def communities(self) -> frozenset[str]:
        """The communities with rules of their own."""
        return frozenset(self._communities) | frozenset(self._community_languages)

    @property
    def rule_names(self) -> frozenset[str]:
        """Every rule that may fire for some audience, by where it stands."""
        tables = (self._default, *self._communities.values())
        return frozenset(
            rule.name for table in tables for rows in table.values() for *_, rules in rows for rule in rules
        )

    def rules_for(self, audience: AgeBand | None, community_id: str | None) -> Iterator[tuple[str, Rule]]:
        """Each label with each of its rules for this audience, strongest first; without those that never fire."""
        return ((label, rule) for label, *_, rules in self._rows(audience, community_id) for rule in rules)

    def language_rule(self, kind: str, audience: AgeBand | None, community_id: str | None) -> LanguageRule:
        """What happens to a comment for its language; `kind` as in `LanguageRules`."""
        table = self._community_languages.get(community_id or "", self._language)
        return table[kind, audience or AgeBand.UNKNOWN]

    def decide(
        self,
        scores: Mapping[str, float],
        audience: AgeBand | None,
        community_id: str | None,
        *,
        language_supported: bool | None = None,
        language_undetermined: bool = False,
        pointed_at: Iterable[str] = (),
    ) -> Verdict:
        """Apply the rules for this audience. A label without a score never fires.

        `pointed_at`: the labels of the places that the model points at. Where one of them hurts somebody, a text is not
        highlighted, however kind the rest of it is.

        A language that the model does not know (False; None is one that cannot be told) brings in its own rule beside the
        scores. They are guesses then, so what they would remove is held for a person, and nothing is nudged or highlighted.
        `language_undetermined`: it cannot be told, of words that are no common English ones. That brings in a rule as well, and
        the scores count as ever.

        Raises:
            ValueError: a score is NaN, which would otherwise pass for harmless.
        """
        severity, reasons = self._of_scores(scores, audience, community_id)
        if hurts(pointed_at):
            reasons = _without_praise(reasons)
        if language_supported is False:
            reasons = _of_guesses(reasons) + self._of_language(UNSUPPORTED_LANGUAGE, audience, community_id)
        elif language_undetermined:
            reasons += self._of_language(UNDETERMINED_LANGUAGE, audience, community_id)
        if not reasons:
            return Verdict(Action.ALLOW, None, severity, reasons)
        dangers = self._community_dangers.get(community_id or "", self._dangers)
        reasons = _seen_by_a_person(reasons, dangers)
        reasons.sort(key=lambda reason: _rank(reason, dangers))
        first = reasons[0]
        if first.action is not Action.HIGHLIGHT:
            reasons = _without_praise(reasons)
        return Verdict(first.action, first.label, severity, reasons)

    def _of_scores(
        self, scores: Mapping[str, float], audience: AgeBand | None, community_id: str | None
    ) -> tuple[float, list[ReasonGiven]]:
        """The highest score of harm, and the strongest rule of each label that fires."""
        severity = 0.0
        reasons = []
        for label, is_harm, floor, rules in self._rows(audience, community_id):
            score = scores.get(label)
            if score is None:
                continue
            if is_harm and score > severity:
                severity = score
            if score < floor:
                continue
            # NaN is not below any floor, so it always gets here.
            if math.isnan(score):
                raise ValueError(f"the score of {label} is not a number")
            rule = next(rule for rule in rules if score >= rule.threshold)
            reasons.append(
                ReasonGiven(label, score, rule.threshold, audience or AgeBand.UNKNOWN, rule.action, rule.name)
            )
        return severity, reasons

    def _of_language(self, kind: str, audience: AgeBand | None, community_id: str | None) -> list[ReasonGiven]:
        """The reason for the language, where the policy does anything for it."""
        rule = self.language_rule(kind, audience, community_id)
        if rule.action is Action.ALLOW:
            return []
        return [ReasonGiven(kind, None, None, audience or AgeBand.UNKNOWN, rule.action, rule.name)]

    def _rows(self, audience: AgeBand | None, community_id: str | None) -> tuple[_Row, ...]:
        table = self._default if community_id is None else self._communities.get(community_id, self._default)
        return table[audience or AgeBand.UNKNOWN]


def _dangers(rules: Rules) -> frozenset[str]:
    """What danger is, the policy says: labels that it escalates for, whoever reads."""
    return frozenset(label for (label, _), own in rules.items() if any(rule.action is Action.ESCALATE for rule in own))


def _rank(reason: ReasonGiven, dangers: Container[str]) -> tuple[int, bool, bool, float]:
    """The strongest action first, then a danger, then what says more than that something is wrong, then the higher score.

    No score is behind every score, and what is equal in all stays in the order of LABELS.
    """
    score = math.inf if reason.score is None else -reason.score
    return -reason.action.strength, reason.label not in dangers, reason.label in _GENERAL, score


def _seen_by_a_person(reasons: list[ReasonGiven], dangers: Container[str]) -> list[ReasonGiven]:
    """Raise to `escalate` what is held for danger where another label would remove it: nobody would look at it any more."""
    removing = {reason.label for reason in reasons if reason.action is Action.REMOVE}
    if not removing:
        return reasons
    return [
        replace(reason, action=Action.ESCALATE)
        if reason.label in dangers and reason.action.strength >= Action.HOLD.strength and removing - {reason.label}
        else reason
        for reason in reasons
    ]


def hurts(pointed_at: Iterable[str]) -> bool:
    """Whether a model that points at places with these labels points at harm to somebody."""
    return not _NOT_IN_PRAISE.isdisjoint(pointed_at)


def departure(reason: ReasonGiven) -> str:
    """Why its action is another than its rule asks for; empty where it is that."""
    if reason.score is None or reason.rule.endswith(f".{reason.action}"):
        return ""
    if reason.action is Action.ESCALATE:
        return "raised to escalate: another label removes"
    return "held instead: the model does not know the language"


def _without_praise(reasons: Sequence[ReasonGiven]) -> list[ReasonGiven]:
    return [reason for reason in reasons if reason.action is not Action.HIGHLIGHT]


def _of_guesses(reasons: Sequence[ReasonGiven]) -> list[ReasonGiven]:
    """What is left of reasons for a comment that the model cannot read: nobody is told to think again, nothing is gone unseen."""
    return [
        replace(reason, action=Action.HOLD) if reason.action is Action.REMOVE else reason
        for reason in reasons
        if reason.action not in (Action.HIGHLIGHT, Action.NUDGE)
    ]


def _rows_by_band(rules: Rules) -> dict[AgeBand, tuple[_Row, ...]]:
    """Every label for every band, ruled or not: the severity and the check for NaN look at all of them."""
    table: dict[AgeBand, tuple[_Row, ...]] = {}
    for band in AgeBand:
        by_label = {
            label: _strictest([rules.get((label, known), ()) for known in KNOWN_BANDS])
            if band is AgeBand.UNKNOWN
            else tuple(sorted(rules.get((label, band), ()), key=lambda rule: -rule.action.strength))
            for label in LABELS
        }
        table[band] = tuple(_row(label, own) for label, own in by_label.items())
    return table


def _row(label: str, rules: Sequence[Rule]) -> _Row:
    may_fire = tuple(rule for rule in rules if rule.threshold != NEVER)
    return label, label in HARM_LABELS, min((rule.threshold for rule in may_fire), default=NEVER), may_fire


def _with_unknown(rules: LanguageRules) -> dict[tuple[str, AgeBand], LanguageRule]:
    """The rules with those for an unknown audience: the strictest, and of equals that of the youngest."""
    strictest = {
        (kind, AgeBand.UNKNOWN): max((rules[kind, band] for band in KNOWN_BANDS), key=lambda rule: rule.action.strength)
        for kind, _ in rules
    }
    return {**rules, **strictest}


def _strictest(bands: Sequence[Sequence[Rule]]) -> tuple[Rule, ...]:
    """What one label's rules for every known band, youngest first, make of an unknown audience.

    No known band gets a stronger action, and only what every band highlights is highlighted. Where two bands are as
    strict, the rule of the younger one is named.
    """
    strictest = []
    for action in sorted(Action, key=lambda action: -action.strength):
        candidates = [rule for rules in bands for rule in rules if rule.action is action]
        if action is Action.HIGHLIGHT:
            if len(candidates) == len(bands):
                strictest.append(max(candidates, key=lambda rule: rule.threshold))
        elif candidates:
            strictest.append(min(candidates, key=lambda rule: rule.threshold))
    return tuple(strictest)
