"""What a model's name stands for, and what is said where torch is not there for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.errors import StartupError
from worker.loading import load_classifier
from worker.model_source import SHIPPED, OnHub, check_named, folder_of, names_checkpoint, on_hub

COMMIT = "4f1e" * 10


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("unitary/toxic-bert@v1.2", OnHub("unitary/toxic-bert", "v1.2")),
        (f"a/b@{COMMIT}", OnHub("a/b", COMMIT)),
        ("org.x/name_1.0@refs/pr/3", OnHub("org.x/name_1.0", "refs/pr/3")),
        ("unitary/toxic-bert", None),
        ("models/new", None),
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
    (tmp_path / "models" / "mine@1").mkdir(parents=True)

    assert on_hub("models/mine@1") is None
    assert not names_checkpoint("models/mine@1")
    assert folder_of("models/mine@1") == Path("models/mine@1")


@pytest.mark.parametrize("model", ["default", "org/name@main"])
def test_a_name_of_something_is_passed(model: str) -> None:
    check_named(model)


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("tpyo", ""),
        ("/models/mine", ""),
        ("a/b@", ""),
        ("models/new", "; a model on a hub takes its revision: models/new@REVISION"),
    ],
)
def test_a_name_of_nothing_is_refused_by_whoever_loads_it(model: str, hint: str) -> None:
    for refuse in (check_named, load_classifier):
        with pytest.raises(StartupError) as refused:
            refuse(model)
        assert str(refused.value) == f"SCREENER_MODEL: {model} is none of the shipped models, and no folder{hint}"


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
    model = str(tmp_path) if where == "folder" else "someone/toxic-bert@main"
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
        "comment-screener: SCREENER_MODEL: a model without model.onnx needs torch: pip install -e '.[torch]'\n"
    )


@pytest.mark.parametrize(
    ("model", "given", "stands"),
    [
        ("someone/toxic-bert@main", None, "None"),
        ("someone/toxic-bert@main", "1", "1"),
        ("folder", None, "1"),
        ("folder", "0", "0"),
    ],
)
def test_the_hub_is_off_unless_the_model_lies_there(tmp_path: Path, model: str, given: str | None, stands: str) -> None:
    """And what somebody has set stays. The library that asks a hub reads it once, when it is imported."""
    (tmp_path / "folder").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    # Nothing is asked of anybody: without torch it ends before that.
    program = """
import os, sys
sys.modules["torch"] = None
import worker.app, worker.cli
from worker.errors import StartupError
from worker.loading import load_classifier
assert "huggingface_hub" not in sys.modules
try: load_classifier(sys.argv[1])
except StartupError: print(os.environ.get("HF_HUB_OFFLINE"))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, model],
        cwd=tmp_path,
        env=environment | ({} if given is None else {"HF_HUB_OFFLINE": given}),
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout == f"{stands}\n"
