"""Process labels that people (or anyone) gave to solutions of their own: a file, as the PRM's training data.

One solution per row of JSON Lines (also gzipped) or Parquet: a problem, and its steps with ratings −1, 0 or +1:

    {"problem": "What is 2 + 2?", "steps": [{"text": "2 + 2 = 4", "rating": 1}, …]}

Labels count through the first −1 (paper §2.4); later steps need no rating. A row that cannot be used is kept, with its
error.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.input_files import InputError, check_unchanged, read_records
from components.stage import TableStage
from components.store import file_digest
from components.text_format import ANSWER_HEADER
from schemas.tables import LABELLED_SOLUTIONS


@dataclass(frozen=True)
class LabelledFile:
    """The file's identity: what it holds, not where it lies."""

    digest: str


def labelled_solutions(config: LabelledFile, path: Path) -> TableStage:
    """The stage that reads the file."""
    compute = functools.partial(_labelled_solutions, path=path)
    return TableStage("labelled_solutions", 1, config, LABELLED_SOLUTIONS, compute, shard_rows=4000)


def describe_labelled(path: Path) -> LabelledFile:
    """Read the file once, to be sure that it can be used. Raises InputError."""
    rows = read_labelled(path)
    good = sum(row["error"] is None for row in rows)
    if not good:
        first = next((row["error"] for row in rows), "it holds no rows")
        raise InputError(f"{path}: no row can be used; the first: {first}")
    return LabelledFile(file_digest(path))


def read_labelled(path: Path) -> list[dict[str, Any]]:
    """The rows of the `labelled_solutions` table."""
    rows: list[dict[str, Any]] = []
    for number, record in enumerate(read_records(path)):
        steps: list[str] = []
        ratings: list[int] = []
        error = None
        given = record.get("steps")
        for at, step in enumerate(given if isinstance(given, list) else []):
            good = isinstance(step, dict) and isinstance(step.get("text"), str)
            if good and ratings[-1:] != [-1]:
                good = step.get("rating") in (-1, 0, 1)
                ratings += [int(step["rating"])] if good else []
            if not good:
                error = f"row {number}: steps[{at}] is not {{text, rating: −1, 0 or 1}}"
                break
            steps.append(step["text"])
        problem = record.get("problem")
        if not isinstance(problem, str) or not problem.strip():
            error = f"row {number}: 'problem' is empty"
        elif not steps and error is None:
            error = f"row {number}: 'steps' is empty or not a list"
        used = error is None
        row: dict[str, Any] = {
            "problem": problem if isinstance(problem, str) else "",
            "steps": steps if used else [],
            "ratings": ratings if used else [],
            "finished": used and ANSWER_HEADER in steps[-1].splitlines(),
            "source_row": number,
            "error": error,
        }
        rows.append(row)
    return rows


def _labelled_solutions(config: LabelledFile, path: Path) -> pa.Table:
    check_unchanged(path, config.digest)
    return pa.Table.from_pylist(read_labelled(path), schema=LABELLED_SOLUTIONS)
