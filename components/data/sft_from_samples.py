"""Format training from a base model's own few-shot solutions that reached the right answer (paper §2.2).

One epoch over them teaches the newline-delimited steps and the answer section, not skill. However a model gave its
answer (in a box, say, as chat models do), here it stands in its section.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from pydantic import PositiveInt

from components.dataflow.datasets import Dataset
from components.dataflow.errors import InputError
from components.dataflow.stage import TableStage
from components.text.rendering import join_steps
from components.text.solution_cleanup import before_answer, solution_steps
from schemas.settings import settings
from schemas.tables import TEACHER_SOLUTIONS


@settings
class KeepRightConfig:
    """The number of right solutions that are kept of each problem."""

    max_per_problem: PositiveInt = 4  # so that easy problems do not crowd out the others


def keep_right(config: KeepRightConfig, name: str = "format_examples") -> TableStage:
    """Make the stage (solutions, grades) → solutions to finetune on, in sample order within each problem."""
    return TableStage(
        name,
        3,
        config,
        TEACHER_SOLUTIONS,
        _keep_right,
        shard_rows=4000,
        expected_rows=_expected_rows,
    )


def _expected_rows(config: KeepRightConfig, inputs: Mapping[str, Dataset]) -> tuple[int, str]:
    """Return the number of rows if every sample is right: at most max_per_problem of each problem."""
    blocks = [(shard.rows, shard.attributes) for shard in inputs["solutions"].shards]
    problems = sum(rows // int(at["sample_count"]) for rows, at in blocks if at["sample_start"] == "0")
    return min(inputs["solutions"].rows, problems * config.max_per_problem), "≤"


def _keep_right(config: KeepRightConfig, solutions: pa.Table, grades: pa.Table) -> pa.Table:
    """Keep the right solutions. Raises InputError when none is right: there would be nothing to learn from."""
    kept: dict[str, int] = {}
    rows = []
    for solution, grade in zip(solutions.to_pylist(), grades.to_pylist(), strict=True):
        identity = solution["problem_id"]
        if not grade["is_correct"] or kept.get(identity, 0) >= config.max_per_problem:
            continue
        text = before_answer(join_steps(solution["steps"]), grade["answer"], grade["extract_rule"])
        steps = solution_steps(text, grade["answer"]) if text is not None else []
        if not steps:  # the answer alone, or several answers
            continue
        rows.append({"problem": solution["problem"], "steps": steps, "error": None})
        kept[identity] = kept.get(identity, 0) + 1
    if not rows:
        raise InputError(
            "none of the base model's few-shot solutions is right, so there is nothing to finetune it on; "
            "use a stronger base model, or more samples; or let it learn the format from the problems' own solutions: "
            "--format-from solutions"
        )
    return pa.Table.from_pylist(rows, schema=TEACHER_SOLUTIONS)
