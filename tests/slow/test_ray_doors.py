"""The Ray of a study is for that study alone; and a RAY_ADDRESS at which there is none is told within half a minute."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.slow.conftest import ROOT, STUDY

pytestmark = pytest.mark.slow

# As a flow starts Ray, or as Ray is without a token; with the address of its head, then idle until killed.
HOST = """
import sys, time
from components.dataflow.runner import Runner
from components.dataflow.store import Store
from flows.command_line import ray_cluster
if sys.argv[1] == "study":
    ray_cluster.start_ray(Runner(Store(sys.argv[2])), False)
    import ray
else:
    import ray
    ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level="ERROR")
print("HEAD", ray.get_runtime_context().gcs_address, flush=True)
time.sleep(300)
"""
# Another user: modules are imported before, since theirs may not be readable for everyone.
STRANGER = """
import os, sys
address, token = sys.argv[1:]
if token:
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
import ray
from ray._raylet import GcsClient
os.environ["HOME"] = "/tmp"
os.setuid(65534)

def what(call):
    try:
        return f"done: {call()}"
    except BaseException as error:
        return f"refused: {type(error).__name__}"

def client():
    return GcsClient(address=address)

print("lists jobs", what(lambda: len(client().get_all_job_info(timeout=5))))
print("lists nodes", what(lambda: len(client().get_all_node_info(timeout=5))))
print("writes functions", what(lambda: client().internal_kv_put(b"stranger", b"code", True, b"fun", timeout=5)))
"""


@contextmanager
def ray_of(kind: str, root: Path) -> Iterator[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", HOST, kind, str(root)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield next(line.split()[1] for line in process.stdout if line.startswith("HEAD"))
    finally:
        process.terminate()
        process.wait(timeout=60)


def stranger(address: str, token: str = "") -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, address, token], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user, whom only root can be")
def test_another_user_can_do_nothing_on_a_studys_ray(tmp_path: Path) -> None:
    with ray_of("open", tmp_path) as address:  # what the test would see of a Ray without a token
        assert [line.partition(": ")[0] for line in stranger(address)] == [
            "lists jobs done",
            "lists nodes done",
            "writes functions done",
        ]
    with ray_of("study", tmp_path) as address:
        for token in ("", "f" * 64):
            assert stranger(address, token) == [
                "lists jobs refused: AuthenticationError",
                "lists nodes refused: AuthenticationError",
                "writes functions refused: AuthenticationError",
            ]


def test_a_cluster_with_a_token_is_joined_with_it_alone(tmp_path: Path) -> None:
    """And one without a token is joined with a warning."""
    command = [sys.executable, "-c", HOST, "study", str(tmp_path / "out")]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    for of_head, of_study, words in (
        ({}, {}, "asks for no token: whoever reaches its ports"),
        (token, token, "placement:"),
        (token, {}, "the cluster asks for a token, and does not take this one"),
        (token, token | {"RAY_AUTH_TOKEN": "b" * 64}, "the cluster asks for a token, and does not take this one"),
    ):
        head = subprocess.Popen(
            [sys.executable, "-c", HOST, "open", ""], cwd=ROOT, env=plain | of_head, stdout=subprocess.PIPE, text=True
        )
        try:
            assert head.stdout is not None
            address = next(line.split()[1] for line in head.stdout if line.startswith("HEAD"))
            environment = plain | of_study | {"RAY_ADDRESS": address}
            study = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            try:
                assert study.stdout is not None
                assert any(words in line for line in study.stdout), (of_head, of_study)
            finally:
                study.kill()
        finally:
            head.terminate()
            head.wait(timeout=60)


@contextmanager
def listening() -> Iterator[str]:
    """An address at which something listens that is no Ray, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("garbage", 2, "no address of a Ray cluster"),
        ("http://127.0.0.1:8265", 2, "no address of a Ray cluster"),
        ("127.0.0.1:1", 1, "no Ray cluster answers there"),
        ("no-such-host.invalid:6379", 1, "no Ray cluster answers there"),
        ("127.0.0.1:999999", 2, "no address of a Ray cluster"),
        ("silent", 1, "did not answer as a Ray cluster"),
    ],
)
def test_an_address_without_a_cluster_is_told_in_time(tmp_path: Path, address: str, status: int, words: str) -> None:
    with listening() as silent:
        environment = os.environ | {"RAY_ADDRESS": silent if address == "silent" else address}
        began = time.monotonic()
        done = subprocess.run(
            [*STUDY, "--root", str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120, cwd=ROOT
        )
        took = time.monotonic() - began
    assert done.returncode == status, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert words in line
    assert "Traceback" not in done.stderr
    assert took < 45  # of which the study's own imports and first tables take some


def test_rays_own_failure_to_start_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from components.dataflow.errors import StudyError
    from components.dataflow.runner import Runner
    from components.dataflow.store import Store
    from flows.command_line import ray_cluster

    def fails(*given: object, **more: object) -> None:
        raise RuntimeError("The current node timed out during startup. This could happen because\nmany reasons")

    monkeypatch.setattr(ray, "init", fails)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # another test of this process may have started Ray
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(StudyError, match=r"^Ray did not start on this machine: The current node timed out[^\n]*$"):
        ray_cluster.start_ray(Runner(Store(tmp_path), say=lambda line: None), False)
