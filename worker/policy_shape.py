"""What a policy has to look like: pydantic's models of it, and their errors in a policy writer's words."""

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from worker.classifier import HARM_LABELS, KIND_LABELS, LABELS
from worker.policy import KNOWN_BANDS
from worker.policy_precisions import Point, is_a_share
from worker.policy_yaml import Keys, Problem
from worker.records import MAX_ID_CHARACTERS, Action

ALL: Final = "all"
"""Stands for the age bands that are not named."""
_BANDS: Final = (*KNOWN_BANDS, ALL)
_ACTIONS: Final = tuple(action for action in Action if action is not Action.ALLOW)
_LANGUAGE_ACTIONS: Final = (Action.ALLOW, Action.LIMIT, Action.HOLD)
_NEVER_FOR_A_LANGUAGE: Final = (
    "is not for a language: nobody has understood the comment yet; it has to be one of allow, limit, hold"
)


def not_one_of(name: str, noun: str, choices: Collection[str]) -> str:
    """Say that there is no such thing, and which one was probably meant."""
    nearest = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"it has to be one of {', '.join(choices)}"
    return f"no such {noun}; {hint}"


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
    if isinstance(value, Point):
        return value
    if not is_a_share(str(value)):
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
    return f"{threshold:g}, precision {threshold.precision}" if isinstance(threshold, Point) else f"{threshold:g}"


def _remedy(*thresholds: float) -> str:
    """A number was the writer's choice; where a precision ends up is the model's."""
    if any(isinstance(threshold, Point) for threshold in thresholds):
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
Labels = Annotated[dict[_Label, _Bands], BeforeValidator(_mapping("labels"))]
_LanguageAction = Annotated[
    Action,
    BeforeValidator(_one_of("action", _LANGUAGE_ACTIONS, dict.fromkeys(Action, _NEVER_FOR_A_LANGUAGE))),
    BeforeValidator(_read_language_action),  # the last one written runs first
]
Languages = Annotated[dict[_Band, _LanguageAction], BeforeValidator(_mapping("age bands to allow, limit or hold"))]


class Community(BaseModel):
    model_config = ConfigDict(extra="forbid")

    labels: Labels = {}
    unsupported_language: Languages = {}
    undetermined_language: Languages = {}


class PolicyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: _Name
    version: _Name
    description: str = ""
    labels: Labels
    unsupported_language: Languages = {}
    undetermined_language: Languages = {}
    communities: Annotated[
        dict[_Name, Annotated[Community, BeforeValidator(_mapping(", ".join(Community.model_fields)))]],
        BeforeValidator(_mapping("communities")),
    ] = {}

    def has_rules(self) -> bool:
        everywhere = [self.labels, *(community.labels for community in self.communities.values())]
        return any(thresholds for labels in everywhere for bands in labels.values() for thresholds in bands.values())


def explain(error: ValidationError) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        path = tuple(str(key) for key in detail["loc"])
        if path[-1:] == ("[key]",):  # pydantic's mark for a key that is wrong, not its value
            path = path[:-1]
        fields = list((Community if len(path) > 1 else PolicyFile).model_fields)
        match detail["type"]:
            case "missing":
                yield Problem(path, "is missing")
            case "extra_forbidden":
                yield Problem(path, not_one_of(path[-1], "field", fields))
            case "policy":
                yield Problem(path, detail["msg"])
            case _ if not path:
                yield Problem(path, f"not a policy: it has to be a mapping of {', '.join(fields)}")
            case _:
                yield Problem(path, "has to be text")


def misplaced_actions(paths: Collection[Keys]) -> Iterator[Problem]:
    """Which actions are allowed depends on the label, two keys up: easier seen in paths than in a model."""
    for path in paths:
        match path:
            case (*_, "labels", label, _, action) if action in _ACTIONS:
                if label in KIND_LABELS and action != Action.HIGHLIGHT:
                    yield Problem(path, f"{label} is a kind label: highlight is all that it can ask for")
                if label in HARM_LABELS and action == Action.HIGHLIGHT:
                    yield Problem(path, f"{label} is a harm; highlight is for kind labels: {', '.join(KIND_LABELS)}")
