"""Problems: from the embedded world, or from files of the user's own.

A file is JSON Lines (also gzipped) or Parquet with a problem and an answer column:

    {"problem": "What is $2^{10}$?", "answer": "1024"}

A row whose problem or answer is empty is kept, with its error. A null answer or a missing column is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.input_files import InputError, check_unchanged, read_records
from components.stage import TableStage, added_field
from components.store import file_digest
from components.worked_arithmetic import Chain, WorldConfig, chains, teacher_solutions
from schemas.results import PROBLEM_ATTRIBUTES
from schemas.tables import PROBLEMS, TEACHER_SOLUTIONS

PROBLEMS_PER_SHARD = 150
ATTRIBUTES = ("source", "level", "subject")


@dataclass(frozen=True)
class ProblemFile:
    """A file's identity: what it holds (not where it lies) and how it is read."""

    digest: str
    problem_column: str = "problem"
    answer_column: str = "answer"
    max_problems: int | None = None  # the first so many rows


@dataclass(frozen=True)
class ProblemFiles:
    """A field per split."""

    train: ProblemFile
    test: ProblemFile
    ood: ProblemFile | None = added_field(None, absence_meant=None)  # noqa: RUF009


def world_problems(config: WorldConfig) -> TableStage:
    """The stage that makes the embedded world's problems: train, test and ood."""
    return TableStage("problems", 2, config, PROBLEMS, _world_problems, PROBLEMS_PER_SHARD, shard_by="split")


def file_problems(config: ProblemFiles, paths: Mapping[str, Path]) -> TableStage:
    """The stage that reads the user's problems. paths: where the file of each split lies."""
    compute = functools.partial(_file_problems, paths=paths)
    return TableStage("problems", 1, config, PROBLEMS, compute, PROBLEMS_PER_SHARD, shard_by="split")


def world_attributes(config: WorldConfig) -> TableStage:
    """The stage that says how long the embedded world's problems are."""
    return TableStage("problem_attributes", 1, config, PROBLEM_ATTRIBUTES, _world_attributes)


def file_attributes(config: ProblemFiles, paths: Mapping[str, Path]) -> TableStage:
    """The stage that reads the columns `level`, `subject` and `source` of the user's problems, where they are."""
    compute = functools.partial(_file_attributes, paths=paths)
    return TableStage("problem_attributes", 1, config, PROBLEM_ATTRIBUTES, compute)


def teacher(config: WorldConfig) -> TableStage:
    """The stage that writes the texts which the embedded generator learns from."""
    return TableStage("teacher_solutions", 2, config, TEACHER_SOLUTIONS, _teacher_solutions, shard_rows=4000)


def problem_id(problem: str) -> str:
    """The first 16 hex digits of the sha256 of a problem's text."""
    return hashlib.sha256(problem.encode()).hexdigest()[:16]


def describe_file(path: Path, problem_column: str, answer_column: str, max_problems: int | None) -> ProblemFile:
    """Read a file of problems once, to be sure that it can be used. Raises InputError."""
    file = ProblemFile("", problem_column, answer_column, max_problems)
    read_problems(path, file, "train")
    return dataclasses.replace(file, digest=file_digest(path))


def read_problems(path: Path, file: ProblemFile, split: str) -> list[dict[str, Any]]:
    """The rows of the `problems` table from one file. Raises InputError, naming the row and the field."""
    seen: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    for number, record in enumerate(read_records(path, file.max_problems)):
        values = {}
        for column in (file.problem_column, file.answer_column):
            if column not in record:
                have = ", ".join(sorted(record)) or "none"
                raise InputError(
                    f"{path}: row {number} has no column '{column}' (it has: {have}); name it with "
                    f"--problem-column or --answer-column"
                )
            if record[column] is None:
                raise InputError(f"{path}: row {number}: '{column}' is null; give it a value or remove the row")
            values[column] = _text(record[column], f"{path}: row {number}: '{column}'")
        problem, answer = values[file.problem_column], values[file.answer_column]
        error, identity = None, problem_id(problem)
        if not problem.strip() or not answer.strip():
            error = f"row {number}: '{file.answer_column if problem.strip() else file.problem_column}' is empty"
        elif identity in seen:
            error = f"row {number}: the same problem as row {seen[identity]}"
        if identity in seen:
            identity = problem_id(f"{problem}\0{number}")
        seen.setdefault(identity, number)
        rows.append(
            {"problem_id": identity, "split": split, "problem": problem, "ground_truth_answer": answer}
            | {"source": "file", "source_row": number, "error": error}
            | {"attributes": {name: _attribute(record.get(name)) for name in ATTRIBUTES}}
        )
    if not rows:
        raise InputError(f"{path}: holds no rows")
    return rows


def _text(value: object, where: str) -> str:
    """A cell as text; 7.0, which a column of floats gives for 7, is "7". Raises InputError for what is no value."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value))
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:
        raise InputError(f"{where} is {value!r}, not text or a number")
    return str(value)


def _attribute(value: object) -> str | None:
    """What a problem's file says of it is only shown: whatever it is, it is no error."""
    return None if value is None or value != value or value == "" else str(value)


def check_disjoint(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    """Raises InputError when two splits share a problem."""
    rows = {row["problem_id"]: f"{row['split']} row {row['source_row']}" for row in one}
    for row in other:
        if row["problem_id"] in rows:
            raise InputError(
                f"{row['split']} row {row['source_row']} is the same problem as {rows[row['problem_id']]}; "
                "remove one of them, or the curves would measure memory"
            )


def _world_problems(config: WorldConfig) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {"problem_id": problem_id(chain.problem), "split": split, "problem": chain.problem}
        | {"ground_truth_answer": str(chain.answer), "source": "worked_arithmetic", "source_row": number, "error": None}
        for split, number, chain in _world_chains(config)
    ]
    return pa.Table.from_pylist(rows, schema=PROBLEMS)


def _world_attributes(config: WorldConfig) -> pa.Table:
    rows = [
        {"problem_id": problem_id(chain.problem), "split": split, "error": None}
        | {"source": f"chains of {len(chain.turns)}" if split == "ood" else "worked_arithmetic"}
        | {"level": f"{len(chain.turns)} operations", "subject": None}
        for split, _, chain in _world_chains(config)
    ]
    return pa.Table.from_pylist(rows, schema=PROBLEM_ATTRIBUTES)


def _world_chains(config: WorldConfig) -> Iterator[tuple[str, int, Chain]]:
    """(split, number in it, chain)."""
    counts = {"train": config.train_problems, "test": config.test_problems, "ood": config.ood_problems}
    for split, count in counts.items():
        for number, chain in enumerate(chains(config, split, count)):
            yield split, number, chain


def _file_problems(config: ProblemFiles, paths: Mapping[str, Path]) -> pa.Table:
    return pa.Table.from_pylist(_file_rows(config, paths), schema=PROBLEMS)


def _file_attributes(config: ProblemFiles, paths: Mapping[str, Path]) -> pa.Table:
    rows = []
    for row in _file_rows(config, paths):
        named = row.pop("attributes")
        rows.append(row | named | {"source": named["source"] or "file", "error": None})
    return pa.Table.from_pylist(rows, schema=PROBLEM_ATTRIBUTES)


def _file_rows(config: ProblemFiles, paths: Mapping[str, Path]) -> list[dict[str, Any]]:
    rows = []
    for split, file in (("train", config.train), ("test", config.test), ("ood", config.ood)):
        if file is not None:
            check_unchanged(paths[split], file.digest)
            rows += read_problems(paths[split], file, split)
    return rows


def _teacher_solutions(config: WorldConfig) -> pa.Table:
    rows = [{"problem": chain.problem, "steps": steps, "error": None} for chain, steps in teacher_solutions(config)]
    return pa.Table.from_pylist(rows, schema=TEACHER_SOLUTIONS)
