"""`comment-screener policy`: check a policy, see what it does, print a preset.

For the people who write policies. Mounted by `worker.cli`. What is wrong with the input goes to stderr, a line each,
and ends with exit 2.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.classifier import LABELS, Found
from worker.codec import decode_comment, typed
from worker.errors import InvalidRecord, PolicyError, StartupError
from worker.language import UNDETERMINED, Detection, Language, settle
from worker.operating_points import Points, operating_points_of
from worker.policy import Policy, Rule, Verdict, departure, hurts
from worker.policy_file import load_policy, preset_path, write_scores
from worker.policy_shape import not_one_of
from worker.records import Action, AgeBand, PolicyVersion, ReasonGiven
from worker.terminal import STYLES, unbroken

_EXIT_WRONG_INPUT: Final = 2
_OF_MODEL: Final = "Precisions in the policy stand for this model's scores."

app = typer.Typer(help="Check a policy, see what it does to a comment, print a preset.", no_args_is_help=True)


class Nearest(msgspec.Struct, frozen=True):
    """The rule that came closest to firing."""

    label: str
    score: float
    missing: float
    action: Action
    threshold: float
    rule: str


class BandExplained(msgspec.Struct, frozen=True):
    """What one audience gets; `nearest` only where nothing fired.

    `passed_over` names rules that a score reached and that do nothing, since the model does not know the language, or since it
    points at a place that hurts in what would be shown first.
    """

    verdict: Verdict
    nearest: Nearest | None
    passed_over: Sequence[str]


class Explained(msgspec.Struct, frozen=True):
    """What `explain --json` prints."""

    policy: PolicyVersion
    community_id: str | None
    scores: Mapping[str, float]
    language: str | None
    language_supported: bool | None
    audiences: dict[AgeBand, BandExplained]


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Policy files, or names of presets.")],
    model: Annotated[
        str | None,
        typer.Option(
            envvar="SCREENER_MODEL", help=f"{_OF_MODEL} Prints them. Else those of the shipped model, unprinted."
        ),
    ] = None,
) -> None:
    """Say of each policy that it is right, or everything that is wrong with it, with its line."""
    points = _points(model)
    wrong = False
    for file in files:
        try:
            policy = load_policy(file, points)
        except StartupError as error:
            wrong = True
            typer.echo(str(error), err=True)
            continue
        version = policy.version
        rules = f"{len(policy.rule_names)} rules"
        typer.echo(f"{file}: ok, {version.id}, version {version.version}, sha256 {version.sha256[:12]}, {rules}")
        for line in (*policy.warnings, *(policy.resolved if model is not None else ())):
            typer.echo(line)
    if wrong:
        raise typer.Exit(_EXIT_WRONG_INPUT)


@app.command()
def explain(
    text: Annotated[str | None, typer.Argument(help="A comment, to be scored by the model.")] = None,
    scores: Annotated[
        str | None, typer.Option(help='Scores instead of a text: insult=0.7,threat=0.1 or {"insult": 0.7}.')
    ] = None,
    policy: Annotated[
        str, typer.Option(envvar="SCREENER_POLICY", help="A policy file, or the name of a preset.")
    ] = "default",
    community: Annotated[str | None, typer.Option(help="The community it is written in.")] = None,
    *,
    language: Annotated[
        str | None,
        typer.Option(help="What the producer says of the language, for example pt. Else the text alone tells."),
    ] = None,
    model: Annotated[
        str, typer.Option(envvar="SCREENER_MODEL", help=f"The model that scores the text. {_OF_MODEL}")
    ] = "default",
    label_map: Annotated[
        Path | None, typer.Option(envvar="SCREENER_LABEL_MAP", help="JSON: their labels to ours.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a policy does to one comment for each age of its readers, and why."""
    try:
        loaded = load_policy(policy, _points(model))
    except PolicyError as error:
        _stop(error.problems)
    if (text is None) == (scores is None):
        _stop(["explain: give either a text or --scores"])
    _check(text, language)
    found, detected = (
        _find(text, model, label_map) if text is not None else (Found(_parse_scores(scores or "")), UNDETERMINED)
    )
    told = settle(language, detected)
    if community is not None and community not in loaded.communities:
        typer.echo(f"{policy}: says nothing of the community {community}; its general rules apply", err=True)
    bands = {band: _explain_band(loaded, found, told, band, community) for band in AgeBand}
    explained = Explained(loaded.version, community, found.scores, told.tag, told.supported, bands)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(explained)).decode())
    else:
        unbroken(Console()).print(_table(explained))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The name of a preset.")] = "default",
    model: Annotated[
        str | None, typer.Option(help=f"{_OF_MODEL} Prints them in their place. Else the preset as it is.")
    ] = None,
) -> None:
    """Print a preset, as a start for a policy of your own."""
    try:
        text = preset_path(name).read_text("utf-8")
        typer.echo(text if model is None else write_scores(text, name, _points(model)), nl=False)
    except PolicyError as error:
        _stop(error.problems)


def _points(model: str | None) -> Points:
    try:
        return operating_points_of(model or "default")
    except StartupError as error:
        _stop([str(error)])


def _stop(problems: Sequence[str]) -> NoReturn:
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(_EXIT_WRONG_INPUT)


def _find(text: str, model: str, label_map: Path | None) -> tuple[Found, Detection]:
    # Only here, because it loads the model's runtime, and everything else in this file is quick.
    from worker.cli_scoring import detect_language, find_in  # noqa: PLC0415

    return find_in(text, model, label_map), detect_language(text)


def _check(text: str | None, language: str | None) -> None:
    """Stop where a worker would not get as far as the policy."""
    fields = {"text": "text" if text is None else text, "language": language}
    try:
        decode_comment(typed(fields))
    except InvalidRecord as error:
        _stop([f"{error.reason}: {error.message}"])


def _parse_scores(written: str) -> dict[str, float]:
    """Read `label=score,…` or a JSON object; end with every problem in it."""
    pairs: list[tuple[str, object]]
    if written.lstrip().startswith("{"):
        try:
            pairs = json.loads(written, object_pairs_hook=list)
        except (ValueError, RecursionError) as error:
            _stop([f"--scores: not JSON: {error}"])
    else:
        pairs = [(label.strip(), score) for label, _, score in (pair.partition("=") for pair in written.split(","))]
    scores: dict[str, float] = {}
    problems = []
    for label, value in pairs:
        score = _read_score(value)
        shown = "nothing" if value in ("", None) else value
        if label not in LABELS:
            problems.append(f"--scores: {label or 'an empty label'}: {not_one_of(label, 'label', LABELS)}")
        elif label in scores:
            problems.append(f"--scores: {label}: given twice")
        elif score is None:
            problems.append(f"--scores: {label}: a score is a number from 0 to 1, not {shown}")
        else:
            scores[label] = score
    if not pairs:
        problems.append("--scores: no score in it")
    if problems:
        _stop(problems)
    return scores


def _read_score(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        score = float(value)
    except (ValueError, OverflowError):  # JSON allows integers of any length
        return None
    return score if 0 <= score <= 1 else None


def _explain_band(
    policy: Policy, found: Found, language: Language, band: AgeBand, community_id: str | None
) -> BandExplained:
    scores, pointed_at = found.scores, [span.label for span in found.spans]
    verdict = policy.decide(
        scores,
        band,
        community_id,
        language_supported=language.supported,
        language_undetermined=language.undetermined,
        pointed_at=pointed_at,
    )
    rules = [(label, rule) for label, rule in policy.rules_for(band, community_id) if label in scores]
    fired: dict[str, str] = {}
    for label, rule in rules:  # the strongest of each label first
        if scores[label] >= rule.threshold:
            fired.setdefault(label, rule.name)
    named = {reason.rule for reason in verdict.reasons}
    is_guess = language.supported is False
    passed_over = [name for name in fired.values() if name not in named] if is_guess or hurts(pointed_at) else []
    short = [(label, rule) for label, rule in rules if scores[label] < rule.threshold]
    return BandExplained(verdict, None if verdict.reasons else _nearest(short, scores), passed_over)


def _nearest(rules: Sequence[tuple[str, Rule]], scores: Mapping[str, float]) -> Nearest | None:
    if not rules:
        return None
    # By share: .09 is far away from a threshold of .09, and near to one of .9.
    label, rule = max(rules, key=lambda pair: scores[pair[0]] / pair[1].threshold)
    missing = round(rule.threshold - scores[label], 6)  # 0.75 - 0.7 is 0.05 to everybody but a float
    return Nearest(label, scores[label], missing, rule.action, rule.threshold, rule.name)


def _table(explained: Explained) -> Table:
    version = explained.policy
    community = f" in {explained.community_id}" if explained.community_id else ""
    table = Table(title=Text(f"{version.id} {version.version}{community}"), caption=Text(_listed(explained)))
    for column in ("readers", "action", "category"):
        table.add_column(column)
    # A rule's name must not be cut off.
    table.add_column("why", overflow="fold")
    for band, row in explained.audiences.items():
        verdict = row.verdict
        why = [_why(reason) for reason in verdict.reasons]
        if near := row.nearest:
            why = [f"nearest: {near.label} {near.score:.4f}, {near.missing:.4f} below {near.threshold:g}  {near.rule}"]
        passed = "the model does not know the language" if explained.language_supported is False else "a place hurts"
        why += [f"passed over, {passed}: {name}" for name in row.passed_over]
        # Text, because a name in square brackets would be read as markup.
        cells = (band, Text(verdict.action, STYLES[verdict.action]), verdict.category or "", Text("\n".join(why)))
        table.add_row(*cells)
    return table


def _why(reason: ReasonGiven) -> str:
    if reason.score is None:
        return f"{reason.label}  {reason.rule}"
    other = departure(reason)
    return f"{reason.label} {reason.score:.4f} ≥ {reason.threshold:g}  {reason.rule}{other and f'  {other}'}"


def _listed(explained: Explained) -> str:
    scores = ", ".join(f"{label} {explained.scores[label]:.3f}" for label in LABELS if label in explained.scores)
    unknown = "" if explained.language_supported is not False else ", which the model does not know"
    return scores if explained.language is None else f"{scores}; language {explained.language}{unknown}"
