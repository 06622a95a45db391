"""Reading a policy: every mistake gets its line, and what is odd gets a warning."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from worker.classifier import LABELS
from worker.errors import PolicyError, StartupError
from worker.operating_points import Points
from worker.policy import Policy
from worker.policy_file import load_policy, preset_names, preset_path, read_policy
from worker.records import AgeBand

HEAD = 'id: test\nversion: "1"\n'
INHERITED = "is what the community inherits anyway, so it changes nothing"
FIELDS = "id, version, description, labels, unsupported_language, undetermined_language, communities"
HIGHER = "a stronger action needs a higher threshold"
LANGUAGE = "p.yaml:5: unsupported_language"
RULED = HEAD + "labels:\n  insult: {all: {hold: 0.5}}\n"


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as caught:
        read_policy(text.encode() if isinstance(text, str) else text, "p.yaml")
    return caught.value.problems


def warnings(labels: str, communities: str = "{}") -> list[str]:
    """The warnings of a policy, without those for the labels that it leaves out."""
    policy = read_policy(f"{HEAD}labels: {labels}\ncommunities: {communities}\n".encode(), "p.yaml")
    return [warning for warning in policy.warnings if "no rule looks at this label" not in warning]


def test_the_version_is_that_of_the_bytes() -> None:
    version = read_policy(RULED.encode(), "p.yaml").version

    assert (version.id, version.version) == ("test", "1")
    assert version.sha256 == hashlib.sha256(RULED.encode()).hexdigest()


def test_a_policy_is_read_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(RULED)

    assert load_policy(path).version == load_policy(str(path)).version


def test_a_file_with_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + RULED.replace("\n", "\r\n").encode())

    assert load_policy(path).rule_names == {"labels.insult.all.hold"}


@pytest.mark.parametrize("written", ["2026-08-01", "1.10", "3", "no"])
def test_a_version_is_taken_as_written(written: str) -> None:
    text = RULED.replace('"1"', written)

    assert read_policy(text.encode(), "p.yaml").version.version == written


def test_all_stands_for_the_bands_that_are_not_named() -> None:
    text = HEAD + "labels: {insult: {13_15: {hold: 0.5}, adult: {}, all: {nudge: 0.5}}}"

    assert read_policy(text.encode(), "p.yaml").rule_names == {"labels.insult.13_15.hold", "labels.insult.all.nudge"}


# ---- what cannot be read


def test_no_such_file() -> None:
    with pytest.raises(PolicyError, match=r"^defalt: no such file, and no preset either; the presets are default, "):
        load_policy("defalt")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read: Is a directory"):
        load_policy(tmp_path)


def test_no_such_preset() -> None:
    with pytest.raises(PolicyError, match="lenient: no such preset; did you mean lenient-forum"):
        preset_path("lenient")


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_goes_by_its_name(name: str) -> None:
    assert load_policy(name).version == load_policy(preset_path(name)).version


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"id: a\nversion: \xff\n", "p.yaml:2: not UTF-8; save the file as UTF-8"),
        (b"id: a\nversion: \x07\n", "p.yaml:2: not YAML: the character U+0007 is not allowed"),
        (b"id: a\nlabels: b: c\n", "p.yaml:2: not YAML: mapping values are not allowed here"),
        (
            b"id: a\n---\nid: b\n",
            "p.yaml:2: not YAML: expected a single document in the stream, but found another document",
        ),
        (b"", f"p.yaml:1: not a policy: it has to be a mapping of {FIELDS}"),
        (b"- id", f"p.yaml:1: not a policy: it has to be a mapping of {FIELDS}"),
    ],
)
def test_what_is_no_policy_at_all(content: bytes, problem: str) -> None:
    assert problems(content) == (problem,)


# ---- what is wrong in a policy


def test_every_problem_is_told_at_once_in_the_order_of_lines() -> None:
    text = (
        "id: test\nlabels:\n  insults: {adult: {hold: 0.5}}\n  threat:\n    adlt: {hold: 0.5}\n    adult: {holt: 2}\n"
    )

    assert problems(text) == (
        "p.yaml:1: version: is missing",
        "p.yaml:3: labels.insults: no such label; did you mean insult?",
        "p.yaml:5: labels.threat.adlt: no such age band; did you mean adult?",
        "p.yaml:6: labels.threat.adult.holt: a threshold is a number above 0 and up to 1, not 2",
        "p.yaml:6: labels.threat.adult.holt: no such action; did you mean hold?",
    )


def test_the_error_stops_a_start_and_prints_a_line_each() -> None:
    with pytest.raises(StartupError) as caught:
        read_policy(b"id: test\nlabels: {}\n", "p.yaml")

    assert str(caught.value) == "p.yaml:1: version: is missing"


def test_a_name_like_no_other_gets_the_list() -> None:
    (problem,) = problems(HEAD + "labels:\n  xyz: {}\n  insult: {all: {hold: 0.5}}\n")

    assert problem.startswith("p.yaml:4: labels.xyz: no such label; it has to be one of toxicity, severe_toxicity, ")


@pytest.mark.parametrize("threshold", ["0", "-0.1", "1.01", "70%", "0,7", "yes", ".nan", ".inf", "nan", "{}", "[0.5]"])
def test_a_threshold_is_a_number_above_0_and_up_to_1(threshold: str) -> None:
    (problem,) = problems(HEAD + f"labels:\n  insult:\n    all:\n      hold: {threshold}\n")

    assert problem.startswith("p.yaml:6: labels.insult.all.hold: a threshold is a number above 0 and up to 1, ")


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (
            "insult: {unknown: {hold: 0.5}}",
            "insult.unknown: cannot be written: an unknown audience gets the strictest of what the other bands name",
        ),
        ("insult: {all: {allow: 0.5}}", "insult.all.allow: is not written: it is what happens where no rule fires"),
        (
            "insult: {all: {highlight: 0.5}}",
            "insult.all.highlight: insult is a harm; highlight is for kind labels: kindness",
        ),
        (
            "kindness: {all: {hold: 0.5}}",
            "kindness.all.hold: kindness is a kind label: highlight is all that it can ask for",
        ),
        (
            "insult: {all: {hold: }}",
            "insult.all.hold: a threshold is a number above 0 and up to 1, and cannot be empty",
        ),
        ("insult: {all: }", "insult.all: has to be a mapping of actions to thresholds, or {} for none"),
        ("insult: {all: 0.5}", "insult.all: has to be a mapping of actions to thresholds, or {} for none"),
        ("insult: [all]", "insult: has to be a mapping of age bands"),
        (
            "insult: {all: {hold: 0.6, remove: 0.5}}",
            f"insult.all: hold (0.6) can never be seen: remove is stronger and already fires at 0.5; {HIGHER}",
        ),
        (
            "insult: {all: {remove: 0.5, nudge: 0.5}}",
            f"insult.all: nudge (0.5) can never be seen: remove is stronger and already fires at 0.5; {HIGHER}",
        ),
        ("'a{b}': {}", f"a{{b}}: no such label; it has to be one of {', '.join(LABELS)}"),
    ],
)
def test_what_a_label_cannot_say_in_general_or_in_a_community(labels: str, problem: str) -> None:
    assert problems(HEAD + f"labels:\n  {labels}\n") == (f"p.yaml:4: labels.{problem}",)

    own = RULED + f"communities:\n  club:\n    labels:\n      {labels}\n"
    assert problems(own) == (f"p.yaml:8: communities.club.labels.{problem}",)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("label: {}", "p.yaml:5: label: no such field; did you mean labels?"),
        ("description: [a]", "p.yaml:5: description: has to be text"),
        ("communities:", "p.yaml:5: communities: has to be a mapping of communities"),
        (
            "communities: {club: }",
            "p.yaml:5: communities.club: has to be a mapping of labels, unsupported_language, undetermined_language",
        ),
        ("communities: {club: {}}", "p.yaml:5: communities.club.labels: is missing"),
        ("communities: {'': {labels: {}}}", "p.yaml:5: communities.: has to be one line of 1 to 500 characters"),
        ("? [a]\n: b", "p.yaml:5: a key has to be text"),
        ("unsupported_language: hold", f"{LANGUAGE}: has to be a mapping of age bands to allow, limit or hold"),
        ("unsupported_language: {adlt: hold}", f"{LANGUAGE}.adlt: no such age band; did you mean adult?"),
        ("unsupported_language: {all: holt}", f"{LANGUAGE}.all: no such action; did you mean hold?"),
        ("unsupported_language: {all: }", f"{LANGUAGE}.all: no such action; it has to be one of allow, limit, hold"),
        ("unsupported_language: {all: {hold: 0.5}}", f"{LANGUAGE}.all: has to be one of allow, limit, hold"),
        ("unsupported_language: {all: [hold]}", f"{LANGUAGE}.all: has to be one of allow, limit, hold"),
        (
            "undetermined_language: hold",
            "p.yaml:5: undetermined_language: has to be a mapping of age bands to allow, limit or hold",
        ),
        (
            "undetermined_language: {all: holt}",
            "p.yaml:5: undetermined_language.all: no such action; did you mean hold?",
        ),
        *(
            (
                f"unsupported_language: {{all: {action}}}",
                (
                    f"{LANGUAGE}.all: is not for a language: nobody has understood the comment yet; "
                    "it has to be one of allow, limit, hold"
                ),
            )
            for action in ("highlight", "nudge", "remove", "escalate")
        ),
        (
            "communities: {club: {unsupported_language: {all: holt}}}",
            "p.yaml:5: communities.club.unsupported_language.all: no such action; did you mean hold?",
        ),
    ],
)
def test_what_the_rest_of_a_policy_cannot_say(written: str, problem: str) -> None:
    assert problems(RULED + written + "\n") == (problem,)


@pytest.mark.parametrize("written", ["", "[1]", '"a\\nb"', "a" * 501])
def test_a_version_is_one_line_of_text(written: str) -> None:
    assert problems(RULED.replace('"1"', written)) == ("p.yaml:2: version: has to be one line of 1 to 500 characters",)


@pytest.mark.parametrize("again", ["insult: {}", "'insult': {}"])
def test_a_key_written_twice(again: str) -> None:
    assert problems(RULED + f"  {again}\n") == ("p.yaml:5: labels.insult: written twice, here and on line 4; keep one",)


def test_an_alias_is_refused_because_its_rules_would_have_no_line() -> None:
    text = HEAD + "labels:\n  insult: &strict {all: {hold: 0.5}}\n  threat: *strict\n"

    assert problems(text) == ("p.yaml:5: labels.threat: is an alias (*name); write out what it stands for",)


def test_an_alias_of_what_it_stands_in_is_refused_too() -> None:
    assert "p.yaml:4: labels.insult: is an alias (*name); write out what it stands for" in problems(
        HEAD + "labels: &labels\n  insult: *labels\n"
    )


def test_a_tag_constructs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "made"
    text = HEAD + f"labels: !!python/object/apply:pathlib.Path.touch ['{path}']\n"

    assert problems(text) == ("p.yaml:3: labels: has to be a mapping of labels",)
    assert not path.exists()


@pytest.mark.parametrize("labels", ["{}", "{insult: {}}", "{insult: {all: {}}}"])
def test_a_policy_without_a_rule(labels: str) -> None:
    assert problems(HEAD + f"labels: {labels}\n") == (
        "p.yaml:3: labels: no rule at all: every comment would be allowed",
    )


def test_rules_of_a_community_alone_are_rules() -> None:
    text = HEAD + "labels: {}\ncommunities: {club: {labels: {insult: {all: {hold: 0.5}}}}}\n"

    assert read_policy(text.encode(), "p.yaml").rule_names == {"communities.club.labels.insult.all.hold"}


# ---- what is odd


def test_a_label_without_a_rule_is_odd() -> None:
    policy = read_policy((RULED + "  threat: {}\n").encode(), "p.yaml")

    assert "p.yaml:5: warning: labels.threat: no rule looks at this label" in policy.warnings
    assert "p.yaml:3: warning: labels.self_harm: no rule looks at this label" in policy.warnings
    assert not any("labels.insult" in warning for warning in policy.warnings)


@pytest.mark.parametrize(
    ("bands", "comparison"),
    [
        ("{16_17: {hold: 0.6}, adult: {hold: 0.5}}", "0.5 is hold for adult but allow for 16_17"),
        ("{all: {limit: 0.4}, adult: {limit: 0.4, remove: 0.9}}", "0.9 is remove for adult but limit for 16_17"),
        ("{13_15: {nudge: 0.5}, all: {nudge: 0.5, hold: 0.7}}", "0.7 is hold for 16_17 but nudge for 13_15"),
        ("{under_13: {}, all: {nudge: 0.5}}", "0.5 is nudge for 13_15 but allow for under_13"),
    ],
)
def test_an_older_audience_treated_more_strictly_is_odd(bands: str, comparison: str) -> None:
    text = f"a score of {comparison}: the older audience is treated more strictly"

    assert f"p.yaml:3: warning: labels.insult: {text}" in warnings(f"{{insult: {bands}}}")


@pytest.mark.parametrize(
    "label",
    [
        "insult: {under_13: {hold: 0.5}, all: {nudge: 0.5, hold: 0.8}}",
        "insult: {under_13: {remove: 0.5}, all: {nudge: 0.5}}",
        "kindness: {under_13: {highlight: 0.5}, all: {highlight: 0.9}}",
    ],
)
def test_an_older_audience_treated_as_strictly_or_less_is_not_odd(label: str) -> None:
    assert warnings(f"{{insult: {{all: {{hold: 0.1}}}}, {label}}}" if "kind" in label else f"{{{label}}}") == []


def test_a_community_that_treats_an_older_audience_more_strictly_is_odd() -> None:
    (warning,) = warnings("{insult: {all: {hold: 0.5}}}", "{club: {labels: {insult: {16_17: {hold: 0.7}}}}}")

    assert warning == (
        "p.yaml:4: warning: communities.club.labels.insult: a score of 0.5 is hold for adult but allow for 16_17: "
        "the older audience is treated more strictly"
    )


def test_all_that_speaks_for_no_band_is_odd() -> None:
    bands = "{under_13: {hold: 0.5}, 13_15: {hold: 0.5}, 16_17: {hold: 0.5}, adult: {hold: 0.5}, all: {hold: 0.9}}"

    assert warnings(f"{{insult: {bands}}}") == [
        "p.yaml:3: warning: labels.insult.all: speaks for no band: each is named itself"
    ]


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        ("{}", "labels: names no label, so it changes nothing"),
        ("{insult: {}}", "labels.insult: names no age band, so it changes nothing; `all: {}` turns the label off"),
        ("{insult: {adult: {hold: 0.5}}}", f"labels.insult.adult: {INHERITED}"),
        ("{insult: {all: {hold: 0.5}}}", f"labels.insult.all: {INHERITED}"),
        ("{threat: {all: {}}}", f"labels.threat.all: {INHERITED}"),
    ],
)
def test_a_community_that_changes_nothing_is_odd(labels: str, place: str) -> None:
    assert warnings("{insult: {all: {hold: 0.5}}}", f"{{club: {{labels: {labels}}}}}") == [
        f"p.yaml:4: warning: communities.club.{place}"
    ]


@pytest.mark.parametrize(
    "labels", ["{insult: {all: {hold: 0.6}}}", "{insult: {all: {}}}", "{threat: {all: {hold: 0.5}}}"]
)
def test_a_community_that_changes_something_is_not_odd(labels: str) -> None:
    general = "{insult: {all: {hold: 0.5}}, profanity: {all: {limit: 0.9}}}"

    assert warnings(general, f"{{club: {{labels: {labels}}}}}") == []


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (
            "{self_harm: {under_13: {hold: 0.3, remove: 0.9}, all: {hold: 0.4}}}",
            ["self_harm.under_13.remove: a cry for help that vanishes reaches nobody; hold it, or escalate"],
        ),
        (
            "{threat: {all: {hold: 0.3, remove: 0.8, escalate: 0.9}}}",
            ["threat.all.remove: a threat that vanishes warns nobody; hold it, or escalate"],
        ),
        (
            "{self_harm: {all: {nudge: 0.3, limit: 0.6}}}",
            [
                "self_harm.all.limit: friends alone see it, and nobody who could help; hold it, or escalate",
                "self_harm.all.nudge: it asks whoever is in danger, or is one, to think again; hold it, or escalate",
            ],
        ),
        ("{self_harm: {all: {hold: 0.3, escalate: 0.9}}, insult: {all: {nudge: 0.4, remove: 0.9}}}", []),
    ],
)
def test_removing_what_a_person_has_to_see_is_odd(labels: str, expected: list[str]) -> None:
    assert warnings(labels) == [f"p.yaml:3: warning: labels.{text}" for text in expected]


def test_a_community_that_removes_what_a_person_has_to_see_is_odd() -> None:
    assert warnings("{self_harm: {all: {hold: 0.5}}}", "{club: {labels: {self_harm: {adult: {remove: 0.9}}}}}") == [
        f"p.yaml:4: warning: communities.club.labels.{text}"
        for text in (
            "self_harm.adult.remove: a cry for help that vanishes reaches nobody; hold it, or escalate",
            "self_harm: a score of 0.9 is remove for adult but hold for 16_17: the older audience is treated more strictly",
        )
    ]


@pytest.mark.parametrize(
    ("labels", "bands"),
    [
        ("{insult: {under_13: {hold: 0.5}, 13_15: {hold: 0.6}}}", "16_17, adult"),
        ("{insult: {all: {hold: 0.5}, adult: {}}, kindness: {all: {highlight: 0.9}}}", "adult"),
        ("{kindness: {all: {highlight: 0.9}}}", "under_13, 13_15, 16_17, adult"),
    ],
)
def test_readers_for_whom_no_rule_speaks_are_odd(labels: str, bands: str) -> None:
    text = f"no rule for harm speaks for {bands}: whatever a comment scores, they see it"

    assert warnings(labels) == [f"p.yaml:3: warning: labels: {text}"]


def test_one_label_is_enough_to_speak_for_readers() -> None:
    assert warnings("{insult: {under_13: {hold: 0.5}}, threat: {under_13: {hold: 0.5}, all: {hold: 0.6}}}") == []


def test_a_community_that_turns_off_the_last_rule_of_its_readers_is_odd() -> None:
    general = "{insult: {all: {hold: 0.5}, adult: {}}}"

    (of_all, of_club) = warnings(general, "{club: {labels: {insult: {16_17: {}}}}}")

    assert "labels: no rule for harm speaks for adult: " in of_all
    assert "communities.club.labels: no rule for harm speaks for 16_17: " in of_club


# ---- languages that the model does not know


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "unsupported_language: {all: allow, adult: hold}",
            [("p.yaml:5: warning: unsupported_language: hold for adult but allow for 16_17: "
             "the older audience is treated more strictly")],
        ),
        (
            "unsupported_language: {under_13: hold, 13_15: hold, 16_17: allow, adult: allow, all: limit}",
            ["p.yaml:5: warning: unsupported_language.all: speaks for no band: each is named itself"],
        ),
        (
            "communities: {club: {unsupported_language: {under_13: limit}}}",
            [("p.yaml:5: warning: communities.club.unsupported_language: hold for 13_15 but limit for under_13: "
             "the older audience is treated more strictly")],
        ),
        (
            "unsupported_language: {all: limit}\ncommunities: {club: {unsupported_language: {adult: limit}}}",
            [f"p.yaml:6: warning: communities.club.unsupported_language.adult: {INHERITED}"],
        ),
        (
            "undetermined_language: {adult: limit}",
            [("p.yaml:5: warning: undetermined_language: limit for adult but allow for 16_17: "
             "the older audience is treated more strictly")],
        ),
        (
            "undetermined_language: {all: limit}\ncommunities: {club: {undetermined_language: {adult: limit}}}",
            [f"p.yaml:6: warning: communities.club.undetermined_language.adult: {INHERITED}"],
        ),
        (
            "communities: {club: {undetermined_language: {all: allow}}}",
            [f"p.yaml:5: warning: communities.club.undetermined_language.all: {INHERITED}"],
        ),
        ("undetermined_language: {under_13: hold, 13_15: limit}", []),
        ("unsupported_language: {}", []),
        ("communities: {club: {unsupported_language: {all: hold}}}", []),
    ],
)  # fmt: skip
def test_what_is_odd_about_languages(written: str, expected: list[str]) -> None:
    policy = read_policy((RULED + written + "\n").encode(), "p.yaml")

    assert [warning for warning in policy.warnings if "no rule looks at this label" not in warning] == expected


# ---- precisions instead of scores

POINTS: Points = {"insult": {0.8: 0.71, 0.9: 0.93, 0.95: 0.93, 0.99: None}, "threat": {0.8: 0.5}, "profanity": {}}


def asking(labels: str, points: Points | None = POINTS, communities: str = "{}") -> Policy:
    return read_policy(f"{HEAD}labels: {labels}\ncommunities: {communities}\n".encode(), "p.yaml", points)


def refusal(labels: str, points: Points | None = POINTS) -> str:
    with pytest.raises(PolicyError) as caught:
        asking(labels, points)
    (problem,) = caught.value.problems
    return problem


def thresholds(policy: Policy, community: str | None = None) -> dict[str, float]:
    return {rule.name: rule.threshold for _, rule in policy.rules_for(None, community)}


@pytest.mark.parametrize("written", ["precision 0.80", "precision 0.8", "precision  .8", "'precision 0.800'"])
def test_a_precision_stands_for_the_score_from_which_the_model_is_right_so_often(written: str) -> None:
    policy = asking(f"{{insult: {{all: {{nudge: 0.5, hold: {written}, remove: precision 0.95}}}}}}")

    assert thresholds(policy) == {
        "labels.insult.all.nudge": 0.5,
        "labels.insult.all.hold": 0.71,
        "labels.insult.all.remove": 0.93,
    }
    assert policy.decide({"insult": 0.71}, None, None).action == "hold"


def test_a_community_may_ask_for_precisions_too() -> None:
    policy = asking(
        "{insult: {all: {hold: 0.9}}}", communities="{club: {labels: {insult: {adult: {hold: precision 0.80}}}}}"
    )

    assert thresholds(policy, "club")["communities.club.labels.insult.adult.hold"] == 0.71


def test_the_same_file_with_another_model_is_another_policy() -> None:
    labels = "{insult: {all: {hold: precision 0.80}}}"
    mine, same, other = (
        asking(labels, points).version.sha256 for points in (POINTS, {"insult": {0.8: 0.71}}, {"insult": {0.8: 0.72}})
    )

    assert mine == same != other
    text = f"{HEAD}labels: {labels}\ncommunities: {{}}\n"
    assert mine == hashlib.sha256(text.encode() + b'{"insult":{"0.8":0.71}}').hexdigest()


def test_a_policy_without_precisions_is_the_same_with_every_model() -> None:
    labels = "{insult: {all: {hold: 0.5}}}"

    assert asking(labels, POINTS).version == asking(labels, None).version


@pytest.mark.parametrize(
    ("points", "hold"),
    [(POINTS, 0.71), ({}, 0.66), (None, 0.66), ({"threat": {0.8: 0.5}}, 0.66), ({"insult": {0.8: None}}, 0.66)],
    ids=["stated", "no points", "no file", "another label", "never reached"],
)
def test_a_precision_with_an_else_survives_a_model_that_does_not_state_it(points: Points | None, hold: float) -> None:
    policy = asking("{insult: {all: {hold: precision 0.80 else 0.66}}}", points)

    assert [rule.threshold for _, rule in policy.rules_for(AgeBand.ADULT, None)] == [hold]
    assert policy.warnings == asking("{insult: {all: {hold: 0.5}}}", points).warnings


def test_a_reason_with_a_precisions_score_can_be_written() -> None:
    policy = asking("{insult: {all: {hold: precision 0.80}}}")

    verdict = policy.decide({"insult": 0.9}, AgeBand.ADULT, None)

    assert b'"threshold":0.71' in msgspec.json.encode(verdict.reasons)


def test_an_else_has_to_be_a_threshold() -> None:
    assert "a threshold is a number above 0 and up to 1, not 7" in refusal(
        "{insult: {all: {hold: precision 0.99 else 7}}}"
    )
    # Though the model states the precision, or will never be sure enough: another one may need it.
    for written in ("hold: precision 0.80 else 7", "remove: precision 0.99 else 7"):
        assert "a threshold is a number above 0 and up to 1, not 7" in refusal(f"{{insult: {{all: {{{written}}}}}}}")
    assert "a precision is a number above 0 and up to 1, not much" in refusal(
        "{insult: {all: {hold: precision much else 0.7}}}"
    )


def test_another_model_makes_another_policy_with_an_else_too() -> None:
    labels = "{insult: {all: {hold: precision 0.80 else 0.71}}}"

    assert asking(labels).version.sha256 != asking(labels, {}).version.sha256


def test_a_precision_that_is_never_reached_drops_its_rule_with_a_warning() -> None:
    policy = asking("{insult: {all: {hold: precision 0.80, remove: precision 0.99}}}")

    assert thresholds(policy) == {"labels.insult.all.hold": 0.71}
    assert (
        "p.yaml:3: warning: labels.insult.all.remove: the model never reaches precision 0.99 for insult: "
        "the rule is dropped" in policy.warnings
    )
    # It was asked for: a model that reaches it makes another policy.
    reached = {"insult": {0.8: 0.71, 0.99: 0.98}}
    again = asking("{insult: {all: {hold: precision 0.80, remove: precision 0.99}}}", reached)
    assert policy.version.sha256 != again.version.sha256


def test_what_escalates_is_a_danger_though_the_model_is_never_sure_enough_to_do_it() -> None:
    labels = "{insult: {all: {remove: 0.9}}, threat: {16_17: {hold: 0.5, escalate: precision 0.95}, all: {hold: 0.5}}}"
    policy = asking(labels, {"threat": {0.95: None}})

    def decided(band: AgeBand, **scores: float) -> tuple[str, str | None]:
        verdict = policy.decide(scores, band, None)
        return verdict.action, verdict.category

    assert decided(AgeBand.FROM_16_TO_17, insult=0.95, threat=0.7) == ("escalate", "threat")
    assert decided(AgeBand.FROM_16_TO_17, threat=1.0) == ("hold", "threat")
    # What danger is does not depend on who reads.
    assert decided(AgeBand.ADULT, insult=0.95, threat=0.7) == ("escalate", "threat")
    assert "labels.threat.16_17.escalate" not in policy.rule_names
    (warning,) = [warning for warning in policy.warnings if "never reaches" in warning]
    assert "what is held is never just removed" in warning
    assert not any("inf" in warning for warning in policy.warnings)


@pytest.mark.parametrize(("label", "action"), [("insult", "remove"), ("kindness", "highlight")])
def test_no_else_stands_in_for_being_sure(label: str, action: str) -> None:
    labels = f"{{threat: {{all: {{hold: 0.6}}}}, {label}: {{all: {{{action}: precision 0.95 else 0.9}}}}}}"
    name = f"labels.{label}.all.{action}"
    never, silent = asking(labels, {label: {0.95: None}}), asking(labels, {})

    assert name not in thresholds(never)
    assert (
        f"p.yaml:3: {name}: the model never reaches precision 0.95 for {label}: the rule is dropped" in never.resolved
    )
    assert not any("never reaches" in warning for warning in never.warnings)
    # A model that says nothing of it may be as sure as that.
    assert thresholds(silent)[name] == 0.9
    assert never.version != silent.version


@pytest.mark.parametrize(("label", "action"), [("insult", "remove"), ("kindness", "highlight")])
def test_a_precision_above_one_that_is_never_reached_is_not_reached_either(label: str, action: str) -> None:
    labels = f"{{threat: {{all: {{hold: 0.6}}}}, {label}: {{all: {{{action}: precision 0.99 else 0.6}}}}}}"

    never = asking(labels, {label: {0.8: 0.5, 0.95: None}})

    assert f"labels.{label}.all.{action}" not in thresholds(never)
    # Of one that lies above all that are reached nobody knows.
    assert thresholds(asking(labels, {label: {0.8: 0.5}}))[f"labels.{label}.all.{action}"] == 0.6


def test_a_policy_of_which_no_rule_is_left_is_none() -> None:
    assert refusal("{insult: {all: {remove: precision 0.99}}}") == (
        "p.yaml:3: labels: no rule at all: every comment would be allowed"
    )


HERE = "(operating_points.json in its folder)"


@pytest.mark.parametrize(
    ("labels", "points", "problem"),
    [
        ("{insult: {all: {hold: precision 0.85}}}", POINTS, (f"asks for precision 0.85 of insult, and the model states only "
         f"0.80, 0.90, 0.95, 0.99 {HERE}")),
        ("{insult: {all: {hold: precision 0.85}}}", {"insult": {0.995: 0.9}}, ("asks for precision 0.85 of insult, and the "
         f"model states only 0.995 {HERE}")),
        ("{insult: {all: {hold: precision 0.80}}}", {"threat": {0.8: 0.5}}, ("asks for precision 0.80 of insult, and the "
         f"model states none for this label {HERE}")),
        ("{insult: {all: {hold: precision 0.80}}}", {}, ("asks for precision 0.80 of insult, and the model states no "
         f"operating points {HERE}")),
        ("{insult: {all: {hold: precision 0.80}}}", None, ("asks for precision 0.80 of insult, and the model states no "
         f"operating points {HERE}")),
        ("{insult: {all: {hold: precision much}}}", POINTS, "a precision is a number above 0 and up to 1, not much"),
        ("{insult: {all: {hold: precision 80}}}", POINTS, "a precision is a number above 0 and up to 1, not 80"),
        ("{insult: {all: {hold: precision nan}}}", POINTS, "a precision is a number above 0 and up to 1, not nan"),
        ("{insult: {all: {hold: precision}}}", POINTS, "a threshold is a number above 0 and up to 1, not precision"),
    ],
)  # fmt: skip
def test_a_precision_that_the_model_does_not_state_is_refused(labels: str, points: Points | None, problem: str) -> None:
    assert refusal(labels, points) == f"p.yaml:3: labels.insult.all.hold: {problem}"


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (
            "nudge: 0.72, hold: precision 0.80",
            "nudge (0.72) can never be seen: hold is stronger and already fires at 0.71, precision 0.80",
        ),
        (
            "hold: precision 0.90, remove: precision 0.95",
            "hold (0.93, precision 0.90) can never be seen: remove is stronger and already fires at 0.93, precision 0.95",
        ),
        (
            "hold: precision 0.95, remove: 0.90",
            "hold (0.93, precision 0.95) can never be seen: remove is stronger and already fires at 0.9",
        ),
    ],
)
def test_scores_that_meet_or_cross_because_of_the_model_say_so(rules: str, problem: str) -> None:
    remedy = "with this model's operating points the two meet or cross; leave the milder out, or set them further apart"

    assert refusal(f"{{insult: {{all: {{{rules}}}}}}}") == f"p.yaml:3: labels.insult.all: {problem}; {remedy}"


def test_a_label_that_does_not_exist_is_told_once_whatever_it_asks_for() -> None:
    assert refusal("{insults: {all: {hold: precision 0.80}}}") == (
        "p.yaml:3: labels.insults: no such label; did you mean insult?"
    )


def test_odd_rules_are_found_among_resolved_scores() -> None:
    policy = asking("{insult: {under_13: {hold: precision 0.95}, all: {hold: precision 0.80}}}")

    assert (
        "p.yaml:3: warning: labels.insult: a score of 0.71 is hold for 13_15 but allow for under_13: "
        "the older audience is treated more strictly" in policy.warnings
    )


def test_points_are_handed_on_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(HEAD + "labels: {insult: {all: {hold: precision 0.80}}}\n")

    assert thresholds(load_policy(path, POINTS)) == {"labels.insult.all.hold": 0.71}
