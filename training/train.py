"""Training: rows → weights. A few passes, all layers, a sigmoid per label, and a mask for what is unknown.

Resumable: what an epoch sees, how it is augmented and in which order follows from the seed, so a checkpoint needs only the
weights, a step number, and where the dropout's random numbers stand. On a CPU with AMX or avx512_bf16 about 200 short rows a
second and two cores; on a GPU the same code.
"""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import copyfile
from typing import Any, Final

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from training.augment import obfuscate
from training.batches import pad
from training.labels import SPAN_LABELS, Row
from training.model import BASE, Screener, emoji_in, in_bfloat16, load_model, load_tokenizer, untrained
from training.recipe import Recipe
from training.split import IN_THE_LAST_EPOCH, MIXES, epoch_rows
from worker.classifier import LABELS
from worker.normalise import normalise

WEIGHTS: Final = "model.pt"
CHECKPOINT: Final = "checkpoint.pt"
EMOJI: Final = "emoji.json"
SIZES: Final = "config.json"
"""transformers' name for how many layers there are, and how wide."""
_KINDNESS: Final = LABELS.index("kindness")


@dataclass(frozen=True, slots=True)
class Example:
    """A row as the model reads it: token ids, and per token its targets (NaN: unknown), [tokens][span labels] or None."""

    row: int
    tokens: Sequence[int]
    marks: Sequence[Sequence[float]] | None


@dataclass(frozen=True, slots=True)
class Teachers:
    """Those of all labels and of places, and those of kindness, who tell it instead; either may be none."""

    of_all: Sequence[Screener]
    of_kindness: Sequence[Screener]

    def look(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """What `Screener.look` gives: the means of their logits, float32, and the layers' outputs of the first."""
        views = [teacher.look(ids, mask) for teacher in self.of_all]
        says = torch.stack([logits.float() for logits, _, _ in views]).mean(0)
        if self.of_kindness:
            views_of_it = [teacher(ids, mask)[0][:, _KINDNESS].float() for teacher in self.of_kindness]
            says[:, _KINDNESS] = torch.stack(views_of_it).mean(0)
        return says, torch.stack([logits.float() for _, logits, _ in views]).mean(0), views[0][2]


def train(rows: Sequence[Row], work: Path, recipe: Recipe | None = None, base: Path = BASE) -> Path:
    """One run: train on `rows`, or go on from the checkpoint in `work`. Returns the file with the weights.

    Args:
        rows: those that teach.
        work: the run's folder; its teachers' lie beside it.
        recipe: what there is to choose.
        base: the folder with the weights that it begins with.

    Raises:
        FileNotFoundError: a teacher of it, or what it begins with, was not trained yet.
        ValueError: no row to train on, the checkpoint is of other rows, of another recipe or of other weights to begin with, or a
            teacher reads by another vocabulary.
    """
    recipe = recipe or Recipe()
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer, model = _fresh(rows, work, base, recipe) if recipe.begins is None else _further(work, recipe.begins)
    teachers = Teachers(*([_teacher(name, work) for name in names] for names in (recipe.teachers, recipe.of_kindness)))
    of = fingerprint(rows, recipe, [model, *teachers.of_all, *teachers.of_kindness])
    feelings = feelings_in(rows) if recipe.feelings else []
    if feelings:
        _widen(model, len(feelings))
    model.to(device).train()
    for teacher in (*teachers.of_all, *teachers.of_kindness):
        teacher.to(device)
    truth = tuple(t.to(device) for t in _as_tensors(rows, recipe.untaught, feelings))
    optimiser = _optimiser(model, recipe)
    steps = [-(-len(seen_in(rows, epoch, recipe)) // recipe.batch) for epoch in range(recipe.epochs)]
    total = sum(steps)
    if total == 0:
        raise ValueError("no row to train on: no set has both rows and a line in MIXES of training/split.py")
    first = _resume(work / CHECKPOINT, model, optimiser, device, of)
    seen, started = 0.0, time.monotonic()
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("training", total=total, completed=first, loss=0.0)
        for epoch, of_epoch in enumerate(steps):
            before = sum(steps[:epoch])
            if first >= before + of_epoch:
                continue
            examples = prepare(rows, epoch, tokenizer, recipe)
            batches = plan([len(e.tokens) for e in examples], recipe, epoch)
            for at in range(max(0, first - before), of_epoch):
                step = before + at
                for group in optimiser.param_groups:
                    group["lr"] = recipe.learning_rate * _schedule(step / total, recipe.warm_up)
                loss = _loss([examples[i] for i in batches[at]], model, teachers, truth, recipe)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                # Kept in place: to hand 90 MB of gradients back to the system and ask for them again costs more than a product.
                optimiser.zero_grad(set_to_none=False)
                now = float(loss.detach())
                seen = 0.98 * seen + 0.02 * now if step > first else now
                bar.update(task, completed=step + 1, loss=seen)
                if step + 1 in recipe.keep:
                    torch.save(_weights(model), work / kept(step + 1))
                if (step + 1) % recipe.checkpoint_every == 0:
                    _save(work / CHECKPOINT, model, optimiser, step + 1, of)
                    rows_per_s = (step + 1 - first) * recipe.batch / (time.monotonic() - started)
                    print(f"step {step + 1}/{total} loss {seen:.4f} {rows_per_s:.0f} rows/s", flush=True)
            # A gigabyte: the next epoch's are made before the name is taken again.
            del examples, batches
    torch.save(_weights(model), work / WEIGHTS)
    return work / WEIGHTS


def _loss(
    examples: Sequence[Example],
    model: Screener,
    teachers: Teachers,
    truth: tuple[Tensor, ...],
    recipe: Recipe,
) -> Tensor:
    """Of one batch. `truth`: of all rows what `_as_tensors` gives."""
    numbers = [e.row for e in examples]
    targets, known, asked, felt, felt_known = (of_rows[numbers] for of_rows in truth)
    device = targets.device
    ids, mask = (t.to(device) for t in pad([e.tokens for e in examples]))
    where, where_known = (t.to(device) for t in _token_targets(examples, ids.shape[1]))
    if teachers.of_all:
        with torch.inference_mode(), in_bfloat16(device.type, recipe.bf16):
            says, says_where, seen = teachers.look(ids, mask)
        share = recipe.taught * asked.unsqueeze(1)
        targets, known = told(targets, known, says, share * (1 - known * _alone(recipe).to(device)))
        where, where_known = told(where, where_known, says_where, (share * mask).unsqueeze(2))
    with in_bfloat16(device.type, recipe.bf16):
        logits, token_logits, states = model.look(ids, mask)
    loss = masked_loss(logits[:, : len(LABELS)].float(), targets, known)
    if recipe.feelings:
        loss = loss + recipe.feelings * masked_loss(logits[:, len(LABELS) :].float(), felt, felt_known)
    loss = loss + recipe.token_weight * masked_loss(token_logits.float(), where, where_known)
    if teachers.of_all and recipe.alike:
        loss = loss + recipe.alike * unlike(states, seen, mask)
    return loss


def _alone(recipe: Recipe) -> Tensor:
    """1 for each label of which annotators, where they know it, have the whole say; [labels]."""
    return torch.tensor([float(label in recipe.untaught_labels) for label in LABELS])


def kept(step: int) -> str:
    """The name of the file with the weights of a step that `Recipe.keep` names."""
    return f"step-{step}.pt"


def seen_in(rows: Sequence[Row], epoch: int, recipe: Recipe) -> list[int]:
    """The numbers of the rows that an epoch of a run sees."""
    return epoch_rows(rows, recipe.skips + epoch, MIXES[recipe.mix], last=recipe.is_last(epoch))


def prepare(rows: Sequence[Row], epoch: int, tokenizer: Any, recipe: Recipe) -> list[Example]:
    """What an epoch sees, a share of it obfuscated anew and normalised as the worker would; those have no marks."""
    numbers = seen_in(rows, epoch, recipe)
    rng = random.Random(f"augment {recipe.seed} {epoch}")  # noqa: S311 - reproducible, not secret
    texts, kept = [], []
    for number in numbers:
        text, changed = rows[number].text, rng.random() < recipe.augmented
        texts.append(normalise(obfuscate(text, rng)) or text if changed else text)
        kept.append(not changed)
    encoded = tokenizer(texts, truncation=True, max_length=recipe.max_tokens, return_offsets_mapping=True)
    return [
        Example(number, ids, token_marks(rows[number], offsets) if same else None)
        for number, ids, offsets, same in zip(
            numbers, encoded["input_ids"], encoded["offset_mapping"], kept, strict=True
        )
    ]


def token_marks(row: Row, offsets: Sequence[tuple[int, int]]) -> list[list[float]] | None:
    """Per token the highest share of annotators who marked any of its characters; None where nobody was asked."""
    if row.spans is None:
        return None
    nothing, unknown = [0.0] * len(SPAN_LABELS), [float("nan")] * len(SPAN_LABELS)
    marks = []
    for start, end in offsets:
        if start == end:  # a special token
            marks.append(unknown)
            continue
        mark = nothing
        for from_, to, label, share in row.spans:
            if from_ < end and start < to:
                mark = list(mark)
                column = SPAN_LABELS.index(label)
                mark[column] = max(mark[column], share)
        marks.append(mark)
    return marks


def plan(lengths: Sequence[int], recipe: Recipe, epoch: int = 0) -> list[list[int]]:
    """Example numbers in batches of like length, each once, in an order that follows from the seed and the epoch."""
    rng = random.Random(f"plan {recipe.seed} {epoch}")  # noqa: S311 - reproducible, not secret
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
    """Binary cross-entropy over the cells that somebody knows, each weighed by `known`; all three have one shape."""
    cells = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (cells * known).sum() / known.sum().clamp(min=1)


def told(targets: Tensor, known: Tensor, says: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Targets, and how much each counts, once teachers have had their share of them.

    What annotators know becomes a mean of their view and the teachers'. What they leave unknown is the teachers' alone, and
    counts as much as their share.

    Args:
        targets: [..., labels], with `known` of the same shape, 1 or 0.
        known: what annotators know.
        says: the teachers' logits, of that shape too; they have a view of every label.
        share: in [0, 1], with 1 for the labels; 0 where they are not asked: of padding, and of some sets.
    """
    view = says.float().sigmoid()
    return known * torch.lerp(targets, view, share) + (1 - known) * view, known + (1 - known) * share


def unlike(states: Sequence[Tensor], seen: Sequence[Tensor], mask: Tensor) -> Tensor:
    """How far the layers' outputs are from the teacher's, as a share of these; the mean over layers.

    Args:
        states: of as many layers as the teacher's, [batch, sequence, size] each.
        seen: the teacher's.
        mask: 1 for real tokens, [batch, sequence].
    """
    real = mask.bool()
    pairs = [(ours[real].float(), theirs[real].float()) for ours, theirs in zip(states, seen, strict=True)]
    return torch.stack([(ours - theirs).square().sum() / theirs.square().sum() for ours, theirs in pairs]).mean()


def load_trained(work: Path) -> tuple[Screener, Any]:
    """The trained model in evaluation mode, and its tokenizer.

    Raises:
        FileNotFoundError: nothing was trained in `work` yet.
    """
    tokenizer = load_tokenizer(_emoji(work))
    model = untrained(work)
    model.load_state_dict(torch.load(work / WEIGHTS, weights_only=True))
    return model.eval(), tokenizer


def _as_tensors(rows: Sequence[Row], untaught: Sequence[str], feelings: Sequence[str]) -> tuple[Tensor, ...]:
    """Of all rows, float32.

    Targets and what is known of them, [rows, labels] each; 1 [rows] where teachers are asked, and 0 for those sets; what was
    felt and whether somebody said so, [rows, feelings] each.
    """
    targets = torch.tensor([[r.targets.get(label, 0.0) for label in LABELS] for r in rows])
    known = torch.tensor([[float(label in r.targets) for label in LABELS] for r in rows])
    asked = torch.tensor([float(r.source not in untaught) for r in rows])
    felt = torch.tensor([[float(name in (r.feelings or ())) for name in feelings] for r in rows])
    felt_known = torch.tensor([[float(r.feelings is not None)] for r in rows])
    return targets, known, asked, felt, felt_known.expand_as(felt)


def feelings_in(rows: Sequence[Row]) -> list[str]:
    """All that any annotator named."""
    return sorted({feeling for r in rows for feeling in r.feelings or ()})


def _widen(model: Screener, by: int) -> None:
    """Give the label head so many outputs more, behind those that it has."""
    before = model.head
    model.head = torch.nn.Linear(before.in_features, len(LABELS) + by)
    with torch.no_grad():
        model.head.weight[: len(LABELS)], model.head.bias[: len(LABELS)] = before.weight, before.bias


def _token_targets(examples: Sequence[Example], width: int) -> tuple[Tensor, Tensor]:
    """Token targets and what is known of them: float32 [batch, width, span labels] each."""
    marks = torch.full((len(examples), width, len(SPAN_LABELS)), float("nan"))
    for i, example in enumerate(examples):
        if example.marks is not None:
            marks[i, : len(example.marks)] = torch.tensor(example.marks)
    return marks.nan_to_num(0.0), (~marks.isnan()).float()


def _teacher(name: str, work: Path) -> Screener:
    """What was trained before, beside `work`, where the same numbers of tokens mean the same.

    Raises:
        FileNotFoundError: nothing was.
        ValueError: they do not.
    """
    beside = work.with_name(name)
    teacher, _ = load_trained(beside)
    if _emoji(beside) != _emoji(work):
        raise ValueError(f"{name} reads by another vocabulary than {work.name}: they were trained on other rows")
    return teacher


def _emoji(work: Path) -> list[str]:
    found: list[str] = json.loads((work / EMOJI).read_text(encoding="utf-8"))
    return found


def _fresh(rows: Sequence[Row], work: Path, base: Path, recipe: Recipe) -> tuple[Any, Screener]:
    """The tokenizer with its emoji, and the model as it begins; the emoji and its sizes are written to `work`."""
    like = recipe.reads_like
    emoji = emoji_in(r.text for r in rows) if like is None else _emoji(work.with_name(like))
    (work / EMOJI).write_text(json.dumps(emoji), encoding="utf-8")
    tokenizer = load_tokenizer(emoji)
    model = load_model(tokenizer, emoji, base)
    model.encoder.config.save_pretrained(work)
    return tokenizer, model


def _further(work: Path, begins: str) -> tuple[Any, Screener]:
    """The tokenizer and the model of what was trained before, whose emoji and sizes are written to `work` as well."""
    before = work.with_name(begins)
    model, tokenizer = load_trained(before)
    for name in (EMOJI, SIZES):
        copyfile(before / name, work / name)
    return tokenizer, model


def _weights(model: Screener) -> dict[str, Tensor]:
    """All that lasts: of the label head's outputs the labels."""
    head = ("head.weight", "head.bias")
    return {k: v[: len(LABELS)].clone().cpu() if k in head else v.cpu() for k, v in model.state_dict().items()}


def _optimiser(model: Screener, recipe: Recipe) -> Any:
    """AdamW; biases and gains do not decay."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def _schedule(done: float, warm_up: float) -> float:
    """Share of the peak rate: up over the warm-up, then down to nothing, both straight."""
    return done / warm_up if done < warm_up else (1 - done) / (1 - warm_up)


def fingerprint(rows: Sequence[Row], recipe: Recipe, models: Sequence[Screener]) -> str:
    """What a checkpoint is a checkpoint of: a hash of the recipe, of the mix, of every row, in order, and of all weights.

    Args:
        models: as the run begins: what it trains, and its teachers.
    """
    digest = sha256(repr((recipe, dict(MIXES[recipe.mix]), dict(IN_THE_LAST_EPOCH))).encode())
    for r in rows:
        digest.update(f"{r.source}\0{r.text}\0{sorted(r.targets.items())}\0{r.spans}\0{r.feelings}\n".encode())
    for model in models:
        for name, weights in model.state_dict().items():
            digest.update(name.encode() + weights.numpy().tobytes())
    return digest.hexdigest()


def _save(path: Path, model: Screener, optimiser: Any, step: int, of: str) -> None:
    """Write beside and rename: a run that is killed while it writes still has the last checkpoint."""
    beside = path.with_suffix(".new")
    random_states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    weights = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save({**weights, "step": step, "random": random_states, "of": of}, beside)
    beside.replace(path)


def _resume(path: Path, model: Screener, optimiser: Any, device: Any, of: str) -> int:
    """The number of steps behind the checkpoint, which is loaded; 0 where there is none.

    Raises:
        ValueError: it is a checkpoint of other rows, of another recipe, or of other weights to begin with.
    """
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location=device)
    if state.get("of") != of:
        raise ValueError(f"{path} is of other rows, of another recipe or of other weights: remove it to start anew")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    on_cpu, *on_gpus = (s.cpu() for s in state["random"])
    torch.set_rng_state(on_cpu)
    torch.cuda.set_rng_state_all(on_gpus)
    return int(state["step"])
