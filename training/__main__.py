"""How the default model is made. Each command goes on from what the one before it left in the work directory.

Exit codes: 0 done; 1 it came to nothing; 2 something is missing that it needs.
"""

# ruff: noqa: PLC0415 - each command imports what it needs: `read` and `--help` work without torch

import json
import logging
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from training import REOPENED
from training.labels import load_rows, write_rows
from training.recipe import Shares
from worker.errors import FatalError, ScreenerError, StartupError

# Nothing here fetches: the base weights come with a package.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
logging.getLogger("transformers").setLevel(logging.ERROR)


class _Commands(typer.core.TyperGroup):
    """One clear line for whatever is missing, and for every error that is raised on purpose."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ScreenerError as error:
            code = 2 if isinstance(error, StartupError) else 1
            typer.echo(f"training: {error}", err=True)
            raise typer.Exit(code) from error
        except ModuleNotFoundError as error:
            typer.echo(f"training: {error.name} is missing: pip install -e '.[training]'", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Commands, add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False
)

Data = Annotated[Path, typer.Option("--data", envvar="SCREENER_TRAINING_DATA", help="Folder with the data sets.")]
Work = Annotated[Path, typer.Option("--work", help="Rows, checkpoints and weights; never committed.")]
Model = Annotated[Path, typer.Option("--model", help="Folder of the exported model.")]

Runs = Annotated[list[str] | None, typer.Option("--run", help="Of recipe.py; without, those that are averaged.")]

WORK: Final = Path(".training")
MODEL: Final = Path("worker/models/default")

_MADE_BY: Final = {
    "train.jsonl": "read",
    "dev.jsonl": "read",
    "model.pt": "teach",
    "calibration.json": "calibrate",
    "model.onnx": "export",
    "tokenizer.json": "export",
    "config.json": "export",
    "figures.json": "evaluate",
    "ranges.json": "reopen",
}


def _need(folder: Path, *names: str) -> None:
    """Raises: StartupError where one of these files is not in `folder` yet."""
    for name in names:
        if not (folder / name).is_file():
            raise StartupError(f"no {folder / name} yet: run `python -m training {_MADE_BY[name]}` first")


@app.command()
def read(data: Data, work: Work = WORK) -> None:
    """Read every data set, split it, and write the rows that teach and those that measure to the work directory."""
    from training.authored import read_authored
    from training.read import read_all
    from training.split import MIXES, dev_mix, split
    from training.wrapped import wrapped

    if not data.is_dir():
        raise StartupError(f"--data: no folder {data}")
    try:
        published = read_all(data)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StartupError(f"no {error.filename}: training/README.md says where each set comes from") from error
    # Ours first: of two rows with the same text the first one stays, and ours know every label.
    ours = read_authored()
    teach, measure = split(ours + wrapped(ours) + published)
    for name, rows in (("train", teach), ("dev", dev_mix(measure))):
        write_rows(work / f"{name}.jsonl", rows)
        print(f"{name}: {len(rows)} rows")
    for source in sorted({r.source for r in teach} - set().union(*MIXES.values())):
        typer.echo(f"{source} teaches nothing: it has no line in MIXES of training/split.py", err=True)


@app.command()
def train(work: Work = WORK, runs: Runs = None) -> None:
    """Do the runs that the average is made of, or go on from their last checkpoint. To start anew, remove a run's folder."""
    _need(work, "train.jsonl")
    from training.bases import base_folder
    from training.recipe import AVERAGED, RUNS, averaged
    from training.train import train as run

    if unknown := sorted(set(runs or ()) - set(RUNS)):
        raise StartupError(f"--run: recipe.py has no {', '.join(unknown)}, but {', '.join(RUNS)}")
    rows = load_rows(work / "train.jsonl")
    for name in runs or averaged():
        recipe = RUNS[name]
        try:
            print(run(rows, work / name, recipe, base_folder(recipe.base, work)))
        except FileNotFoundError as error:
            missing = Path(error.filename).parent.name
            first = "`average`" if missing == AVERAGED else f"--run {missing}"
            raise StartupError(f"{name}: no {error.filename} yet: {first} first") from error
        except ValueError as error:
            raise FatalError(str(error)) from error


@app.command()
def average(work: Work = WORK) -> None:
    """Average the weights of the runs, and of some steps within them; fit heads anew."""
    from training.recipe import AVERAGE, AVERAGED

    _average(work, AVERAGE, work / AVERAGED)


@app.command()
def refine(work: Work = WORK) -> None:
    """Go on from the average twice, with what was written later; average that and the average."""
    from training.recipe import AGAIN, REFINED, REFINEMENT

    train(work, list(AGAIN))
    _average(work, REFINEMENT, work / REFINED)


@app.command()
def narrow(work: Work = WORK) -> None:
    """Make what is refined narrower, and have it learn what that says."""
    _need(work, "train.jsonl")
    from training.narrow import cut
    from training.recipe import NARROW, NARROWED, NARROWER

    try:
        print(cut(load_rows(work / "train.jsonl"), work))
    except FileNotFoundError as error:
        raise StartupError(f"no {error.filename} yet: run `python -m training refine` first") from error
    train(work, list(NARROW))
    # Its heads are one run's and no mean: only places gain by being fitted anew.
    _average(work, NARROWED, work / NARROWER, kind=False)


@app.command()
def teach(work: Work = WORK) -> None:
    """Have what is narrower learn what a larger encoder and the refined one say together: the model."""
    from training.recipe import KIND, TAUGHT, TEACHER, TOLD

    train(work, [TEACHER, *KIND, *TAUGHT])
    _average(work, TOLD, work)


def _average(work: Path, shares: Shares, to: Path, *, kind: bool = True) -> None:
    _need(work, "train.jsonl")
    from training.average import average as run
    from training.refit import refit

    try:
        print(run(work, shares, to))
        refit(load_rows(work / "train.jsonl"), to, kind=kind)
    except FileNotFoundError as error:
        raise StartupError(f"no {error.filename} yet: run `python -m training train` first") from error
    except ValueError as error:
        raise FatalError(str(error)) from error


@app.command()
def calibrate(work: Work = WORK) -> None:
    """Fit a slope and a shift per label, so that scores say how often they are right; on half of the dev rows."""
    _need(work, "dev.jsonl", "model.pt")
    from training.calibrate import calibrate as run

    try:
        lines = run(load_rows(work / "dev.jsonl"), work)
    except ArithmeticError as error:
        raise FatalError(str(error)) from error
    for label, line in lines.items():
        print(f"{label}: slope {line['slope']:.3f}, shift {line['shift']:+.3f}")


@app.command(name="reopen")
def reopen_model(work: Work = WORK, model: Model = MODEL) -> None:
    """Instead of training: take the weights of an exported model, to export them anew. Its int8 is all that is left of them."""
    _need(model, "model.onnx", "tokenizer.json", "config.json")
    from training.reopen import reopen as run

    try:
        run(model, work)
    except ValueError as error:
        raise FatalError(str(error)) from error


@app.command()
def export(work: Work = WORK, model: Model = MODEL) -> None:
    """Write model.onnx (int8), the tokenizer and config.json."""
    _need(work, "model.pt", "calibration.json")
    been_integers = (work / REOPENED).is_file()
    # A model from before 0.6.0 has no ranges to be reopened with: it can be gone on from, and not exported as it is.
    _need(work, "ranges.json" if been_integers else "train.jsonl")
    from training.export import export as run

    run([] if been_integers else load_rows(work / "train.jsonl"), work, model)


@app.command()
def evaluate(work: Work = WORK, model: Model = MODEL) -> None:
    """Choose thresholds on one half of the dev rows, measure the exported file on the other."""
    _need(work, "dev.jsonl", "model.pt", "calibration.json")
    _need(model, "model.onnx")
    from training.card import label_table
    from training.evaluate import evaluate as run
    from training.export import float_scores
    from training.peers import profanity_check

    rows = load_rows(work / "dev.jsonl")
    try:
        figures = run(rows, model, work, float_scores=float_scores(work), peer=profanity_check)
    except ValueError as error:
        # A label that the rows cannot decide, or no row that says where.
        raise FatalError(str(error)) from error
    for part in ("all", "published", "authored"):
        print(f"\n{part}\n{label_table(figures[part])}")
    for name, (right, of) in figures["behaviours"].items():
        print(f"{name}: {right} of {of}")
    for name in ("spans", "flips", "normaliser", "peer"):
        print(name, json.dumps(figures[name], indent=1))


@app.command()
def card(work: Work = WORK, model: Model = MODEL) -> None:
    """Write MODEL_CARD.md from the last evaluation."""
    _need(work, "train.jsonl", "dev.jsonl", "figures.json")
    _need(model, "model.onnx")
    from training.card import card as run

    figures = json.loads((work / "figures.json").read_text(encoding="utf-8"))
    run(load_rows(work / "train.jsonl"), load_rows(work / "dev.jsonl"), figures, model, _reopened(work))


def _reopened(work: Path) -> tuple[str, str] | None:
    """A version that was read back from its int8 file, and the folder that it was read to ("": the model's); None: none was."""
    from training.recipe import AVERAGED, REFINED

    for name in ("", REFINED, AVERAGED):
        if (work / name / REOPENED).is_file():
            return json.loads((work / name / REOPENED).read_text(encoding="utf-8"))["version"], name
    return None


@app.command()
def compare(work: Work = WORK) -> None:
    """Compare ways to quantise the trained model: accuracy, batch coupling, speed. Minutes; for RESULTS.md."""
    _need(work, "train.jsonl", "dev.jsonl", "model.pt")
    from training.compare import compare as run

    print(run(load_rows(work / "train.jsonl"), load_rows(work / "dev.jsonl"), work))


@app.command(name="all")
def everything(data: Data, work: Work = WORK, model: Model = MODEL) -> None:
    """Everything, from the data sets to the model card."""
    read(data, work)
    train(work)
    average(work)
    refine(work)
    narrow(work)
    teach(work)
    calibrate(work)
    export(work, model)
    evaluate(work, model)
    card(work, model)


if __name__ == "__main__":
    app()
