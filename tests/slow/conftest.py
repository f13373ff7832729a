from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUDY = [sys.executable, str(ROOT / "flows/full_study.py"), "--preset", "smoke"]


def run_study(root: Path | str, *argv: str) -> str:
    """Run a smoke study to its end and return what it printed."""
    done = subprocess.run(
        [*STUDY, "--root", str(root), *argv], capture_output=True, text=True, timeout=900, cwd=ROOT.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a finished, undisturbed smoke study."""
    root = tmp_path_factory.mktemp("undisturbed") / "outputs"
    os.environ.pop("RAY_ADDRESS", None)
    run_study(root)
    return root
