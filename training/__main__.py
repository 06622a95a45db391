"""How the default model is made. Each command goes on from what the one before it left in the work directory."""

# ruff: noqa: PLC0415 - each command imports what it needs: `read` and `--help` work without torch

import json
import logging
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from training.labels import load_rows, write_rows

# Nothing here fetches: the base weights come with a package.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
logging.getLogger("transformers").setLevel(logging.ERROR)

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

Data = Annotated[Path, typer.Option("--data", envvar="SCREENER_TRAINING_DATA", help="Folder with the data sets.")]
Work = Annotated[Path, typer.Option("--work", help="Rows, checkpoints and weights; never committed.")]
Model = Annotated[Path, typer.Option("--model", help="Folder of the exported model.")]

WORK: Final = Path(".training")
MODEL: Final = Path("worker/models/default")


@app.command()
def read(data: Data, work: Work = WORK) -> None:
    """Read every data set, split it, and write the rows that one run uses to the work directory."""
    from training.authored import read_authored
    from training.read import read_all
    from training.split import dev_mix, mix, split

    # Ours first: of two rows with the same text the first one stays, and ours know every label.
    teach, measure = split(read_authored() + read_all(data))
    for name, rows in (("train", mix(teach)), ("dev", dev_mix(measure))):
        write_rows(work / f"{name}.jsonl", rows)
        print(f"{name}: {len(rows)} rows")


@app.command()
def train(work: Work = WORK) -> None:
    """Train, or go on from the last checkpoint. Start anew by removing checkpoint.pt from the work directory."""
    from training.train import train as run

    print(run(load_rows(work / "train.jsonl"), work))


@app.command()
def export(work: Work = WORK, model: Model = MODEL) -> None:
    """Write model.onnx (int8), the tokenizer and config.json."""
    from training.export import export as run

    run(work, model)


@app.command()
def evaluate(work: Work = WORK, model: Model = MODEL) -> None:
    """Measure the exported file on the dev rows; write thresholds.json."""
    from training.card import label_table, precision_table
    from training.evaluate import evaluate as run

    figures = run(load_rows(work / "dev.jsonl"), model, work)
    for part in ("all", "published", "authored"):
        print(f"\n{part}\n{label_table(figures[part])}")
    print(precision_table(figures["all"]))


@app.command()
def card(work: Work = WORK, model: Model = MODEL) -> None:
    """Write MODEL_CARD.md from the last evaluation."""
    from training.card import card as run

    figures = json.loads((work / "figures.json").read_text(encoding="utf-8"))
    run(load_rows(work / "train.jsonl"), load_rows(work / "dev.jsonl"), figures, model)


@app.command()
def compare(work: Work = WORK) -> None:
    """Compare ways to quantise the trained model: accuracy, batch coupling, speed. Minutes; for RESULTS.md."""
    from training.compare import compare as run

    print(run(load_rows(work / "train.jsonl"), load_rows(work / "dev.jsonl"), work))


@app.command(name="all")
def everything(data: Data, work: Work = WORK, model: Model = MODEL) -> None:
    """Everything, from the data sets to the model card."""
    read(data, work)
    train(work)
    export(work, model)
    evaluate(work, model)
    card(work, model)


if __name__ == "__main__":
    app()
