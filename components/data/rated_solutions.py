"""Solutions whose first wrong step is known, from files: ProcessBench's, or any with rated steps.

{"problem": "…", "steps": ["First, …", "So …"], "label": 1}                     index of the first wrong step, −1 none
{"problem": "…", "steps": [{"text": "First, …", "rating": 1}, {"text": "So …", "rating": -1}]}
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.data.readers import check_unchanged, read_records
from components.dataflow.errors import InputError
from components.dataflow.model_files import file_digest
from components.dataflow.stage import TableStage
from schemas.ratings import NEGATIVE, NO_ERROR, POSITIVE
from schemas.tables import SOLUTIONS, STEP_LABELS

Row = dict[str, Any]


@dataclass(frozen=True)
class RatedFiles:
    """(name, digest) of each file; the name is the source that results are told by."""

    files: tuple[tuple[str, str], ...]


def describe_rated(paths: list[Path]) -> tuple[RatedFiles, dict[str, Path]]:
    """Read the files once to check them. Returns their digests, and name → path. Raises InputError."""
    named: dict[str, Path] = {}
    for path in paths:
        name = path.name.split(".")[0]
        if name in named:
            raise InputError(f"{path}: another file is called {name} too; results could not be told apart")
        named[name] = path
        if all(row["error"] for row in read_rated(path, name)):
            first = next(iter(read_rated(path, name)), None)
            raise InputError(f"{path}: no row can be used" + (f": {first['error']}" if first else ": it is empty"))
    return RatedFiles(tuple((name, file_digest(path)) for name, path in named.items())), named


def file_solutions(config: RatedFiles, paths: Mapping[str, Path]) -> TableStage:
    """Make the stage that reads the solutions, with the generator's own columns: for scoring."""
    compute = functools.partial(_rows, paths=paths, schema=SOLUTIONS)
    return TableStage("rated_solutions", 1, config, SOLUTIONS, compute, shard_rows=500)


def file_labels(config: RatedFiles, paths: Mapping[str, Path]) -> TableStage:
    """Make the stage that reads their ratings, through the first wrong step."""
    return TableStage(
        "held_out_step_labels", 1, config, STEP_LABELS, functools.partial(_rows, paths=paths, schema=STEP_LABELS)
    )


def _rows(config: RatedFiles, paths: Mapping[str, Path], schema: pa.Schema) -> pa.Table:
    rows: list[Row] = []
    for name, digest in config.files:
        check_unchanged(paths[name], digest)
        rows += read_rated(paths[name], name)
    return pa.Table.from_pylist(rows, schema=schema)


def read_rated(path: Path, source: str) -> list[Row]:
    """Return a row per solution, with what both tables need. A row that cannot be used has an error that names the
    field.
    """
    rows = []
    for number, record in enumerate(read_records(path)):
        row: Row = {"problem_id": f"{source}:{number}", "sample_index": 0, "split": source, "ground_truth_answer": None}
        row |= {"finish_reason": "stop", "num_tokens": 0, "seed": 0, "label_source": source}
        row |= {
            "provenance": [],
            "probabilities": None,
            "alternatives": [],
            "problem": "",
            "steps": [],
            "ratings": [],
            "text": "",
        }
        try:
            steps, ratings = _steps(record)
            row |= {
                "problem": _problem(record),
                "steps": steps,
                "ratings": ratings,
                "provenance": [source] * len(ratings),
                "text": "\n".join(steps),
                "error": None,
            }
        except ValueError as error:
            row["error"] = f"row {number}: {error}"
        rows.append(row)
    return rows


def _problem(record: Mapping[str, Any]) -> str:
    problem = record.get("problem")
    if not isinstance(problem, str) or not problem.strip():
        raise ValueError(f"'problem' is {problem!r}")
    return problem


def _steps(record: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """Return the steps' texts, and their ratings through the first wrong one. Raises ValueError, naming the field."""
    steps = record.get("steps")
    if not isinstance(steps, list) or not steps:
        raise ValueError(f"'steps' is {steps!r}, not a list of steps")
    if all(isinstance(step, dict) for step in steps):
        texts, ratings = [step.get("text") for step in steps], [step.get("rating") for step in steps]
        wrong = ratings.index(NEGATIVE) + 1 if NEGATIVE in ratings else len(ratings)
        ratings = ratings[:wrong]
        if any(isinstance(rating, bool) or rating not in (-1, 0, 1) for rating in ratings):
            raise ValueError("'steps': a step before the first wrong one has no rating of -1, 0 or 1")
    else:
        texts, label = steps, record.get("label")
        label = (
            int(label) if isinstance(label, float) and label.is_integer() else label
        )  # as pandas has it beside a null
        if isinstance(label, bool) or not isinstance(label, int) or not NO_ERROR <= label < len(steps):
            raise ValueError(f"'label' is {label!r}, not the index of one of {len(steps)} steps, or -1")
        ratings = [POSITIVE] * len(steps) if label == NO_ERROR else [*[POSITIVE] * label, NEGATIVE]
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError("'steps': a step has no text")
    return texts, ratings
