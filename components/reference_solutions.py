"""The format from solutions that come with the problems: what a base model is finetuned on (paper §2.2) in place of its
own few-shot solutions, when it cannot yet solve any problem.

MATH has a column `solution`; GSM8K has the solution in its `answer`, before "####". A row without a solution is kept,
with its error. Departs from the paper, whose generator learns the format from its own samples: here it learns something
of the solutions too.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.input_files import InputError, check_unchanged, read_records
from components.solution_text import solution_steps
from components.stage import TableStage
from components.store import file_digest
from schemas.tables import TEACHER_SOLUTIONS

_MARK = "####"  # GSM8K's, between a solution and its answer


@dataclass(frozen=True)
class ReferenceFile:
    """A file's identity: what it holds (not where it lies) and how it is read."""

    digest: str
    problem_column: str
    answer_column: str
    solution_column: str = "solution"
    max_problems: int | None = None  # the first so many rows


def reference_solutions(config: ReferenceFile, path: Path) -> TableStage:
    """The stage that makes the file's own solutions what the generator is finetuned on."""
    compute = functools.partial(_reference_solutions, path=path)
    return TableStage("reference_solutions", 1, config, TEACHER_SOLUTIONS, compute, shard_rows=4000)


def describe_reference(
    path: Path, problem_column: str, answer_column: str, max_problems: int | None = None
) -> ReferenceFile:
    """Read the file once, to be sure that it has solutions. Raises InputError."""
    file = ReferenceFile(file_digest(path), problem_column, answer_column, max_problems=max_problems)
    if all(row["error"] is not None for row in read_solutions(path, file)):
        raise InputError(
            f"{path}: no row has a solution in a column '{file.solution_column}', or before '{_MARK}' in "
            f"'{answer_column}': --format-from solutions cannot learn from it; leave it out, for few-shot samples"
        )
    return file


def read_solutions(path: Path, file: ReferenceFile) -> list[dict[str, Any]]:
    """The rows of the `reference_solutions` table, one per row of the file."""
    return [_row(number, record, file) for number, record in enumerate(read_records(path, file.max_problems))]


def _row(number: int, record: Mapping[str, Any], file: ReferenceFile) -> dict[str, Any]:
    problem, answer, solution = (
        str(record.get(column) if record.get(column) is not None else "").strip()
        for column in (file.problem_column, file.answer_column, file.solution_column)
    )
    before, mark, after = answer.rpartition(_MARK)
    if mark:
        solution, answer = solution or before, after.strip()
    steps = solution_steps(solution.partition(_MARK)[0], answer)
    missing = [
        name
        for name, value in ((file.problem_column, problem), (file.answer_column, answer), ("its solution", solution))
        if not value
    ]
    error = None
    if missing or not steps:
        what = f"{' and '.join(missing)} is empty" if missing else "its solution says nothing but the answer"
        error = f"row {number}: {what}, so it teaches no format"
    return {"problem": problem, "steps": [] if error else steps, "error": error}


def _reference_solutions(config: ReferenceFile, path: Path) -> pa.Table:
    check_unchanged(path, config.digest)
    return pa.Table.from_pylist(read_solutions(path, config), schema=TEACHER_SOLUTIONS)
