"""What a model's name stands for, and what is said where torch is not there for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from worker.model_source import SHIPPED, OnHub, folder_of, names_checkpoint, on_hub

COMMIT = "4f1e" * 10


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("unitary/toxic-bert", OnHub("unitary/toxic-bert", None)),
        (f"a/b@{COMMIT}", OnHub("a/b", COMMIT)),
        ("org.x/name_1.0@refs/pr/3", OnHub("org.x/name_1.0", "refs/pr/3")),
        ("default", None),
        ("/models/mine", None),
        ("./models/mine", None),
        ("../models/mine", None),
        ("models/mine/deeper", None),
        ("a/b@", None),
        ("a/b@../c", None),
        ("a/b c", None),
        ("ä/b", None),
        ("", None),
    ],
)
def test_a_name_on_a_hub(model: str, found: OnHub | None) -> None:
    assert on_hub(model) == found
    assert names_checkpoint(model) == (found is not None)


def test_what_is_here_goes_before_what_may_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)

    assert on_hub("models/mine") is None
    assert not names_checkpoint("models/mine")
    assert folder_of("models/mine") == Path("models/mine")


@pytest.mark.parametrize(
    ("files", "checkpoint"),
    [
        (["config.json", "model.safetensors"], True),
        (["config.json", "model-00001-of-00002.safetensors"], True),
        (["config.json", "pytorch_model.bin"], True),
        (["config.json", "model.safetensors", "model.onnx"], False),
        (["config.json", "tokenizer.json"], False),
        ([], False),
    ],
)
def test_a_folder_is_a_checkpoint_by_its_weights(tmp_path: Path, files: list[str], checkpoint: bool) -> None:
    for name in files:
        (tmp_path / name).touch()

    assert names_checkpoint(str(tmp_path)) == checkpoint


def test_a_shipped_model_is_found_by_its_name() -> None:
    assert folder_of("default") == SHIPPED / "default"
    assert not names_checkpoint("default")


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_without_torch_the_extra_is_named_in_one_line(tmp_path: Path, where: str) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    model = str(tmp_path) if where == "folder" else "someone/toxic-bert"
    # Python's own way to say that there is none.
    program = "import sys; sys.modules['torch'] = None; from worker.cli import app; app()"
    ended = subprocess.run(
        [sys.executable, "-c", program, "screen", "hello", "--model", model],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "comment-screener: SCREENER_MODEL: a model without model.onnx needs torch: install comment-screener[torch]\n"
    )
