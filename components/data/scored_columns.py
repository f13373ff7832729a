"""Columns of a file of scored samples: which of them hold the problem, the answer, the grade and the scores.

scored_samples_file.py reads the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.data.readers import read_records
from components.dataflow.errors import InputError
from components.dataflow.model_files import file_digest

SUFFIX = "_score"
_RESERVED = ("", "majority", "pass", "pass_at_1")  # names of methods that are no verifier
Record = Mapping[str, Any]


@dataclass(frozen=True)
class ScoredFile:
    """A file's identity: its content (not its place) and how it is read."""

    digest: str
    scores: tuple[tuple[str, str], ...]  # (verifier's name, its column)
    slots: int  # samples per problem, with those that the file leaves out
    problem_column: str = "problem"
    answer_column: str = "answer"
    correct_column: str | None = "is_correct"  # None: graded here, against ground_truth_answer
    grader_version: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The verifiers' names."""
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
        counts[problem_of(row, columns["problem"]) or ""] += 1
        score_columns |= {name: None for name in row if name.endswith(SUFFIX)}
    if not counts:
        raise InputError(f"{path}: holds no rows")
    del counts[""]  # rows without a problem are kept, and are no samples
    answer, correct = _answer_and_correct(path, first, columns)
    pairs = _score_columns(path, first, scores, list(score_columns))
    if not counts:
        raise InputError(
            f"{path}: no row has a problem in '{columns['problem']}'; name the column with --problem-column"
        )
    most = max(counts.values())
    if slots is not None and slots < most:
        raise InputError(f"--samples-per-problem {slots}: {path} has up to {most} samples of a problem")
    version = grader_version if correct is None else 0
    return ScoredFile(file_digest(path), tuple(pairs), slots or most, columns["problem"], answer, correct, version)


def _answer_and_correct(path: Path, first: Record, columns: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the columns of answers and of grades, None where the answers are graded here. Raises InputError."""
    answer, correct = columns["answer"], columns["correct"]
    if answer not in first and answer == "answer" and "given_answer" in first:
        answer = "given_answer"
    for flag, column in (("--problem-column", columns["problem"]), ("--answer-column", answer)):
        if column not in first:
            raise InputError(f"{path}: row 0 has no column '{column}' ({_have(first)}); name it with {flag}")
    if correct in first:
        return answer, correct
    if correct != "is_correct" or "ground_truth_answer" not in first:
        raise InputError(
            f"{path}: row 0 has no column '{correct}' ({_have(first)}); name it with --correct-column, or give "
            "'ground_truth_answer', and answers are graded here"
        )
    return answer, None


def _score_columns(path: Path, first: Record, scores: list[str], suffixed: list[str]) -> list[tuple[str, str]]:
    """Return (verifier's name, column) of each score. Raises InputError."""
    for column in scores:
        if column not in first:
            raise InputError(
                f"{path}: row 0 has no column '{column}' ({_have(first)}); --scores names columns of scores"
            )
    names = scores or suffixed
    pairs = [(name.removesuffix(SUFFIX), name) for name in names]
    if "prm" not in dict(pairs) and "rating_probs" in first:
        pairs.insert(0, ("prm", "rating_probs"))
    if not pairs:
        raise InputError(
            f"{path}: no column ends in '{SUFFIX}' ({_have(first)}); name the columns of scores with --scores"
        )
    reserved = [name for name, _ in pairs if name in _RESERVED or name.endswith("_weighted")]
    if reserved or len(dict(pairs)) < len(pairs):
        raise InputError(
            f"{path}: columns of scores {', '.join(names)}: verifiers need names of their own, which are not "
            "those of votes (majority, pass, …_weighted); rename the columns"
        )
    return pairs


def _have(first: Record) -> str:
    return f"it has: {', '.join(sorted(first))}"


def problem_of(record: Mapping[str, Any], column: str) -> str | None:
    """Return a row's problem as text, or None where it has none; a number may name a problem."""
    value = record.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        return None
    return without_surrogates(str(value))


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which JSON can hold and no text file can."""
    return text.encode("utf-8", "replace").decode()
