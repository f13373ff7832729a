"""The texts of a file of samples, as solutions that verifiers can read.

    {"problem": "What is 2 + 2?", "completion": "2 and 2 make 4.\n\nSo \\boxed{4}.", "is_correct": true}

scored_samples_file.py reads the same rows for their answers, grades and scores; problem_id and sample_index are the
same in both. Steps are the file's own, or its texts cut by a rule of text/segmentation.py.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.data.cells import Record, UnreadableRow, cell_text, columns_of, is_blank, short, sound
from components.data.nested_samples import TEXTS, unfold
from components.data.readers import check_unchanged, read_records
from components.data.scored_columns import ScoredFile, problem_of
from components.data.scored_rows import SPLIT, UNUSABLE, sample_problem_id
from components.dataflow.errors import InputError
from components.dataflow.stage import TableStage
from components.text.rendering import join_steps
from components.text.segmentation import steps as cut_into_steps
from schemas.tables import SOLUTIONS

_ROWS_AT_ONCE = 10_000
_ROWS_OF_A_SHARD = 500
_STEPS = "steps"


@dataclass(frozen=True)
class SampleTexts:
    """The identity of a file's texts: its content, and how they are read. steps_column: None where texts are cut."""

    digest: str
    problem_column: str
    text_column: str | None
    steps_column: str | None
    segmentation: str
    nested: bool  # rows may hold several samples without scores


def describe_texts(path: Path, file: ScoredFile, segmentation: str) -> SampleTexts:
    """Find the columns of solutions by the file's first row. Raises InputError where it has none.

    file: how the file's answers and grades are read. segmentation: rule that cuts texts; not of a column of steps.
    """
    nested = not file.needs_scores
    records = (record for _, record in unfold(read_records(path), needs_scores=not nested))
    first = next((record for record in records if not isinstance(record, UnreadableRow)), None)
    if first is None:
        raise InputError(f"{path}: holds no rows")
    has_steps = isinstance(first.get(_STEPS), list)
    text = next((name for name in TEXTS if isinstance(first.get(name), str)), None)
    if not has_steps and text is None:
        raise InputError(
            f"{path}: row 0 has no solution for a verifier to read: no list 'steps', and no text such as "
            f"{', '.join(TEXTS[:3])} (it has: {columns_of(first)})"
        )
    steps_column = _STEPS if has_steps else None
    return SampleTexts(file.digest, file.problem_column, text, steps_column, segmentation, nested)


def file_solutions(config: SampleTexts, path: Path) -> TableStage:
    """Make the stage that reads the file's solutions, a few thousand in memory at a time.

    Of these the solutions of a problem come one after another, wherever they stand in the file: verifiers compute once
    what solutions of a shard begin alike.
    """
    compute = functools.partial(_file_solutions, path=path)
    version = 3 if config.nested else 2  # which rows hold several samples was read otherwise
    return TableStage("file_solutions", version, config, SOLUTIONS, compute, shard_rows=_ROWS_OF_A_SHARD)


def _file_solutions(config: SampleTexts, path: Path) -> Iterator[pa.Table]:
    check_unchanged(path, config.digest)
    counts: Counter[str] = Counter()
    records = unfold(read_records(path), needs_scores=not config.nested)
    while chunk := list(itertools.islice(records, _ROWS_AT_ONCE)):
        rows = []
        for number, record in chunk:
            row = read_solution(config, record, number)
            row["sample_index"] = counts[row["problem_id"]]
            counts[row["problem_id"]] += 1
            rows.append(row)
        first = {row["problem_id"]: number for number, row in reversed([*enumerate(rows)])}
        rows.sort(key=lambda row: first[row["problem_id"]])
        yield pa.Table.from_pylist(rows, schema=SOLUTIONS)


def read_solution(config: SampleTexts, record: Record, number: int) -> dict[str, Any]:
    """Return a row of SOLUTIONS but for its sample_index; what cannot be read is the row's error."""
    problem = problem_of(record, config.problem_column)
    row: dict[str, Any] = {"problem_id": sample_problem_id(problem, number), "problem": problem or ""}
    row |= {"split": SPLIT if problem is not None else UNUSABLE, "ground_truth_answer": None, "error": None}
    row |= {"text": "", "steps": [], "num_tokens": 0, "seed": 0}
    reason = record.get("finish_reason")
    row["finish_reason"] = reason if isinstance(reason, str) else "stop"
    error = record.why if isinstance(record, UnreadableRow) else None
    if error is None and problem is None:
        error = f"'{config.problem_column}' is {short(record.get(config.problem_column))}"
    if error is None:
        row["text"], row["steps"], error = _solution(config, record)
    return row | {"error": None if error is None else f"row {number}: {error}"}


def _solution(config: SampleTexts, record: Record) -> tuple[str, list[str], str | None]:
    """Return a record's text, its steps, and the error of a cell that is none. A sample without a text has no step."""
    text, error = "", None
    if config.text_column is not None and not is_blank(record.get(config.text_column)):
        text, error = cell_text(record, config.text_column)
    if error is not None:
        return "", [], error
    if config.steps_column is None:
        return text, cut_into_steps(text, config.segmentation), None
    given = record.get(config.steps_column)
    if not isinstance(given, list):
        return text, [], None if given is None else f"'{config.steps_column}' is {short(given)}, not a list"
    steps = []
    for at, step in enumerate(given):
        value = step.get("text") if isinstance(step, dict) else step
        if not isinstance(value, str):
            return text, [], f"'{config.steps_column}[{at}]' is {short(step)}, not a text"
        steps.append(sound(value))
    return text or join_steps(steps), steps, None
