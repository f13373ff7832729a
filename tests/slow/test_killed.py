"""The smoke study, whose drivers and workers are killed in every stage."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from components.dataflow.maintenance import verify
from components.dataflow.store import Store
from tests.conftest import Counted
from tests.slow.conftest import kill_driver, run_study, sample_ids, start_until, summary, table, wait_for, workers

pytestmark = pytest.mark.slow


def written(root: Path, signs: list[str]) -> list[set[tuple[Path, int]]]:
    """For each sign the files that are there, and when they were written."""
    found = []
    for sign in signs:
        found.append(set())
        for path in root.glob(sign):
            with contextlib.suppress(FileNotFoundError):
                found[-1].add((path, path.stat().st_mtime_ns))
    return found


def test_killed_in_every_stage_nothing_is_lost_or_twice(smoke: Path, tmp_path: Path, counted: Counted) -> None:
    root = tmp_path / "outputs"
    # The signs in the store that a stage's work has really got on. Both reward models train in turn, by one worker.
    signs = {
        "generator": ["scratch/generator-*/progress.json"],
        "solutions": ["commits/solutions/*.json"],
        "prm": ["scratch/*rm-*/progress.json"],
        "scores": ["commits/scores/*.json"],
    }
    drivers = []

    def getting_on(stage: str, driver: subprocess.Popen[str] | None = None) -> subprocess.Popen[str]:
        """The driver, or a new one, once it has got on with a stage."""
        before = written(root, signs[stage])
        driver = driver or start_until(root, f"[{stage}]")
        wait_for(lambda: all(map(set.difference, written(root, signs[stage]), before)))
        return driver

    def kill(driver: subprocess.Popen[str]) -> None:
        kill_driver(driver)
        drivers.append(driver)
        assert not (root / "studies").exists()

    driver = getting_on("generator")
    workers(driver.pid, "ray::RayTrainWorker")[0].kill()
    kill(getting_on("solutions", driver))  # another worker trained the generator to its end
    driver = getting_on("prm")
    workers(driver.pid, "ray::RayTrainWorker")[0].kill()
    kill(getting_on("scores", driver))
    run_study(root)
    assert verify(Store(root), deep=True).findings == []
    assert sample_ids(root) == sample_ids(smoke)
    assert (table(root, "solutions")["text"] == table(smoke, "solutions")["text"]).all()
    assert summary(root)["best_of_n"]["majority"] == summary(smoke)["best_of_n"]["majority"]
    counted(
        f"{len(drivers)} drivers and 2 training workers killed in the smoke study: 0 samples lost, doubled or changed"
    )
