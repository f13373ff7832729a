"""The smoke study on object storage, killed and resumed there."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from components.store import Store
from tests.conftest import Counted
from tests.faults import s3
from tests.slow.conftest import STUDY, run_study

pytestmark = pytest.mark.slow


def test_the_study_runs_on_s3_and_resumes_there(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Counted
) -> None:
    with s3.serve() as (bucket, _, environment):
        for name, value in {**environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
            monkeypatch.setenv(name, value)
        root = f"{bucket}/studies"
        files = Store(root).files
        driver = subprocess.Popen([*STUDY, "--root", root], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not any(files.find("commits/solutions")):
            assert driver.poll() is None
            time.sleep(0.5)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert not any(files.find("studies"))
        printed = run_study(root)
        assert "[generator] reused" in printed
        index = json.loads(files.read("studies/smoke/index.json"))
        here = json.loads((smoke / "studies/smoke/index.json").read_text())
        for name in ("problems", "solutions", "grades", "step_labels", "scores", "best_of_n"):
            pd.testing.assert_frame_equal(pd.read_parquet(index[name]), pd.read_parquet(here[name]))
        printed = run_study(root)
        assert "computing" not in printed
        counted("1 driver of the smoke study killed on S3: the same tables as on disk")
