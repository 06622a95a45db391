"""Draws every dashboard to a PNG, from what `deploy.verify.live` has asked for it, with Grafana's own components.

    python -m deploy.verify.pictures

The components come from npm as they are published (`deploy/grafana/draw`), a page is built of them, and headless Chromium takes
the picture. A Grafana server is not part of it: its panels' own code is not on npm, only what they are made of.
"""

import argparse
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import msgspec
from PIL import Image

from deploy.verify.live import ANSWERS, DEPLOY, PAGE_WIDTH, print_line
from worker.errors import StartupError

PICTURES: Final = DEPLOY / "grafana" / "pictures"
_DRAW: Final = DEPLOY / "grafana" / "draw"
_CACHE: Final = DEPLOY.parent / ".cache" / "draw"
_PACKAGES: Final = ("package.json", "package-lock.json", ".npmrc")
# As page.jsx lays it out: the head and the margins, and a row of the grid with the gap below it.
_HEAD: Final = 84 + 2 * 16
_ROW: Final = 30 + 8
_COLORS: Final = 256
_TIMEOUT_S: Final = 600.0
_DRAWN: Final = re.compile(r"DRAWN (\{.*\})\"")
_CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")


class Drawn(msgspec.Struct):
    """What the page says that it has drawn."""

    panels: int
    empty: list[str]
    """Titles of panels that had no data."""
    failed: list[str]
    """Titles of panels that could not be drawn, with why."""


def build_page() -> Path:
    """The script of the page; npm and esbuild make it where its sources have changed.

    Raises:
        StartupError: they cannot.
    """
    packages = b"".join((_DRAW / name).read_bytes() for name in _PACKAGES)
    modules = _CACHE / hashlib.sha256(packages).hexdigest()[:12]
    if not (modules / "node_modules").is_dir():
        print_line("…        fetching Grafana's components (once)")
        fresh = modules.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name in _PACKAGES:
            shutil.copy(_DRAW / name, fresh / name)
        # No script of a package runs: none of them is needed.
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], fresh)
        fresh.rename(modules)
    script = _CACHE / "page.js"
    _run(["node", str(_DRAW / "build.mjs"), str(modules / "node_modules"), str(script)], _DRAW)
    return script


def draw(answers: Path, script: Path, picture: Path) -> Drawn:
    """Draw one dashboard.

    Args:
        answers: what `deploy.verify.live` wrote of it.
        script: of the page.
        picture: where the PNG goes.

    Raises:
        StartupError: there is no Chromium, or it takes no picture.
    """
    page = json.loads(answers.read_bytes())
    with tempfile.TemporaryDirectory(prefix="comment-screener-draw-") as folder:
        index = Path(folder) / "index.html"
        index.write_text(page_of(page, script), encoding="utf-8")
        raw = Path(folder) / "page.png"
        height = _HEAD + _ROW * max(_bottom(panel) for panel in page["dashboard"]["panels"])
        said = _run(
            [
                _chromium(),
                "--headless=new",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--force-device-scale-factor=1",
                "--allow-file-access-from-files",
                "--enable-logging=stderr",
                # Nothing of it comes from outside, and root, as in containers, gets no sandbox.
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
                f"--user-data-dir={folder}/profile",
                f"--window-size={PAGE_WIDTH},{height}",
                "--virtual-time-budget=8000",
                f"--screenshot={raw}",
                index.as_uri(),
            ],
            Path(folder),
        )
        drawn = what_was_drawn(said)
        if drawn is None or not raw.exists():
            raise StartupError(f"{answers.name} was not drawn:\n{said[-2000:]}")
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(small(raw.read_bytes()))
        return drawn


def what_was_drawn(said: str) -> Drawn | None:
    """What the page has said in the console, which Chromium writes to stderr among other things; None where it has not."""
    match = _DRAWN.search(said)
    return None if match is None else msgspec.json.decode(match[1].encode(), type=Drawn)


def draw_all(output: Path) -> int:
    """Draw every dashboard into a folder; how many panels could not be drawn."""
    script = build_page()
    failed = 0
    for answers in sorted(ANSWERS.glob("*.json")):
        picture = output / f"{answers.stem}.png"
        drawn = draw(answers, script, picture)
        failed += len(drawn.failed)
        for line in drawn.failed:
            print_line(f"FAILED   {answers.name} / {line}")
        print_line(
            f"picture  {picture.name}: {drawn.panels} panels, {len(drawn.empty)} without data, {len(drawn.failed)} not drawn, "
            f"{picture.stat().st_size // 1024} kB"
        )
    return failed


def small(png: bytes) -> bytes:
    """The same picture with a palette, in a third of the bytes."""
    target = BytesIO()
    image = Image.open(BytesIO(png)).convert("RGB")
    # The middle cut finds the colours that cover most, the rounds after it those that are few: thin lines, small figures.
    palette = image.quantize(_COLORS, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)
    palette.save(target, "PNG", optimize=True)
    return target.getvalue()


def page_of(page: dict[str, Any], script: Path) -> str:
    """The HTML that draws one dashboard: its answers, and the script that draws them."""
    # Inside of a script, "</" would end it.
    data = json.dumps(page).replace("</", "<\\/")
    title = html.escape(page["dashboard"]["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<link rel="stylesheet" href="{script.with_suffix(".css").as_uri()}"></head><body><div id="page"></div>'
        f'<script>window.page = {data}</script><script type="module" src="{script.as_uri()}"></script></body></html>'
    )


def _bottom(panel: dict[str, Any]) -> int:
    place: dict[str, int] = panel["gridPos"]
    return place["y"] + place["h"]


def _chromium() -> str:
    found = next((path for name in _CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        raise StartupError("no Chromium on the PATH (Debian: apt-get install chromium fonts-inter)")
    return found


def _run(command: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603  tools of our own choice, with arguments of our own
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartupError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise StartupError(f"{command[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout + done.stderr


def main() -> int:
    """Draw them all."""
    parser = argparse.ArgumentParser(description="Draw every dashboard from what Prometheus has answered.")
    parser.add_argument("--output", type=Path, default=PICTURES, help="folder for the PNG files")
    arguments = parser.parse_args()
    try:
        failed = draw_all(arguments.output)
    except StartupError as error:
        print_line(f"FAILED   {error}")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
