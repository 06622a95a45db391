"""Deciding: which rule fires for whom, what wins, and what an unknown audience gets."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import COMMUNITY, harm_labels, policies, scores
from worker.classifier import HARM_LABELS, LABELS
from worker.operating_points import Points, operating_points_of
from worker.policy import KNOWN_BANDS, Policy, Verdict, departure
from worker.policy_file import load_policy, preset_names, read_policy
from worker.records import Action, AgeBand, ReasonGiven

CHILD, ADULT, UNKNOWN = AgeBand.UNDER_13, AgeBand.ADULT, AgeBand.UNKNOWN


def policy(labels: str, communities: str = "{}") -> Policy:
    return read_policy(f"{{id: test, version: 1, labels: {labels}, communities: {communities}}}".encode(), "p.yaml")


INSULT = policy("{insult: {under_13: {nudge: 0.4, hold: 0.6, remove: 0.9}, adult: {nudge: 0.8}}}")
MIXED = policy(
    "{insult: {all: {nudge: 0.4, hold: 0.6}}, threat: {all: {hold: 0.5, escalate: 0.9}},"
    " kindness: {all: {highlight: 0.7}}}"
)


def action(
    policy: Policy, given_scores: dict[str, float], audience: AgeBand | None = ADULT, at: str | None = None
) -> str:
    return policy.decide(given_scores, audience, at).action


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.0, "allow"), (0.39, "allow"), (0.4, "nudge"), (0.6, "hold"), (0.89, "hold"), (0.9, "remove"), (1.0, "remove")],
)
def test_a_rule_fires_from_its_threshold_on_and_the_strongest_wins(score: float, expected: str) -> None:
    assert action(INSULT, {"insult": score}, CHILD) == expected


def test_the_audience_chooses_the_rules() -> None:
    assert action(INSULT, {"insult": 0.7}, CHILD) == "hold"
    assert action(INSULT, {"insult": 0.7}, ADULT) == "allow"
    assert action(INSULT, {"insult": 0.7}, AgeBand.FROM_13_TO_15) == "allow"


def test_a_reason_says_which_rule_stands_where() -> None:
    assert INSULT.decide({"insult": 0.7}, CHILD, None).reasons == [
        ReasonGiven("insult", 0.7, 0.6, CHILD, Action.HOLD, "labels.insult.under_13.hold")
    ]


DANGEROUS = policy(
    "{insult: {all: {limit: 0.5, remove: 0.9}}, toxicity: {all: {hold: 0.8}},"
    " threat: {all: {nudge: 0.2, hold: 0.5, escalate: 0.9}}}"
)


@pytest.mark.parametrize(
    ("given_scores", "expected"),
    [
        ({"insult": 0.95}, {"insult": "remove"}),
        ({"insult": 0.95, "threat": 0.3}, {"insult": "remove", "threat": "nudge"}),
        ({"insult": 0.95, "threat": 0.6}, {"threat": "escalate", "insult": "remove"}),
        ({"insult": 0.95, "threat": 0.95}, {"threat": "escalate", "insult": "remove"}),
        ({"insult": 0.6, "threat": 0.6}, {"threat": "hold", "insult": "limit"}),
        # Nobody is in danger for being rude.
        ({"insult": 0.95, "toxicity": 0.85}, {"insult": "remove", "toxicity": "hold"}),
    ],
)
def test_what_is_held_for_danger_is_never_just_removed(
    given_scores: dict[str, float], expected: dict[str, str]
) -> None:
    verdict = DANGEROUS.decide(given_scores, CHILD, None)

    assert {reason.label: reason.action for reason in verdict.reasons} == expected
    assert (verdict.category, verdict.action) == next(iter(expected.items()))


def test_what_was_raised_names_the_rule_that_held_it() -> None:
    reason, _ = DANGEROUS.decide({"insult": 0.95, "threat": 0.6}, CHILD, None).reasons

    assert reason == ReasonGiven("threat", 0.6, 0.5, CHILD, Action.ESCALATE, "labels.threat.all.hold")
    assert departure(reason) == "raised to escalate: another label removes"


def test_a_label_that_only_removes_is_not_looked_at() -> None:
    removing = policy("{threat: {all: {hold: 0.5, remove: 0.8, escalate: 0.9}}, insult: {all: {remove: 0.9}}}")

    assert action(removing, {"threat": 0.85}) == "remove"
    assert action(removing, {"threat": 0.85, "insult": 0.95}) == "escalate"


def test_danger_is_what_the_policy_escalates_for_whoever_reads() -> None:
    elsewhere = policy(
        "{threat: {under_13: {escalate: 0.8}, all: {hold: 0.4}}, insult: {all: {remove: 0.9}}}",
        communities="{boxing: {labels: {threat: {under_13: {hold: 0.8}}}}}",
    )

    for audience, community_id in ((ADULT, None), (UNKNOWN, None), (CHILD, "boxing")):
        verdict = elsewhere.decide({"insult": 0.95, "threat": 0.85}, audience, community_id)
        assert (verdict.action, verdict.category) == (Action.ESCALATE, "threat")


def test_what_is_danger_in_one_community_is_none_elsewhere() -> None:
    school = policy(
        "{insult: {all: {hold: 0.6}}, severe_toxicity: {all: {remove: 0.9}}}",
        communities="{school: {labels: {insult: {under_13: {hold: 0.6, escalate: 0.95}}}}}",
    )
    scores = {"insult": 0.7, "severe_toxicity": 0.95}

    decided = {community: school.decide(scores, ADULT, community) for community in (None, "other", "school")}

    assert {community: (verdict.action, verdict.category) for community, verdict in decided.items()} == {
        None: (Action.REMOVE, "severe_toxicity"),
        "other": (Action.REMOVE, "severe_toxicity"),
        "school": (Action.ESCALATE, "insult"),
    }


def test_one_reason_a_label_strongest_first_then_by_score_then_in_the_order_of_labels() -> None:
    equals = policy(
        "{threat: {all: {hold: 0.1}}, insult: {all: {hold: 0.1}}, toxicity: {all: {hold: 0.1}},"
        " profanity: {all: {limit: 0.1}}}"
    )

    verdict = equals.decide({"profanity": 0.9, "threat": 0.6, "insult": 0.5, "toxicity": 0.5}, ADULT, None)

    assert [reason.label for reason in verdict.reasons] == ["threat", "insult", "toxicity", "profanity"]
    assert verdict.category == "threat"


def test_the_strongest_action_wins_even_over_a_higher_score() -> None:
    verdict = MIXED.decide({"insult": 0.99, "threat": 0.91}, ADULT, None)

    assert (verdict.action, verdict.category) == (Action.ESCALATE, "threat")


RANKED = policy(
    "{toxicity: {all: {hold: 0.5}}, insult: {all: {hold: 0.5}}, identity_attack: {all: {hold: 0.5}},"
    " threat: {all: {hold: 0.2, escalate: 0.9}}}"
)


@pytest.mark.parametrize(
    ("given_scores", "order"),
    [
        ({"toxicity": 0.99, "threat": 0.3}, ["threat", "toxicity"]),
        ({"toxicity": 0.99, "insult": 0.6}, ["insult", "toxicity"]),
        ({"toxicity": 0.99, "insult": 0.6, "identity_attack": 0.7}, ["identity_attack", "insult", "toxicity"]),
        ({"insult": 0.99, "threat": 0.3}, ["threat", "insult"]),
    ],
)
def test_of_equal_actions_the_danger_is_named_first_and_what_says_least_last(
    given_scores: dict[str, float], order: list[str]
) -> None:
    verdict = RANKED.decide(given_scores, CHILD, None)

    assert [reason.label for reason in verdict.reasons] == order
    assert verdict.category == order[0]


def test_highlight_stands_alone() -> None:
    verdict = MIXED.decide({"kindness": 0.8, "insult": 0.3}, ADULT, None)

    assert (verdict.action, verdict.category, verdict.severity) == (Action.HIGHLIGHT, "kindness", 0.3)


@pytest.mark.parametrize("label", ["insult", "identity_attack", "threat"])
def test_nothing_is_highlighted_where_a_place_hurts(label: str) -> None:
    verdict = MIXED.decide({"insult": 0.3, "kindness": 0.9}, ADULT, None, pointed_at=["profanity", label])

    assert (verdict.action, verdict.reasons) == (Action.ALLOW, [])


def test_a_swear_word_may_stand_in_praise() -> None:
    assert MIXED.decide({"kindness": 0.9}, ADULT, None, pointed_at=["profanity", "toxicity"]).action == "highlight"


def test_what_is_pointed_at_changes_no_other_action() -> None:
    assert MIXED.decide({"insult": 0.5, "kindness": 0.9}, ADULT, None, pointed_at=["insult"]).action == "nudge"


def test_highlight_gives_way_to_harm_and_is_no_reason_then() -> None:
    verdict = MIXED.decide({"kindness": 0.99, "insult": 0.4}, ADULT, None)

    assert verdict.action is Action.NUDGE
    assert [reason.label for reason in verdict.reasons] == ["insult"]


def test_nothing_fires() -> None:
    assert MIXED.decide({"insult": 0.1}, ADULT, None) == Verdict(Action.ALLOW, None, 0.1, [])


def test_severity_is_the_highest_harm_score_even_without_a_rule_for_it() -> None:
    assert INSULT.decide({"profanity": 0.95, "insult": 0.5, "kindness": 1.0}, ADULT, None).severity == 0.95


def test_severity_is_zero_without_a_harm_score() -> None:
    assert INSULT.decide({"kindness": 1.0}, ADULT, None).severity == 0.0


def test_a_label_without_a_score_never_fires() -> None:
    assert MIXED.decide({}, CHILD, None) == Verdict(Action.ALLOW, None, 0.0, [])


@pytest.mark.parametrize("label", LABELS)
def test_a_score_that_is_not_a_number_is_never_safe(label: str) -> None:
    with pytest.raises(ValueError, match=f"{label} is not a number"):
        INSULT.decide({label: math.nan}, ADULT, None)


def test_unknown_gets_the_lowest_threshold_of_any_band_for_each_action() -> None:
    mixed = policy("{insult: {under_13: {hold: 0.6}, 16_17: {hold: 0.5}, adult: {nudge: 0.3, remove: 0.9}}}")

    verdicts = [mixed.decide({"insult": score}, UNKNOWN, None) for score in (0.3, 0.5, 0.9)]

    assert [verdict.reasons[0].rule for verdict in verdicts] == [
        "labels.insult.adult.nudge",
        "labels.insult.16_17.hold",
        "labels.insult.adult.remove",
    ]
    assert verdicts[0].reasons[0].age_band is UNKNOWN


def test_no_audience_is_an_unknown_audience() -> None:
    assert INSULT.decide({"insult": 0.7}, None, None) == INSULT.decide({"insult": 0.7}, UNKNOWN, None)


def test_unknown_gets_the_highest_threshold_for_highlight() -> None:
    kind = policy("{kindness: {under_13: {highlight: 0.9}, all: {highlight: 0.6}}}")

    assert action(kind, {"kindness": 0.8}, ADULT) == "highlight"
    assert action(kind, {"kindness": 0.8}, UNKNOWN) == "allow"
    assert kind.decide({"kindness": 0.9}, UNKNOWN, None).reasons[0].rule == "labels.kindness.under_13.highlight"


def test_unknown_is_not_highlighted_where_some_band_is_not() -> None:
    kind = policy("{kindness: {under_13: {}, all: {highlight: 0.6}}}")

    assert action(kind, {"kindness": 1.0}, UNKNOWN) == "allow"


COMMUNITIES = policy(
    "{insult: {under_13: {hold: 0.5}, adult: {hold: 0.8}}, threat: {all: {escalate: 0.9}}}",
    "{boxing: {labels: {insult: {adult: {nudge: 0.9}}}}, quiet: {labels: {insult: {all: {limit: 0.1}}}},"
    " open: {labels: {insult: {under_13: {}, adult: {}}}}}",
)


def test_a_community_replaces_the_pairs_that_it_names() -> None:
    assert COMMUNITIES.decide({"insult": 0.95}, ADULT, "boxing").reasons == [
        ReasonGiven("insult", 0.95, 0.9, ADULT, Action.NUDGE, "communities.boxing.labels.insult.adult.nudge")
    ]
    assert (
        COMMUNITIES.decide({"insult": 0.2}, CHILD, "quiet").reasons[0].rule
        == "communities.quiet.labels.insult.all.limit"
    )


def test_a_community_inherits_the_rest() -> None:
    assert action(COMMUNITIES, {"insult": 0.5}, CHILD, "boxing") == "hold"
    assert action(COMMUNITIES, {"threat": 0.9}, ADULT, "quiet") == "escalate"


def test_an_empty_mapping_turns_a_label_off_in_a_community() -> None:
    assert action(COMMUNITIES, {"insult": 1.0}, CHILD, "open") == "allow"
    assert action(COMMUNITIES, {"insult": 1.0}, UNKNOWN, "open") == "allow"
    assert action(COMMUNITIES, {"insult": 1.0}, CHILD) == "hold"


def test_an_unknown_audience_gets_the_strictest_of_its_community() -> None:
    assert action(COMMUNITIES, {"insult": 0.2}, UNKNOWN, "quiet") == "limit"
    assert action(COMMUNITIES, {"insult": 0.2}, UNKNOWN) == "allow"


def test_a_community_that_is_not_named_gets_the_general_rules() -> None:
    assert COMMUNITIES.decide({"insult": 0.8}, ADULT, "elsewhere") == COMMUNITIES.decide({"insult": 0.8}, ADULT, None)


def test_what_a_policy_says_of_itself() -> None:
    assert COMMUNITIES.communities == {"boxing", "quiet", "open"}
    assert INSULT.rule_names == {
        "labels.insult.under_13.nudge",
        "labels.insult.under_13.hold",
        "labels.insult.under_13.remove",
        "labels.insult.adult.nudge",
    }
    assert [(label, rule.action) for label, rule in INSULT.rules_for(CHILD, None)] == [
        ("insult", Action.REMOVE),
        ("insult", Action.HOLD),
        ("insult", Action.NUDGE),
    ]


# ---- languages that the model does not know

KINDLY = (
    "{insult: {all: {nudge: 0.4, limit: 0.5, hold: 0.6, remove: 0.9}}, threat: {all: {hold: 0.5}},"
    " kindness: {all: {highlight: 0.7}}}"
)


def with_languages(written: str, own: str = "{}") -> Policy:
    return read_policy(
        f"{{id: test, version: 1, labels: {KINDLY}, unsupported_language: {written},"
        f" communities: {{club: {{labels: {{}}, unsupported_language: {own}}}}}}}".encode(),
        "p.yaml",
    )


def abroad(
    policy: Policy, audience: AgeBand | None, scores: dict[str, float] | None = None, at: str | None = None
) -> Verdict:
    return policy.decide(scores or {}, audience, at, language_supported=False)


@pytest.mark.parametrize(
    ("audience", "expected"),
    [
        (CHILD, "hold"),
        (AgeBand.FROM_13_TO_15, "hold"),
        (AgeBand.FROM_16_TO_17, "allow"),
        (ADULT, "allow"),
        (UNKNOWN, "hold"),
        (None, "hold"),
    ],
)
def test_a_policy_that_says_nothing_holds_what_nobody_understood_for_the_young(
    audience: AgeBand | None, expected: str
) -> None:
    assert abroad(policy(KINDLY), audience).action == expected


def test_the_reason_for_a_language_has_no_score() -> None:
    verdict = abroad(with_languages("{adult: limit}"), ADULT, {"insult": 0.3})

    assert (verdict.action, verdict.category, verdict.severity) == (Action.LIMIT, "unsupported_language", 0.3)
    assert verdict.reasons == [
        ReasonGiven("unsupported_language", None, None, ADULT, Action.LIMIT, "unsupported_language.adult")
    ]


@pytest.mark.parametrize("supported", [True, None])
def test_a_language_that_the_model_knows_or_that_cannot_be_told_is_judged_by_its_scores(
    supported: bool | None,
) -> None:
    strict = with_languages("{all: hold}")

    assert strict.decide({"kindness": 0.9}, CHILD, None, language_supported=supported).action == "highlight"


def test_nothing_is_highlighted_that_nobody_understood() -> None:
    assert abroad(with_languages("{all: allow}"), ADULT, {"kindness": 0.9}) == Verdict(Action.ALLOW, None, 0.0, [])


def test_a_strong_score_still_acts_and_the_strongest_wins() -> None:
    verdict = abroad(with_languages("{all: limit}"), CHILD, {"insult": 0.7, "kindness": 0.9})

    assert (verdict.action, verdict.category) == (Action.HOLD, "insult")
    assert [reason.label for reason in verdict.reasons] == ["insult", "unsupported_language"]


def test_what_nobody_understood_is_held_where_it_would_be_removed_and_nobody_is_asked_to_think_again() -> None:
    guessing = with_languages("{all: allow}")
    held, nudged = (abroad(guessing, CHILD, {"insult": score}) for score in (0.95, 0.46))

    assert (held.action, held.category) == (Action.HOLD, "insult")
    [reason] = held.reasons
    assert (reason.action, reason.rule) == (Action.HOLD, "labels.insult.all.remove")
    assert departure(reason) == "held instead: the model does not know the language"
    assert guessing.decide({"insult": 0.46}, CHILD, None).action == "nudge"
    assert nudged == Verdict(Action.ALLOW, None, 0.46, [])


def test_danger_that_nobody_understood_reaches_a_person_by_what_is_held_beside_it() -> None:
    guessing = policy("{threat: {all: {hold: 0.5, escalate: 0.9}}, insult: {all: {remove: 0.9}}}")

    assert abroad(guessing, ADULT, {"insult": 0.95, "threat": 0.6}).action == "hold"
    assert abroad(guessing, ADULT, {"insult": 0.95, "threat": 0.95}).action == "escalate"


def test_where_a_score_asks_for_the_same_it_is_named_first_and_a_milder_one_behind() -> None:
    verdict = abroad(with_languages("{all: hold}"), CHILD, {"insult": 0.5, "threat": 0.6})

    assert [reason.label for reason in verdict.reasons] == ["threat", "unsupported_language", "insult"]


def test_all_stands_for_the_bands_that_are_not_named_of_languages_too() -> None:
    mixed = with_languages("{all: limit, adult: allow}")

    assert [abroad(mixed, band).action for band in AgeBand] == ["limit", "limit", "limit", "allow", "limit"]
    assert mixed.language_rule("unsupported_language", CHILD, None).name == "unsupported_language.all"


def test_bands_that_are_not_named_keep_what_holds_by_default() -> None:
    assert [abroad(with_languages("{under_13: allow}"), band).action for band in KNOWN_BANDS] == [
        "allow",
        "hold",
        "allow",
        "allow",
    ]


def test_a_community_has_rules_of_its_own_for_languages_and_inherits_the_rest() -> None:
    mixed = with_languages("{all: limit}", "{under_13: hold, adult: allow}")

    assert [abroad(mixed, band, at="club").action for band in AgeBand] == ["hold", "limit", "limit", "allow", "hold"]
    assert (
        mixed.language_rule("unsupported_language", CHILD, "club").name
        == "communities.club.unsupported_language.under_13"
    )
    assert mixed.language_rule("unsupported_language", AgeBand.FROM_13_TO_15, "club").name == "unsupported_language.all"
    assert abroad(mixed, CHILD, at="elsewhere").action == "limit"


def test_a_community_may_have_rules_for_languages_alone() -> None:
    bilingual = read_policy(
        f"{{id: test, version: 1, labels: {KINDLY},"
        " communities: {club: {unsupported_language: {all: allow}}}}".encode(),
        "p.yaml",
    )

    assert abroad(bilingual, CHILD, at="club").action == "allow"
    assert abroad(bilingual, CHILD, {"insult": 0.95}, at="club").action == "hold"
    assert bilingual.communities == {"club"}


# ---- languages that nobody can tell


def with_undetermined(written: str, own: str = "{}") -> Policy:
    return read_policy(
        f"{{id: test, version: 1, labels: {KINDLY}, undetermined_language: {written},"
        f" communities: {{club: {{undetermined_language: {own}}}}}}}".encode(),
        "p.yaml",
    )


def untold(
    policy: Policy, audience: AgeBand | None, scores: dict[str, float] | None = None, at: str | None = None
) -> Verdict:
    return policy.decide(scores or {}, audience, at, language_undetermined=True)


@pytest.mark.parametrize("band", [None, *AgeBand])
def test_a_policy_that_says_nothing_judges_what_cannot_be_told_by_its_scores(band: AgeBand | None) -> None:
    for given_scores in ({}, {"insult": 0.95}, {"kindness": 0.9}):
        assert untold(policy(KINDLY), band, given_scores) == policy(KINDLY).decide(given_scores, band, None)


def test_a_policy_may_hold_what_cannot_be_told_where_children_read() -> None:
    careful = with_undetermined("{under_13: hold, 13_15: limit}")

    assert [untold(careful, band).action for band in AgeBand] == ["hold", "limit", "allow", "allow", "hold"]
    assert untold(careful, None) == Verdict(
        Action.HOLD,
        "undetermined_language",
        0.0,
        [ReasonGiven("undetermined_language", None, None, UNKNOWN, Action.HOLD, "undetermined_language.under_13")],
    )


@pytest.mark.parametrize(("supported", "expected"), [(True, "allow"), (None, "allow"), (False, "hold")])
def test_what_can_be_told_or_is_not_strange_is_none_of_its_business(supported: bool | None, expected: str) -> None:
    verdict = with_undetermined("{all: limit}").decide({}, CHILD, None, language_supported=supported)

    assert verdict.action == expected
    assert all(reason.label == "unsupported_language" for reason in verdict.reasons)


def test_scores_count_in_full_beside_a_language_that_cannot_be_told() -> None:
    careful = with_undetermined("{all: hold}")

    removed, nudged, kind = (
        untold(careful, CHILD, given_scores) for given_scores in ({"insult": 0.95}, {"insult": 0.4}, {"kindness": 0.9})
    )
    assert (removed.action, removed.category) == ("remove", "insult")
    assert [(reason.label, reason.action) for reason in nudged.reasons] == [
        ("undetermined_language", "hold"),
        ("insult", "nudge"),
    ]
    assert [(reason.label, reason.action) for reason in kind.reasons] == [("undetermined_language", "hold")]


def test_a_community_may_say_otherwise_of_what_cannot_be_told() -> None:
    mixed = with_undetermined("{all: limit}", "{under_13: hold, adult: allow}")

    assert [untold(mixed, band, at="club").action for band in AgeBand] == ["hold", "limit", "limit", "allow", "hold"]
    assert mixed.language_rule("undetermined_language", CHILD, "club").name == (
        "communities.club.undetermined_language.under_13"
    )
    assert abroad(mixed, ADULT, at="club").action == "allow"


bands = st.sampled_from(AgeBand)
supports = st.sampled_from([True, False, None])
communities = st.sampled_from([None, COMMUNITY])


@settings(max_examples=60)
@given(policies(), scores(), bands, communities, st.data())
def test_more_harm_never_makes_the_action_milder(
    drawn: Policy, before: dict[str, float], band: AgeBand, at: str | None, data: st.DataObject
) -> None:
    known = data.draw(supports, "language supported")
    undetermined = known is None and data.draw(st.booleans(), "language undetermined")
    label = data.draw(harm_labels(), "raised label")
    after = before | {label: data.draw(st.floats(before.get(label, 0.0), 1), "raised score")}

    calmer, harsher = (
        drawn.decide(given, band, at, language_supported=known, language_undetermined=undetermined).action
        for given in (before, after)
    )
    assert harsher.strength >= calmer.strength


@settings(max_examples=60)
@given(policies(), scores(), communities, supports, st.booleans())
def test_unknown_is_at_least_as_strict_as_every_band(
    drawn: Policy, given_scores: dict[str, float], at: str | None, known: bool | None, undetermined: bool
) -> None:
    unknown, *others = (
        drawn.decide(
            given_scores, band, at, language_supported=known, language_undetermined=undetermined and known is None
        ).action
        for band in (UNKNOWN, *KNOWN_BANDS)
    )

    assert all(unknown.strength >= other.strength for other in others)


@settings(max_examples=60)
@given(policies(), scores(), bands, communities)
def test_a_language_that_the_model_does_not_know_is_judged_more_mildly_only_where_a_guess_would_remove_or_nudge(
    drawn: Policy, given_scores: dict[str, float], band: AgeBand, at: str | None
) -> None:
    known, unknown = (drawn.decide(given_scores, band, at, language_supported=told) for told in (True, False))

    # What is escalated because another label removes is held with that.
    milder = {Action.ESCALATE: Action.HOLD, Action.REMOVE: Action.HOLD, Action.NUDGE: Action.ALLOW}
    assert unknown.action.strength >= milder.get(known.action, known.action).strength
    assert unknown.action not in (Action.HIGHLIGHT, Action.NUDGE, Action.REMOVE)
    assert unknown.severity == known.severity


@settings(max_examples=60)
@given(policies(), scores(), bands, communities)
def test_a_language_that_cannot_be_told_makes_no_action_milder(
    drawn: Policy, given_scores: dict[str, float], band: AgeBand, at: str | None
) -> None:
    told = drawn.decide(given_scores, band, at)
    own = drawn.language_rule("undetermined_language", band, at).action

    expected = told.action if own is Action.ALLOW else max(told.action, own, key=lambda action: action.strength)
    assert drawn.decide(given_scores, band, at, language_undetermined=True).action is expected


@settings(max_examples=60)
@given(policies(), scores(), bands, communities)
def test_a_verdict_is_what_the_firing_rules_say(
    drawn: Policy, given_scores: dict[str, float], band: AgeBand, at: str | None
) -> None:
    verdict = drawn.decide(given_scores, band, at)

    fired = [(name, rule) for name, rule in drawn.rules_for(band, at) if given_scores.get(name, -1.0) >= rule.threshold]
    harms = [rule.action for name, rule in fired if name in HARM_LABELS]
    if harms:
        strongest = max(harms, key=lambda fired_action: fired_action.strength)
        # Whatever is removed is looked at where it may be dangerous, too.
        raised = strongest is Action.REMOVE and verdict.action is Action.ESCALATE
        assert raised or verdict.action is strongest
    else:
        assert verdict.action is (Action.HIGHLIGHT if fired else Action.ALLOW)
    kept = {name for name, _ in fired if name in HARM_LABELS or not harms}
    assert sorted(reason.label for reason in verdict.reasons) == sorted(kept)
    assert all((reason.score or 0) >= (reason.threshold or 0) for reason in verdict.reasons)


# ---- the presets: what they promise to those who read them

MODELS: dict[str, Points] = {"none": {}, "default": operating_points_of("default")}
"""The operating points of every model that a preset meets."""
NAMES = ("strict-for-children", "default", "lenient-forum")
"""From the strictest on."""
PRESETS = {name: load_policy(name) for name in NAMES}
PRESETS_ON = {(name, model): load_policy(name, points) for name in NAMES for model, points in MODELS.items()}
on_every_model = pytest.mark.parametrize(("name", "model"), PRESETS_ON)


def test_these_are_all_presets() -> None:
    assert sorted(PRESETS) == preset_names()


@on_every_model
def test_a_preset_has_no_warnings_and_carries_its_name(name: str, model: str) -> None:
    assert PRESETS_ON[name, model].warnings == ()
    assert PRESETS_ON[name, model].version.id == name


@pytest.mark.parametrize(
    ("given_scores", "audience", "strict", "default", "lenient"),
    [
        ({"insult": 0.7, "toxicity": 0.6}, ADULT, "hold", "allow", "allow"),
        ({"insult": 0.7, "toxicity": 0.6}, CHILD, "hold", "limit", "limit"),
        ({"insult": 0.8, "toxicity": 0.8}, ADULT, "hold", "nudge", "allow"),
        ({"profanity": 0.8}, ADULT, "hold", "allow", "allow"),
        ({"profanity": 0.8}, CHILD, "hold", "limit", "nudge"),
        ({"identity_attack": 0.8}, ADULT, "hold", "hold", "allow"),
        ({"kindness": 0.88}, CHILD, "allow", "highlight", "highlight"),
    ],
)
def test_presets_differ_on_the_same_comment(
    given_scores: dict[str, float], audience: AgeBand, strict: str, default: str, lenient: str
) -> None:
    assert action(PRESETS["strict-for-children"], given_scores, audience) == strict
    assert action(PRESETS["default"], given_scores, audience) == default
    assert action(PRESETS["lenient-forum"], given_scores, audience) == lenient


@on_every_model
@pytest.mark.parametrize("label", ["threat", "self_harm"])
def test_danger_reaches_a_person(name: str, model: str, label: str) -> None:
    for band in AgeBand:
        rules = [rule for ruled, rule in PRESETS_ON[name, model].rules_for(band, None) if ruled == label]
        assert rules[0].action is Action.ESCALATE
        assert {rule.action for rule in rules} == {Action.HOLD, Action.ESCALATE}


@on_every_model
def test_a_preset_removes_for_severe_toxicity_alone(name: str, model: str) -> None:
    """Whatever else is in a comment, an address or a dare, outlives the surest insult; and who writes to a child is looked at."""
    rules = [ruled for band in KNOWN_BANDS for ruled in PRESETS_ON[name, model].rules_for(band, None)]
    removing = {label for label, rule in rules if rule.action is Action.REMOVE}

    assert removing <= {"severe_toxicity"}


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_passes_to_children_what_nobody_understood(name: str) -> None:
    for band in (CHILD, AgeBand.FROM_13_TO_15, UNKNOWN):
        assert abroad(PRESETS[name], band).action == "hold"


@on_every_model
@settings(max_examples=60)
@given(scores(), bands)
def test_no_preset_just_removes_what_it_would_hold_for_danger(
    name: str, model: str, given_scores: dict[str, float], band: AgeBand
) -> None:
    preset = PRESETS_ON[name, model]
    dangers: dict[str, float] = {
        label: given_scores[label] for label in ("threat", "self_harm") if label in given_scores
    }

    if action(preset, dangers, band) in {"hold", "escalate"}:
        assert action(preset, given_scores, band) in {"hold", "escalate"}


@pytest.mark.parametrize("name", PRESETS)
@settings(max_examples=60)
@given(scores())
def test_no_preset_removes_for_children_what_is_in_doubt(name: str, given_scores: dict[str, float]) -> None:
    doubtful = {label: min(score, 0.8) for label, score in given_scores.items()}

    assert action(PRESETS[name], doubtful, CHILD) != "remove"


@pytest.mark.parametrize(("name", "model"), [(name, model) for name, model in PRESETS_ON if MODELS[model]])
def test_no_preset_removes_below_the_precision_that_it_states(name: str, model: str) -> None:
    removing = [
        (label, rule.threshold)
        for band in AgeBand
        for label, rule in PRESETS_ON[name, model].rules_for(band, None)
        if rule.action is Action.REMOVE
    ]

    assert removing
    sure = {label: MODELS[model][label][0.95] for label, _ in removing}
    assert all((at := sure[label]) is not None and threshold >= at for label, threshold in removing)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=100)
@given(scores(), bands, supports)
def test_presets_keep_their_order_of_strictness(
    model: str, given_scores: dict[str, float], band: AgeBand, known: bool | None
) -> None:
    strict, default, lenient = (
        PRESETS_ON[name, model].decide(given_scores, band, None, language_supported=known).action.strength
        for name in NAMES
    )

    assert strict >= default >= lenient


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("stricter", "milder"), list(pairwise(NAMES)))
def test_whatever_a_preset_does_a_stricter_one_does_from_no_later_on(model: str, stricter: str, milder: str) -> None:
    for band in AgeBand:
        for label, rule in PRESETS_ON[milder, model].rules_for(band, None):
            if rule.action is not Action.HIGHLIGHT:
                found = Action(action(PRESETS_ON[stricter, model], {label: rule.threshold}, band))
                assert found.strength >= rule.action.strength, (label, rule)
