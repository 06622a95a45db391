"""Training: what an epoch sees, what teaches and what does not, and a run that is cut off and goes on as if it had not been."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from training import train as training
from training.batches import pad
from training.labels import SPAN_LABELS, Row
from training.model import load_tokenizer
from training.recipe import Recipe
from training.split import PER_EPOCH
from training.train import (
    CHECKPOINT,
    EMOJI,
    WEIGHTS,
    load_trained,
    masked_loss,
    plan,
    prepare,
    seen_in,
    token_marks,
    told,
    train,
)

SHORT = Recipe(epochs=2, batch=4, window=2, max_tokens=24, checkpoint_every=3, learning_rate=1e-2, bf16=False)

State = dict[str, torch.Tensor]


class CutOffError(Exception):
    """The machine went down."""


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer([])


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Forty rows, of which an epoch sees thirty: with and without targets, with spans, without, and nobody asked."""
    monkeypatch.setitem(PER_EPOCH, "test", 30)
    rude, kind = {"insult": 1.0, "kindness": 0.0, "toxicity": 0.8}, {"insult": 0.0, "kindness": 0.9}
    return [
        Row(f"you are fool number {n}, my dear friend", rude, "test", spans=((8, 12, "toxicity", 1.0),))
        if n % 3 == 0
        else Row(f"thank you {n} times for coming to see us", kind, "test", spans=() if n % 2 else None)
        for n in range(40)
    ]


# ---- where


def test_a_token_takes_the_highest_share_of_those_who_marked_any_of_its_characters() -> None:
    spans = ((4, 9, "toxicity", 0.3), (8, 12, "toxicity", 0.7), (8, 12, "insult", 0.5))
    row = Row("you stupid fool", {}, "test", spans=spans)

    marks = token_marks(row, [(0, 3), (4, 6), (6, 10), (11, 15)])

    # The last begins before the span ends; a token that only touches a span is not in it.
    assert marks == [[0] * 5, [0.3, 0, 0, 0, 0], [0.7, 0.5, 0, 0, 0], [0.7, 0.5, 0, 0, 0]]
    assert token_marks(row, [(0, 4), (12, 15)]) == [[0] * 5, [0] * 5]
    assert token_marks(row, [(3, 12)]) == [[0.7, 0.5, 0, 0, 0]]


def test_a_special_token_is_nowhere() -> None:
    marks = token_marks(Row("fool", {}, "test", spans=((0, 4, "toxicity", 1.0),)), [(0, 0), (0, 4), (0, 0)])

    assert marks is not None
    assert [all(map(math.isnan, mark)) for mark in marks] == [True, False, True]


def test_nothing_marked_is_zero_and_nobody_asked_is_none() -> None:
    assert token_marks(Row("hello", {}, "test", spans=()), [(0, 5)]) == [[0.0] * len(SPAN_LABELS)]
    assert token_marks(Row("hello", {}, "test"), [(0, 5)]) is None


def test_the_tokenizers_offsets_lead_to_the_marked_word(rows: list[Row], tokenizer: Any) -> None:
    examples = prepare(rows, 0, tokenizer, replace(SHORT, augmented=0.0))
    marked = next(e for e in examples if rows[e.row].spans)

    assert marked.marks is not None
    found = [token for token, mark in zip(marked.tokens, marked.marks, strict=True) if mark[0] == 1.0]
    assert tokenizer.convert_ids_to_tokens(found) == ["fool"]


# ---- what an epoch sees


def test_without_augmentation_every_example_is_its_row(rows: list[Row], tokenizer: Any) -> None:
    examples = prepare(rows, 0, tokenizer, replace(SHORT, augmented=0.0))

    assert len(examples) == len({e.row for e in examples}) == 30
    for example in examples:
        assert list(example.tokens) == tokenizer(rows[example.row].text)["input_ids"]
        assert (example.marks is None) == (rows[example.row].spans is None)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_about_a_share_is_disguised_and_those_have_no_places(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setitem(PER_EPOCH, "test", 400)
    rows = [Row(f"you are fool number {n}", {}, "test", spans=()) for n in range(400)]

    examples = prepare(rows, 0, tokenizer, replace(SHORT, augmented=share))
    plain = [e for e in examples if e.marks is not None]

    assert len(examples) - len(plain) == pytest.approx(share * 400, abs=40)
    assert all(list(e.tokens) == tokenizer(rows[e.row].text)["input_ids"] for e in plain)


def test_an_epoch_follows_from_the_seed_and_from_its_number(rows: list[Row], tokenizer: Any) -> None:
    recipe = replace(SHORT, augmented=1.0)
    texts = [Row(r.text, r.targets, r.source) for r in rows]

    first = prepare(texts, 0, tokenizer, recipe)

    assert first == prepare(texts, 0, tokenizer, recipe)
    assert first != prepare(texts, 0, tokenizer, replace(recipe, seed=8))
    # The same rows, since thirty are all of these: what differs is how they are disguised.
    few = texts[:30]
    by_epoch = [{e.row: tuple(e.tokens) for e in prepare(few, epoch, tokenizer, recipe)} for epoch in (0, 1)]
    assert by_epoch[0].keys() == by_epoch[1].keys()
    assert sum(by_epoch[0][n] != by_epoch[1][n] for n in by_epoch[0]) > 15


def test_no_example_is_longer_than_asked(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PER_EPOCH, "test", 1)

    (example,) = prepare([Row("fool " * 100, {}, "test", spans=())], 0, tokenizer, replace(SHORT, augmented=0.0))

    assert len(example.tokens) == len(example.marks or ()) == SHORT.max_tokens


def test_the_plan_has_each_row_once_and_the_same_order_again() -> None:
    recipe = Recipe(batch=4, window=3)
    lengths = [n % 13 for n in range(101)]

    batches = plan(lengths, recipe)

    assert sorted(i for b in batches for i in b) == list(range(101))
    assert batches == plan(lengths, recipe)
    assert batches != plan(lengths, recipe, epoch=1)


def test_a_run_that_skips_an_epoch_sees_what_another_left_to_it(rows: list[Row]) -> None:
    one = seen_in(rows, 0, SHORT)
    two = seen_in(rows, 0, replace(SHORT, skips=1))

    assert two == seen_in(rows, 1, SHORT)
    # Thirty of forty each: the ten that the first one left, and twenty again.
    assert set(one) | set(two) == set(range(len(rows)))


def test_the_plan_has_as_many_batches_as_the_run_counts_on() -> None:
    for rows in range(1, 60):
        assert len(plan([1] * rows, Recipe(batch=4, window=3))) == -(-rows // 4)


# ---- what teaches


def test_an_unknown_label_moves_nothing() -> None:
    raw = torch.zeros(1, 2, requires_grad=True)

    masked_loss(raw, torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])).backward()

    assert raw.grad is not None
    assert raw.grad[0, 0] != 0
    assert raw.grad[0, 1] == 0


def test_the_loss_is_a_mean_over_what_is_known() -> None:
    logits = torch.tensor([[0.0, 5.0], [0.0, -3.0]])
    known = torch.tensor([[1.0, 0.0], [1.0, 0.0]])

    assert float(masked_loss(logits, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), known)) == pytest.approx(math.log(2))
    assert float(masked_loss(logits, torch.zeros(2, 2), torch.zeros(2, 2))) == 0.0


def test_only_tokens_that_somebody_was_asked_about_teach_where() -> None:
    marks: Sequence[Sequence[float]] = [[float("nan")] * 5, [1.0, 0.0, 0.0, 0.0, 0.0]]
    examples = [training.Example(0, [101, 7], marks), training.Example(1, [101, 7, 8], None)]
    raw = torch.zeros(2, 8, 5, requires_grad=True)

    where, known = training._token_targets(examples, 8)
    masked_loss(raw, where, known).backward()

    assert known.sum() == 5
    assert raw.grad is not None
    moved = raw.grad.abs().sum(2).nonzero().tolist()
    assert moved == [[0, 1]]
    assert raw.grad[0, 1, 0] < 0 < raw.grad[0, 1, 1]


def test_a_teacher_has_its_share_of_what_is_known_and_all_of_what_is_not() -> None:
    annotated, known = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    says = torch.tensor([[0.0, 0.0, 9.0]])

    targets, counts = told(annotated, known, says, torch.tensor([[0.4]]))

    assert targets[0].tolist() == pytest.approx([0.8, 0.2, 1.0], abs=1e-3)
    assert counts[0].tolist() == pytest.approx([1.0, 1.0, 0.4])


def test_where_no_teacher_is_asked_everything_stays() -> None:
    annotated, known = torch.tensor([[1.0, 0.3, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])

    targets, counts = told(annotated, known, torch.full((1, 3), 9.0), torch.zeros(1, 1))

    assert (targets * counts).tolist() == annotated.tolist()
    assert counts.tolist() == known.tolist()


def test_who_says_what_the_teacher_says_learns_nothing_of_it() -> None:
    raw = torch.tensor([[2.0, -1.0]], requires_grad=True)
    unknown = torch.zeros(1, 2)

    masked_loss(raw, *told(unknown, unknown, raw.detach(), torch.ones(1, 1))).backward()

    assert raw.grad is not None
    assert raw.grad.abs().max() < 1e-6


@pytest.mark.usefixtures("_tiny")
def test_what_nobody_annotated_is_learned_from_the_teacher(rows: list[Row], tmp_path: Path) -> None:
    """A teacher who learned of insults; a run whose rows say nothing but kindness."""
    train(rows, tmp_path / "teacher", replace(SHORT, epochs=6))
    kind = [replace(r, targets={"kindness": r.targets["kindness"]}, spans=None) for r in rows]
    of_insult = {}
    for name, teachers, untaught, untaught_labels in (
        ("alone", (), (), ()),
        ("taught", ("teacher",), (), ()),
        ("not asked", ("teacher",), ("test",), ()),
        # Where nobody knows a label, it is asked for all the same.
        ("of kindness alone", ("teacher",), (), ("kindness", "insult")),
    ):
        recipe = replace(SHORT, epochs=6, teachers=teachers, untaught=untaught, untaught_labels=untaught_labels)
        train(kind, tmp_path / name, recipe)
        model, tokenizer = load_trained(tmp_path / name)
        with torch.inference_mode():
            logits, _ = model(*pad(tokenizer(["you are fool number 3", "thank you 4 times"])["input_ids"]))
        of_insult[name] = float(logits[0, 3] - logits[1, 3])

    assert of_insult["taught"] > 1 > max(of_insult["alone"], of_insult["not asked"])
    assert of_insult["of kindness alone"] > 1


@pytest.mark.usefixtures("_tiny")
def test_of_an_untaught_label_annotators_have_the_whole_say(rows: list[Row], tmp_path: Path) -> None:
    """A teacher who says yes to everything is believed, but where somebody knows better."""
    _of_one_mind(rows, tmp_path / "yes", 6.0)
    says = {}
    for untaught_labels in ((), ("kindness",)):
        run = tmp_path / f"run{len(untaught_labels)}"
        train(rows, run, replace(SHORT, epochs=6, teachers=("yes",), taught=1.0, untaught_labels=untaught_labels))
        model, tokenizer = load_trained(run)
        with torch.inference_mode():
            logits, _ = model(*pad(tokenizer(["you are fool number 3"])["input_ids"]))
        says[untaught_labels] = float(logits[0, -1])

    assert says[()] > 0 > says["kindness",]


@pytest.mark.usefixtures("_tiny")
def test_what_teachers_say_is_their_mean(rows: list[Row], tmp_path: Path) -> None:
    """One who says yes as loudly as the other says no: nothing is learned of it, and half as much of one who says nothing."""
    for name, bias in (("no", -4.0), ("nothing", 0.0), ("yes", 4.0)):
        _of_one_mind(rows, tmp_path / name, bias)
    silent = [replace(r, targets={}, spans=None) for r in rows]
    score = {}
    for teachers in (("yes",), ("yes", "nothing"), ("yes", "no")):
        run = tmp_path / "-".join(("run", *teachers))
        train(silent, run, replace(SHORT, epochs=8, begins="nothing", teachers=teachers, taught=1.0))
        model, tokenizer = load_trained(run)
        with torch.inference_mode():
            logits, _ = model(*pad(tokenizer(["thank you 4 times"])["input_ids"]))
        score[teachers] = float(logits.mean())

    assert score["yes",] > score["yes", "nothing"] + 0.5 > score["yes", "no"] + 1.0


@pytest.mark.usefixtures("_tiny")
def test_of_kindness_alone_others_are_asked(rows: list[Row], tmp_path: Path) -> None:
    """A teacher who says yes to everything, and two of kindness who say no, one of them louder."""
    for name, bias in (("nothing", 0.0), ("yes", 4.0), ("no", -3.0), ("never", -5.0)):
        _of_one_mind(rows, tmp_path / name, bias)
    silent = [replace(r, targets={}, spans=None) for r in rows]
    recipe = replace(SHORT, epochs=8, begins="nothing", teachers=("yes",), of_kindness=("no", "never"), taught=1.0)
    train(silent, tmp_path / "run", recipe)
    model, tokenizer = load_trained(tmp_path / "run")
    with torch.inference_mode():
        logits, _ = model(*pad(tokenizer(["thank you 4 times"])["input_ids"]))

    assert logits[0, :-1].min() > 0.3
    assert logits[0, -1] < -0.3


def _of_one_mind(rows: list[Row], work: Path, bias: float) -> None:
    """A model that has the same to say of every label, whatever it reads."""
    train(rows, work, SHORT)
    of = torch.load(work / WEIGHTS, weights_only=True)
    of["head.weight"].zero_()
    of["head.bias"].fill_(bias)
    torch.save(of, work / WEIGHTS)


@pytest.mark.usefixtures("_tiny")
def test_a_teacher_that_reads_by_other_numbers_is_refused(rows: list[Row], tmp_path: Path) -> None:
    """Its emoji are others, so the same number of a token is another sign to it."""
    train(rows, tmp_path / "teacher", SHORT)
    with_hearts = [replace(r, text=f"{r.text} \N{TWO HEARTS}") for r in rows]

    with pytest.raises(ValueError, match="teacher reads by another vocabulary than run"):
        train(with_hearts, tmp_path / "run", replace(SHORT, teachers=("teacher",)))

    train(with_hearts, tmp_path / "run", replace(SHORT, teachers=("teacher",), reads_like="teacher"))
    assert json.loads((tmp_path / "run" / EMOJI).read_bytes()) == []


@pytest.mark.usefixtures("_tiny")
def test_a_run_goes_on_from_another_with_its_heads_and_its_emoji(rows: list[Row], tmp_path: Path) -> None:
    train(rows, tmp_path / "before", SHORT)

    train(rows, tmp_path / "after", replace(SHORT, begins="before", learning_rate=0.0))

    before, after = (torch.load(tmp_path / run / WEIGHTS, weights_only=True) for run in ("before", "after"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (tmp_path / "after" / EMOJI).read_bytes() == (tmp_path / "before" / EMOJI).read_bytes()


@pytest.mark.usefixtures("_tiny")
@pytest.mark.parametrize(
    "awaited", [{"teachers": ("other",)}, {"of_kindness": ("other",)}, {"reads_like": "other"}, {"begins": "other"}]
)
def test_a_run_waits_for_its_teacher_and_for_what_it_begins_with(
    rows: list[Row], tmp_path: Path, awaited: dict[str, Any]
) -> None:
    with pytest.raises(FileNotFoundError):
        train(rows, tmp_path / "run", replace(SHORT, **awaited))


# ---- cut off, and on again


def cut_off_after(saves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends right behind that many checkpoints."""
    save, left = training._save, [saves]

    def save_and_end(*of: Any) -> None:
        save(*of)
        left[0] -= 1
        if left[0] == 0:
            raise CutOffError

    monkeypatch.setattr(training, "_save", save_and_end)


def trained(rows: Sequence[Row], work: Path, recipe: Recipe = SHORT) -> State:
    state: State = torch.load(train(rows, work, recipe), weights_only=True)
    return state


def assert_same(state: State, other: State) -> None:
    assert state.keys() == other.keys()
    for name, weights in state.items():
        torch.testing.assert_close(weights, other[name], rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


# Eight batches an epoch: behind 3, in the first epoch; behind 9, in the second.
@pytest.mark.usefixtures("_tiny")
@pytest.mark.parametrize("saves", [1, 3])
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    whole = trained(rows, tmp_path / "whole")
    with monkeypatch.context() as patch:
        cut_off_after(saves, patch)
        with pytest.raises(CutOffError):
            train(rows, tmp_path / "cut", SHORT)
    assert not (tmp_path / "cut" / "model.pt").exists()

    assert_same(trained(rows, tmp_path / "cut"), whole)


@pytest.mark.usefixtures("_tiny")
def test_feelings_teach_the_encoder_and_are_gone_when_the_run_is_over(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of half of the rows somebody said which of three were felt; a run that asks goes on where it was cut off, too."""
    felt = [replace(r, feelings=(("joy", "anger", "grief")[n % 3],)) if n % 2 else r for n, r in enumerate(rows)]
    asks = replace(SHORT, feelings=7.0)
    unasked, asked = trained(felt, tmp_path / "unasked"), trained(felt, tmp_path / "asked", asks)
    with monkeypatch.context() as patch:
        cut_off_after(1, patch)
        with pytest.raises(CutOffError):
            train(felt, tmp_path / "cut", asks)

    assert {name: w.shape for name, w in asked.items()} == {name: w.shape for name, w in unasked.items()}
    word = "encoder.embeddings.word_embeddings.weight"
    assert not torch.allclose(asked[word], unasked[word], atol=1e-3)
    assert_same(trained(felt, tmp_path / "cut", asks), asked)
    load_trained(tmp_path / "asked")


@pytest.mark.usefixtures("_tiny")
def test_a_checkpoint_half_written_does_no_harm(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(rows, tmp_path / "whole")
    with monkeypatch.context() as patch:
        cut_off_after(2, patch)
        with pytest.raises(CutOffError):
            train(rows, tmp_path / "cut", SHORT)
    complete = (tmp_path / "cut" / CHECKPOINT).read_bytes()

    def write_half(_: Any, beside: Path) -> None:
        beside.write_bytes(complete[:1000])
        raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", write_half)
        with pytest.raises(CutOffError):
            train(rows, tmp_path / "cut", SHORT)
    assert (tmp_path / "cut" / CHECKPOINT).read_bytes() == complete
    assert list((tmp_path / "cut").glob("*.new"))

    assert_same(trained(rows, tmp_path / "cut"), whole)
    assert not list((tmp_path / "cut").glob("*.new"))


@pytest.mark.usefixtures("_tiny")
@pytest.mark.parametrize("change", ["rows", "recipe", "begins", "teachers"])
def test_a_checkpoint_of_something_else_is_refused(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    further, work = replace(SHORT, begins="begins", teachers=("teachers",), reads_like="begins"), tmp_path / "run"
    for before in ("begins", "teachers"):
        train(rows, tmp_path / before, SHORT)
    with monkeypatch.context() as patch:
        cut_off_after(1, patch)
        with pytest.raises(CutOffError):
            train(rows, work, further)
    if change in ("begins", "teachers"):
        (tmp_path / change / CHECKPOINT).unlink()
        train(rows, tmp_path / change, replace(SHORT, seed=8))

    with pytest.raises(ValueError, match="of other rows, of another recipe or of other weights"):
        train(rows[1:] if change == "rows" else rows, work, replace(further, seed=8) if change == "recipe" else further)


@pytest.mark.usefixtures("_tiny")
def test_without_a_row_to_see_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no row to train on"):
        train([Row("hello", {"toxicity": 0.0}, "unheard of")], tmp_path, SHORT)


@pytest.mark.usefixtures("_tiny")
def test_a_run_that_was_done_trains_no_further(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SHORT, checkpoint_every=16)
    first = trained(rows, tmp_path, recipe)

    def fail(*_: Any) -> None:
        raise AssertionError("a step too many")

    monkeypatch.setattr(training, "masked_loss", fail)

    assert_same(trained(rows, tmp_path, recipe), first)


@pytest.mark.usefixtures("_tiny")
def test_it_learns_and_what_it_learned_loads(rows: list[Row], tmp_path: Path) -> None:
    train(rows, tmp_path, replace(SHORT, epochs=6))
    model, tokenizer = load_trained(tmp_path)

    with torch.inference_mode():
        logits, tokens = model(*pad(tokenizer(["you are fool number 3", "thank you 4 times"])["input_ids"]))

    assert not model.training
    assert logits[0, 3] > 0 > logits[1, 3]  # insult
    assert logits[0, 8] < 0 < logits[1, 8]  # kindness
    assert tokens[0, 3, 0] > 0 > tokens[0, 1, 0]  # "fool", "you"


def test_nothing_trained_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_trained(tmp_path)
