"""Training: rows → weights. One pass, all layers, a sigmoid per label, and a mask for what is unknown.

Resumable: the order of the batches follows from the seed, so a checkpoint needs only the weights and a step number.
"""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from training.labels import Row
from training.model import Screener, emoji_in, load_model, load_tokenizer
from worker.classifier import LABELS

WEIGHTS: Final = "model.pt"
CHECKPOINT: Final = "checkpoint.pt"
EMOJI: Final = "emoji.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What there is to choose. `max_tokens` is shorter than the worker's limit: most comments are far shorter."""

    batch: int = 32
    learning_rate: float = 1.5e-4
    warm_up: float = 0.06
    weight_decay: float = 0.01
    max_tokens: int = 96
    window: int = 64
    """Batches are cut from windows of this many, sorted by length: little padding, and still a shuffled order."""
    checkpoint_every: int = 250
    seed: int = 7
    bf16: bool = True
    """Matrix products in bfloat16: 1.4 to 1.8 times as fast on a CPU with avx512_bf16."""


def train(rows: Sequence[Row], work: Path, recipe: Recipe | None = None) -> Path:
    """Train on `rows`, or go on from the checkpoint in `work`. Returns the file with the weights."""
    recipe = recipe or Recipe()
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    emoji = emoji_in(r.text for r in rows)
    (work / EMOJI).write_text(json.dumps(emoji), encoding="utf-8")
    tokenizer = load_tokenizer(emoji)
    model = load_model(tokenizer, emoji).train()
    tokens = tokenizer([r.text for r in rows], truncation=True, max_length=recipe.max_tokens)["input_ids"]
    targets, known = _as_tensors(rows)
    batches = plan([len(t) for t in tokens], recipe)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    step = _resume(work / CHECKPOINT, model, optimiser)
    loss_seen, started, first = 0.0, time.monotonic(), step

    with Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    ) as bar:
        task = bar.add_task("training", total=len(batches), completed=step, loss=0.0)
        for step in range(step, len(batches)):  # noqa: B020 - goes on where the checkpoint stopped
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(step / len(batches), recipe.warm_up)
            chosen = batches[step]
            ids, mask = pad([tokens[i] for i in chosen])
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
                logits = model(ids, mask)
            loss = masked_loss(logits.float(), targets[chosen], known[chosen])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            # Kept in place: to hand 90 MB of gradients back to the system and ask for them again costs more than a product.
            optimiser.zero_grad(set_to_none=False)
            loss_seen = 0.98 * loss_seen + 0.02 * float(loss.detach()) if step > first else float(loss.detach())
            bar.update(task, completed=step + 1, loss=loss_seen)
            if (step + 1) % recipe.checkpoint_every == 0:
                _save(work / CHECKPOINT, model, optimiser, step + 1)
                rate = (step + 1 - first) * recipe.batch / (time.monotonic() - started)
                print(f"step {step + 1}/{len(batches)} loss {loss_seen:.4f} {rate:.0f} rows/s", flush=True)
    torch.save(model.state_dict(), work / WEIGHTS)
    return work / WEIGHTS


def plan(lengths: Sequence[int], recipe: Recipe) -> list[list[int]]:
    """Row numbers in batches of like length, each row once, in an order that follows from the seed."""
    rng = random.Random(recipe.seed)  # noqa: S311 - reproducible, not secret
    order = list(range(len(lengths)))
    rng.shuffle(order)
    batches = []
    for start in range(0, len(order), recipe.window * recipe.batch):
        window = sorted(order[start : start + recipe.window * recipe.batch], key=lambda i: lengths[i])
        cut = [window[i : i + recipe.batch] for i in range(0, len(window), recipe.batch)]
        rng.shuffle(cut)
        batches += cut
    return batches


def masked_loss(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy over the cells that somebody knows; all three are [batch, labels]."""
    cells = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (cells * known).sum() / known.sum().clamp(min=1)


def pad(tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids → input_ids, attention_mask: int64 [batch, longest]."""
    width = max(map(len, tokens))
    ids = torch.zeros(len(tokens), width, dtype=torch.long)
    mask = torch.zeros(len(tokens), width, dtype=torch.long)
    for i, t in enumerate(tokens):
        ids[i, : len(t)] = torch.tensor(t)
        mask[i, : len(t)] = 1
    return ids, mask


def load_trained(work: Path) -> tuple[Screener, Any]:
    """The trained model in evaluation mode, and its tokenizer.

    Raises:
        FileNotFoundError: nothing was trained in `work` yet.
    """
    emoji = json.loads((work / EMOJI).read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(emoji)
    model = load_model(tokenizer, emoji)
    model.load_state_dict(torch.load(work / WEIGHTS, weights_only=True))
    return model.eval(), tokenizer


def _as_tensors(rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Targets and what is known of them: float32 [rows, labels] each."""
    targets = torch.tensor([[r.targets.get(label, 0.0) for label in LABELS] for r in rows])
    known = torch.tensor([[float(label in r.targets) for label in LABELS] for r in rows])
    return targets, known


def _schedule(done: float, warm_up: float) -> float:
    """Share of the peak rate: up over the warm-up, then down to nothing, both straight."""
    return done / warm_up if done < warm_up else (1 - done) / (1 - warm_up)


def _save(path: Path, model: Screener, optimiser: Any, step: int) -> None:
    """Write beside and rename: a run that is killed while it writes still has the last checkpoint."""
    beside = path.with_suffix(".new")
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, beside)
    beside.replace(path)


def _resume(path: Path, model: Screener, optimiser: Any) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
