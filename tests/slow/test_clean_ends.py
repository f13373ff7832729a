"""A refusal ends with its status, each time: no thread of a library outlives the interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.test_imports import ROOT

TIMES = 40


@pytest.mark.slow
def test_refusals_never_abort(tmp_path: Path) -> None:
    """A stage whose rows fail reads its own table, and the process ends at once."""
    rows = [{"problem": f"{n // 4}?", "answer": str(n % 3), "prm_score": n / 400} for n in range(400)]
    rows = [row | {"ground_truth_answer": "1" if n % 2 else None} for n, row in enumerate(rows)]
    file = tmp_path / "half.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "flows/evaluate.py", str(file), "--root"]
    ends = Counter(
        subprocess.run([*command, str(tmp_path / str(n))], cwd=ROOT, capture_output=True, check=False).returncode
        for n in range(TIMES)
    )
    assert ends == {1: TIMES}
