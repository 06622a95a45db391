"""A policy's YAML file → a `Policy`, or every problem in it, each with its line.

Read at startup, and by `comment-screener policy check`.

    id: my-policy
    version: "3"
    labels:
      insult:                    # any label of worker.classifier
        under_13: {hold: 0.6}    # any band but unknown
        all: {nudge: 0.8}        # the bands that are not named
    communities:
      gardening:
        labels:
          insult:
            adult: {}            # off; everything else is inherited

Three steps: YAML nodes (they know their lines) → models (they know the shape) → rules, and what is odd about them.
"""

import difflib
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from worker.classifier import HARM_LABELS, KIND_LABELS, LABELS
from worker.errors import StartupError
from worker.policy import KNOWN_BANDS, Policy, Rule
from worker.records import MAX_ID_CHARACTERS, Action, AgeBand, PolicyVersion

_PRESET_DIRECTORY: Final = Path(__file__).with_name("policies")
_ALL: Final = "all"
_BANDS: Final = (*KNOWN_BANDS, _ALL)
_ACTIONS: Final = tuple(action for action in Action if action is not Action.ALLOW)


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


def load_policy(source: str | Path) -> Policy:
    """Read a policy from a file, or the preset of that name.

    Raises:
        PolicyError: it cannot be read, or something in it is wrong.
    """
    file = str(source)
    path = preset_path(file) if file in preset_names() else Path(source)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        presets = ", ".join(preset_names())
        raise PolicyError([f"{file}: no such file, and no preset either; the presets are {presets}"]) from None
    except OSError as error:
        raise PolicyError([f"{file}: cannot be read: {error.strerror}"]) from error
    return read_policy(content, file)


def read_policy(content: bytes, file: str) -> Policy:
    """Turn the bytes of a policy file into a policy; `file` is its name in messages.

    Raises:
        PolicyError: something in it is wrong.
    """
    tree = _Tree(_compose(content, file))
    problems = [*tree.problems, *_misplaced_actions(tree.lines)]
    model = None
    try:
        model = _PolicyFile.model_validate(tree.plain)
    except ValidationError as error:
        problems += _explain(error)
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
    warnings = sorted(map(tree.locate, _warn(model, rules, communities)))
    return Policy(
        PolicyVersion(model.id, model.version, hashlib.sha256(content).hexdigest()),
        rules,
        communities,
        [f"{file}:{line}: warning: {text}" for line, text in warnings],
    )


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
        return yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise problem(mark.line + 1 if mark else 1, f"not YAML: {what}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise problem(line, f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed") from None


class _Tree:
    """The document as dicts and text, the line of every key, and the keys that are wrong as YAML."""

    def __init__(self, root: yaml.Node | None) -> None:
        self.lines: dict[_Keys, int] = {}
        self.problems: list[_Problem] = []
        self._seen: set[yaml.Node] = set()
        self.plain = self._read(root, ())

    def locate(self, problem: _Problem) -> tuple[int, str]:
        """The line of a problem, or of the nearest thing around it, and its text with the path."""
        around = problem.path
        while around and around not in self.lines:
            around = around[:-1]
        line = problem.line or self.lines.get(around, 1)
        return line, f"{'.'.join(problem.path)}: {problem.text}" if problem.path else problem.text

    def _read(self, node: yaml.Node | None, path: _Keys) -> object:
        if node in self._seen:
            # An alias is the same node again: its rules would stand on no line of their own, or inside themselves.
            self.problems.append(_Problem(path, "is an alias (*name); write out what it stands for"))
            return {}
        if node:
            self._seen.add(node)
        if isinstance(node, yaml.ScalarNode):
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
    try:
        threshold = float(str(value))
    except ValueError:
        threshold = 0.0
    if not 0 < threshold <= 1:
        written = f"not {value}" if value else "and cannot be empty"
        raise _wrong(f"a threshold is a number above 0 and up to 1, {written}")
    return threshold


def _check_order(thresholds: dict[Action, float]) -> dict[Action, float]:
    harms = sorted((action for action in thresholds if action is not Action.HIGHLIGHT), key=lambda a: a.strength)
    hidden = [
        f"{milder} ({thresholds[milder]:g}) can never be seen: {stronger} is stronger and already fires at "
        f"{thresholds[stronger]:g}; a stronger action needs a higher threshold"
        for milder, stronger in pairwise(harms)
        if thresholds[stronger] <= thresholds[milder]
    ]
    if hidden:
        raise _wrong("; ".join(hidden))
    return thresholds


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
_Threshold = Annotated[float, BeforeValidator(_read_threshold)]
_Thresholds = Annotated[
    dict[_Action, _Threshold],
    BeforeValidator(_mapping("actions to thresholds, or {} for none")),
    AfterValidator(_check_order),
]
_Bands = Annotated[dict[_Band, _Thresholds], BeforeValidator(_mapping("age bands"))]
_Labels = Annotated[dict[_Label, _Bands], BeforeValidator(_mapping("labels"))]


class _Community(BaseModel):
    model_config = ConfigDict(extra="forbid")

    labels: _Labels


class _PolicyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: _Name
    version: _Name
    description: str = ""
    labels: _Labels
    communities: Annotated[
        dict[_Name, Annotated[_Community, BeforeValidator(_mapping("one field, labels"))]],
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


_Spread = dict[tuple[str, AgeBand], tuple[Rule, ...]]


def _covered(bands: Collection[str], key: str) -> list[AgeBand]:
    """The bands that this key speaks for."""
    return [band for band in KNOWN_BANDS if (band == key if key != _ALL else band not in bands)]


def _spread(labels: _Labels, root: _Keys) -> _Spread:
    """Rules by label and band, with `all` spread over the bands that it speaks for."""
    return {
        (label, band): tuple(
            Rule(action, threshold, ".".join((*root, label, key, action))) for action, threshold in thresholds.items()
        )
        for label, bands in labels.items()
        for key, thresholds in bands.items()
        for band in _covered(bands, key)
    }


def _warn(model: _PolicyFile, rules: _Spread, communities: Mapping[str, _Spread]) -> Iterator[_Problem]:
    ruled = {label for table in (rules, *communities.values()) for (label, _), own in table.items() if own}
    for label in LABELS:
        if label not in ruled:
            yield _Problem(("labels", label), "no rule looks at this label")
    yield from _warn_labels(model.labels, ("labels",), rules)
    for community_id, community in model.communities.items():
        root = ("communities", community_id, "labels")
        yield from _warn_labels(community.labels, root, communities[community_id])
        yield from _warn_no_change(community.labels, root, rules)


def _warn_labels(labels: _Labels, root: _Keys, rules: _Spread) -> Iterator[_Problem]:
    for label, bands in labels.items():
        path = (*root, label)
        if _ALL in bands and not _covered(bands, _ALL):
            yield _Problem((*path, _ALL), "speaks for no band: each is named itself")
        # Neighbours are enough: if each is at least as strict as the next older one, so are all.
        for younger, older in pairwise(KNOWN_BANDS):
            for rule in sorted(rules.get((label, older), ()), key=lambda rule: -rule.action.strength):
                action = _act(rules.get((label, younger), ()), rule.threshold)
                if action.strength < rule.action.strength:
                    text = f"a score of {rule.threshold:g} is {rule.action} for {older} but {action} for {younger}"
                    yield _Problem(path, f"{text}: the older audience is treated more strictly")
                    break


def _act(rules: Sequence[Rule], score: float) -> Action:
    fired = (rule.action for rule in rules if score >= rule.threshold)
    return max(fired, key=lambda action: action.strength, default=Action.ALLOW)


def _warn_no_change(labels: _Labels, root: _Keys, inherited: _Spread) -> Iterator[_Problem]:
    if not labels:
        yield _Problem(root, "names no label, so it changes nothing")
    for label, bands in labels.items():
        if not bands:
            yield _Problem((*root, label), "names no age band, so it changes nothing; `all: {}` turns the label off")
        for key, thresholds in bands.items():
            covered = _covered(bands, key)
            before = [{rule.action: rule.threshold for rule in inherited.get((label, band), ())} for band in covered]
            if covered and all(thresholds == rules for rules in before):
                yield _Problem((*root, label, key), "is what the community inherits anyway, so it changes nothing")
