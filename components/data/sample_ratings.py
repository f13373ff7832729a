"""The ratings of a file's samples, where their steps are rated, for the first errors that verifiers find.

{"problem": "…", "steps": ["First, …", "So …"], "label": 1, "final_answer_correct": false}

sample_texts.py reads the same rows for verifiers; problem_id and sample_index are the same in both.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.data.cells import Record, first_readable
from components.data.labelled_solutions import read_row
from components.data.nested_samples import is_nested
from components.data.rated_solutions import rated_row
from components.data.readers import check_unchanged, read_records
from components.data.sample_texts import SampleTexts, read_solution
from components.data.scored_rows import SPLIT
from components.dataflow.stage import TableStage
from schemas.tables import STEP_LABELS

_ROWS_AT_ONCE = 10_000


def format_of_ratings(config: SampleTexts, path: Path) -> str | None:
    """Return in which format the file's samples have ratings of their steps, by its first row; None where in none."""
    first = first_readable(read_records(path))
    if config.steps_column is None or first is None or is_nested(first, needs_scores=not config.nested):
        return None
    row = read_row(0, first)
    return row["format"] if row["num_labels"] else None


def file_ratings(config: SampleTexts, path: Path) -> TableStage:
    """Make the stage that reads the samples' ratings, through the first wrong step.

    A sample with an unrated step before its first wrong one has an error, and does not count.
    """
    compute = functools.partial(_ratings, path=path)
    return TableStage("held_out_step_labels", 3, config, STEP_LABELS, compute)


def _ratings(config: SampleTexts, path: Path) -> Iterator[pa.Table]:
    check_unchanged(path, config.digest)
    counts: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for number, record in enumerate(read_records(path)):
        rows.append(_row(config, record, number, counts))
        if len(rows) == _ROWS_AT_ONCE:
            yield pa.Table.from_pylist(rows, schema=STEP_LABELS)
            rows = []
    if rows:
        yield pa.Table.from_pylist(rows, schema=STEP_LABELS)


def _row(config: SampleTexts, record: Record, number: int, counts: Counter[str]) -> dict[str, Any]:
    solution = read_solution(config, record, number)
    labels = rated_row(SPLIT, read_row(number, record))
    row = labels | {name: solution[name] for name in ("problem_id", "split")}
    row["sample_index"] = counts[row["problem_id"]]
    counts[row["problem_id"]] += 1
    if solution["error"] is not None:
        row |= {"ratings": [], "provenance": [], "error": solution["error"]}
    return row
