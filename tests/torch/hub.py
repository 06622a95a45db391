"""As much of a hub as hands out one checkpoint, on loopback."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


@dataclass(frozen=True, slots=True)
class Hub:
    """Where it listens, and the paths that it was asked for."""

    address: str
    paths: list[str] = field(default_factory=list)


@contextmanager
def serve_hub(checkpoint: Path, name: str, commit: str) -> Iterator[Hub]:
    """Serve a folder as a checkpoint with one commit."""
    about = {
        "id": name,
        "sha": commit,
        "siblings": [{"rfilename": file.name} for file in sorted(checkpoint.iterdir())],
    }
    resolved = f"/{name}/resolve/{commit}/"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.paths.append(path)
            file = checkpoint / path.removeprefix(resolved)
            if path == f"/api/models/{name}/revision/{commit}":
                self._answer(200, json.dumps(about).encode(), "application/json")
            elif path.startswith(resolved) and file.is_file():
                self._answer(200, file.read_bytes(), "application/octet-stream")
            else:
                self._answer(404, b"", "text/plain")

        do_HEAD = do_GET  # noqa: N815  the server's name for it

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the server's name for it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
