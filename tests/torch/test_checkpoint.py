"""Checkpoints of other people's making: what drops in, what a decision calls it, and the one clear line for what does not."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from tests.fakes import detect
from tests.torch.checkpoints import LABELS, change_config, write_bert, write_roberta
from tests.torch.hub import serve_hub
from worker import hub
from worker.checkpoint import TorchClassifier, open_checkpoint
from worker.classifier import Found, Scores
from worker.errors import StartupError
from worker.loading import load_classifier
from worker.metrics import Metrics
from worker.model_source import SHIPPED
from worker.policy_file import load_policy
from worker.records import Decision
from worker.screening import Record, Screener
from worker.settings import Settings
from worker.tokenizer import GPU_STEP

PUBLIC = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
"""The labels of most public checkpoints, those of the Wikipedia data set."""
TEXT = "you are so dumb"


def load(folder: Path, **options: Any) -> TorchClassifier:
    usual: dict[str, Any] = {"batch_tokens": 512, "threads": 1, "device": "cpu"}
    return TorchClassifier(folder, **usual | options)


def find(classifier: TorchClassifier, text: str) -> Found:
    (pieces,) = classifier.encode([text])
    (found,) = classifier.score(pieces)
    return found


def transformers_scores(folder: Path, tokens: list[int], *, softmax: bool = False) -> Scores:
    """What transformers says by itself, to the model's own labels."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.inference_mode():
        (logits,) = model.eval()(torch.tensor([tokens])).logits
    values = (logits.softmax(0) if softmax else logits.sigmoid()).tolist()
    return {model.config.id2label[column]: value for column, value in enumerate(values)}


def refusal(folder: Path, **options: Any) -> str:
    """The one line of the refusal to start."""
    with pytest.raises(StartupError) as refused:
        load(folder, **options)
    message = str(refused.value)
    assert "\n" not in message
    return message


# ---- checkpoints that drop in


@pytest.mark.parametrize("problem", ["multi_label_classification", "single_label_classification"])
def test_it_says_what_transformers_says(tmp_path: Path, problem: str) -> None:
    classifier = load(write_bert(tmp_path, problem_type=problem))
    # As wide as a run, so that both compute the same.
    text = "you are so dumb it hurts"
    ((piece,),) = classifier.encode([text])
    assert len(piece.tokens) == classifier.width(piece) == 8

    expected = transformers_scores(tmp_path, list(piece.tokens), softmax=problem.startswith("single"))

    assert find(classifier, text).scores == pytest.approx(expected, abs=1e-4)
    assert find(classifier, text).spans == ()


def test_padding_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As there is on a GPU; on a CPU there is none."""
    monkeypatch.setattr("worker.checkpoint.CPU_STEP", GPU_STEP)
    classifier = load(write_bert(tmp_path))
    ((piece,),) = classifier.encode([TEXT])
    assert len(piece.tokens) < classifier.width(piece)

    assert find(classifier, TEXT).scores == pytest.approx(transformers_scores(tmp_path, list(piece.tokens)), abs=1e-4)


def test_a_public_checkpoint_drops_in(tmp_path: Path) -> None:
    classifier = load(write_bert(tmp_path / "toxic-bert", PUBLIC))

    assert classifier.labels == ("toxicity", "severe_toxicity", "identity_attack", "insult", "profanity", "threat")
    assert (classifier.model.name, classifier.model.version) == ("toxic-bert", "0")
    theirs = transformers_scores(tmp_path / "toxic-bert", list(classifier.encode([TEXT])[0][0].tokens))
    assert find(classifier, TEXT).scores["profanity"] == pytest.approx(theirs["obscene"], abs=1e-4)


def test_labels_are_mapped_by_the_folder_and_before_that_by_the_settings(tmp_path: Path) -> None:
    folder = write_bert(tmp_path, ("LABEL_0", "LABEL_1"))
    (folder / "labels.json").write_text('{"LABEL_0": "toxicity"}', "utf-8")

    assert load(folder).labels == ("toxicity",)
    assert load(folder, label_map={"LABEL_1": "threat"}).labels == ("threat",)


@pytest.mark.parametrize(("positions", "longest"), [(66, 64), (100, 98), (514, 256)])
def test_robertas_positions_begin_behind_the_padding(tmp_path: Path, positions: int, longest: int) -> None:
    classifier = load(write_roberta(tmp_path, positions=positions))
    (pieces,) = classifier.encode(["hello idiot " * 300])

    assert {len(piece.tokens) for piece in pieces[:-1]} == {longest}
    assert all(found.scores for found in classifier.score(pieces[:-1]))


def test_half_precision_is_near_and_the_last_layers_are_whole(tmp_path: Path) -> None:
    folder = write_bert(tmp_path)
    whole, half = load(folder), load(folder, precision="half")

    assert (whole.precision, half.precision) == ("float32", "bfloat16")
    assert find(half, TEXT).scores == pytest.approx(find(whole, TEXT).scores, abs=0.1)
    model = half._shapes._model
    assert model.classifier.weight.dtype == torch.float32
    assert model.bert.pooler.dense.weight.dtype == torch.bfloat16


def test_without_a_gpu_it_is_float32_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    classifier = load(write_bert(tmp_path), device=None)

    assert (classifier.device, classifier.precision) == ("cpu", "float32")


def test_the_worker_loads_it_from_its_settings_and_decides_by_it(tmp_path: Path) -> None:
    settings = Settings(kafka_bootstrap_servers="none", model=str(write_bert(tmp_path)), inference_threads=1)
    screener = Screener(
        load_classifier(settings.model, threads=settings.inference_threads),
        load_policy("default"),
        detect=detect,
        observer=Metrics(),
        cache_entries=0,
    )
    screener.probe()

    value = json.dumps({"comment_id": "c", "text": TEXT, "created_at": "2026-11-24T10:00:00Z"}).encode()
    (decision,) = screener.screen([Record(value)])

    assert isinstance(decision, Decision)
    assert decision.scores.keys() == set(LABELS)
    assert decision.model.name == tmp_path.name


# ---- the hash


def hash_of(folder: Path, **options: Any) -> str:
    return load(folder, **options).model.sha256


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_the_hash_changes_with_every_file_that_scores_follow_from(tmp_path: Path, file: str) -> None:
    folder = write_bert(tmp_path)
    before = hash_of(folder)

    if file == "model.safetensors":
        write_bert(folder, seed=1)
    else:
        (folder / file).write_text((folder / file).read_text("utf-8") + "\n", "utf-8")

    assert hash_of(folder) != before


def test_the_hash_changes_with_map_and_precision_and_with_nothing_else(tmp_path: Path) -> None:
    here, there = write_bert(tmp_path / "here"), write_bert(tmp_path / "there")
    (there / "README.md").write_text("words", "utf-8")

    assert hash_of(here) == hash_of(there, batch_tokens=64)
    others = (hash_of(here, precision="half"), hash_of(here, label_map={"insult": "profanity"}))
    assert len({hash_of(here), *others}) == 3


# ---- on a hub


def test_a_checkpoint_of_a_hub_is_pinned_in_the_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "8d1f" * 10
    asked: list[tuple[str, str | None]] = []

    def download(name: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        asked.append((name, revision))
        assert not any(pattern.endswith((".py", ".bin")) for pattern in allow_patterns)
        assert ignore_patterns == ["*/*"]
        return str(write_bert(tmp_path / commit))

    monkeypatch.setattr(hub, "snapshot_download", download)
    model = open_checkpoint("someone/toxic-bert@v1.2", threads=1, batch_tokens=64).model

    assert asked == [("someone/toxic-bert", "v1.2")]
    assert (model.name, model.version) == ("someone/toxic-bert", commit)


def screen(model: str, home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Screen "hello" with a model that lies on a hub, with these variables of the hub's library and no others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    return subprocess.run(
        [sys.executable, "-m", "worker", "screen", "hello", "--model", model],
        cwd=home,
        env=others | {"HF_HOME": str(home)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_fetched_by_its_name_and_no_file_twice(tmp_path: Path) -> None:
    commit = "4f1e" * 10
    checkpoint = write_bert(tmp_path / "checkpoint")
    (checkpoint / "modeling.py").write_text("raise SystemExit", "utf-8")
    with serve_hub(checkpoint, "someone/toxic-bert", commit) as hub_here:
        first = screen(f"someone/toxic-bert@{commit}", tmp_path, HF_ENDPOINT=hub_here.address)
        asked = len(hub_here.paths)
        again = screen(f"someone/toxic-bert@{commit}", tmp_path, HF_ENDPOINT=hub_here.address)

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert json.loads(first.stdout)["model"] == json.loads(again.stdout)["model"]
    assert json.loads(first.stdout)["model"]["version"] == commit
    # No bars among the lines of a log.
    assert "%|" not in first.stderr
    assert asked > 0
    assert [path for path in hub_here.paths if path.endswith(".py")] == []
    assert [path for path in hub_here.paths[asked:] if "/resolve/" in path] == []


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"HF_HUB_OFFLINE": "1"}, id="it was forbidden"),
        pytest.param({"HF_ENDPOINT": "http://127.0.0.1:9"}, id="nobody listens there"),
    ],
)
def test_without_a_way_to_a_hub_it_is_one_line_and_exit_2(tmp_path: Path, variables: dict[str, str]) -> None:
    ended = screen("someone/toxic-bert@main", tmp_path, **variables)

    assert (ended.returncode, ended.stdout) == (2, "")
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("comment-screener: SCREENER_MODEL: someone/toxic-bert at main is not to be had from a hub: ")


# ---- refusals


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    folder = write_bert(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    assert refusal(folder) == (
        f"SCREENER_MODEL: {folder} has no weights as safetensors: pytorch_model.bin is a pickle, which may run code; "
        "save it again with save_pretrained"
    )


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    folder = write_bert(tmp_path)
    (folder / "config.json").unlink()

    assert refusal(folder) == f"SCREENER_MODEL: {folder} has no config.json"


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x00" * 100])
def test_weights_that_are_broken(tmp_path: Path, content: bytes) -> None:
    folder = write_bert(tmp_path)
    (folder / "model.safetensors").write_bytes(content)

    assert f"{folder}: its weights do not load: " in refusal(folder)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    folder = write_bert(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})

    assert refusal(folder) == f"{folder}: no weights for classifier.weight: is it a sequence classifier?"


def test_a_tokenizer_with_more_tokens_than_the_model(tmp_path: Path) -> None:
    folder = write_roberta(tmp_path, positions=66)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SHIPPED / "default" / name, folder / name)

    assert re.fullmatch(f"{folder}: its tokenizer has [0-9]+ tokens, the model 7", refusal(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "spam", "1": "ham", "2": "eggs"}}, "none of its labels (spam, ham, eggs) is one of ours"),
        ({"id2label": {"0": "insult", "1": "spam", "7": "threat"}}, "it has 3 outputs, and config.json names output 7"),
        ({"id2label": {"0": "insult"}}, "its weights do not load: "),
        ({"pad_token_id": None}, "config.json names no pad_token_id, so texts cannot share a run"),
        ({"model_type": "nonsense"}, "its weights do not load: "),
        ({"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine"}}, "its weights do not load: "),
    ],
)
def test_a_config_that_is_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = write_bert(tmp_path)
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", "utf-8")
    change_config(folder, **changes)

    assert message in refusal(folder)
    assert not (tmp_path / "ran").exists()
