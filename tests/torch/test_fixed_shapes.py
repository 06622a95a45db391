"""One shape for each width: logits to the last bit, where scores are rounded and could hide one."""

import random
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, BartConfig, BartForSequenceClassification

from tests.torch.checkpoints import write_bert
from worker.classifier import Piece
from worker.errors import TransientError
from worker.fixed_shapes import FixedShapes

CPU = torch.device("cpu")
WIDTH = 24
ROWS = 8

Model = Callable[..., Any]


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = write_bert(tmp_path_factory.mktemp("checkpoint"))
    loaded: Any = AutoModelForSequenceClassification.from_pretrained(folder, dtype=request.param)
    return loaded.eval()  # type: ignore[no-any-return]


def shapes(model: Model, rows: int) -> FixedShapes:
    return FixedShapes(model, CPU, pad=0, rows=lambda _: rows)


def random_pieces(seed: int, count: int, width: int = WIDTH) -> list[Piece]:
    rng = random.Random(seed)
    return [Piece([rng.randrange(1000, 9000) for _ in range(rng.randint(width - 7, width))]) for _ in range(count)]


@pytest.mark.parametrize("rows", [1, ROWS])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_is_the_same_to_the_last_bit_alone_and_in_any_company(model: Model, rows: int, threads: int) -> None:
    torch.set_num_threads(threads)
    running, pieces = shapes(model, rows), random_pieces(1, 30)
    alone = [running.logits([piece], WIDTH)[0].tobytes() for piece in pieces]
    rng = random.Random(2)

    for size in (2, ROWS - 1, ROWS, ROWS + 1, 40):
        company = rng.choices(range(len(pieces)), k=size)
        found = running.logits([pieces[at] for at in company], WIDTH)
        assert [row.tobytes() for row in found] == [alone[at] for at in company]


def test_a_run_has_all_of_its_rows_however_few_pieces_there_are() -> None:
    seen: list[tuple[int, ...]] = []

    def model(*, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        seen.append(tuple(input_ids.shape))
        assert attention_mask[:, 0].all(), "a row that attends to nothing"
        return SimpleNamespace(logits=(input_ids * attention_mask).sum(1, keepdim=True))

    found = shapes(model, ROWS).logits([Piece([n] * n) for n in range(1, 12)], 16)

    assert found[:, 0].tolist() == [n * n for n in range(1, 12)]
    assert seen == [(ROWS, 16)] * 2


def test_nothing_of_the_last_run_is_left_in_the_next() -> None:
    def model(*, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return SimpleNamespace(logits=torch.stack([input_ids.sum(1), attention_mask.sum(1)], 1))

    running = shapes(model, 2)
    running.logits([Piece([7] * 8), Piece([7] * 8)], 8)

    assert running.logits([Piece([3])], 8).tolist() == [[3.0, 1.0]]


def mixing(least: int) -> Model:
    """Rows differ by where they stand, from so many on; with fewer they do not."""

    def model(*, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        logits = (input_ids * attention_mask).sum(1, keepdim=True).float()
        if len(input_ids) >= least:
            logits[least - 1] += 1e-3
        return SimpleNamespace(logits=logits)

    return model


def whole_batch(*, input_ids: torch.Tensor, **_: torch.Tensor) -> Any:
    """Every row has something of all others."""
    return SimpleNamespace(logits=input_ids.sum().float().expand(len(input_ids), 1))


@pytest.mark.parametrize(
    ("model", "settled"), [(mixing(99), 8), (mixing(8), 4), (mixing(3), 2), (mixing(2), 1), (whole_batch, 1)]
)
def test_where_rows_come_out_otherwise_there_are_fewer(model: Model, settled: int) -> None:
    running = shapes(model, ROWS)

    running.settle([8, 16], vocabulary=50)

    assert (running.rows(8), running.rows(16), running.rows(24)) == (settled, settled, ROWS)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."),
    ],
    ids=["gpu", "cpu"],
)
def test_no_memory_may_be_otherwise_later(error: Exception) -> None:
    left = [error]

    def model(*, input_ids: torch.Tensor, **_: torch.Tensor) -> Any:
        if left:
            raise left.pop()
        return SimpleNamespace(logits=input_ids[:, :1].float())

    running = shapes(model, 2)
    with pytest.raises(TransientError, match=r"^out of memory in the model$"):
        running.logits([Piece([5])], 8)

    assert running.logits([Piece([5])], 8).tolist() == [[5.0]]


def test_any_other_error_stays_what_it_is() -> None:
    def model(**_: torch.Tensor) -> Any:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        shapes(model, 2).logits([Piece([5])], 8)


def test_several_threads_find_the_same(model: Model) -> None:
    running, pieces = shapes(model, 2), random_pieces(3, 8)
    expected = running.logits(pieces, WIDTH)
    found: list[np.ndarray[Any, Any]] = []

    def work(of: Sequence[Piece]) -> None:
        found.extend(running.logits(of, WIDTH) for _ in range(3))

    threads = [threading.Thread(target=work, args=(pieces,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [of_thread.tobytes() for of_thread in found] == [expected.tobytes()] * 9


def test_models_that_look_for_the_end_of_a_text_find_it_in_every_row() -> None:
    sizes = dict.fromkeys(("d_model", "encoder_ffn_dim", "decoder_ffn_dim"), 16)
    layers = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    config = BartConfig(vocab_size=60, max_position_embeddings=32, num_labels=2, **sizes, **layers, **heads)
    running = FixedShapes(BartForSequenceClassification(config).eval(), CPU, pad=config.pad_token_id, rows=lambda _: 4)
    first, second = Piece([0, 5, 6, config.eos_token_id]), Piece([0, 7, config.eos_token_id])

    running.settle([8], vocabulary=60, end=config.eos_token_id)

    assert running.rows(8) == 4
    alone = running.logits([first], 8)
    assert running.logits([first, second], 8)[0].tobytes() == alone[0].tobytes()
