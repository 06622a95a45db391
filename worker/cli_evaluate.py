"""`comment-screener evaluate`: how good the model is on labelled comments of one's own, before it is trusted with others.

Texts go the way that the worker sends them: normalised, cut, batched, scored. The heavy libraries of the extra `evaluate`
load when the command runs, and never for another one.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from worker.classifier import COMMON_NAMES, LABELS, Scores
from worker.cli_scoring import model_thresholds, open_screener, read_thresholds
from worker.errors import StartupError
from worker.labelled import TEXT, BadRow, Labelled, LabelledRow, column_names, read_labelled
from worker.normalise import normalise
from worker.rows import Format
from worker.screening import PROBE, Rejection, Screener
from worker.terminal import progress

_WINDOW: Final = 1024
_STANDARD: Final = "-"
_SHOWN_BAD_ROWS: Final = 5
_MOST_GROUPS: Final = 50
_ASSUMED_THRESHOLD: Final = 0.5


def evaluate(
    file: Annotated[str, typer.Argument(help="JSON Lines or CSV of labelled comments; - is standard input.")],
    *,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="THEIRS=OURS", help="A column's name to `text` or a label of ours. May be given again."
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Give false-positive rates by this column's values. May be given again."),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="auto: by the name, else JSON Lines.")] = Format.AUTO,
    thresholds: Annotated[
        Path | None, typer.Option(help='JSON: {"insult": 0.62}. Default: thresholds.json in the model\'s folder.')
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and say how many.")] = False,
    json_: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the picture here (PNG).")] = None,
    model: Annotated[
        str, typer.Option(envvar="SCREENER_MODEL", help="A shipped model, a folder or a hub's.")
    ] = "default",
    label_map: Annotated[
        Path | None, typer.Option(envvar="SCREENER_LABEL_MAP", help="JSON: the model's labels to ours.")
    ] = None,
    threads: Annotated[int, typer.Option(envvar="SCREENER_INFERENCE_THREADS", help="0: one per CPU.", min=0)] = 0,
) -> None:
    """Measure the model on labelled comments of your own: precision, recall, calibration and more, for each label.

    A row has a text and any of our labels: 0, 1, true, false or a share in [0, 1]. Empty means not annotated, never "no".
    """
    _check_extra(picture=report is not None)
    read = [Path(file)] if file != _STANDARD else []
    read += [path for path in (thresholds, label_map) if path is not None]
    _check_outputs(read, [path for path in (json_, report) if path is not None])
    names = column_names(map_ or [], COMMON_NAMES)
    groups = list(dict.fromkeys(group or []))
    if texts := [column for column in groups if names.get(column) == TEXT]:
        raise StartupError(f"--group {texts[0]}: a comment's text is no group")

    known = _thresholds(thresholds, model)
    labelled = _read(file, format_, names, groups, [pair.rpartition("=")[0] for pair in map_ or []])
    for column, label in labelled.mistyped.items():
        typer.echo(
            f"{file}: passed over the column {column!r}; if it is for {label}: --map '{column}={label}'", err=True
        )
    _check_bad(file, labelled.bad, len(labelled.rows) + len(labelled.bad), skip_bad=skip_bad)
    if not labelled.rows:
        raise StartupError(f"{file}: no row in it")
    _check_groups(labelled, groups)
    annotated = {label for row in labelled.rows for label in row.targets}
    if not annotated:
        raise StartupError(
            f"{file}: no row has a label; ours are {', '.join(LABELS)}; name a column with --map THEIRS=OURS"
        )

    screener = open_screener(model, None, threads=threads, label_map=label_map)
    of_model = _labels(screener)
    if not annotated & of_model:
        raise StartupError(f"{file}: the model scores none of its labels: {', '.join(_ordered(annotated))}")
    answering = [row for row in labelled.rows if row.targets.keys() & of_model]
    rows, scores, unscored = _score(screener, answering)
    _check_bad(file, unscored, len(answering), skip_bad=skip_bad)
    if not rows:
        raise StartupError(f"{file}: the model can score none of its texts")

    # They load numpy and scikit-learn, which takes a second that no other command should wait for.
    from worker.evaluation import collect, curves, measure  # noqa: PLC0415
    from worker.evaluation_report import Method, Report, Rows, Thresholds, by_group, show, to_json  # noqa: PLC0415

    source, values = known
    measured = _ordered(annotated & of_model)
    limits = {label: values.get(label, _ASSUMED_THRESHOLD) for label in measured}
    asked = collect([row.targets for row in rows], scores, limits)
    made = Report(
        file="standard input" if file == _STANDARD else Path(file).name,
        model=screener.model,
        rows=Rows(
            read=len(labelled.rows) + len(labelled.bad),
            scored=len(rows),
            without_label=len(labelled.rows) - len(answering),
            bad=len(labelled.bad) + len(unscored),
        ),
        thresholds=Thresholds(source, [label for label in measured if label not in values]),
        method=Method(),
        figures={answers.name: measure(answers) for answers in asked},
        not_scored=_ordered(annotated - of_model),
        groups={column: by_group(asked, [row.groups[at] for row in rows]) for at, column in enumerate(groups)},
    )
    if json_ is not None:
        _write(json_, to_json(made))
    if report is not None:
        from worker.evaluation_picture import draw  # noqa: PLC0415

        _write(report, draw(made, {answers.name: curves(answers) for answers in asked}))
    show(made, Console())


def _check_extra(*, picture: bool) -> None:
    wanted = {"sklearn": "scikit-learn"} | ({"matplotlib": "matplotlib"} if picture else {})
    if missing := [name for module, name in wanted.items() if find_spec(module) is None]:
        raise StartupError(f"evaluate needs {' and '.join(missing)}: pip install -e '.[evaluate]'")


def _check_outputs(read: Sequence[Path], paths: Sequence[Path]) -> None:
    """Before a model has worked for minutes: what will be written can be, and writes over nothing that is read."""
    for path in paths:
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise StartupError(f"{path}: {'is a folder' if path.is_dir() else 'its folder does not exist'}")
        if path.exists() and any(file.exists() and path.samefile(file) for file in read):
            raise StartupError(f"{path}: the output would overwrite the input")
    if len({path.resolve() for path in paths}) < len(paths):
        raise StartupError(f"{paths[0]}: --json and --report would be one file")


def _thresholds(given: Path | None, model: str) -> tuple[str, Mapping[str, float]]:
    """Where they are from, for people, and what they are."""
    if given is not None:
        return given.name, read_thresholds(given)
    if (of_model := model_thresholds(model)) is not None:
        return "those of the model (thresholds.json)", of_model
    return f"{_ASSUMED_THRESHOLD:g} for every label, because the model has no thresholds.json", dict.fromkeys(
        LABELS, _ASSUMED_THRESHOLD
    )


def _read(
    file: str, format_: Format, names: Mapping[str, str], groups: Sequence[str], required: Sequence[str]
) -> Labelled:
    with ExitStack() as stack:
        try:
            stream = sys.stdin.buffer if file == _STANDARD else stack.enter_context(Path(file).open("rb"))
            return read_labelled(stream, is_csv=format_.is_csv(file), names=names, groups=groups, required=required)
        except OSError as error:
            raise StartupError(f"{file}: {error.strerror}") from error
        except StartupError as error:
            raise StartupError(f"{file}: {error}") from error


def _check_bad(file: str, bad: Sequence[BadRow], of: int, *, skip_bad: bool) -> None:
    if not bad:
        return
    for row in bad[:_SHOWN_BAD_ROWS]:
        typer.echo(f"{file}: line {row.line}: {row.why}", err=True)
    if len(bad) > _SHOWN_BAD_ROWS:
        typer.echo(f"{file}: and {len(bad) - _SHOWN_BAD_ROWS} more", err=True)
    if not skip_bad:
        raise StartupError(f"{file}: {len(bad)} of {of} rows are bad; mend them, or leave them out with --skip-bad")
    typer.echo(f"{file}: {len(bad)} of {of} rows are bad and left out", err=True)


def _check_groups(labelled: Labelled, groups: Sequence[str]) -> None:
    for at, column in enumerate(groups):
        values = {value for row in labelled.rows if (value := row.groups[at]) is not None}
        if len(values) > _MOST_GROUPS:
            raise StartupError(f"--group {column}: {len(values)} different values; at most {_MOST_GROUPS} make groups")
        if not values:
            raise StartupError(f"--group {column}: no row has a value there")


def _labels(screener: Screener) -> set[str]:
    """What the model scores. Raises FatalError where it does not work at all."""
    found = screener.find([PROBE])[PROBE]
    assert not isinstance(found, Rejection)  # noqa: S101  for the type checker: a failing probe raises
    return set(found.scores)


def _ordered(labels: set[str]) -> list[str]:
    return [label for label in LABELS if label in labels]


def _score(screener: Screener, rows: Sequence[LabelledRow]) -> tuple[list[LabelledRow], list[Scores], list[BadRow]]:
    """The rows that the model can score, their scores in the same order, and the rows that it cannot."""
    scored: list[LabelledRow] = []
    scores: list[Scores] = []
    unscored: list[BadRow] = []
    with progress(Console(stderr=True)) as bar:
        task = bar.add_task("scoring", total=len(rows))
        for start in range(0, len(rows), _WINDOW):
            window = rows[start : start + _WINDOW]
            texts = [normalise(row.text) for row in window]
            of_text = screener.find(list(dict.fromkeys(texts)))
            for row, text in zip(window, texts, strict=True):
                if isinstance(found := of_text[text], Rejection):
                    unscored.append(BadRow(row.line, found.message))
                else:
                    scored.append(row)
                    scores.append(found.scores)
            bar.update(task, advance=len(window))
    return scored, scores, unscored


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StartupError(f"{path}: {error.strerror}") from error
