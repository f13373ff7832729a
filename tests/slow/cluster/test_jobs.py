"""Jobs on a real cluster of one node, their store on S3: `ray job submit` both ways, a job that fails, one that is
stopped and resumed, and two studies at once on one store."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from components.dataflow.maintenance import verify
from components.dataflow.store import Store
from tests.conftest import Counted
from tests.faults import s3
from tests.slow.conftest import ROOT, SMOKE, wait_for

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Head:
    """A head started by `ray start --head` in the repository's root, and its jobs."""

    def __init__(self, address: str, exporter: str, environment: dict[str, str]) -> None:
        self.address, self.exporter, self.environment = address, exporter, environment

    def submit(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "ray"), "job", "submit", "--address", self.address, *argv]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=self.environment, timeout=600)
        assert not check or done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done

    def job(self, name: str, what: str = "") -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.address}/api/jobs/{name}{what}", timeout=30) as answer:
            return json.load(answer)

    def stop(self, name: str) -> None:
        request = urllib.request.Request(f"{self.address}/api/jobs/{name}/stop", method="POST")
        urllib.request.urlopen(request, timeout=30).close()


def start_head() -> tuple[Head, subprocess.Popen[bytes]]:
    """A head, once its dashboard and its agent answer: where a machine is busy, Ray gives up on its own node."""
    gcs, dashboard, client, agent, exporter = free_ports(5)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    environment = {name: value for name, value in environment.items() if not name.startswith("RAY_")}
    environment["RAY_metrics_report_interval_ms"] = "2000"  # 1000 takes a tenth of a core
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets have short paths
    process = subprocess.Popen(
        [
            BIN / "ray", "start", "--head", "--block", "--num-cpus=2", "--include-dashboard=true",
            f"--port={gcs}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}",
            f"--dashboard-agent-listen-port={agent}", f"--metrics-export-port={exporter}", f"--temp-dir={folder}",
        ],
        cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    head = Head(f"http://127.0.0.1:{dashboard}", f"http://127.0.0.1:{exporter}/metrics", environment)

    def answers_or_ended() -> bool:
        with contextlib.suppress(OSError):
            for address in (f"{head.address}/api/jobs/", head.exporter):
                urllib.request.urlopen(address, timeout=5).close()
            return True
        return process.poll() is not None

    wait_for(answers_or_ended)
    return head, process


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a bucket, which this process, the head and its jobs reach by their environment."""
    with s3.serve() as (url, _, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in {**environment, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}.items():
            patch.setenv(name, value)
        yield url


@pytest.fixture(scope="module")
def head(bucket: str) -> Iterator[Head]:
    for _ in range(3):
        found, process = start_head()
        if process.poll() is None:
            break
    try:
        yield found
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in family:  # at once: to end them in order takes half a minute
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(timeout=60)


class Exporter(threading.Thread):
    """Reads what Ray's exporter tells while jobs work: counters go with their workers."""

    WANTED = ("rows_total", "generated_tokens_total", "shards")

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address, self.seen, self.ended = address, set[str](), threading.Event()

    def run(self) -> None:
        while not self.ended.wait(2):
            with contextlib.suppress(OSError):
                text = urllib.request.urlopen(self.address, timeout=5).read().decode()
                for line in text.splitlines():
                    for name in self.WANTED:
                        if line.startswith(f"ray_stepverify_{name}{{") and 'stage="solutions"' in line.lower():
                            self.seen.add(name)


def test_a_job_that_fails_says_so(head: Head) -> None:
    done = head.submit("--working-dir", ".", "--", "python", "flows/full_study.py", "--preset", "nope", check=False)
    assert done.returncode == 1
    assert "error: --preset nope: there is no such preset" in done.stdout
    assert "failed" in done.stdout


def names(store: Store, folder: str) -> list[str]:
    return [one.path for one in store.files.find(folder)]


def test_a_stopped_job_resumes_and_two_studies_share_what_is_common(
    bucket: str, head: Head, smoke: Path, counted: Counted
) -> None:
    root = f"{bucket}/store"
    store = Store(root)
    study = ["flows/full_study.py", *SMOKE, "--root", root]
    head.submit("--no-wait", "--submission-id", "stopped", "--working-dir", ".", "--", "python", *study)
    wait_for(lambda: any(name.endswith("progress.json") for name in names(store, "scratch")))
    head.stop("stopped")
    wait_for(lambda: head.job("stopped")["status"] in ("STOPPED", "FAILED", "SUCCEEDED"), 30)
    assert head.job("stopped")["status"] == "STOPPED"
    assert "stopped by SIGTERM; what is committed is kept" in head.job("stopped", "/logs")["logs"]
    assert not names(store, "leases")
    # Saved at once: the next checkpoint in turn was 30 s away.
    assert any(name.endswith("/state.json") for name in names(store, "scratch"))
    assert verify(store, deep=True).findings == []

    # The entrypoint as a file, which runs where the head was started; beside it another study on the same store.
    exporter = Exporter(head.exporter)
    exporter.start()
    other = [*study, "--study", "other", "--reduction", "min"]
    head.submit("--no-wait", "--submission-id", "other", "--", *other)
    done = head.submit("--", *study)
    assert "succeeded" in done.stdout
    wait_for(lambda: head.job("other")["status"] not in ("PENDING", "RUNNING"), 300)
    exporter.ended.set()
    logs = head.job("other", "/logs")["logs"]
    assert head.job("other")["status"] == "SUCCEEDED", logs[-4000:]
    assert exporter.seen == {*exporter.WANTED}

    stages = [json.loads(store.files.read(f"studies/{name}/lineage.json"))["stages"] for name in ("smoke", "other")]
    common = ("problems", "generator", "solutions", "grades", "step_labels", "orm", "prm", "scores")
    own = ("scored_samples", "best_of_n")
    folders = {"/".join(name.split("/")[:2]) for kind in ("datasets", "models") for name in names(store, kind)}
    for name in common:
        assert {stage[name]["folder"] for stage in stages} == {one for one in folders if f"/{name}-" in one}
    computed = done.stdout + logs
    assert computed.count("another run works on solutions") == 1
    assert "another run works on orm" in computed or "another run works on prm" in computed
    assert all(stages[0][name]["folder"] != stages[1][name]["folder"] for name in own)
    here, there = (json.loads(files.read("studies/smoke/index.json")) for files in (Store(smoke).files, store.files))
    for name in ("problems", "solutions", "grades", "step_labels", "scores", "best_of_n"):
        pd.testing.assert_frame_equal(pd.read_parquet(there[name]), pd.read_parquet(here[name]))
    assert verify(store, deep=True).findings == []
    counted(
        f"1 job stopped, resumed by another; 2 studies at once shared {len(common)} stages on S3: the tables of disk"
    )
