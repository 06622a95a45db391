"""What layers are given: told of real tokens alone, and 256 integers that stand for all of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.conftest import tiny_model
from training.inputs import TEXTS, Inputs, inputs_of, read_ranges, some_of, write_ranges
from training.labels import Row
from training.model import load_tokenizer


def test_they_are_told_of_tokens_and_not_of_padding() -> None:
    tokenizer = load_tokenizer([])
    torch.manual_seed(0)
    model = tiny_model(tokenizer).eval()
    texts = ["hello there", "a much longer text, of which the other one is padded to the width"]

    found = inputs_of(model, some_of([Row(text, {}, "test") for text in texts], tokenizer))

    expected, lowest, highest = np.zeros(()), 0.0, 0.0
    with torch.inference_mode():
        for text in texts:
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            hidden = model.encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].double()
            expected = expected + (hidden.T @ hidden).numpy()
            lowest, highest = min(lowest, float(hidden.min())), max(highest, float(hidden.max()))
    together = found["token_head"].together
    assert together is not None
    assert np.abs(together - expected).max() < 1e-4 * np.abs(together).max()
    assert (found["token_head"].lowest, found["token_head"].highest) == pytest.approx((lowest, highest), rel=1e-4)
    assert {name.rsplit(".", 1)[-1] for name in found} == {"query", "key", "value", "dense", "token_head"}
    assert "head" not in found


def test_the_same_rows_are_looked_at_whatever_their_order() -> None:
    rows = [Row(f"text {n}", {}, "test") for n in range(TEXTS + 50)]

    found = some_of(rows, load_tokenizer([]))

    assert len(found) == TEXTS
    assert some_of(rows[::-1], load_tokenizer([])) == found


@pytest.mark.parametrize(("lowest", "highest"), [(-27.0, 2.5), (0.0, 6.0), (-1.0, 0.0), (-3.0, 3.0), (0.0, 0.0)])
def test_the_integers_reach_from_end_to_end_and_one_of_them_is_zero(lowest: float, highest: float) -> None:
    inputs = Inputs(lowest, highest)

    ends = (0 - inputs.zero) * inputs.step, (255 - inputs.zero) * inputs.step
    assert 0 <= inputs.zero <= 255
    assert ends == pytest.approx((lowest, highest), abs=inputs.step / 2 + 1e-9)
    again = Inputs.of_steps(inputs.step, inputs.zero, [0.5])
    assert again.step == pytest.approx(inputs.step)
    assert again.zero == inputs.zero


def test_they_are_kept_beside_weights_that_are_integers_already(tmp_path: Path) -> None:
    write_ranges(tmp_path, {"head": Inputs(-1.5, 2.25, np.eye(2), (0.1, 0.25))})

    assert read_ranges(tmp_path) == {"head": Inputs(-1.5, 2.25, weight_steps=(0.1, 0.25))}
