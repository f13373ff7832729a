"""Scored samples of anyone's, from a file: a row per sample, with its problem, answer, grade and scores.

    {"problem": "What is 2 + 2?", "answer": "4", "is_correct": true, "prm_score": 0.93, "orm_score": 0.71}

Also as the paper released its own (`scored-test-samples`): `given_answer` for `answer`, `steps` a list of texts, and
`rating_probs` per step a list of P(negative), P(neutral), P(positive), or a map of them by rating. A sample that the
file leaves out is an empty slot of N, as one without an answer is (§8 of the released evaluation: 1860 slots each).
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.data.readers import check_unchanged, read_records
from components.data.scored_columns import SUFFIX, ScoredFile, problem_of, without_surrogates
from components.dataflow.stage import TableStage
from components.grader.sandbox import GradingSandbox
from components.statistics.score_reduction import PAPER_NEUTRAL, PAPER_REDUCTION, solution_score
from schemas.results import PROBLEM_ATTRIBUTES, scored_samples
from schemas.results import file_samples as schema

SPLIT, UNUSABLE = "test", "unusable"
_ATTRIBUTES = ("source", "level", "subject")
_OF_PROBLEM = ("problem_id", "split", "problem", "ground_truth_answer", *_ATTRIBUTES)
_BAD = "no sample of this problem can be used"
_ROWS_AT_ONCE = 10_000
_LARGEST = sys.float_info.max
Row = dict[str, Any]


def file_samples(config: ScoredFile, path: Path) -> TableStage:
    """Make the stage that reads the file; every problem has as many slots as the config says."""
    compute = functools.partial(_file_samples, path=path)
    return TableStage("file_samples", 1, config, schema(config.names), compute)


def scored_file_samples(config: ScoredFile) -> TableStage:
    """Make the stage (file_samples, candidates) → scored_samples."""
    return TableStage("scored_samples", 1, config, scored_samples(config.names), _scored_file_samples)


def scored_file_attributes(config: ScoredFile) -> TableStage:
    """Make the stage file_samples → problem_attributes, from the columns source, level and subject, if any."""
    reads = {"file_samples": ["problem_id", "split", *_ATTRIBUTES]}
    return TableStage("problem_attributes", 1, config, PROBLEM_ATTRIBUTES, _attributes, reads=reads)


def _file_samples(config: ScoredFile, path: Path) -> pa.Table:
    check_unchanged(path, config.digest)
    table_schema = schema(config.names)
    counts: Counter[str] = Counter()
    problems: dict[str, Row] = {}  # problem_id → the columns of its empty slots
    tables = []
    pool = GradingSandbox()
    try:
        for start, records in _chunks(path):
            rows = [_row(config, record, number) for number, record in enumerate(records, start)]
            if config.correct_column is None:
                _grade(rows, pool)
            for row in rows:
                row["sample_index"] = counts[row["problem_id"]]
                counts[row["problem_id"]] += 1
                if row["split"] == SPLIT:
                    empty_slot = problems.setdefault(
                        row["problem_id"], {name: row[name] for name in _OF_PROBLEM} | {"error": _BAD}
                    )
                    empty_slot["error"] = None if row["error"] is None else empty_slot["error"]
            tables.append(
                pa.Table.from_pylist(rows, schema=table_schema)
            )  # text is far smaller there than as Python's objects
    finally:
        pool.close()
    empty = [
        empty_slot | {"sample_index": at, "is_correct": False}
        for problem_id, empty_slot in problems.items()
        for at in range(counts[problem_id], config.slots)
    ]
    return pa.concat_tables([*tables, pa.Table.from_pylist(empty, schema=table_schema)])


def _chunks(path: Path) -> Iterator[tuple[int, list[Row]]]:
    """Yield (number of the first row, rows), at most _ROWS_AT_ONCE at a time."""
    records = iter(read_records(path))
    start = 0
    while chunk := list(itertools.islice(records, _ROWS_AT_ONCE)):
        yield start, chunk
        start += len(chunk)


def _row(config: ScoredFile, record: Mapping[str, Any], number: int) -> Row:
    problem = problem_of(record, config.problem_column)
    error = None if problem is not None else f"'{config.problem_column}' is {record.get(config.problem_column)!r}"
    text = f"row {number}" if problem is None else problem
    row: Row = {"problem_id": hashlib.sha256(text.encode()).hexdigest()[:16], "problem": text, "source_row": number}
    row["split"] = SPLIT if problem is not None else UNUSABLE
    row |= {name: _text(record.get(name)) for name in ("ground_truth_answer", *_ATTRIBUTES)}
    row["answer"] = _text(record.get(config.answer_column))
    row["steps"] = _steps(record.get("steps"))
    row["step_probabilities"] = _probabilities(record.get("rating_probs"))
    row["is_correct"] = None
    if config.correct_column is not None:
        correct = record.get(config.correct_column)
        if correct is None and row["answer"] is None:
            correct = False
        if isinstance(correct, bool) or (isinstance(correct, int | float) and correct in (0, 1)):
            row["is_correct"] = bool(correct)
        else:
            error = error or f"'{config.correct_column}' is {correct!r}, not true or false"
    for name, column in config.scores:
        value = record.get(column)
        if column == "rating_probs":
            value = _product(row["step_probabilities"])
        if isinstance(value, bool) or not (value is None or isinstance(value, int | float)):
            error = error or f"'{column}' is {value!r}, not a number"
        elif value is not None and abs(value) > _LARGEST and not math.isinf(value):
            error = error or f"'{column}' is too large a number"
        else:
            row[f"{name}_score"] = None if value is None or math.isnan(value) else float(value)
    return row | {"error": None if error is None else f"row {number}: {error}"}


def _text(value: object) -> str | None:
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    return without_surrogates(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))


def _steps(value: object) -> list[str] | None:
    if isinstance(value, list):
        return [without_surrogates(str(step.get("text", step) if isinstance(step, dict) else step)) for step in value]
    return None


def _probabilities(value: object) -> list[list[float]] | None:
    """Read P(negative), P(neutral), P(positive) per step, from lists or maps by rating; None for other values."""
    if not isinstance(value, list) or not value:
        return None
    steps = []
    for step in value:
        if isinstance(step, dict):
            step = [step.get(rating) for rating in ("-1", "0", "1")]
        if not isinstance(step, list) or len(step) != 3 or not all(_is_probability(each) for each in step):
            return None
        steps.append([float(each) for each in step])
    return steps


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _product(steps: list[list[float]] | None) -> float | None:
    return None if steps is None else solution_score(np.array(steps), PAPER_REDUCTION, PAPER_NEUTRAL)


def _grade(rows: list[Row], pool: GradingSandbox) -> None:
    """Grade the answers of a file that has no grades, by our grader."""
    answers = {(row["answer"], row["ground_truth_answer"]) for row in rows}
    pairs = sorted(pair for pair in answers if None not in pair)
    verdicts = dict(zip(pairs, pool.verdicts(pairs), strict=True))
    for row in rows:
        if row["answer"] is None:
            row["is_correct"] = False
        elif row["ground_truth_answer"] is None:
            row["error"] = row["error"] or f"row {row['source_row']}: 'ground_truth_answer' is empty"
        else:
            verdict = verdicts[row["answer"], row["ground_truth_answer"]]
            row["is_correct"] = verdict.is_correct
            if verdict.is_correct is None:
                row["error"] = row["error"] or f"row {row['source_row']}: grading: {verdict.status}"


def _scored_file_samples(config: ScoredFile, file_samples: pa.Table, candidates: pa.Table) -> pa.Table:
    columns = ["problem_id", "sample_index", "split", "answer", "is_correct", "error"]
    scores = [f"{name}{SUFFIX}" for name in config.names]
    frame = file_samples.select([*columns, *scores]).to_pandas()
    frame["num_steps"] = pc.list_value_length(file_samples["steps"]).to_pandas()
    frame = frame[frame["split"] == SPLIT]
    frame["answer"] = frame["answer"].where(frame["error"].isna())
    frame["is_correct"] = frame["is_correct"].where(frame["answer"].notna(), False)
    by_answer = candidates.select(["problem_id", "answer", "candidate", "candidate_is_correct"]).to_pandas()
    rows = frame.merge(by_answer, on=["problem_id", "answer"], how="left").assign(training_seed=1)
    return pa.Table.from_pandas(rows, schema=scored_samples(config.names), preserve_index=False)


def _attributes(config: ScoredFile, file_samples: pa.Table) -> pa.Table:
    frame = file_samples.to_pandas().drop_duplicates("problem_id").assign(error=None)
    frame = frame[frame["split"] == SPLIT]
    frame["source"] = frame["source"].fillna("file")
    return pa.Table.from_pandas(frame, schema=PROBLEM_ATTRIBUTES, preserve_index=False)
