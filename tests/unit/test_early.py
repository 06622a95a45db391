"""Leaving early: whom the first stage lets go, what it says of them, and the pairs of stages that do not fit.

The models are bags of words in two stages: the first gathers the words' rows, and its head adds them up; the second adds them up
as well, and one more to each logit, so that a score tells which stage it is from.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.unit.test_onnx import WORDS, refusal, write_json, write_model
from worker.classifier import Found
from worker.early import FIRST_STAGE, Leaving
from worker.onnx import TOKEN_OUTPUT, OnnxClassifier

LABELS = ("insult", "kindness")
# Each text starts and ends with a special token.
ROWS = {"idiot": (4.0, 0.0), "lovely": (0.0, 9.0), "hello": (-9.0, -9.0)}
RULE: Mapping[str, Any] = {"cutoffs": {"insult": 0.1}, "kind_below": 0.2, "kind_from": 0.9}
HELLO = 0.0001
ONCE_MORE = 0.0003
"""The scores of "hello", from the first stage and from the second."""


def write_stages(folder: Path, rule: object = RULE, *, missing: str = "", columns: int = 2) -> Path:
    """A folder with such a model; `missing`: an output that the first stage lacks; `columns`: of its head."""
    write_model(folder, LABELS, config={"early": rule, "spans": {"labels": ["insult"], "threshold": 0.9}})
    table = np.array([ROWS.get(word, (0.0, 0.0)) for word in WORDS], np.float32)
    width = helper.make_tensor("width", TensorProto.INT64, (1,), [1])
    first = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        *_masked("rows", "hidden_states"),
        helper.make_node("ReduceSum", ["hidden_states", "width"], ["sum"], keepdims=0),
        helper.make_node("Tile", ["sum", "wider"], ["early_logits"]),
    ]
    outputs = {"hidden_states": ["batch", "width", 2], "early_logits": ["batch", columns]}
    constants = [
        onnx.numpy_helper.from_array(table, "table"),
        helper.make_tensor("wider", TensorProto.INT64, (2,), [1, columns // 2]),
        width,
    ]
    _save(
        folder / FIRST_STAGE,
        first,
        {"input_ids": TensorProto.INT64, "attention_mask": TensorProto.INT64},
        {name: shape for name, shape in outputs.items() if name != missing},
        constants,
    )
    rest = [
        *_masked("hidden_states", "kept"),
        helper.make_node("ReduceSum", ["kept", "width"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "one"], ["logits"]),
        helper.make_node("Split", ["kept"], [TOKEN_OUTPUT, "kind"], axis=2),
    ]
    _save(
        folder / "model.onnx",
        rest,
        {"hidden_states": TensorProto.FLOAT, "attention_mask": TensorProto.INT64},
        {"logits": ["batch", 2], TOKEN_OUTPUT: ["batch", "width", 1]},
        [width, helper.make_tensor("one", TensorProto.FLOAT, (1,), [1.0])],
    )
    return folder


def _masked(rows: str, kept: str) -> list[Any]:
    """Padding counts for nothing."""
    return [
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", [rows, "column"], [kept]),
    ]


def _save(
    path: Path, nodes: Sequence[Any], inputs: Mapping[str, int], outputs: Mapping[str, Any], constants: Sequence[Any]
) -> None:
    shapes = {TensorProto.INT64: ["batch", "width"], TensorProto.FLOAT: ["batch", "width", 2]}
    graph = helper.make_graph(
        nodes,
        "stage",
        [helper.make_tensor_value_info(name, kind, shapes[kind]) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [*constants, helper.make_tensor("last", TensorProto.INT64, (1,), [2])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def find(classifier: OnnxClassifier, *texts: str) -> list[Found]:
    """What is found in texts of one piece each, in one batch."""
    return classifier.score([piece for (piece,) in classifier.encode(texts)])


# ---- the rule


@pytest.mark.parametrize(
    ("insult", "kindness", "leaves"),
    [
        (0.0999, 0.1999, True),
        (0.1, 0.0, False),
        (0.0, 0.2, False),
        (0.0, 0.8999, False),
        (0.0, 0.9, True),
        (0.1, 0.9, False),
    ],
)
def test_a_piece_leaves_below_every_cutoff_with_its_kindness_settled(
    insult: float, kindness: float, *, leaves: bool
) -> None:
    assert Leaving({"insult": 0.1}, 0.2, 0.9).leaves({"insult": insult, "kindness": kindness}) is leaves


def test_a_model_that_knows_no_kindness_has_none_to_settle() -> None:
    assert Leaving({"insult": 0.1}).leaves({"insult": 0.0})


# ---- two stages


def test_what_leaves_is_scored_by_the_first_stage_and_the_rest_by_the_second(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_stages(tmp_path), threads=1)

    left, stayed, kind, kinder = (
        found.scores for found in find(classifier, "hello", "idiot", "hello lovely", "hello lovely lovely")
    )

    assert left == {"insult": HELLO, "kindness": HELLO}
    assert stayed == {"insult": 0.9933, "kindness": 0.7311}
    assert kind == {"insult": ONCE_MORE, "kindness": 0.7311}
    assert kinder == {"insult": HELLO, "kindness": 0.9999}


def test_it_is_said_of_a_piece_that_it_left(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_stages(tmp_path), threads=1)

    assert [found.left_early for found in find(classifier, "hello", "idiot", "hello lovely lovely")] == [
        True,
        False,
        True,
    ]


def test_only_what_stays_is_pointed_at(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_stages(tmp_path), threads=1)

    assert [len(found.spans) for found in find(classifier, "hello", "idiot")] == [0, 1]


@pytest.mark.parametrize("words", ["hello", "idiot"])
def test_all_may_leave_and_all_may_stay(tmp_path: Path, words: str) -> None:
    classifier = OnnxClassifier(write_stages(tmp_path), threads=1)
    (alone,) = find(classifier, words)

    assert find(classifier, words, words, words) == [alone] * 3


def test_tokens_are_asked_of_both_stages_whoever_would_leave(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_stages(tmp_path), threads=1)
    pieces = [piece for (piece,) in classifier.encode(["hello", "idiot"])]

    hello, idiot = classifier.token_probabilities(pieces)

    assert hello[1, 0] < 0.001
    assert idiot[1, 0] > 0.9


def test_the_hash_covers_the_first_stage_and_the_rule(tmp_path: Path) -> None:
    folder = write_stages(tmp_path)
    before = OnnxClassifier(folder, threads=1).model.sha256

    with (folder / FIRST_STAGE).open("rb") as file:
        first = onnx.load(file)
    first.doc_string = "another"
    onnx.save(first, folder / FIRST_STAGE)
    other_stage = OnnxClassifier(folder, threads=1).model.sha256
    write_stages(folder, {**RULE, "kind_from": 0.95})

    assert len({before, other_stage, OnnxClassifier(folder, threads=1).model.sha256}) == 3


# ---- what does not fit


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("yes", "Expected `object`"),
        ({"cutoffs": {"insult": "low"}}, "Expected `float`"),
        ({**RULE, "cutoff": 1}, "unknown field `cutoff`"),
        ({"cutoffs": {}}, "a cutoff for each of insult, and for nothing else"),
        ({"cutoffs": {"insult": 0.1, "kindness": 0.1}}, "a cutoff for each of insult, and for nothing else"),
        ({"cutoffs": {"insult": 1.5}}, "scores are between 0 and 1"),
        ({**RULE, "kind_below": -0.1}, "scores are between 0 and 1"),
        ({**RULE, "kind_from": 0.1}, "kind_from is below kind_below"),
    ],
)
def test_a_rule_that_makes_no_sense(tmp_path: Path, rule: object, message: str) -> None:
    refused = refusal(write_stages(tmp_path, rule))

    assert refused.startswith(f"{tmp_path}/config.json: early: ")
    assert message in refused


def test_a_rule_without_a_first_stage_and_a_first_stage_without_a_rule(tmp_path: Path) -> None:
    message = f"{tmp_path}: first.onnx and early in config.json go together, and one is missing"
    write_stages(tmp_path)
    (tmp_path / FIRST_STAGE).unlink()
    assert refusal(tmp_path) == message

    write_stages(tmp_path)
    write_json(tmp_path / "config.json", {"id2label": {"0": "insult", "1": "kindness"}})
    assert refusal(tmp_path) == message


@pytest.mark.parametrize("missing", ["hidden_states", "early_logits"])
def test_a_first_stage_that_lacks_an_output(tmp_path: Path, missing: str) -> None:
    assert refusal(write_stages(tmp_path, missing=missing)) == f"{tmp_path}/first.onnx has no output {missing}"


def test_a_head_of_other_labels(tmp_path: Path) -> None:
    refused = refusal(write_stages(tmp_path, columns=4))

    assert refused == f"{tmp_path}: first.onnx and model.onnx differ in how many labels they score"


def test_a_second_stage_that_is_a_whole_model(tmp_path: Path) -> None:
    write_stages(tmp_path)
    write_model(tmp_path, LABELS, config={"early": RULE})

    assert "model.onnx wants attention_mask, input_ids, and first.onnx gives hidden_states" in refusal(tmp_path)


def test_a_first_stage_that_is_broken(tmp_path: Path) -> None:
    (write_stages(tmp_path) / FIRST_STAGE).write_bytes(b"no model")

    assert refusal(tmp_path).startswith(f"{tmp_path}/first.onnx does not load: ")


def test_scores_of_the_first_stage_that_are_not_numbers_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROWS, "hello", (float("nan"), 0.0))
    classifier = OnnxClassifier(write_stages(tmp_path), threads=1)

    with pytest.raises(ArithmeticError, match="the model's scores are not numbers"):
        find(classifier, "hello")
