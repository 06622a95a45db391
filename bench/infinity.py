"""infinity-emb, a contestant: `python -m bench.infinity`. A server on loopback, asked over HTTP for the same texts.

It wants other versions of what the worker has (numpy, transformers), so it lives in an environment of its own below
`.cache/bench`: `python -m bench.infinity install` makes it (6 GB, nearly all of it torch). The model is that of `bench.twin`.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.contest import NotInstalledError, Work, serve
from bench.twin import CACHE, ensure_twin
from worker.demo.broker import LOOPBACK, free_port
from worker.demo.process import Process

VERSION: Final = "0.0.78"
ENVIRONMENT: Final = CACHE / "infinity"

_MODEL: Final = "twin"
_READY_S: Final = 180.0
_TEXTS_A_REQUEST: Final = 32
_REQUESTS_AT_ONCE: Final = 16
"""Enough that its queue always holds several batches to sort by length."""


def main() -> None:
    """Install, or serve rounds."""
    if sys.argv[1:] == ["install"]:
        install()
    else:
        serve(prepare)


def install() -> None:
    """Make its environment, where there is none. Raises CalledProcessError."""
    if _program().exists():
        return
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)],
        [str(ENVIRONMENT / "bin" / "pip"), "install", "--quiet", f"infinity-emb[torch,server]=={VERSION}"],
    ):
        subprocess.run(command, check=True)  # noqa: S603  what stands above


def prepare() -> Work:
    """Start the server."""
    if not _program().exists():
        raise NotInstalledError("infinity-emb: python -m bench.infinity install")
    port = free_port()
    command = [str(_program()), "v2", "--model-id", str(ensure_twin()), "--served-model-name", _MODEL]
    command += ["--engine", "torch", "--device", "cpu", "--host", LOOPBACK, "--port", str(port)]
    # Both ask for parts of torch and of transformers that are gone, or for a compiler.
    command += ["--no-bettertransformer", "--no-compile"]
    # It may look for nothing outside, and tell nobody.
    quiet = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    server = Process(command, CACHE / "infinity.log", os.environ | quiet)
    server.start()
    url = f"http://{LOOPBACK}:{port}"
    _wait_until_ready(server, url)

    def work(texts: list[str]) -> str:
        asyncio.run(_classify(url, texts))
        return f"{_REQUESTS_AT_ONCE} requests of {_TEXTS_A_REQUEST} at once"

    return work


async def _classify(url: str, texts: list[str]) -> None:
    requests = _requests(texts)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as clients:
        for _ in range(_REQUESTS_AT_ONCE):
            clients.create_task(_ask(session, f"{url}/classify", requests))


async def _ask(session: aiohttp.ClientSession, url: str, requests: Iterator[dict[str, Any]]) -> None:
    """One client: the next request as soon as the last one is answered."""
    for request in requests:
        async with session.post(url, json=request, timeout=aiohttp.ClientTimeout(_READY_S)) as answer:
            answer.raise_for_status()
            found = (await answer.json())["data"]
            if len(found) != len(request["input"]):
                raise RuntimeError(f"{len(found)} answers to {len(request['input'])} texts")


def _requests(texts: list[str]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(texts), _TEXTS_A_REQUEST):
        yield {"model": _MODEL, "input": texts[start : start + _TEXTS_A_REQUEST]}


def _wait_until_ready(server: Process, url: str) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/models", timeout=5) as answer:  # noqa: S310  our own server, over HTTP
                json.load(answer)
                return
        except OSError:
            if not server.running or time.monotonic() > deadline:
                server.kill()
                raise NotInstalledError(f"infinity-emb {VERSION} does not start: {server.log}") from None
            time.sleep(0.2)


def _program() -> Path:
    return ENVIRONMENT / "bin" / "infinity_emb"


if __name__ == "__main__":
    main()
