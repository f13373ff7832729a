"""Format training from solutions that come with the problems: what a base model is finetuned on (paper §2.2) in place
of its own few-shot solutions, when it cannot yet solve any problem.

MATH has a column `solution`; GSM8K has the solution in its `answer`, before "####". A row without a solution is kept,
with its error. Departs from the paper, whose generator learns the format from its own samples: here it also learns from
the solutions' content.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from components.dataflow.stage import Inert, TableStage
from components.text.solution_cleanup import solution_steps
from schemas.tables import TEACHER_SOLUTIONS

Rows = Callable[[], list[dict[str, Any]]]


def reference_solutions(config: Inert, rows: Rows) -> TableStage:
    """Make the stage that gives the train problems' own solutions as the generator's finetuning data.

    config: the problems' files. rows: reads them (problems.file_rows).
    """
    return TableStage(
        "reference_solutions", 1, config, TEACHER_SOLUTIONS, lambda _: _reference_solutions(rows()), shard_rows=4000
    )


def has_solutions(rows: list[dict[str, Any]]) -> bool:
    """Return whether any train problem comes with a solution that can be learned from."""
    return any(_row(row)["error"] is None for row in rows if row["split"] == "train")


def _row(row: dict[str, Any]) -> dict[str, Any]:
    solution = row["solution"] or ""
    error, steps = row["error"], []
    if error is None and not solution.strip():
        error = f"row {row['source_row']}: it has no solution, so it teaches no format"
    if error is None:
        steps = solution_steps(solution, row["ground_truth_answer"])
        if not steps:
            error = f"row {row['source_row']}: its solution says nothing but the answer, so it teaches no format"
    return {"problem": row["problem"], "steps": steps, "error": error}


def _reference_solutions(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([_row(row) for row in rows if row["split"] == "train"], schema=TEACHER_SOLUTIONS)
