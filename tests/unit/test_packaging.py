"""What is packed: the worker with its types, and of everything else what its reader needs."""

from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


def packed(builder: type[SdistBuilder | WheelBuilder]) -> list[Path]:
    """Paths in the archive."""
    return [Path(file.distribution_path) for file in builder(str(ROOT)).recurse_included_files()]


def test_the_archive_of_the_sources_has_what_lies_at_the_top_and_no_namesakes() -> None:
    top = {path.parts[0] for path in packed(SdistBuilder)}

    assert top == {"worker", "schemas", "README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md"}


@pytest.mark.parametrize("builder", [SdistBuilder, WheelBuilder])
def test_types_models_and_policies_are_packed(builder: type[SdistBuilder | WheelBuilder]) -> None:
    files = set(packed(builder))

    for name in ("py.typed", "models/default/model.onnx", "policies/default.yaml"):
        assert Path("worker", name) in files
