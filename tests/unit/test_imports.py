"""Imports point one way, and the pure modules load none of the heavy libraries."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "worker"

PURE = (
    "records",
    "errors",
    "codec",
    "words",
    "obfuscation",
    "normalise",
    "batching",
    "pieces",
    "policy",
    "policy_file",
    "policy_precisions",
    "policy_shape",
    "policy_yaml",
    "model_source",
    "operating_points",
    "language",
    "turns",
    "watermark",
    "classifier",
    "labelled",
    "screening",
    "scores",
    "dead_letters",
    "dead_letters_shown",
    "redrive",
    "rows",
    "backoff",
    "shedding",
)
HEAVY = (
    "faust",
    "mode",
    "aiokafka",
    "onnxruntime",
    "transformers",
    "prometheus_client",
    "py3langid",
    "numpy",
    "sklearn",
    "matplotlib",
    "torch",
    "opentelemetry",
)

# Each module may import from the lines above its own, and from nowhere else in the package.
ORDER = (
    {"errors"},
    {"files", "header_names", "model_source", "records", "words"},
    {"obfuscation"},
    {
        "backoff",
        "batching",
        "classifier",
        "codec",
        "consumer",
        "cores",
        "dead_letters",
        "health",
        "histogram",
        "language",
        "logs",
        "normalise",
        "partitioning",
        "policy_yaml",
        "rows",
        "runs",
        "schemas",
        "terminal",
        "turns",
        "watchdog",
        "watermark",
    },
    {
        "buffer",
        "evaluation",
        "labelled",
        "metrics",
        "operating_points",
        "outputs",
        "pieces",
        "policy",
        "redrive",
        "scores",
        "settings",
        "tokenizer",
    },
    {
        "connection",
        "dead_letters_shown",
        "evaluation_report",
        "fixed_shapes",
        "hub",
        "lag",
        "langid",
        "onnx",
        "policy_precisions",
        "publisher",
        "shedding",
        "topics",
    },
    {
        "access",
        "checkpoint",
        "dead_letters_topic",
        "evaluation_picture",
        "faust_app",
        "policy_shape",
        "provisioning",
        "screening",
    },
    {"agents", "dead_letters_run", "ledger", "policy_file"},
    {"acking", "loading", "policy_watch", "tracing", "transactional", "vitals"},
    {"policy_reload"},
    {"app"},
)


def modules() -> list[str]:
    """The modules below the command line, which may use them all."""
    return sorted(file.stem for file in PACKAGE.glob("*.py") if not file.stem.startswith(("cli", "__")))


def imported(file: Path) -> Iterator[str]:
    """Modules of the package that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("worker.") for alias in node.names if alias.name.startswith("worker."))
        elif isinstance(node, ast.ImportFrom) and node.module == "worker":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("worker."):
            yield (node.module or "").removeprefix("worker.")


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, worker.{module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert set(ended.stdout.split()) & set(HEAVY) == set()


@pytest.mark.parametrize("module", modules())
def test_imports_point_one_way(module: str) -> None:
    place = next((at for at, line in enumerate(ORDER) if module in line), None)
    assert place is not None, f"worker/{module}.py has no place in the order of imports above"

    allowed = set().union(*ORDER[:place])
    # The composition root is the only one that knows everyone; others need not know how deep a rule lies.
    assert set(imported(PACKAGE / f"{module}.py")) <= allowed


def test_the_order_is_the_designs() -> None:
    place = {module: at for at, line in enumerate(ORDER) for module in line}
    design = [
        ("errors", "records"),
        ("codec", "normalise", "batching", "policy", "watermark", "classifier"),
        ("screening",),
        ("agents",),
        ("app",),
    ]

    for before, after in pairwise(design):
        assert max(place[module] for module in before) < min(place[module] for module in after)


@pytest.mark.parametrize(
    ("module", "importers"),
    [
        ("onnx", {"loading"}),
        ("checkpoint", {"loading"}),
        ("langid", {"loading"}),
        ("loading", {"app", "cli_scoring"}),
        ("app", {"cli"}),
        ("tracing", {"app"}),
        ("agents", {"acking", "app", "tracing", "transactional", "vitals"}),
    ],
)
def test_only_the_edge_knows_the_heavy_parts(module: str, importers: set[str]) -> None:
    assert {file.stem for file in PACKAGE.glob("*.py") if module in imported(file)} == importers


def test_imports_at_module_level_make_no_command_slow() -> None:
    """`comment-screener --help` and `policy check` do not load what runs models."""
    program = "import sys, worker.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (
        set(ended.stdout.split())
        & {"onnxruntime", "transformers", "numpy", "py3langid", "sklearn", "matplotlib", "torch"}
        == set()
    )
