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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.data.readers import check_unchanged, read_records
from components.dataflow.errors import InputError
from components.dataflow.model_files import file_digest
from components.dataflow.stage import TableStage
from components.grader.sandbox import GradingSandbox
from components.statistics.score_reduction import PAPER_NEUTRAL, PAPER_REDUCTION, solution_score
from schemas.results import PROBLEM_ATTRIBUTES, scored_samples
from schemas.results import file_samples as schema

SPLIT, UNUSABLE = "test", "unusable"
_SUFFIX = "_score"
_ATTRIBUTES = ("source", "level", "subject")
_OF_PROBLEM = ("problem_id", "split", "problem", "ground_truth_answer", *_ATTRIBUTES)
_BAD = "no sample of this problem can be used"
_ROWS_AT_ONCE = 10_000
_LARGEST = sys.float_info.max
Row = dict[str, Any]


@dataclass(frozen=True)
class ScoredFile:
    """A file's identity: its content (not its place) and how it is read."""

    digest: str
    scores: tuple[tuple[str, str], ...]  # (verifier's name, its column)
    slots: int  # samples per problem, those that the file leaves out included
    problem_column: str = "problem"
    answer_column: str = "answer"
    correct_column: str | None = "is_correct"  # None: graded here, against ground_truth_answer
    grader_version: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.scores)


def describe_scored(
    path: Path, columns: Mapping[str, str], scores: list[str], slots: int | None, grader_version: int
) -> ScoredFile:
    """Read a file of scored samples once to check it. Raises InputError, which says what is missing and how to name it.

    columns: problem, answer and correct → the column. scores: columns, or [] for all that end in `_score`. slots:
    samples per problem, or None for as many as the fullest problem has.
    """
    counts: Counter[str] = Counter()
    score_columns: dict[str, None] = {}
    first: dict[str, Any] = {}
    for row in read_records(path):
        first = first or row
        counts[_problem_of(row, columns["problem"]) or ""] += 1
        score_columns |= {name: None for name in row if name.endswith(_SUFFIX)}
    if not counts:
        raise InputError(f"{path}: holds no rows")
    del counts[""]  # rows without a problem are kept, and no samples of one
    have = f"it has: {', '.join(sorted(first))}"
    answer = columns["answer"]
    if answer not in first and answer == "answer" and "given_answer" in first:
        answer = "given_answer"
    for flag, column in (("--problem-column", columns["problem"]), ("--answer-column", answer)):
        if column not in first:
            raise InputError(f"{path}: row 0 has no column '{column}' ({have}); name it with {flag}")
    correct: str | None = columns["correct"]
    if correct not in first:
        if columns["correct"] != "is_correct" or "ground_truth_answer" not in first:
            raise InputError(
                f"{path}: row 0 has no column '{correct}' ({have}); name it with --correct-column, or give "
                "'ground_truth_answer', and answers are graded here"
            )
        correct = None
    names = scores or list(score_columns)
    for column in scores:
        if column not in first:
            raise InputError(f"{path}: row 0 has no column '{column}' ({have}); --scores names columns of scores")
    pairs = [(name.removesuffix(_SUFFIX), name) for name in names]
    if "prm" not in dict(pairs) and "rating_probs" in first:
        pairs.insert(0, ("prm", "rating_probs"))
    if not pairs:
        raise InputError(f"{path}: no column ends in '{_SUFFIX}' ({have}); name the columns of scores with --scores")
    reserved = {
        name for name in dict(pairs) if name in ("", "majority", "pass", "pass_at_1") or name.endswith("_weighted")
    }
    if reserved or len(dict(pairs)) < len(pairs):
        raise InputError(
            f"{path}: columns of scores {', '.join(names)}: verifiers need names of their own, which are not "
            "those of votes (majority, pass, …_weighted); rename the columns"
        )
    if not counts:
        raise InputError(
            f"{path}: no row has a problem in '{columns['problem']}'; name the column with --problem-column"
        )
    most = max(counts.values())
    if slots is not None and slots < most:
        raise InputError(f"--samples-per-problem {slots}: {path} has up to {most} samples of a problem")
    version = grader_version if correct is None else 0
    return ScoredFile(file_digest(path), tuple(pairs), slots or most, columns["problem"], answer, correct, version)


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
    kept = schema(config.names)
    counts: Counter[str] = Counter()
    problems: dict[str, Row] = {}  # problem_id → what its empty slots say of it
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
                    known = problems.setdefault(
                        row["problem_id"], {name: row[name] for name in _OF_PROBLEM} | {"error": _BAD}
                    )
                    known["error"] = None if row["error"] is None else known["error"]
            tables.append(pa.Table.from_pylist(rows, schema=kept))  # text is far smaller there than as Python's objects
    finally:
        pool.close()
    empty = [
        known | {"sample_index": at, "is_correct": False}
        for problem_id, known in problems.items()
        for at in range(counts[problem_id], config.slots)
    ]
    return pa.concat_tables([*tables, pa.Table.from_pylist(empty, schema=kept)])


def _chunks(path: Path) -> Iterator[tuple[int, list[Row]]]:
    """Yield (number of the first row, rows), at most _ROWS_AT_ONCE at a time."""
    records = iter(read_records(path))
    start = 0
    while chunk := list(itertools.islice(records, _ROWS_AT_ONCE)):
        yield start, chunk
        start += len(chunk)


def _problem_of(record: Mapping[str, Any], column: str) -> str | None:
    """Return a row's problem as text, or None where it has none; a number may name a problem."""
    value = record.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        return None
    return _sound(str(value))


def _row(config: ScoredFile, record: Mapping[str, Any], number: int) -> Row:
    problem = _problem_of(record, config.problem_column)
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
    return _sound(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))


def _sound(text: str) -> str:
    """Replace lone surrogates, which JSON can hold and no text file can."""
    return text.encode("utf-8", "replace").decode()


def _steps(value: object) -> list[str] | None:
    if isinstance(value, list):
        return [_sound(str(step.get("text", step) if isinstance(step, dict) else step)) for step in value]
    return None


def _probabilities(value: object) -> list[list[float]] | None:
    """Read P(negative), P(neutral), P(positive) per step, from lists or from maps by rating; None where they are
    anything else.
    """
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
    scores = [f"{name}{_SUFFIX}" for name in config.names]
    frame = file_samples.select([*columns, *scores]).to_pandas()
    frame["num_steps"] = pc.list_value_length(file_samples["steps"]).to_pandas()
    frame = frame[frame["split"] == SPLIT]
    frame["answer"] = frame["answer"].where(frame["error"].isna())
    frame["is_correct"] = frame["is_correct"].where(frame["answer"].notna(), False)
    named = candidates.select(["problem_id", "answer", "candidate", "candidate_is_correct"]).to_pandas()
    rows = frame.merge(named, on=["problem_id", "answer"], how="left").assign(training_seed=1)
    return pa.Table.from_pandas(rows, schema=scored_samples(config.names), preserve_index=False)


def _attributes(config: ScoredFile, file_samples: pa.Table) -> pa.Table:
    frame = file_samples.to_pandas().drop_duplicates("problem_id").assign(error=None)
    frame = frame[frame["split"] == SPLIT]
    frame["source"] = frame["source"].fillna("file")
    return pa.Table.from_pandas(frame, schema=PROBLEM_ATTRIBUTES, preserve_index=False)
