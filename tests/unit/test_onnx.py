"""The ONNX classifier with models of other people's making: what drops in, and the one clear line for what does not.

The models are bags of words: a table gives each word a row of logits, and a text's logits are their sum.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.fakes import detect
from worker.classifier import LABELS
from worker.errors import FatalError, StartupError
from worker.metrics import Metrics
from worker.onnx import (
    SLOW_FUSIONS,
    OnnxClassifier,
    Pointer,
    _readable_tokens,
    model_folder,
    nowhere_below,
    point,
    points_nowhere,
)
from worker.outputs import read_label_map, sigmoid
from worker.policy_file import load_policy
from worker.screening import Screener
from worker.tokenizer import GPU_STEP, MAX_PIECE_TOKENS

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "idiot", "lovely", "hello")
PUBLIC = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
"""The labels of most public checkpoints, those of the Wikipedia data set."""

Row = Sequence[float]


def write_model(
    folder: Path,
    labels: Sequence[str] = ("insult", "kindness"),
    rows: Mapping[str, Row] | None = None,
    *,
    inputs: Sequence[str] = ("input_ids", "attention_mask"),
    config: Mapping[str, Any] | None = None,
    special_tokens: bool = True,
) -> Path:
    """A folder that `OnnxClassifier` reads: `rows` gives words their logits; all others have none."""
    folder.mkdir(exist_ok=True)
    table = [(rows or {}).get(word, (0.0,) * len(labels)) for word in WORDS]
    onnx.save(_graph(table, inputs), folder / "model.onnx")
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))  # noqa: S106  a token of text
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    if special_tokens:
        tokenizer.post_processor = processors.TemplateProcessing(
            "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]"},
    )
    write_json(
        folder / "config.json", {"id2label": {str(at): label for at, label in enumerate(labels)}} | dict(config or {})
    )
    return folder


def _graph(table: Sequence[Row], inputs: Sequence[str]) -> onnx.ModelProto:
    """Gather the rows of the tokens, leave out what is masked, sum."""
    columns = len(table[0])
    constants = [
        helper.make_tensor("table", TensorProto.FLOAT, (len(table), columns), [x for row in table for x in row]),
        helper.make_tensor("tokens", TensorProto.INT64, (1,), [1]),
        helper.make_tensor("last", TensorProto.INT64, (1,), [2]),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "width"]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", columns])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), "utf-8")


def scores(classifier: OnnxClassifier, text: str) -> dict[str, float]:
    (pieces,) = classifier.encode([text])
    (found,) = classifier.score(pieces)
    return dict(found.scores)


def refusal(folder: Path, **options: Any) -> str:
    """The one line of the refusal to start."""
    with pytest.raises(StartupError) as refused:
        OnnxClassifier(folder, **options)
    message = str(refused.value)
    assert "\n" not in message
    return message


# ---- models that drop in


def test_a_public_checkpoint_drops_in(tmp_path: Path) -> None:
    rows = {"[CLS]": (-4.0,) * 6, "idiot": (8.0, 0.0, 2.0, 0.0, 6.0, 0.0)}
    classifier = OnnxClassifier(write_model(tmp_path / "toxic-bert", PUBLIC, rows))

    assert classifier.labels == ("toxicity", "severe_toxicity", "identity_attack", "insult", "profanity", "threat")
    assert scores(classifier, "hello idiot") == {
        "toxicity": 0.982,
        "severe_toxicity": 0.018,
        "identity_attack": 0.018,
        "insult": 0.8808,
        "profanity": 0.1192,
        "threat": 0.018,
    }
    assert (classifier.model.name, classifier.model.version) == ("toxic-bert", "0")


def test_labels_named_like_ours_need_no_map_and_others_are_left_out(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_model(tmp_path, ("spam", "kindness", "self_harm"), {"lovely": (9, 2, -2)}))

    assert classifier.labels == ("self_harm", "kindness")
    assert scores(classifier, "lovely") == {"self_harm": 0.1192, "kindness": 0.8808}


def test_the_folders_label_map_is_read(tmp_path: Path) -> None:
    folder = write_model(tmp_path, ("LABEL_0", "nice"), {"lovely": (-2, 2)})
    write_json(folder / "labels.json", {"LABEL_0": "toxicity", "nice": "kindness"})

    assert scores(OnnxClassifier(folder), "lovely") == {"toxicity": 0.1192, "kindness": 0.8808}


def test_the_map_in_the_settings_goes_before_the_folders(tmp_path: Path) -> None:
    folder = write_model(tmp_path, ("LABEL_0", "LABEL_1"))
    write_json(folder / "labels.json", {"LABEL_0": "toxicity"})

    assert OnnxClassifier(folder, label_map={"LABEL_1": "threat"}).labels == ("threat",)


def test_a_map_can_take_a_common_name_elsewhere(tmp_path: Path) -> None:
    folder = write_model(tmp_path, ("toxic",))

    assert OnnxClassifier(folder, label_map={"toxic": "insult"}).labels == ("insult",)


def test_exactly_one_true_label_is_a_softmax(tmp_path: Path) -> None:
    folder = write_model(
        tmp_path, ("insult", "kindness"), {"lovely": (0, 2)}, config={"problem_type": "single_label_classification"}
    )

    assert scores(OnnxClassifier(folder), "lovely") == {"insult": 0.1192, "kindness": 0.8808}


def test_a_lone_output_is_a_sigmoid(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_model(tmp_path, ("toxic",), {"idiot": (2,)}))

    assert scores(classifier, "idiot") == {"toxicity": 0.8808}


def test_logits_of_any_size_are_probabilities(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_model(tmp_path, rows={"idiot": (1000, -1000)}))

    assert scores(classifier, "idiot") == {"insult": 1.0, "kindness": 0.0}


def test_segments_are_given_where_they_are_asked_for(tmp_path: Path) -> None:
    folder = write_model(tmp_path, rows={"idiot": (2, -2)}, inputs=("input_ids", "attention_mask", "token_type_ids"))

    assert scores(OnnxClassifier(folder), "idiot") == {"insult": 0.8808, "kindness": 0.1192}


def test_a_piece_is_as_wide_as_it_is_long(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_model(tmp_path, rows={"[PAD]": (50, 50), "idiot": (2, -2)}))
    pieces = [piece for (piece,) in classifier.encode(["idiot", "hello idiot", "idiot hello idiot"])]

    assert [classifier.width(piece) for piece in pieces] == [3, 4, 5]
    assert [feed.shape for feed in classifier.feeds(pieces[1:2] * 3).values()] == [(3, 4), (3, 4)]


def test_padding_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.onnx.CPU_STEP", GPU_STEP)
    classifier = OnnxClassifier(write_model(tmp_path, rows={"[PAD]": (50, 50), "idiot": (2, -2)}))

    assert classifier.width(classifier.encode(["idiot"])[0][0]) == 8
    assert scores(classifier, "idiot") == {"insult": 0.8808, "kindness": 0.1192}


def test_a_tokenizer_without_special_tokens_makes_an_empty_piece_of_an_empty_text(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_model(tmp_path, special_tokens=False))

    ((piece,),) = classifier.encode([""])
    assert piece.tokens == []
    assert classifier.width(piece) == 1
    assert scores(classifier, "") == {"insult": 0.5, "kindness": 0.5}


@pytest.mark.parametrize(("positions", "longest"), [(128, 128), (256, 256), (512, MAX_PIECE_TOKENS)])
def test_pieces_are_no_longer_than_the_model_can_read(tmp_path: Path, positions: int, longest: int) -> None:
    classifier = OnnxClassifier(write_model(tmp_path, config={"max_position_embeddings": positions}))
    (pieces,) = classifier.encode(["hello " * 1000])

    assert {len(piece.tokens) for piece in pieces[:-1]} == {longest}
    assert {classifier.width(piece) for piece in pieces[:-1]} == {longest}


def test_name_and_version_stand_in_the_config(tmp_path: Path) -> None:
    folder = write_model(tmp_path, config={"screener": {"name": "mine", "version": "2.1"}})

    model = OnnxClassifier(folder).model
    assert (model.name, model.version) == ("mine", "2.1")


# ---- the hash


@pytest.mark.parametrize("file", ["model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_the_hash_changes_with_every_file_that_scores_follow_from(tmp_path: Path, file: str) -> None:
    folder = write_model(tmp_path)
    before = OnnxClassifier(folder).model.sha256

    if file == "model.onnx":
        write_model(tmp_path, rows={"idiot": (1, 0)})
    else:
        (folder / file).write_text((folder / file).read_text("utf-8") + "\n", "utf-8")

    assert OnnxClassifier(folder).model.sha256 != before


def test_the_hash_changes_with_the_label_map_and_with_nothing_else(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    before = OnnxClassifier(folder).model.sha256
    (folder / "MODEL_CARD.md").write_text("words", "utf-8")

    assert OnnxClassifier(folder, threads=1).model.sha256 == before
    mapped = {"insult": "threat"}, {"insult": "profanity"}
    assert len({before, *(OnnxClassifier(folder, label_map=names).model.sha256 for names in mapped)}) == 3


def test_the_hash_is_the_same_wherever_the_folder_lies(tmp_path: Path) -> None:
    hashes = {OnnxClassifier(write_model(tmp_path / name)).model.sha256 for name in ("a", "b")}

    assert len(hashes) == 1


# ---- refusals


@pytest.mark.parametrize("missing", ["model.onnx", "config.json", "tokenizer.json"])
def test_a_folder_without_one_of_its_files(tmp_path: Path, missing: str) -> None:
    folder = write_model(tmp_path)
    (folder / missing).unlink()

    with pytest.raises(StartupError, match=f"^SCREENER_MODEL: {folder} has no {missing}$"):
        model_folder(str(folder))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        StartupError, match=r"^SCREENER_MODEL: .*/nowhere has no model.onnx and no config.json and no tokenizer.json$"
    ):
        model_folder(str(tmp_path / "nowhere"))


def test_a_shipped_model_goes_by_its_name() -> None:
    assert model_folder("default").parts[-3:] == ("worker", "models", "default")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{broken", "config.json: not JSON: Expecting property name"),
        ("[]", "config.json: not a JSON object"),
        ("\udcff", "config.json: not JSON: 'utf-8' codec can't decode"),
        ("{}", "config.json names no labels (id2label)"),
        ('{"id2label": {}}', "config.json names no labels (id2label)"),
        ('{"id2label": ["insult"]}', "config.json names no labels (id2label)"),
        (
            '{"id2label": {"0": "spam", "1": "ham"}}',
            "none of its labels (spam, ham) is one of ours; map them in labels.json",
        ),
        ('{"id2label": {"zero": "insult"}}', "config.json: id2label: zero is not the number of an output"),
        ('{"id2label": {"-1": "insult"}}', "config.json: id2label: -1 is not the number of an output"),
        ('{"id2label": {"0": ["insult"]}}', "none of its labels (['insult']) is one of ours"),
        (
            '{"id2label": {"0": "insult", "1": "obscene", "2": "profanity"}}',
            "two of its labels would be our profanity: obscene and profanity; map one of them to another",
        ),
        ('{"id2label": {"0": "insult"}, "screener": []}', "config.json: screener: name and version are texts"),
        ('{"id2label": {"0": "insult"}, "screener": {"version": 2}}', "screener: name and version are texts"),
        ('{"id2label": {"0": "insult"}, "pad_token_id": "0"}', "config.json: max_position_embeddings and pad_token_id"),
        ('{"id2label": {"0": "insult", "2": "threat"}}', "has 2 outputs, and config.json names output 2"),
    ],
)
def test_a_config_that_is_wrong(tmp_path: Path, config: str, message: str) -> None:
    folder = write_model(tmp_path)
    (folder / "config.json").write_text(config, "utf-8", "surrogateescape")

    assert message in refusal(folder)


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ({"insult": "rude"}, "rude is none of toxicity, severe_toxicity, "),
        ({"insutl": "threat"}, "the model has no label insutl"),
        ({"insult": "toxicity", "kindness": "toxicity"}, "would be our toxicity: insult and kindness"),
        ({"insult": 3}, "labels.json: not a map from label names to label names"),
        ([], "labels.json: not a JSON object"),
    ],
)
def test_a_label_map_that_is_wrong(tmp_path: Path, label_map: Any, message: str) -> None:
    folder = write_model(tmp_path)
    write_json(folder / "labels.json", label_map)

    assert message in refusal(folder)


def test_a_label_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"map\.json: .*No such file"):
        read_label_map(tmp_path / "map.json")


@pytest.mark.parametrize("content", ["{broken", "{}", '{"version": "1.0"}', "[1]", ""])
def test_a_tokenizer_that_is_broken(tmp_path: Path, content: str) -> None:
    folder = write_model(tmp_path)
    (folder / "tokenizer.json").write_text(content, "utf-8")

    assert f"{folder}: its tokenizer does not load: " in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"no protobuf", b"\x00" * 100])
def test_a_model_that_is_broken(tmp_path: Path, content: bytes) -> None:
    folder = write_model(tmp_path)
    (folder / "model.onnx").write_bytes(content)

    assert f"{folder}/model.onnx does not load: " in refusal(folder)


def test_a_panic_in_the_tokenizer_is_an_error_like_any_other(tmp_path: Path) -> None:
    """It is no Exception, so it would end the process again and again instead of this one text."""
    # As PyO3 makes it: importable from nowhere.
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})

    def panics(*_: object, **__: object) -> None:
        raise panic("index out of bounds")

    classifier = OnnxClassifier(write_model(tmp_path / "model"))
    classifier._tokenizer._fast = SimpleNamespace(encode_batch=panics)

    with pytest.raises(RuntimeError, match=r"^the tokenizer panicked$"):
        classifier.encode(["hello"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_is_no_panic_stays_what_it_is(tmp_path: Path, error: type[BaseException]) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    classifier = OnnxClassifier(write_model(tmp_path / "model"))
    classifier._tokenizer._fast = SimpleNamespace(encode_batch=fails)

    with pytest.raises(error):
        classifier.encode(["hello"])


def test_a_model_that_wants_more_than_text(tmp_path: Path) -> None:
    folder = write_model(tmp_path, inputs=("input_ids", "attention_mask", "pixels", "age"))

    assert refusal(folder).endswith("model.onnx wants inputs that text does not have: age, pixels")


# ---- scores that are none


@pytest.mark.parametrize("problem_type", ["multi_label_classification", "single_label_classification"])
def test_scores_that_are_not_numbers_are_an_error_and_no_score(tmp_path: Path, problem_type: str) -> None:
    folder = write_model(tmp_path, rows={"idiot": (float("nan"), 0)}, config={"problem_type": problem_type})
    classifier = OnnxClassifier(folder)

    assert scores(classifier, "hello") == {"insult": 0.5, "kindness": 0.5}
    with pytest.raises(ArithmeticError, match="the model's scores are not numbers"):
        scores(classifier, "idiot")


def test_a_model_that_never_answers_with_numbers_is_refused_by_the_probe(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_model(tmp_path, rows={"[CLS]": (float("nan"), 0)}))
    screener = Screener(
        classifier,
        load_policy("default"),
        detect=detect,
        observer=Metrics(),
        max_batch_tokens=256,
        cache_entries=0,
    )

    with pytest.raises(FatalError, match="the model no longer answers: ArithmeticError"):
        screener.probe()


def test_the_shipped_model_knows_every_label() -> None:
    assert OnnxClassifier(model_folder("default"), threads=1).labels == LABELS


# ---- where in the text

POINTER = Pointer(("toxicity", "insult", "threat"), 0.5)
# "so stu##pid, ugly": a special token, four words of which one has two pieces, a special token.
PLACES = [(0, 0, None), (0, 2, 0), (3, 6, 1), (6, 9, 1), (9, 10, 2), (11, 15, 3), (0, 0, None)]


def pointed(*marks: tuple[float, float, float]) -> list[tuple[int, int, str, float]]:
    table = np.array(marks, np.float32)
    return [
        (span.start, span.end, span.label, span.score)
        for span in point(POINTER, PLACES, table, table[:, 0] >= POINTER.threshold)
    ]


NO = (0.1, 0.0, 0.0)


def test_a_marked_part_of_a_word_marks_all_of_it() -> None:
    assert pointed(NO, NO, NO, (0.75, 0.9, 0.0), NO, NO, NO) == [(3, 9, "insult", 0.75)]


def test_neighbours_are_one_span_and_what_stands_between_parts_them() -> None:
    bad = (0.75, 0.9, 0.0)

    assert pointed(NO, NO, bad, bad, bad, bad, NO) == [(3, 15, "insult", 0.75)]
    assert pointed(NO, NO, bad, bad, NO, bad, NO) == [(3, 9, "insult", 0.75), (11, 15, "insult", 0.75)]


def test_a_span_of_no_kind_carries_the_first_label() -> None:
    assert pointed(NO, (0.75, 0.1, 0.2), NO, NO, NO, NO, NO) == [(0, 2, "toxicity", 0.75)]


def test_special_tokens_are_no_place() -> None:
    assert pointed((1, 1, 1), NO, NO, NO, NO, NO, (1, 1, 1)) == []


@pytest.mark.parametrize("threshold", [1e-50, 1e-8, 0.001, 0.1, 0.27, 0.5, 0.73, 0.9, 0.999, 1 - 1e-8])
def test_a_token_that_reaches_the_threshold_is_never_passed_over(threshold: float) -> None:
    """Float32 numbers around the threshold, one by one, and further off; with and without a neighbour that is far below."""
    there = np.float32(np.log(threshold) - np.log1p(-threshold))
    near = there + np.spacing(there) * np.arange(-20_000, 20_000, dtype=np.float32)
    logits = np.concatenate([near, np.linspace(-120, 120, 20_000, dtype=np.float32)]).astype(np.float32)
    below = nowhere_below(threshold)

    reaches = sigmoid(logits) >= threshold

    assert not (reaches & (logits < below)).any()
    for logit in (*logits[::500], *logits[reaches][:1], np.inf, -np.inf):
        # [batch, width, span labels]; what kind it would be does not count.
        of_tokens = np.full((2, 3, 4), -200, np.float32)
        of_tokens[..., 1:] = 200
        of_tokens[1, 2, 0] = logit
        assert not (points_nowhere(of_tokens, below) and (sigmoid(of_tokens)[..., 0] >= threshold).any())


def test_what_is_not_sure_to_point_nowhere_is_looked_at() -> None:
    low = np.full((1, 2, 2), -9, np.float32)
    no_number = low.copy()
    no_number[0, 1, 0] = np.nan

    assert points_nowhere(low, nowhere_below(0.5))
    assert not points_nowhere(no_number, nowhere_below(0.5))
    assert not points_nowhere(low.astype(np.float16), nowhere_below(0.5))


def test_the_shipped_model_points_as_it_would_if_it_looked_at_every_text() -> None:
    classifier = OnnxClassifier(model_folder("default"), threads=1)
    pointer = classifier.pointer
    assert pointer is not None
    texts = [
        "you stupid idiot",
        "thank you, this was lovely",
        "a stupid question, sorry",
        "see you next week",
        "kill them all",
    ]
    of_text = [pieces[0] for pieces in classifier.encode(texts)]
    marks = [classifier.token_probabilities([piece])[0] for piece in of_text]

    # Texts right at the threshold, from either side: it is made the highest probability of each text in turn.
    for threshold in [pointer.threshold, *(float(of_tokens[:, 0].max()) for of_tokens in marks)]:
        classifier.pointer = Pointer(pointer.labels, threshold)
        classifier._nowhere_below = nowhere_below(threshold)
        found = [classifier.score([piece])[0].spans for piece in of_text]

        assert found == [
            point(classifier.pointer, piece.places(), of_tokens, of_tokens[:, 0] >= threshold)
            for piece, of_tokens in zip(of_text, marks, strict=True)
        ]
        assert any(found)


@pytest.mark.parametrize(
    ("spans", "what"),
    [
        ({"labels": ["insult"]}, "threshold"),
        ({"labels": ["nonsense"], "threshold": 0.5}, "labels of ours"),
        ({"labels": [], "threshold": 0.5}, "labels of ours"),
        ({"labels": ["insult"], "threshold": 1}, "between 0 and 1"),
        ("yes", "spans"),
        ({"labels": ["insult"], "threshold": 0.5}, "no output token_logits"),
    ],
)
def test_spans_that_do_not_fit_are_refused(tmp_path: Path, spans: object, what: str) -> None:
    assert what in refusal(write_model(tmp_path, config={"spans": spans}))


def test_a_model_without_a_token_output_points_at_nothing(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_model(tmp_path, rows={"idiot": (9, 0)}))

    assert [span for found in classifier.score(classifier.encode(["idiot"])[0]) for span in found.spans] == []


def test_on_a_cpu_no_sum_is_made_part_of_a_layer_norm(tmp_path: Path) -> None:
    """As ONNX Runtime does it unless told not to, where it knows the size; then the node takes several times as long."""
    of_size, any_rows = ["rows", "width", 8], helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    ones = [numpy_helper.from_array(np.ones(8, np.float32), name) for name in ("bias", "gain", "shift")]
    nodes = [
        helper.make_node("Add", ["x", "bias"], ["biased"]),
        helper.make_node("Add", ["biased", "residual"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "gain", "shift"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, of_size) for name in ("x", "residual")]
    graph = helper.make_graph(nodes, "norm", inputs, [any_rows], ones)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "norm.onnx"
    )

    kinds = {}
    for name, unwanted in (("stock", None), ("ours", SLOW_FUSIONS)):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(tmp_path / name)
        onnxruntime.InferenceSession(
            tmp_path / "norm.onnx", options, providers=["CPUExecutionProvider"], disabled_optimizers=unwanted
        )
        kinds[name] = [node.op_type for node in onnx.load(tmp_path / name).graph.node]

    assert kinds == {"stock": ["SkipLayerNormalization"], "ours": ["Add", "Add", "LayerNormalization"]}


def test_a_gpu_in_name_only_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession

    def fall_back(model: str, options: Any, *, providers: Sequence[str], disabled_optimizers: object) -> Any:
        assert providers[0] == "CUDAExecutionProvider"
        assert disabled_optimizers is None
        return session(model, options, providers=cpu)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", *cpu])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", fall_back)

    with pytest.raises(StartupError, match=r"^onnxruntime-gpu is installed, and there is no GPU that it can use$"):
        OnnxClassifier(model_folder("default"))


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({}, MAX_PIECE_TOKENS),
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 130, "pad_token_id": 1}, 128),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 512),
    ],
)
def test_no_piece_is_longer_than_the_positions_that_a_model_has(config: dict[str, Any], tokens: int) -> None:
    assert _readable_tokens(config) == tokens
