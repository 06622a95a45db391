"""Files that somebody put there: a policy, rows with labels."""

import io
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from tests.fuzz.promises import promise
from worker.classifier import LABELS
from worker.errors import PolicyError, StartupError
from worker.labelled import column_names, read_labelled
from worker.policy import KNOWN_BANDS, Policy
from worker.policy_file import read_policy

_POINTS: Final[Mapping[str, Mapping[float, float | None]]] = {"insult": {0.8: 0.6, 0.9: None}, "threat": {0.9: 0.7}}


def policy(data: bytes) -> None:
    """A file is a policy that decides, or is refused with lines that say where."""
    try:
        read = read_policy(data, "hostile.yaml", cast("Any", _POINTS))
    except PolicyError as error:
        promise(bool(error.problems), "a refusal says why")
        promise(
            all(re.match(r"hostile\.yaml:[1-9]\d*: ", problem) for problem in error.problems),
            "every problem has a line",
        )
        promise(all(problem.isprintable() for problem in error.problems), "every problem is a line that can be printed")
        promise(sum(map(len, error.problems)) <= 128 * len(data) + 4096, "problems are bounded by the file")
        return
    _check_policy(read)


def _check_policy(read: Policy) -> None:
    for band in (None, *KNOWN_BANDS):
        for community in (None, *list(read.communities)[:2]):
            verdict = read.decide(dict.fromkeys(LABELS, 0.75), band, community, language_supported=False)
            promise(all(reason.rule for reason in verdict.reasons), "every reason names its rule")
    promise(all(map(str.isprintable, (*read.warnings, *read.resolved))), "what it says is lines that can be printed")


def labelled(data: bytes) -> None:
    """A file of rows is read, row by row, or refused in one line that holds nothing of it."""
    names = column_names([], {"toxic": "toxicity"})
    for is_csv in (False, True):
        try:
            read = read_labelled(io.BytesIO(data), is_csv=is_csv, names=names, groups=("group",))
        except StartupError as error:
            promise(str(error).isprintable() and len(str(error)) < 500, "a refusal is one short line")
            continue
        lines = 1 + data.count(b"\n") + data.count(b"\r")
        promise(len(read.rows) + len(read.bad) <= lines, "a row a line at most")
        promise(all(0 <= share <= 1 for row in read.rows for share in row.targets.values()), "shares are shares")
        promise(all(bad.why.isprintable() and len(bad.why) < 200 for bad in read.bad), "what is wrong is a short line")
