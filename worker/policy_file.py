"""A policy's YAML file → a `Policy`, or every problem in it, each with its line.

Read at startup, and by `comment-screener policy check`.

    id: my-policy
    version: "3"
    labels:
      insult:                    # any label of worker.classifier
        under_13: {hold: 0.6}    # any band but unknown
        all: {nudge: 0.8}        # the bands that are not named
      threat:
        all: {hold: precision 0.80}   # the score from which the model is right so often (worker.operating_points)
        adult: {hold: precision 0.90 else 0.75}   # and from which with a model that does not state it, or never reaches it
    unsupported_language:        # what happens to a comment in a language that the model does not know
      all: hold                  # allow, limit or hold; what is not named is held for readers under 16
    undetermined_language:       # and to one whose language nobody can tell, of words that are no common English ones
      under_13: limit            # allow, limit or hold; what is not named is allowed
    communities:
      gardening:
        labels:
          insult:
            adult: {}            # off; everything else is inherited

Steps: YAML nodes, which know their lines (`worker.policy_yaml`) → scores in place of precisions (`worker.policy_precisions`) →
models, which know the shape (`worker.policy_shape`) → rules, and what is odd about them (here).
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from worker.classifier import HARM_LABELS, LABELS
from worker.errors import PolicyError
from worker.files import MIB, read_bytes
from worker.operating_points import Points
from worker.policy import KNOWN_BANDS, LANGUAGE_DEFAULT, NEVER, LanguageRule, LanguageRules, Policy, Rule
from worker.policy_precisions import Point, resolve
from worker.policy_shape import ALL, Community, Labels, Languages, PolicyFile, explain, misplaced_actions, not_one_of
from worker.policy_yaml import Keys, Problem, Tree, compose
from worker.records import UNDETERMINED_LANGUAGE, UNSUPPORTED_LANGUAGE, Action, AgeBand, PolicyVersion

_PRESET_DIRECTORY: Final = Path(__file__).with_name("policies")


def preset_names() -> list[str]:
    """The policies that come with the worker."""
    return sorted(path.stem for path in _PRESET_DIRECTORY.glob("*.yaml"))


def preset_path(name: str) -> Path:
    """The file of a preset.

    Raises:
        PolicyError: no preset has this name.
    """
    if name not in preset_names():
        raise PolicyError([f"{name}: {not_one_of(name, 'preset', preset_names())}"])
    return _PRESET_DIRECTORY / f"{name}.yaml"


def load_policy(source: str | Path, points: Points | None = None) -> Policy:
    """Read a policy from a file, or the preset of that name.

    Args:
        source: the file or the name.
        points: the operating points of the model that scores, for the precisions that the policy asks for.

    Raises:
        PolicyError: it cannot be read, or something in it is wrong, or it asks for a precision that the model does not state.
        StartupError: it is larger than any policy.
    """
    file = str(source)
    path = preset_path(file) if file in preset_names() else Path(source)
    try:
        content = read_bytes(path, MIB)
    except FileNotFoundError:
        presets = ", ".join(preset_names())
        raise PolicyError([f"{file}: no such file, and no preset either; the presets are {presets}"]) from None
    except OSError as error:
        raise PolicyError([f"{file}: cannot be read: {error.strerror}"]) from error
    return read_policy(content, file, points)


def read_policy(content: bytes, file: str, points: Points | None = None) -> Policy:
    """Turn the bytes of a policy file into a policy; `file` is its name in messages. Arguments and errors as above.

    The policy's hash is that of the bytes, and of the scores that its precisions stand for: the same file with another model
    is another policy.
    """
    tree = Tree(compose(content, file))
    resolved = resolve(tree, points or {})
    problems = [*tree.problems, *misplaced_actions(tree.lines), *resolved.problems]
    model = None
    try:
        model = PolicyFile.model_validate(tree.plain)
    except ValidationError as error:
        problems += explain(error)
    if model:
        problems += [
            Problem(("communities", name, "labels"), "is missing")
            for name, community in model.communities.items()
            if not community.model_fields_set
        ]
    if model and not problems and not model.has_rules():
        problems.append(Problem(("labels",), "no rule at all: every comment would be allowed"))
    if problems or model is None:
        raise PolicyError([f"{file}:{line}: {text}" for line, text in sorted(map(tree.locate, problems))])

    rules = _spread(model.labels, ("labels",))
    own = {
        name: _spread(community.labels, ("communities", name, "labels"))
        for name, community in model.communities.items()
    }
    communities = {name: rules | overrides for name, overrides in own.items()}
    language = _spread_languages(model, LANGUAGE_DEFAULT, ())
    community_languages = {
        name: _spread_languages(community, language, ("communities", name))
        for name, community in model.communities.items()
    }
    odd = [
        *resolved.warnings,
        *_warn(model, rules, communities),
        *_warn_languages(model, (), language),
        *(
            problem
            for name, community in model.communities.items()
            for problem in _warn_languages(community, ("communities", name), community_languages[name], language)
        ),
    ]
    warnings = sorted(map(tree.locate, odd))
    return Policy(
        PolicyVersion(model.id, model.version, hashlib.sha256(content + resolved.canonical()).hexdigest()),
        rules,
        communities,
        [f"{file}:{line}: warning: {text}" for line, text in warnings],
        language=language,
        community_languages=community_languages,
        resolved=[f"{file}:{line}: {text}" for line, text in sorted(map(tree.locate, resolved.notes))],
    )


def write_scores(text: str, file: str, points: Points) -> str:
    """The text of a policy with scores where it asks for precisions; one that is never reached stays as it is.

    Raises:
        PolicyError: it is wrong, or the model does not state one of them.
    """
    read_policy(text.encode(), file, points)
    tree = Tree(compose(text.encode(), file))
    resolve(tree, points)
    for path, (start, end) in sorted(tree.places.items(), key=lambda item: -item[1][0]):
        if isinstance(threshold := tree.at(path[:-1]).get(path[-1]), Point):
            text = f"{text[:start]}{threshold:g}{text[end:]}"
    return text


_DANGERS: Final = {
    "threat": "a threat that vanishes warns nobody",
    "self_harm": "a cry for help that vanishes reaches nobody",
}
"""Labels of what a person has to see, and what comes of removing it."""
_UNSEEN: Final = {
    Action.LIMIT: "friends alone see it, and nobody who could help",
    Action.NUDGE: "it asks whoever is in danger, or is one, to think again",
}
"""Milder actions by which nobody has to see it either, and what comes of them."""
_NO_CHANGE: Final = "is what the community inherits anyway, so it changes nothing"

_Spread = dict[tuple[str, AgeBand], tuple[Rule, ...]]


def _covered(bands: Collection[str], key: str) -> list[AgeBand]:
    """The bands that this key speaks for."""
    return [band for band in KNOWN_BANDS if (band == key if key != ALL else band not in bands)]


def _spread(labels: Labels, root: Keys) -> _Spread:
    """Rules by label and band, with `all` spread over the bands that it speaks for."""
    return {
        (label, band): tuple(
            # A plain number: how it was written is no business of the records that it ends up in.
            Rule(action, float(threshold), ".".join((*root, label, key, action)))
            for action, threshold in thresholds.items()
        )
        for label, bands in labels.items()
        for key, thresholds in bands.items()
        for band in _covered(bands, key)
    }


def _languages(written: PolicyFile | Community) -> dict[str, Languages]:
    """What stands there of each kind of `LanguageRules`."""
    return {
        UNSUPPORTED_LANGUAGE: written.unsupported_language,
        UNDETERMINED_LANGUAGE: written.undetermined_language,
    }


def _spread_languages(written: PolicyFile | Community, inherited: LanguageRules, root: Keys) -> LanguageRules:
    """The rules of each band, with `all` spread as with labels; bands that are not named keep what they inherit."""
    own = {
        (kind, band): LanguageRule(action, ".".join((*root, kind, key)))
        for kind, bands in _languages(written).items()
        for key, action in bands.items()
        for band in _covered(bands, key)
    }
    return {**inherited, **own}


def _warn_languages(
    written: PolicyFile | Community, root: Keys, rules: LanguageRules, inherited: LanguageRules | None = None
) -> Iterator[Problem]:
    for kind, bands in _languages(written).items():
        path = (*root, kind)
        if not bands:
            continue
        if ALL in bands and not _covered(bands, ALL):
            yield Problem((*path, ALL), "speaks for no band: each is named itself")
        for younger, older in pairwise(KNOWN_BANDS):
            of_younger, of_older = rules[kind, younger].action, rules[kind, older].action
            if of_younger.strength < of_older.strength:
                text = f"{of_older} for {older} but {of_younger} for {younger}"
                yield Problem(path, f"{text}: the older audience is treated more strictly")
        for key, action in bands.items():
            covered = _covered(bands, key)
            if inherited and covered and all(inherited[kind, band].action is action for band in covered):
                yield Problem((*path, key), _NO_CHANGE)


def _warn(model: PolicyFile, rules: _Spread, communities: Mapping[str, _Spread]) -> Iterator[Problem]:
    ruled = {label for table in (rules, *communities.values()) for (label, _), own in table.items() if own}
    for label in LABELS:
        if label not in ruled:
            yield Problem(("labels", label), "no rule looks at this label")
    unspoken = _unspoken(rules)
    yield from _warn_bands(unspoken, ("labels",))
    yield from _warn_labels(model.labels, ("labels",), rules)
    for community_id, community in model.communities.items():
        root = ("communities", community_id, "labels")
        yield from _warn_bands([band for band in _unspoken(communities[community_id]) if band not in unspoken], root)
        yield from _warn_labels(community.labels, root, communities[community_id])
        yield from _warn_no_change(community, root, rules)


def _unspoken(rules: _Spread) -> list[AgeBand]:
    """The bands for which no score of harm does anything."""
    return [band for band in KNOWN_BANDS if not any(rules.get((label, band)) for label in HARM_LABELS)]


def _warn_bands(bands: Sequence[AgeBand], path: Keys) -> Iterator[Problem]:
    if bands:
        yield Problem(path, f"no rule for harm speaks for {', '.join(bands)}: whatever a comment scores, they see it")


def _warn_labels(labels: Labels, root: Keys, rules: _Spread) -> Iterator[Problem]:
    for label, bands in labels.items():
        path = (*root, label)
        for key, thresholds in bands.items() if label in _DANGERS else ():
            for action, what in {Action.REMOVE: _DANGERS[label], **_UNSEEN}.items() if _covered(bands, key) else ():
                if action in thresholds:
                    yield Problem((*path, key, action), f"{what}; hold it, or escalate")
        if ALL in bands and not _covered(bands, ALL):
            yield Problem((*path, ALL), "speaks for no band: each is named itself")
        # Neighbours are enough: if each is at least as strict as the next older one, so are all.
        for younger, older in pairwise(KNOWN_BANDS):
            for rule in sorted(rules.get((label, older), ()), key=lambda rule: -rule.action.strength):
                action = _act(rules.get((label, younger), ()), rule.threshold)
                if rule.threshold != NEVER and action.strength < rule.action.strength:
                    text = f"a score of {rule.threshold:g} is {rule.action} for {older} but {action} for {younger}"
                    yield Problem(path, f"{text}: the older audience is treated more strictly")
                    break


def _act(rules: Sequence[Rule], score: float) -> Action:
    fired = (rule.action for rule in rules if score >= rule.threshold)
    return max(fired, key=lambda action: action.strength, default=Action.ALLOW)


def _warn_no_change(community: Community, root: Keys, inherited: _Spread) -> Iterator[Problem]:
    labels = community.labels
    if not labels and not any(_languages(community).values()):
        yield Problem(root, "names no label, so it changes nothing")
    for label, bands in labels.items():
        if not bands:
            yield Problem((*root, label), "names no age band, so it changes nothing; `all: {}` turns the label off")
        for key, thresholds in bands.items():
            covered = _covered(bands, key)
            before = [{rule.action: rule.threshold for rule in inherited.get((label, band), ())} for band in covered]
            if covered and all(thresholds == rules for rules in before):
                yield Problem((*root, label, key), _NO_CHANGE)
