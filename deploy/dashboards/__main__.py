"""`python -m deploy.dashboards` writes deploy/grafana/dashboards; with `--check` it says which files there are stale."""

import sys
from pathlib import Path
from typing import Final

from deploy.dashboards import model, overview, pipeline, trust_and_safety
from deploy.dashboards.frame import MODEL, OVERVIEW, PIPELINE, TRUST_AND_SAFETY, encode

FOLDER: Final = Path(__file__).parents[1] / "grafana/dashboards"


def files() -> dict[str, str]:
    """Every dashboard: the file's name and what belongs in it."""
    built = {
        OVERVIEW: overview.build(),
        PIPELINE: pipeline.build(),
        MODEL: model.build(),
        TRUST_AND_SAFETY: trust_and_safety.build(),
    }
    return {f"{place.file}.json": encode(dashboard) for place, dashboard in built.items()}


def stale() -> list[str]:
    """Files that are missing, are not as they would be written, or are nobody's."""
    wanted = files()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 where something is stale."""
    if arguments == ["--check"]:
        for name in (found := stale()):
            print(f"{FOLDER.name}/{name} is stale: make dashboards", file=sys.stderr)  # noqa: T201  how it tells
        return int(bool(found))
    if arguments:
        print("usage: python -m deploy.dashboards [--check]", file=sys.stderr)  # noqa: T201  how it tells
        return 2
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
