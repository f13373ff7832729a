"""flows/push.py against a small hub: what goes where, private unless said, and nothing in a dry run."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.dataflow.store import Store
from tests.flows.test_export import root  # noqa: F401

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef" * 4


class Hub(ThreadingHTTPServer):
    """Takes repositories and commits. made: (kind, name, visibility). files: (kind, name) → path → content."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refuses, self.made, self.keys = refuses, list[tuple[str, str, str]](), set[str]()
        self.there: dict[tuple[str, str], str] = {}  # (kind, name) → visibility, of repositories before and since
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.keys.add(self.headers.get("Authorization", ""))
        parts = self.path.partition("?")[0].strip("/").split("/")[1:]
        if self.server.refuses:
            return self._send({"error": "Invalid username or password."}, 401)
        if parts == ["repos", "create"]:
            asked = json.loads(data)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            kind = asked.get("type", "model")
            self.server.made.append((kind, name, asked["visibility"]))
            self.server.there.setdefault((kind, name), asked["visibility"])
            return self._send({"url": f"{self.server.url}/{'datasets/' * (kind == 'dataset')}{name}"})
        if parts == ["validate-yaml"]:
            return self._send({"errors": [], "warnings": []})
        kind, name, what = parts[0].removesuffix("s"), "/".join(parts[1:3]), parts[3]
        if what == "preupload":
            files = [{"path": each["path"], "uploadMode": "regular"} for each in json.loads(data)["files"]]
            return self._send({"files": [each | {"shouldIgnore": False, "oid": None} for each in files]})
        assert what == "commit"
        for line in map(json.loads, data.splitlines()):
            if line["key"] == "file":
                held = self.server.files.setdefault((kind, name), {})
                held[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return self._send({"commitUrl": f"{self.server.url}/{name}/commit/1", "commitOid": "1" * 40, "success": True})

    def do_GET(self) -> None:
        _, kinds, *name = self.path.partition("?")[0].strip("/").split("/")
        found = self.server.there.get((kinds.removesuffix("s"), "/".join(name)))
        if found is None:
            return self._send({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        self._send({"id": "/".join(name), "private": found == "private"})

    def _send(self, answer: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def study(root: Path, tmp_path: Path) -> Path:  # noqa: F811
    """The small study of the tests of exports, with an ORM and a report."""
    store = Store(root)
    built = tmp_path / "orm"
    built.mkdir()
    for name, text in {"config.json": "{}", "model.safetensors": "weights", "README.md": "# An ORM\n"}.items():
        (built / name).write_text(text)
    store.write_model("orm", KEY, built, {"metrics": {}})
    found = store.model("orm", KEY)
    assert found is not None
    path = root / "studies/mine/index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"orm": found[0].path}))
    (root / "studies/mine/report.html").write_text("<html>")
    return root


def push(hub: Hub | None, study: Path, *argv: str) -> tuple[int, str, str]:
    command = [sys.executable, "flows/push.py", "org/name", "--root", str(study), "--study", "mine", *argv]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HF_TOKEN": "hf_secret",
        "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
    }
    environment |= {
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HOME": str(study.parent / "home"),
    }
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, env=environment)
    return done.returncode, done.stdout, done.stderr


def test_samples_report_and_models_go_and_are_private(hub: Hub, study: Path) -> None:
    status, said, told = push(hub, study)
    assert (status, told) == (0, "")
    assert hub.made == [("dataset", "org/name", "private"), ("model", "org/name-orm", "private")]
    data, model = hub.files["dataset", "org/name"], hub.files["model", "org/name-orm"]
    assert {"README.md", "samples.parquet", "sample_set.json", "study/report.html"} <= data.keys()
    assert model == {"config.json": b"{}", "model.safetensors": b"weights", "README.md": b"# An ORM\n"}
    assert hub.keys == {"Bearer hf_secret"}
    assert "dataset org/name (private): 4 files" in said
    assert f"{hub.url}/datasets/org/name" in said
    assert "hf_secret" not in said


@pytest.mark.parametrize("there", [("dataset", "org/name"), ("model", "org/name-orm")])
def test_nothing_goes_to_a_repository_that_is_public_already_unless_that_is_asked_for(
    hub: Hub, study: Path, there: tuple[str, str]
) -> None:
    hub.there[there] = "public"
    status, _, told = push(hub, study)
    assert status == 2
    assert f"{' '.join(there)} is there, and public: give --public, or another name; nothing was sent" in told
    assert (hub.files, hub.made) == ({}, [])
    hub.there[there] = "private"
    status, _, told = push(hub, study, "--public")
    assert status == 2
    assert f"{' '.join(there)} is there, and private: make it public on the hub" in told
    assert (hub.files, hub.made) == ({}, [])
    hub.there[there] = "public"
    assert push(hub, study, "--public")[0] == 0
    assert hub.files.keys() == {("dataset", "org/name"), ("model", "org/name-orm")}


def test_a_dry_run_says_what_would_go_and_sends_nothing(study: Path) -> None:
    status, said, told = push(None, study, "--dry-run", "--public")
    assert (status, told) == (0, "")
    assert "dataset org/name (public): 4 files" in said
    assert "    study/report.html" in said
    assert "model org/name-orm (public): 3 files" in said
    assert said.endswith("nothing was sent (--dry-run)\n")


def test_parts_are_chosen_and_public_is_said(hub: Hub, study: Path) -> None:
    status, _, told = push(hub, study, "--parts", "orm", "--public")
    assert (status, told) == (0, "")
    assert hub.made == [("model", "org/name-orm", "public")]
    status, _, told = push(hub, study, "--parts", "prm")
    assert (status, told) == (2, "error: study mine: it has no model prm\n")


def test_a_hub_that_refuses_or_is_not_there_is_told_in_one_line(hub: Hub, study: Path) -> None:
    hub.refuses = True
    for server in (hub, None):
        status, _, told = push(server, study, "--parts", "report")
        [line] = told.splitlines()
        assert status == 1
        assert line.startswith("error: dataset org/name cannot be sent: ")
        assert line.endswith("log in (hf auth login) or set HF_TOKEN")


def test_a_name_that_is_none_is_refused(study: Path) -> None:
    command = [sys.executable, "flows/push.py", "name", "--root", str(study), "--study", "mine"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert (done.returncode, done.stderr) == (2, "error: name: ORG/NAME is wanted\n")
