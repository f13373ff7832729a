from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import psutil
import pytest
from filelock import FileLock

from flows import full_study
from flows.command_line import cli

ROOT = Path(__file__).parents[2]
SMOKE = ["--preset", "smoke", "--placement", str(ROOT / "tests/slow/placement.toml")]
STUDY = [sys.executable, str(ROOT / "flows/full_study.py"), *SMOKE]
SMALL_SCALE = [sys.executable, str(ROOT / "flows/small_scale.py"), *SMOKE]
os.environ.pop("RAY_ADDRESS", None)  # studies here start clusters of their own


def run_study(root: Path | str, *argv: str, flow: Sequence[str] = STUDY, cwd: Path = ROOT.parent) -> str:
    """Run a smoke study to its end and return what it printed."""
    done = subprocess.run(
        [*flow, "--root", str(root), *argv], capture_output=True, text=True, timeout=900, cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout


def index(root: Path, study: str = "smoke") -> dict[str, str]:
    """Where each table and model of a study lies."""
    return json.loads((root / "studies" / study / "index.json").read_text())


def summary(root: Path, study: str = "smoke") -> dict:
    return json.loads((root / "studies" / study / "summary.json").read_text())


def table(root: Path, name: str, study: str = "smoke") -> pd.DataFrame:
    return pd.read_parquet(index(root, study)[name])


def sample_ids(root: Path, study: str = "smoke") -> list[tuple[str, int]]:
    solutions = table(root, "solutions", study)
    return sorted(zip(solutions["problem_id"], solutions["sample_index"], strict=True))


def explained(capsys: pytest.CaptureFixture[str], root: Path, stage: str, *argv: str) -> str:
    """What `explain` prints before the stage's recipe."""
    command = ["explain", stage, "--preset", "smoke", "--root", str(root), *argv]
    assert cli.run(full_study.full_study, command, "") == 0
    return capsys.readouterr().out.partition("its key is made of")[0]


def start_until(root: Path, marker: str, flow: Sequence[str] = STUDY) -> subprocess.Popen[str]:
    """Start the study, and return it as soon as it prints `marker`."""
    process = subprocess.Popen(
        [*flow, "--root", str(root)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if marker in line:
            return process
    raise AssertionError(f"the study ended without {marker}")


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.1)


def workers(driver: int, title: str) -> list[psutil.Process]:
    """The Ray workers whose process titles begin so, among the descendants of a study's driver."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith(title):
                found.append(process)
    return found


def kill_driver(driver: subprocess.Popen[str]) -> None:
    """Kill a study's driver and wait until its workers end: what they still do would be taken for the next one's."""
    orphans = workers(driver.pid, "ray::RayTrainWorker") + workers(driver.pid, "ray::MapWorker")
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(orphans, timeout=60)
    assert not alive


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a finished, undisturbed smoke study: one for all processes of the suite, not to be written to."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    root = shared / "undisturbed/outputs"
    with FileLock(shared / "undisturbed.lock"):
        if not (root / "studies/smoke/summary.json").exists():
            run_study(root)
    return root
