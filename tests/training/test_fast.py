"""The fast model, where it needs torch: two stages that say what the whole says, and the way from a model to its fast one."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import BertConfig, BertModel

from training import fast, first_head
from training.authored import read_authored
from training.evaluate import Model, open_session, pad
from training.export import HEAD_SIZE, build, int8
from training.inputs import inputs_of
from training.labels import Row
from training.model import Screener
from training.split import split
from training.stages import Head, first_stage, pooled_behind, rest
from worker.classifier import LABELS
from worker.early import EARLY_OUTPUT, HIDDEN, Leaving
from worker.onnx import model_folder

TEXTS = [[101, 7, 8, 102], [101, 9, 102], [101, *range(20, 40), 102]]
WIDTH = 24


def whole(words: int, size: int) -> onnx.ModelProto:
    """Three layers that nobody has trained."""
    torch.manual_seed(0)
    sizes = {
        "hidden_size": size,
        "num_hidden_layers": 3,
        "num_attention_heads": size // HEAD_SIZE,
        "intermediate_size": 64,
    }
    config = BertConfig(vocab_size=words, hidden_dropout_prob=0, attention_probs_dropout_prob=0, **sizes)
    screener = Screener(BertModel(config, add_pooling_layer=False)).eval()
    state = {k: v.numpy() for k, v in screener.state_dict().items()}
    return onnx.load_from_string(build(state, int8, seen=inputs_of(screener, TEXTS)))


def head(size: int, inner: int = 32) -> Head:
    rng = np.random.default_rng(0)
    # mean, scale, wide, wide_bias, weight, bias
    shapes: list[tuple[int, ...]] = [(2 * size,), (2 * size,), (2 * size, inner), (inner,), (len(LABELS), inner)]
    return Head(*(rng.normal(scale=0.2, size=shape).astype(np.float32) for shape in (*shapes, (len(LABELS),))))


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return whole(200, 96)


@pytest.mark.parametrize("layer", [1, 2])
def test_what_goes_through_both_stages_comes_out_as_of_the_whole(model: onnx.ModelProto, layer: int) -> None:
    ids, mask = pad(TEXTS)
    expected = open_session(model.SerializeToString(), 1).run(None, {"input_ids": ids, "attention_mask": mask})

    first = open_session(first_stage(model, layer, head(96)), 1)
    (hidden,) = first.run([HIDDEN], {"input_ids": ids, "attention_mask": mask})
    second = open_session(rest(model, layer), 1)

    for stay in ([0, 1, 2], [0, 2], [1]):
        found = second.run(None, {HIDDEN: hidden[stay], "attention_mask": mask[stay]})
        assert all((of[stay] == there).all() for of, there in zip(expected, found, strict=True))


def test_an_early_score_does_not_depend_on_the_rest_of_the_batch(model: onnx.ModelProto) -> None:
    session = open_session(first_stage(model, 1, head(96)), 1)

    def early(*texts: list[int]) -> Any:
        ids, mask = pad(texts, WIDTH)
        return session.run([EARLY_OUTPUT], {"input_ids": ids, "attention_mask": mask})[0]

    assert (early(*TEXTS) == np.concatenate([early(text) for text in TEXTS])).all()


def test_the_head_says_in_the_graph_what_it_says_on_paper(model: onnx.ModelProto) -> None:
    ids, mask = pad(TEXTS)
    feeds = {"input_ids": ids, "attention_mask": mask}
    observed, (name,) = pooled_behind(model, [1])
    pooled = open_session(observed.SerializeToString(), 1).run([name], feeds)[0][:, 0]
    h = head(96)
    active = torch.nn.functional.gelu(torch.from_numpy((pooled - h.mean) * h.scale @ h.wide + h.wide_bias)).numpy()
    expected = active @ h.weight.T + h.bias

    found = open_session(first_stage(model, 1, h), 1).run([EARLY_OUTPUT], feeds)[0]

    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_looking_changes_nothing(model: onnx.ModelProto) -> None:
    ids, mask = pad(TEXTS)
    feeds = {"input_ids": ids, "attention_mask": mask}
    before = open_session(model.SerializeToString(), 1).run(["logits"], feeds)[0]

    observed, _ = pooled_behind(model, [1, 2])

    assert (open_session(observed.SerializeToString(), 1).run(["logits"], feeds)[0] == before).all()


# ---- from a model to its fast one


@pytest.fixture(scope="module")
def rows() -> tuple[list[Row], list[Row]]:
    teach, dev = split(read_authored())
    return teach, dev[::4]


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model's folder, with small weights."""
    folder = tmp_path_factory.mktemp("default")
    shipped = model_folder("default")
    for name in ("config.json", *fast._AS_THEY_ARE):
        shutil.copyfile(shipped / name, folder / name)
    words = 1 + max(json.loads((shipped / "tokenizer.json").read_text("utf-8"))["model"]["vocab"].values()) + 1000
    onnx.save(whole(words, 64), folder / "model.onnx")
    return folder


def test_from_a_model_to_its_fast_one(
    rows: tuple[list[Row], list[Row]], default: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_head, "TAUGHT", {"authored": 200})
    monkeypatch.setattr(first_head, "EPOCHS", 1)
    monkeypatch.setattr(fast, "natural", lambda dev: list(dev)[:50])
    folder = tmp_path / "fast"

    figures = fast.fast(*rows, default, folder, tmp_path / "work", layer=1)

    assert json.loads((folder / "config.json").read_text("utf-8"))["early"] == figures["rule"]
    assert figures["left"]["all"]["n"] > 0
    assert set(figures["pace"]) == {"default", "fast"}
    assert Model(folder).classifier.model.name == "fast"


def test_what_stays_has_the_scores_and_spans_of_the_default_model(
    rows: tuple[list[Row], list[Row]], default: Path, tmp_path: Path
) -> None:
    texts = [r.text for r in rows[1][:200]]
    fast.export(head(64), 1, default, tmp_path)
    early = Model(tmp_path)(texts)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    middle = float(np.median(early[:, 0]))
    rule = Leaving(dict.fromkeys(LABELS[:-1], 1.0) | {"toxicity": round(middle, 4)})
    fast._write_rule(tmp_path, config, rule)

    found, expected = Model(tmp_path).find(texts), Model(default).find(texts)

    stay = [at for at, score in enumerate(early[:, 0]) if score >= rule.cutoffs["toxicity"]]
    assert 0 < len(stay) < len(texts)
    assert [found[at] for at in stay] == [expected[at] for at in stay]
    left = sorted(set(range(len(texts))) - set(stay))
    assert all(found[at].scores == dict(zip(LABELS, early[at], strict=True)) and not found[at].spans for at in left)


def test_what_a_model_sees_is_asked_once_for_each_model_and_its_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []

    def look(_: Path, texts: Sequence[str], layers: Sequence[int]) -> tuple[dict[int, Any], Any]:
        asked.append(texts)
        return {layers[0]: np.full((len(texts), 4), len(asked))}, np.zeros((len(texts), len(LABELS)))

    monkeypatch.setattr(fast, "look", look)
    monkeypatch.setattr(fast, "teach", lambda seen, _: int(seen[0, 0]))
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_text(name)

    def taught(name: str, *texts: str) -> Any:
        return fast.taught(texts, tmp_path / name, tmp_path / "kept", 3)

    assert [taught("one", "a", "b"), taught("one", "a", "b")] == [1, 1]
    assert [taught("one", "a"), taught("other", "a", "b"), taught("one", "a", "b")] == [2, 3, 1]
