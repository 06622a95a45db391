"""Files are data: read up to a size, and never run."""

import ast
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worker.cli_scoring import read_thresholds
from worker.errors import PolicyError, StartupError
from worker.files import MIB, check_size, read_bytes, read_text
from worker.model_source import SHIPPED
from worker.onnx import OnnxClassifier
from worker.operating_points import read_operating_points
from worker.outputs import read_label_map
from worker.policy_file import load_policy
from worker.tokenizer import CPU_STEP, Tokenizer

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("size", "most", "shown"), [(1025, 1024, "1 KiB"), (3 * MIB + 1, 3 * MIB, "3 MiB")])
def test_a_file_is_read_up_to_a_size(tmp_path: Path, size: int, most: int, shown: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * most)
    assert read_bytes(file, most) == b"x" * most
    check_size(file, most)

    file.write_bytes(b"x" * size)
    for refusing in (read_bytes, read_text, check_size):
        with pytest.raises(StartupError, match=f"^{file}: larger than {shown}, the most that is read$"):
            refusing(file, most)


def test_what_has_no_size_and_no_end_is_refused_as_well() -> None:
    with pytest.raises(StartupError, match="larger than 1 MiB"):
        read_bytes(Path("/dev/zero"), MIB)


Reading = Callable[[Path], Any]


def a_model(name: str, size: int) -> Reading:
    """The shipped model in the test's folder, with one of its files too large."""

    def read(file: Path) -> OnnxClassifier:
        file.unlink()
        for shipped in (SHIPPED / "default").iterdir():
            if shipped.name != name:
                (file.parent / shipped.name).symlink_to(shipped)
        with (file.parent / name).open("wb") as large:
            large.truncate(size)
        return OnnxClassifier(file.parent)

    return read


@pytest.mark.parametrize(
    ("name", "most", "read"),
    [
        ("policy.yaml", "1 MiB", load_policy),
        ("labels.json", "1 MiB", read_label_map),
        ("thresholds.json", "1 MiB", read_thresholds),
        ("operating_points.json", "1 MiB", lambda file: read_operating_points(file.parent)),
        ("config.json", "1 MiB", a_model("config.json", MIB + 1)),
        ("tokenizer_config.json", "1 MiB", a_model("tokenizer_config.json", MIB + 1)),
        ("tokenizer.json", "64 MiB", a_model("tokenizer.json", 64 * MIB + 1)),
        ("model.onnx", "2048 MiB", a_model("model.onnx", 2048 * MIB + 1)),
    ],
)
def test_each_file_that_somebody_may_bring_has_a_limit(tmp_path: Path, name: str, most: str, read: Reading) -> None:
    file = tmp_path / name
    file.write_bytes(b" " * (MIB + 1))

    with pytest.raises(StartupError, match=f"^{file}: larger than {most}, the most that is read$"):
        read(file)


DEEP = 100_000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{a: " * DEEP, "nested too deeply"),
        ("a: &a {b: 1}\nc: *a\n", "is an alias"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "policy.yaml:"),
        ("id: !!python/object/apply:os.system ['true']\n", "policy.yaml:"),
        ("!!python/object/new:os.system [id]\n", "policy.yaml:"),
    ],
    ids=["deep", "alias", "bomb", "object", "object at the root"],
)
def test_a_policy_that_is_no_policy_is_refused_and_nothing_of_it_is_run(
    tmp_path: Path, content: str, says: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(content, "utf-8")

    with pytest.raises(PolicyError, match=says):
        load_policy(file)


@pytest.mark.parametrize("read", [read_label_map, read_thresholds, lambda file: read_operating_points(file.parent)])
def test_json_that_is_nested_too_deeply_is_refused(tmp_path: Path, read: Reading) -> None:
    file = tmp_path / "operating_points.json"
    file.write_text("[" * DEEP, "utf-8")

    with pytest.raises(StartupError, match="recursion"):
        read(file)


def bring_code(folder: Path) -> Path:
    """Have the tokenizer in this folder name a class of the folder's own. Where it leaves a mark when it is imported."""
    mark = folder / "mark"
    (folder / "code.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Mine: pass\n", "utf-8"
    )
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text("utf-8"))
    config |= {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": [None, "code.Mine"]}}
    file.write_text(json.dumps(config), "utf-8")
    return mark


def test_a_model_that_brings_code_of_its_own_does_not_get_it_run(tmp_path: Path) -> None:
    for shipped in (SHIPPED / "default").iterdir():
        (tmp_path / shipped.name).write_bytes(shipped.read_bytes())
    mark = bring_code(tmp_path)

    with contextlib.suppress(StartupError):
        OnnxClassifier(tmp_path)
    assert not mark.exists()


def test_nor_where_its_tokenizer_is_of_the_class_that_it_names(tmp_path: Path) -> None:
    """Without `tokenizer.json`, which says by itself what there is to know, as checkpoints may come."""
    vocabulary = json.loads((SHIPPED / "default" / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)), "utf-8")
    for name in ("config.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((SHIPPED / "default" / name).read_bytes())
    assert Tokenizer(tmp_path, 256, width_step=CPU_STEP).size == len(vocabulary)
    mark = bring_code(tmp_path)

    with contextlib.suppress(StartupError):
        Tokenizer(tmp_path, 256, width_step=CPU_STEP)
    assert not mark.exists()


SOURCES = sorted(file for folder in ("worker", "training", "bench", "deploy") for file in (ROOT / folder).rglob("*.py"))
CODE_FROM_DATA = {
    *("eval", "exec", "compile", "__import__"),
    *("pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.UnsafeLoader", "yaml.FullLoader"),
    *("yaml.Loader", "yaml.CLoader", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
}


def dotted(node: ast.AST) -> str:
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def dangers(tree: ast.AST) -> Iterator[str]:
    """What may run code out of a file, a text or a network."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in CODE_FROM_DATA)
        elif isinstance(node, ast.ImportFrom):
            names = {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
            yield from sorted(names & CODE_FROM_DATA)
        elif isinstance(node, ast.Name | ast.Attribute):
            yield from {dotted(node)} & CODE_FROM_DATA
        elif isinstance(node, ast.Call):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if dotted(node.func) == "torch.load" and given.get("weights_only") != "True":
                yield "torch.load"
            if dotted(node.func).endswith("load") and given.get("allow_pickle", "False") != "False":
                yield "allow_pickle"
            yield from (name for name in ("shell", "trust_remote_code") if given.get(name, "False") != "False")


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_source_runs_what_it_reads(file: Path) -> None:
    assert list(dangers(ast.parse(file.read_bytes()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from yaml import unsafe_load",
        "from pickle import loads",
        "eval(text)",
        "exec(text)",
        "yaml.load(file, Loader=yaml.SafeLoader)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
        "AutoTokenizer.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_each_danger_would_be_found(line: str) -> None:
    assert list(dangers(ast.parse(line))) != []


@pytest.mark.parametrize(
    "line",
    [
        "yaml.safe_load(file)",
        "torch.load(path, weights_only=True)",
        "session.run(x)",
        "re.compile('a')",
        "f(shell=False)",
    ],
)
def test_and_nothing_else(line: str) -> None:
    assert list(dangers(ast.parse(line))) == []
