"""What metrics say of a shard; that they reach Prometheus is tested with a real cluster (slow/test_jobs.py)."""

from __future__ import annotations

import pyarrow as pa

from components.metrics import causes, count_rows


def test_causes_are_few_and_short() -> None:
    errors = ["row 17: 'answer' is empty", None, "row 4: 'answer' is empty", "x" * 200]
    table = pa.table({"error": pa.array(errors, pa.string())})
    assert causes(table) == {"row #: 'answer' is empty": 2, "x" * 80: 1}


def test_outside_of_ray_nothing_is_told() -> None:
    count_rows("solutions", pa.table({"error": pa.array(["a"]), "num_tokens": pa.array([3])}), generated=True)
