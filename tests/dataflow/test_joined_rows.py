"""Tables with the same rows in the same order, as one."""

from __future__ import annotations

import pyarrow as pa
import pytest

from components.dataflow.joined_rows import joined_rows

SOLUTIONS = pa.table({"id": [1, 2, 3], "text": ["a", "b", "c"], "error": [None, "cut", None]})
GRADES = pa.table({"id": [1, 2, 3], "right": [True, None, None], "error": [None, "no solution", "timeout"]})


def test_the_first_error_counts() -> None:
    assert joined_rows({"solutions": SOLUTIONS, "grades": GRADES}, ["id"]) == [
        {"id": 1, "text": "a", "right": True, "error": None},
        {"id": 2, "text": "b", "right": None, "error": "cut"},
        {"id": 3, "text": "c", "right": None, "error": "timeout"},
    ]


@pytest.mark.parametrize("rows", [[0, 2, 1], [0, 1], [0, 1, 2, 2]])
def test_other_rows_or_another_order_are_refused(rows: list[int]) -> None:
    with pytest.raises(ValueError, match="grades does not have the rows of solutions"):
        joined_rows({"solutions": SOLUTIONS, "grades": GRADES.take(rows)}, ["id"])
