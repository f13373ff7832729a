"""What stops answering ends its process; what works, or has nothing to do, goes on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.slow.conftest import ROOT


@pytest.mark.parametrize(
    ("acts", "status"),
    [
        ("dog.beat(); time.sleep(30)", 70),
        ("dog.beat(); dog.rest(); time.sleep(1)", 0),
        ("time.sleep(1)", 0),
        ("[(dog.beat(), time.sleep(0.1)) for _ in range(12)]", 0),
    ],
)
def test_watchdog(acts: str, status: int) -> None:
    code = f"import time; from components.sampling.watchdog import Watchdog; dog = Watchdog('the engine'); {acts}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "STEPVERIFY_STALL_SECONDS": "0.6"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == status
    assert ("the engine has not answered for 0.6 s" in done.stderr) == (status == 70)
