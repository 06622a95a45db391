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
    communities:
      gardening:
        labels:
          insult:
            adult: {}            # off; everything else is inherited

Steps: YAML nodes (they know their lines) → scores in place of precisions → models (they know the shape) → rules, and what is
odd about them.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, NamedTuple, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from worker.classifier import HARM_LABELS, KIND_LABELS, LABELS
from worker.errors import StartupError
from worker.files import MIB, read_bytes
from worker.operating_points import FILE as POINTS_FILE
from worker.operating_points import Points
from worker.policy import KNOWN_BANDS, LANGUAGE_DEFAULT, NEVER, LanguageRule, LanguageRules, Policy, Rule
from worker.records import MAX_ID_CHARACTERS, UNSUPPORTED_LANGUAGE, Action, AgeBand, PolicyVersion

_PRESET_DIRECTORY: Final = Path(__file__).with_name("policies")
_ALL: Final = "all"
_BANDS: Final = (*KNOWN_BANDS, _ALL)
_ACTIONS: Final = tuple(action for action in Action if action is not Action.ALLOW)
_LANGUAGE_ACTIONS: Final = (Action.ALLOW, Action.LIMIT, Action.HOLD)
_NEVER_FOR_A_LANGUAGE: Final = (
    "is not for a language: nobody has understood the comment yet; it has to be one of allow, limit, hold"
)
_ONLY_WHEN_SURE: Final = (Action.HIGHLIGHT, Action.REMOVE)
"""No `else` stands in where a model was measured and is never as sure as these ask: they put a comment
before all others, or out of sight for good."""
_LONGEST_QUOTE: Final = 300
_PRECISION: Final = re.compile(r"\s*precision\s+(\S+?)(?:\s+else\s+(\S+))?\s*")


class PolicyError(StartupError):
    """The policy cannot be used. `problems` holds all that is wrong with it, a line each: `FILE:LINE: where: what`."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


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
    tree = _Tree(_compose(content, file))
    resolved = _resolve(tree, points or {})
    problems = [*tree.problems, *_misplaced_actions(tree.lines), *resolved.problems]
    model = None
    try:
        model = _PolicyFile.model_validate(tree.plain)
    except ValidationError as error:
        problems += _explain(error)
    if model:
        problems += [
            _Problem(("communities", name, "labels"), "is missing")
            for name, community in model.communities.items()
            if not community.model_fields_set
        ]
    if model and not problems and not model.has_rules():
        problems.append(_Problem(("labels",), "no rule at all: every comment would be allowed"))
    if problems or model is None:
        raise PolicyError([f"{file}:{line}: {text}" for line, text in sorted(map(tree.locate, problems))])

    rules = _spread(model.labels, ("labels",))
    own = {
        name: _spread(community.labels, ("communities", name, "labels"))
        for name, community in model.communities.items()
    }
    communities = {name: rules | overrides for name, overrides in own.items()}
    language = _spread_language(model.unsupported_language, LANGUAGE_DEFAULT, ())
    community_languages = {
        name: _spread_language(community.unsupported_language, language, ("communities", name))
        for name, community in model.communities.items()
    }
    odd = [
        *resolved.warnings,
        *_warn(model, rules, communities),
        *_warn_language(model.unsupported_language, (), language),
        *(
            problem
            for name, community in model.communities.items()
            for problem in _warn_language(
                community.unsupported_language, ("communities", name), community_languages[name], language
            )
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
    tree = _Tree(_compose(text.encode(), file))
    _resolve(tree, points)
    for path, (start, end) in sorted(tree.places.items(), key=lambda item: -item[1][0]):
        if isinstance(threshold := tree.at(path[:-1]).get(path[-1]), _Point):
            text = f"{text[:start]}{threshold:g}{text[end:]}"
    return text


def not_one_of(name: str, noun: str, choices: Collection[str]) -> str:
    """Say that there is no such thing, and which one was probably meant."""
    nearest = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"it has to be one of {', '.join(choices)}"
    return f"no such {noun}; {hint}"


# ---- the YAML, with its lines

_Keys = tuple[str, ...]


class _Problem(NamedTuple):
    path: _Keys
    text: str
    line: int | None = None  # where it is not the line of the path


def _compose(content: bytes, file: str) -> yaml.Node | None:
    """Parse YAML, keeping every scalar as the text that was written.

    BaseLoader, because YAML 1.1 reads `13_15` as the number 1315, and a version like 1.10 as 1.1. Nothing but text
    comes of it, so there is nothing unsafe to construct.
    """

    def problem(line: int, text: str) -> PolicyError:
        return PolicyError([f"{file}:{line}: {text}"])

    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise problem(content.count(b"\n", 0, error.start) + 1, "not UTF-8; save the file as UTF-8") from None
    try:
        loader = yaml.BaseLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise problem(line, f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed") from None
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = _on_a_line(", ".join(filter(None, (error.context, error.problem))))
        raise problem(mark.line + 1 if mark else 1, f"not YAML: {what}") from None
    except (ValueError, OverflowError):
        # PyYAML makes numbers of what an escape or a version line says, and has no word for those that are none.
        raise problem(
            loader.line + 1, "not YAML: a number that stands for nothing, in an escape or a version"
        ) from None
    except RecursionError:
        raise problem(loader.line + 1, "not a policy: nested too deeply") from None


def _on_a_line(text: str) -> str:
    """What a file says, where a message quotes it: on one line, and no longer than anybody reads."""
    cut = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


class _Tree:
    """The document as dicts and text, the line of every key, and the keys that are wrong as YAML.

    `places` says from which character to which a value stands.
    """

    def __init__(self, root: yaml.Node | None) -> None:
        self.lines: dict[_Keys, int] = {}
        self.places: dict[_Keys, tuple[int, int]] = {}
        self.problems: list[_Problem] = []
        self._seen: set[yaml.Node] = set()
        self.plain = self._read(root, ())

    def locate(self, problem: _Problem) -> tuple[int, str]:
        """The line of a problem, or of the nearest thing around it, and its text with the path."""
        around = problem.path
        while around and around not in self.lines:
            around = around[:-1]
        line = problem.line or self.lines.get(around, 1)
        text = _on_a_line(problem.text)
        return line, f"{_on_a_line('.'.join(problem.path))}: {text}" if problem.path else text

    def at(self, path: _Keys) -> dict[str, object]:
        """The mapping at this path; an empty one that belongs to nothing where there is none."""
        plain = self.plain
        for key in path:
            plain = plain.get(key) if isinstance(plain, dict) else None
        return plain if isinstance(plain, dict) else {}

    def _read(self, node: yaml.Node | None, path: _Keys) -> object:
        if node in self._seen:
            # An alias is the same node again: its rules would stand on no line of their own, or inside themselves.
            self.problems.append(_Problem(path, "is an alias (*name); write out what it stands for"))
            return {}
        if node:
            self._seen.add(node)
        if isinstance(node, yaml.ScalarNode):
            self.places[path] = node.start_mark.index, node.end_mark.index
            return node.value
        if not isinstance(node, yaml.MappingNode):
            return None  # a list stands nowhere in a policy
        plain: dict[str, object] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(_Problem(path, "a key has to be text", line))
            elif key.value in plain:
                here = (*path, key.value)
                text = f"written twice, here and on line {self.lines[here]}; keep one"
                self.problems.append(_Problem(here, text, line))
            else:
                here = (*path, key.value)
                self.lines[here] = line
                plain[key.value] = self._read(value, here)
        return plain


# ---- precisions, and the scores that they stand for


class _Point(float):
    """A threshold that was written as a precision."""

    __slots__ = ("precision",)

    precision: str

    def __new__(cls, score: float, precision: str) -> Self:
        point = super().__new__(cls, score)
        point.precision = precision
        return point


class _Resolved(NamedTuple):
    problems: list[_Problem]
    warnings: list[_Problem]
    notes: list[_Problem]
    used: dict[str, dict[str, float | None]]

    def canonical(self) -> bytes:
        """The points that were used, for the policy's hash; nothing where none was."""
        return json.dumps(self.used, sort_keys=True, separators=(",", ":")).encode() if self.used else b""


def _resolve(tree: _Tree, points: Points) -> _Resolved:
    """Put scores in the place of `precision P` and `precision P else T`.

    A rule whose precision the model never reaches is taken out where it has no `else`, or does what takes being sure. One that
    would escalate stays and never fires: what it is there for is dangerous, whatever the model knows of it.
    """
    resolved = _Resolved([], [], [], {})
    for path in tree.lines:
        match path:
            case (*_, "labels", label, _, action):
                thresholds = tree.at(path[:-1])
                if (written := _PRECISION.fullmatch(str(thresholds.get(action)))) is None:
                    continue
                precision, otherwise = written[1], written[2]
                if label not in LABELS:  # which is told where the shape is checked
                    del thresholds[action]
                    continue
                if otherwise is not None and not _is_a_share(otherwise):
                    thresholds[action] = otherwise  # which is told where the shape is checked
                    continue
                score = _look_up(points, label, precision)
                unsure = score is None and action in _ONLY_WHEN_SURE
                if not (isinstance(score, float) or unsure or otherwise is None) and _is_a_share(precision):
                    thresholds[action] = otherwise
                    resolved.notes.append(_Problem(path, f"precision {precision} is not to be had: {otherwise}"))
                    continue
                if isinstance(score, str):
                    resolved.problems.append(_Problem(path, score))
                    del thresholds[action]
                    continue
                resolved.used.setdefault(label, {})[f"{float(precision):g}"] = score
                if score is None and action == Action.ESCALATE:
                    thresholds[action] = _Point(NEVER, precision)
                    text = f"the model never reaches precision {precision} for {label}: nothing escalates by this rule"
                    resolved.warnings.append(_Problem(path, f"{text}, though what is held is never just removed"))
                elif score is None:
                    text = f"the model never reaches precision {precision} for {label}: the rule is dropped"
                    # Whoever wrote an `else` has thought of a model that is not as good.
                    (resolved.notes if otherwise else resolved.warnings).append(_Problem(path, text))
                    del thresholds[action]
                else:
                    thresholds[action] = _Point(score, precision)
                    resolved.notes.append(_Problem(path, f"precision {precision} is {score:g}"))
    return resolved


def _look_up(points: Points, label: str, written: str) -> float | str | None:
    """The score; None where the precision is never reached; what is wrong, where it cannot be looked up."""
    if not _is_a_share(written):
        return f"a precision is a number above 0 and up to 1, not {written}"
    precision = float(written)
    asked = f"asks for precision {written} of {label}, and"
    if not points:
        return f"{asked} the model states no operating points ({POINTS_FILE} in its folder)"
    if not points.get(label):
        return f"{asked} the model states none for this label ({POINTS_FILE} in its folder)"
    if any(known <= precision and score is None for known, score in points[label].items()):
        return None
    if precision not in points[label]:
        stated = ", ".join(
            f"{known:.2f}" if round(known, 2) == known else f"{known:g}" for known in sorted(points[label])
        )
        return f"{asked} the model states only {stated} ({POINTS_FILE} in its folder)"
    return points[label][precision]


def _is_a_share(written: str) -> bool:
    """Whether it is a number above 0 and up to 1, as precisions and thresholds are."""
    try:
        return 0 < float(written) <= 1
    except ValueError:
        return False


# ---- the shape


def _wrong(text: str) -> PydanticCustomError:
    return PydanticCustomError("policy", "{text}", {"text": text})


def _one_of(noun: str, choices: Collection[str], never: Mapping[str, str]) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in choices:
            raise _wrong(never.get(name) or not_one_of(name, noun, choices))
        return name

    return check


def _mapping(of: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        if not isinstance(value, dict):
            raise _wrong(f"has to be a mapping of {of}")
        return value

    return check


def _read_name(value: object) -> str:
    if not (isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_ID_CHARACTERS):
        raise _wrong(f"has to be one line of 1 to {MAX_ID_CHARACTERS} characters")
    return value


def _read_threshold(value: object) -> float:
    if isinstance(value, _Point):
        return value
    if not _is_a_share(str(value)):
        written = f"not {value}" if value else "and cannot be empty"
        raise _wrong(f"a threshold is a number above 0 and up to 1, {written}")
    return float(str(value))


def _read_language_action(value: object) -> object:
    if not isinstance(value, str):
        raise _wrong(f"has to be one of {', '.join(_LANGUAGE_ACTIONS)}")
    return value


def _check_order(thresholds: dict[Action, float]) -> dict[Action, float]:
    harms = sorted((action for action in thresholds if action is not Action.HIGHLIGHT), key=lambda a: a.strength)
    hidden = [
        f"{milder} ({_shown(thresholds[milder])}) can never be seen: {stronger} is stronger and already fires at "
        f"{_shown(thresholds[stronger])}; {_remedy(thresholds[milder], thresholds[stronger])}"
        for milder, stronger in pairwise(harms)
        if thresholds[stronger] <= thresholds[milder]
    ]
    if hidden:
        raise _wrong("; ".join(hidden))
    return thresholds


def _shown(threshold: float) -> str:
    return f"{threshold:g}, precision {threshold.precision}" if isinstance(threshold, _Point) else f"{threshold:g}"


def _remedy(*thresholds: float) -> str:
    """A number was the writer's choice; where a precision ends up is the model's."""
    if any(isinstance(threshold, _Point) for threshold in thresholds):
        return (
            "with this model's operating points the two meet or cross; leave the milder out, or set them further apart"
        )
    return "a stronger action needs a higher threshold"


_Name = Annotated[str, BeforeValidator(_read_name)]
_Label = Annotated[str, AfterValidator(_one_of("label", LABELS, {}))]
_Band = Annotated[
    str,
    AfterValidator(
        _one_of(
            "age band",
            _BANDS,
            {"unknown": "cannot be written: an unknown audience gets the strictest of what the other bands name"},
        )
    ),
]
_Action = Annotated[
    Action,
    BeforeValidator(
        _one_of("action", _ACTIONS, {"allow": "is not written: it is what happens where no rule fires"}),
    ),
]
_Threshold = Annotated[float, PlainValidator(_read_threshold)]  # plain, so that a point stays one
_Thresholds = Annotated[
    dict[_Action, _Threshold],
    BeforeValidator(_mapping("actions to thresholds, or {} for none")),
    AfterValidator(_check_order),
]
_Bands = Annotated[dict[_Band, _Thresholds], BeforeValidator(_mapping("age bands"))]
_Labels = Annotated[dict[_Label, _Bands], BeforeValidator(_mapping("labels"))]
_LanguageAction = Annotated[
    Action,
    BeforeValidator(_one_of("action", _LANGUAGE_ACTIONS, dict.fromkeys(Action, _NEVER_FOR_A_LANGUAGE))),
    BeforeValidator(_read_language_action),  # the last one written runs first
]
_Languages = Annotated[dict[_Band, _LanguageAction], BeforeValidator(_mapping("age bands to allow, limit or hold"))]


class _Community(BaseModel):
    model_config = ConfigDict(extra="forbid")

    labels: _Labels = {}
    unsupported_language: _Languages = {}


class _PolicyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: _Name
    version: _Name
    description: str = ""
    labels: _Labels
    unsupported_language: _Languages = {}
    communities: Annotated[
        dict[_Name, Annotated[_Community, BeforeValidator(_mapping("labels and unsupported_language"))]],
        BeforeValidator(_mapping("communities")),
    ] = {}

    def has_rules(self) -> bool:
        everywhere = [self.labels, *(community.labels for community in self.communities.values())]
        return any(thresholds for labels in everywhere for bands in labels.values() for thresholds in bands.values())


def _explain(error: ValidationError) -> Iterator[_Problem]:
    for detail in error.errors(include_url=False):
        path = tuple(str(key) for key in detail["loc"])
        if path[-1:] == ("[key]",):  # pydantic's mark for a key that is wrong, not its value
            path = path[:-1]
        fields = list((_Community if len(path) > 1 else _PolicyFile).model_fields)
        match detail["type"]:
            case "missing":
                yield _Problem(path, "is missing")
            case "extra_forbidden":
                yield _Problem(path, not_one_of(path[-1], "field", fields))
            case "policy":
                yield _Problem(path, detail["msg"])
            case _ if not path:
                yield _Problem(path, f"not a policy: it has to be a mapping of {', '.join(fields)}")
            case _:
                yield _Problem(path, "has to be text")


def _misplaced_actions(paths: Collection[_Keys]) -> Iterator[_Problem]:
    """Which actions are allowed depends on the label, two keys up: easier seen in paths than in a model."""
    for path in paths:
        match path:
            case (*_, "labels", label, _, action) if action in _ACTIONS:
                if label in KIND_LABELS and action != Action.HIGHLIGHT:
                    yield _Problem(path, f"{label} is a kind label: highlight is all that it can ask for")
                if label in HARM_LABELS and action == Action.HIGHLIGHT:
                    yield _Problem(path, f"{label} is a harm; highlight is for kind labels: {', '.join(KIND_LABELS)}")


# ---- the rules, and what is odd about them


_NO_CHANGE: Final = "is what the community inherits anyway, so it changes nothing"

_Spread = dict[tuple[str, AgeBand], tuple[Rule, ...]]


def _covered(bands: Collection[str], key: str) -> list[AgeBand]:
    """The bands that this key speaks for."""
    return [band for band in KNOWN_BANDS if (band == key if key != _ALL else band not in bands)]


def _spread(labels: _Labels, root: _Keys) -> _Spread:
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


def _spread_language(written: _Languages, inherited: LanguageRules, root: _Keys) -> LanguageRules:
    """The rule of each band, with `all` spread as with labels; bands that are not named keep what they inherit."""
    own = {
        band: LanguageRule(action, ".".join((*root, UNSUPPORTED_LANGUAGE, key)))
        for key, action in written.items()
        for band in _covered(written, key)
    }
    return {**inherited, **own}


def _warn_language(
    written: _Languages, root: _Keys, rules: LanguageRules, inherited: LanguageRules | None = None
) -> Iterator[_Problem]:
    path = (*root, UNSUPPORTED_LANGUAGE)
    if not written:
        return
    if _ALL in written and not _covered(written, _ALL):
        yield _Problem((*path, _ALL), "speaks for no band: each is named itself")
    for younger, older in pairwise(KNOWN_BANDS):
        if rules[younger].action.strength < rules[older].action.strength:
            text = f"{rules[older].action} for {older} but {rules[younger].action} for {younger}"
            yield _Problem(path, f"{text}: the older audience is treated more strictly")
    for key, action in written.items():
        covered = _covered(written, key)
        if inherited and covered and all(inherited[band].action is action for band in covered):
            yield _Problem((*path, key), _NO_CHANGE)


def _warn(model: _PolicyFile, rules: _Spread, communities: Mapping[str, _Spread]) -> Iterator[_Problem]:
    ruled = {label for table in (rules, *communities.values()) for (label, _), own in table.items() if own}
    for label in LABELS:
        if label not in ruled:
            yield _Problem(("labels", label), "no rule looks at this label")
    yield from _warn_labels(model.labels, ("labels",), rules)
    for community_id, community in model.communities.items():
        root = ("communities", community_id, "labels")
        yield from _warn_labels(community.labels, root, communities[community_id])
        yield from _warn_no_change(community, root, rules)


def _warn_labels(labels: _Labels, root: _Keys, rules: _Spread) -> Iterator[_Problem]:
    for label, bands in labels.items():
        path = (*root, label)
        if _ALL in bands and not _covered(bands, _ALL):
            yield _Problem((*path, _ALL), "speaks for no band: each is named itself")
        # Neighbours are enough: if each is at least as strict as the next older one, so are all.
        for younger, older in pairwise(KNOWN_BANDS):
            for rule in sorted(rules.get((label, older), ()), key=lambda rule: -rule.action.strength):
                action = _act(rules.get((label, younger), ()), rule.threshold)
                if rule.threshold != NEVER and action.strength < rule.action.strength:
                    text = f"a score of {rule.threshold:g} is {rule.action} for {older} but {action} for {younger}"
                    yield _Problem(path, f"{text}: the older audience is treated more strictly")
                    break


def _act(rules: Sequence[Rule], score: float) -> Action:
    fired = (rule.action for rule in rules if score >= rule.threshold)
    return max(fired, key=lambda action: action.strength, default=Action.ALLOW)


def _warn_no_change(community: _Community, root: _Keys, inherited: _Spread) -> Iterator[_Problem]:
    labels = community.labels
    if not labels and not community.unsupported_language:
        yield _Problem(root, "names no label, so it changes nothing")
    for label, bands in labels.items():
        if not bands:
            yield _Problem((*root, label), "names no age band, so it changes nothing; `all: {}` turns the label off")
        for key, thresholds in bands.items():
            covered = _covered(bands, key)
            before = [{rule.action: rule.threshold for rule in inherited.get((label, band), ())} for band in covered]
            if covered and all(thresholds == rules for rules in before):
                yield _Problem((*root, label, key), _NO_CHANGE)
