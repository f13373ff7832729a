"""What metrics say of a shard; that they reach Prometheus is tested with a real cluster (slow/cluster/test_jobs.py)."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest

from components.dataflow import prometheus
from components.dataflow.prometheus import causes, count_rows


def test_causes_are_few_and_short() -> None:
    errors = ["row 17: 'answer' is empty", None, "row 4: 'answer' is empty", "x" * 200]
    table = pa.table({"error": pa.array(errors, pa.string())})
    assert causes(table) == {"row #: 'answer' is empty": 2, "x" * 80: 1}


def test_outside_of_ray_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    metric = SimpleNamespace(inc=lambda value, tags: told.append(f"{value} {tags}"))
    monkeypatch.setattr(prometheus, "_metric", lambda kind, name, tags: metric)
    monkeypatch.setattr(prometheus, "_is_exporting", lambda: True)
    count_rows(
        "solutions", pa.table({"error": pa.array([None], pa.string()), "num_tokens": pa.array([3])}), generated=True
    )
    assert told == ["1 {'stage': 'solutions'}", "3 {'stage': 'solutions'}"]
    monkeypatch.setattr(prometheus, "_is_exporting", lambda: False)
    count_rows("solutions", pa.table({"error": pa.array(["a"]), "num_tokens": pa.array([3])}), generated=True)
    assert len(told) == 2
