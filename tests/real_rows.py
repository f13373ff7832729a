"""Rows of MATH, PRM800K and ProcessBench for tests. The repository does not hold them: tests look in the folder that
the environment variable STEPVERIFY_TEST_DATA names, by default `../shared/data`, beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_VARIABLE = "STEPVERIFY_TEST_DATA"
REAL_ROWS = Path(os.environ.get(_VARIABLE) or Path(__file__).resolve().parents[2] / "shared/data")


def needs_real_rows(*patterns: str) -> pytest.MarkDecorator:
    """Skip a test unless each of the patterns finds a file; say which one does not, and where it was looked for."""
    missing = [pattern for pattern in patterns if not any(REAL_ROWS.glob(pattern))]
    reason = f"real rows: no {' and no '.join(missing)} in {REAL_ROWS}; {_VARIABLE} names the folder"
    return pytest.mark.skipif(bool(missing), reason=reason)
