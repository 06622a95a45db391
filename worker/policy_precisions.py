"""Precisions that a policy asks for → the scores that they stand for with a model."""

import json
import re
from typing import Final, NamedTuple, Self

from worker.classifier import LABELS
from worker.operating_points import FILE as POINTS_FILE
from worker.operating_points import Points
from worker.policy import NEVER
from worker.policy_yaml import Problem, Tree
from worker.records import Action

_ONLY_WHEN_SURE: Final = (Action.HIGHLIGHT, Action.REMOVE)
"""No `else` stands in where a model was measured and is never as sure as these ask: they put a comment
before all others, or out of sight for good."""
_PRECISION: Final = re.compile(r"\s*precision\s+(\S+?)(?:\s+else\s+(\S+))?\s*")


class Point(float):
    """A threshold that was written as a precision."""

    __slots__ = ("precision",)

    precision: str

    def __new__(cls, score: float, precision: str) -> Self:
        point = super().__new__(cls, score)
        point.precision = precision
        return point


class Resolved(NamedTuple):
    problems: list[Problem]
    warnings: list[Problem]
    notes: list[Problem]
    used: dict[str, dict[str, float | None]]

    def canonical(self) -> bytes:
        """The points that were used, for the policy's hash; nothing where none was."""
        return json.dumps(self.used, sort_keys=True, separators=(",", ":")).encode() if self.used else b""


def resolve(tree: Tree, points: Points) -> Resolved:
    """Put scores in the place of `precision P` and `precision P else T`.

    A rule whose precision the model never reaches is taken out where it has no `else`, or does what takes being sure. One that
    would escalate stays and never fires: what it is there for is dangerous, whatever the model knows of it.
    """
    resolved = Resolved([], [], [], {})
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
                if otherwise is not None and not is_a_share(otherwise):
                    thresholds[action] = otherwise  # which is told where the shape is checked
                    continue
                score = _look_up(points, label, precision)
                unsure = score is None and action in _ONLY_WHEN_SURE
                if not (isinstance(score, float) or unsure or otherwise is None) and is_a_share(precision):
                    thresholds[action] = otherwise
                    resolved.notes.append(Problem(path, f"precision {precision} is not to be had: {otherwise}"))
                    continue
                if isinstance(score, str):
                    resolved.problems.append(Problem(path, score))
                    del thresholds[action]
                    continue
                resolved.used.setdefault(label, {})[f"{float(precision):g}"] = score
                if score is None and action == Action.ESCALATE:
                    thresholds[action] = Point(NEVER, precision)
                    text = f"the model never reaches precision {precision} for {label}: nothing escalates by this rule"
                    resolved.warnings.append(Problem(path, f"{text}, though what is held is never just removed"))
                elif score is None:
                    text = f"the model never reaches precision {precision} for {label}: the rule is dropped"
                    # Whoever wrote an `else` has thought of a model that is not as good.
                    (resolved.notes if otherwise else resolved.warnings).append(Problem(path, text))
                    del thresholds[action]
                else:
                    thresholds[action] = Point(score, precision)
                    resolved.notes.append(Problem(path, f"precision {precision} is {score:g}"))
    return resolved


def _look_up(points: Points, label: str, written: str) -> float | str | None:
    """The score; None where the precision is never reached; what is wrong, where it cannot be looked up."""
    if not is_a_share(written):
        return f"a precision is a number above 0 and up to 1, not {written}"
    precision = float(written)
    asked = f"asks for precision {written} of {label}, and"
    if not points:
        return f"{asked} the model states no operating points ({POINTS_FILE} in its folder)"
    if not points.get(label):
        return f"{asked} the model states none for this label ({POINTS_FILE} in its folder)"
    if precision in points[label]:
        return points[label][precision]
    if any(known < precision and score is None for known, score in points[label].items()):
        # What is not reached at a lower one is not reached at this.
        return None
    stated = ", ".join(f"{known:.2f}" if round(known, 2) == known else f"{known:g}" for known in sorted(points[label]))
    return f"{asked} the model states only {stated} ({POINTS_FILE} in its folder)"


def is_a_share(written: str) -> bool:
    """Whether it is a number above 0 and up to 1, as precisions and thresholds are."""
    try:
        return 0 < float(written) <= 1
    except ValueError:
        return False
