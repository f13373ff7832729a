"""Solutions whose first wrong step is known, from files: any that labelled_solutions.py reads, with every step rated.

{"problem": "…", "steps": ["First, …", "So …"], "label": 1}                     index of the first wrong step, −1 none
{"problem": "…", "steps": [{"text": "First, …", "rating": 1}, {"text": "So …", "rating": -1}]}
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.data.file_report import FileReport
from components.data.labelled_solutions import read_labelled
from components.data.readers import check_unchanged, rows_digest
from components.data.step_labels import two_kinds
from components.dataflow.errors import InputError
from components.dataflow.stage import TableStage
from components.text.rendering import join_steps
from schemas.ratings import NEGATIVE, first_error
from schemas.tables import SOLUTIONS, STEP_LABELS

Row = dict[str, Any]


@dataclass(frozen=True)
class RatedFiles:
    """(name, digest) of each file; the name is the source of its solutions in the results."""

    files: tuple[tuple[str, str], ...]


def describe_rated(
    paths: Sequence[Path], most_errors: float = 1.0
) -> tuple[RatedFiles, dict[str, Path], list[FileReport]]:
    """Read the files once to check them. Return their digests, name → path, and reports.

    most_errors: the largest share of a file's rows that may have an error. Raises InputError.
    """
    by_name: dict[str, Path] = {}
    reports = []
    for path in paths:
        name = path.name.split(".")[0]
        if name in by_name:
            raise InputError(f"{path}: another file is called {name} too; results could not be told apart")
        by_name[name] = path
        labelled = list(read_labelled(path))
        if conflict := two_kinds({row["label_kind"] or "" for row in labelled}):
            raise InputError(f"{path}: {conflict}")
        errors = [row["error"] for row in (rated_row(name, row) for row in labelled) if row["error"] is not None]
        formats = dict.fromkeys(row["format"] for row in labelled if row["error"] is None)
        notes = Counter(note for row in labelled for note in row["notes"])
        report = FileReport(path, len(labelled), errors, [f"read as {', '.join(formats)}"])
        report.notes = [f"{count:,} {note}" for note, count in notes.items()]
        report.check(most_errors)
        reports.append(report)
    return RatedFiles(tuple((name, rows_digest(path)) for name, path in by_name.items())), by_name, reports


def file_solutions(config: RatedFiles, paths: Mapping[str, Path]) -> TableStage:
    """Make the stage that reads the solutions, with the generator's own columns: for scoring."""
    compute = functools.partial(_rows, paths=paths, schema=SOLUTIONS)
    return TableStage("rated_solutions", 4, config, SOLUTIONS, compute, shard_rows=500)


def file_labels(config: RatedFiles, paths: Mapping[str, Path]) -> TableStage:
    """Make the stage that reads their ratings, through the first wrong step."""
    compute = functools.partial(_rows, paths=paths, schema=STEP_LABELS)
    return TableStage("held_out_step_labels", 4, config, STEP_LABELS, compute)


def _rows(config: RatedFiles, paths: Mapping[str, Path], schema: pa.Schema) -> pa.Table:
    rows: list[Row] = []
    for name, digest in config.files:
        check_unchanged(paths[name], digest)
        rows += read_rated(paths[name], name)
    return pa.Table.from_pylist(rows, schema=schema)


def read_rated(path: Path, source: str) -> list[Row]:
    """Return a row per solution, with the columns of both tables. The error of an unusable row names the field.

    Solutions of the same problem have the id of its first row, so that intervals are over problems.
    """
    rows = [rated_row(source, labelled) for labelled in read_labelled(path)]
    solutions: Counter[str] = Counter()
    ids: dict[str, str] = {}
    for row in rows:
        if row["error"] is None:
            row["problem_id"] = ids.setdefault(row["problem"], row["problem_id"])
            row["sample_index"] = solutions[row["problem"]]
            solutions[row["problem"]] += 1
    return rows


def rated_row(source: str, labelled: Mapping[str, Any]) -> Row:
    """Return the row of a labelled solution, with the columns of both tables."""
    number, steps = labelled["source_row"], labelled["steps"]
    row: Row = {"problem_id": f"{source}:{number}", "sample_index": 0, "split": source, "ground_truth_answer": None}
    row |= {"finish_reason": "stop", "num_tokens": 0, "seed": 0, "label_source": source}
    row |= {"problem": "", "steps": [], "text": "", "ratings": [], "provenance": []}
    row |= {"probabilities": None, "alternatives": [], "error": labelled["error"]}
    ratings = labelled["ratings"]
    if NEGATIVE in ratings:
        ratings = ratings[: first_error(ratings) + 1]
    if labelled["error"] is None and labelled["dropped"] is not None:
        row["error"] = f"row {number}: not used: {labelled['dropped']}"
    elif labelled["error"] is None and None in ratings:
        where = f"steps[{ratings.index(None)}]"
        row["error"] = f"row {number}: {where} is unrated, so the first wrong step is not known"
    elif labelled["error"] is None and "" in steps:
        row["error"] = f"row {number}: steps[{steps.index('')}] has no text"
    if row["error"] is not None:
        return row
    row |= {"problem": labelled["problem"], "steps": steps, "text": join_steps(steps)}
    return row | {"ratings": ratings, "provenance": [source] * len(ratings)}
