"""A small server of the hub's interface, for models: revisions, the tree of files, the files."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

GATED, MISSING, NO_REVISION = "GatedRepo", "RepoNotFound", "RevisionNotFound"
_API = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/(?P<revision>[^/?]+))?")
_FILE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


class HubServer(ThreadingHTTPServer):
    """Serves folders as models. models: name → (commit, folder); each commit is also its branch `main`.

    gated: names that want an account. requests: what was asked, e.g. "GET /api/models/org/name/revision/main".
    """

    def __init__(self, models: dict[str, tuple[str, Path]], gated: tuple[str, ...] = ()) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models, self.gated = models, gated
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, body: bool) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        match = _API.fullmatch(path) or _FILE.fullmatch(path)
        if match is None or match["name"] not in self.server.models:
            return self._refuse(404, MISSING)
        name, revision = match["name"], match["revision"] or "main"
        commit, folder = self.server.models[name]
        if name in self.server.gated and "path" in match.groupdict():
            return self._refuse(403, GATED)
        if revision not in ("main", commit):
            return self._refuse(404, NO_REVISION)
        if "path" in match.groupdict():
            file = folder / match["path"]
            return self._send(file.read_bytes(), body, {"X-Repo-Commit": commit, "ETag": f'"{_blob(file)}"'})
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if match["what"] == "tree":
            tree = [
                {"type": "file", "path": f.relative_to(folder).as_posix(), "size": f.stat().st_size, "oid": _blob(f)}
                for f in files
            ]
            return self._send(json.dumps(tree).encode(), body, {})
        about = {"id": name, "sha": commit, "siblings": [{"rfilename": f.name} for f in files], "tags": []}
        return self._send(json.dumps(about | {"private": False, "downloads": 0}).encode(), body, {})

    def _send(self, content: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(200)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _blob(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@contextmanager
def hub_server(models: dict[str, tuple[str, Path]], gated: tuple[str, ...] = ()) -> Iterator[HubServer]:
    """Serve models until the block ends."""
    server = HubServer(models, gated)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
