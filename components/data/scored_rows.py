"""One sample of a file of scored samples, read as a row of `file_samples`; what cannot be read is the row's error."""

from __future__ import annotations

import hashlib
import math
import sys
from decimal import Decimal
from typing import Any

import numpy as np

from components.data.cells import Record, UnreadableRow, cell, cell_text, csv_value, is_blank, short, sound
from components.data.reference_answers import reference_in
from components.data.scored_columns import NO_COLUMN, ScoredFile, problem_of
from components.statistics.score_reduction import PAPER_NEUTRAL, PAPER_REDUCTION, solution_score

SPLIT, UNUSABLE = "test", "unusable"
ATTRIBUTES = ("source", "level", "subject")
_LARGEST = sys.float_info.max
Row = dict[str, Any]


def read_sample(config: ScoredFile, record: Record, number: int, extracted: str | None = None) -> Row:
    """Return the row of `file_samples` but for its `sample_index`.

    number: of the record in the file. extracted: the answer of its text, where the file has no column of answers.
    """
    problem = problem_of(record, config.problem_column)
    unreadable = record.why if isinstance(record, UnreadableRow) else None
    error = unreadable or (
        None if problem is not None else f"'{config.problem_column}' is {short(record.get(config.problem_column))}"
    )
    text = f"row {number}" if problem is None else problem
    row: Row = {"problem_id": sample_problem_id(problem, number), "problem": text, "source_row": number}
    row["split"] = SPLIT if problem is not None else UNUSABLE
    row |= {name: _attribute(record.get(name)) for name in ATTRIBUTES}
    row["ground_truth_answer"], no_reference = _reference(config, record)
    row["answer"], no_answer = _answer(config, record, extracted)
    error = error or no_answer or (no_reference if config.correct_column is None else None)
    row["steps"] = _steps(record.get("steps"))
    row["step_probabilities"] = _probabilities(record.get("rating_probs"))
    row["is_correct"] = None
    if config.correct_column is not None:
        correct = csv_value(cell(record, config.correct_column))
        if correct is None and row["answer"] is None and config.answer_column != NO_COLUMN:
            correct = False
        if isinstance(correct, bool) or (isinstance(correct, int | float) and correct in (0, 1)):
            row["is_correct"] = bool(correct)
        else:
            error = error or f"'{config.correct_column}' is {short(correct)}, not true or false"
    for name, column in config.scores:
        value = _product(row["step_probabilities"]) if column == "rating_probs" else csv_value(cell(record, column))
        if column == "rating_probs" and value is None and record.get(column):
            error = error or f"'{column}' is {short(record[column])}, not three chances of each step"
        if isinstance(value, Decimal):
            value = float(value)
        if isinstance(value, bool) or not (value is None or isinstance(value, int | float)):
            error = error or f"'{column}' is {short(value)}, not a number"
        elif value is not None and abs(value) > _LARGEST and abs(value) != math.inf:
            error = error or f"'{column}' is too large a number"
        else:
            row[f"{name}_score"] = None if value is None or math.isnan(value) else float(value)
    return row | {"error": None if error is None else f"row {number}: {error}"}


def sample_problem_id(problem: str | None, number: int) -> str:
    """Return the id of a sample's problem: a hash of its text; of a row without one, of the row's number."""
    return hashlib.sha256((f"row {number}" if problem is None else problem).encode()).hexdigest()[:16]


def text_of(config: ScoredFile, record: Record) -> tuple[str, str | None]:
    """Return the text that a sample's answer is extracted from, "" without one, and its finish reason."""
    text = _answer_text(record, config.text_column)[0] if config.text_column is not None else None
    reason = record.get("finish_reason")
    return text or "", reason if isinstance(reason, str) else None


def _answer(config: ScoredFile, record: Record, extracted: str | None) -> tuple[str | None, str | None]:
    """Return a sample's answer, None where it has none, and the error of a cell that is none."""
    if config.text_column is not None:
        return extracted, _answer_text(record, config.text_column)[1]
    return (None, None) if config.answer_column == NO_COLUMN else _answer_text(record, config.answer_column)


def _reference(config: ScoredFile, record: Record) -> tuple[str | None, str | None]:
    """Return the reference answer, None where there is none, and the error of a cell that is none."""
    text, error = _answer_text(record, config.reference_column)
    if text is None or error is not None:
        return None, error
    reference = reference_in(text, config.reference_format)
    return reference, None if reference else f"'{config.reference_column}' has no answer: {short(text)}"


def _answer_text(record: Record, column: str) -> tuple[str | None, str | None]:
    """Return a cell as text, None for one that is empty; and the error of a cell that is no text and no number."""
    value = cell(record, column)
    if is_blank(value):
        return None, None
    text, error = cell_text(record, column)
    return (text, None) if error is None else (None, error)


def _attribute(value: object) -> str | None:
    if is_blank(value):
        return None
    return sound(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))


def _steps(value: object) -> list[str] | None:
    if isinstance(value, list):
        return [sound(str(step.get("text", step) if isinstance(step, dict) else step)) for step in value]
    return None


def _probabilities(value: object) -> list[list[float]] | None:
    """Read P(negative), P(neutral), P(positive) per step, from lists or maps by rating; None for other values."""
    if not isinstance(value, list) or not value:
        return None
    steps = []
    for step in value:
        if isinstance(step, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in step):
            step = dict(step)  # a map of Parquet
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
