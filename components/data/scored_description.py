"""A file of scored samples, read once to check it: what it is, what was read, and what its numbers cannot say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.data.cells import Record, first_readable, short
from components.data.file_report import FileReport, container
from components.data.nested_samples import is_nested, told, unfold
from components.data.problem_columns import find_format
from components.data.readers import read_records, rows_digest
from components.data.scored_columns import NO_COLUMN, SUFFIX, ScoredColumns, ScoredFile
from components.data.scored_rows import SPLIT, read_sample
from components.dataflow.errors import InputError


@dataclass
class ScoredFileReport:
    """What was found in a file: a line that says what was read, and notes on what its numbers cannot say."""

    line: str
    notes: list[str] = field(default_factory=list)


def describe_scored(
    path: Path,
    columns: Mapping[str, str | None],
    scores: list[str],
    slots: int | None,
    grader_version: int,
    most_errors: float = 1.0,
    needs_scores: bool = True,
) -> tuple[ScoredFile, ScoredFileReport]:
    """Read a file of scored samples once to check it. Raises InputError, which says what is missing and how to name it.

    columns: problem, answer and correct → the column, or None for what is found out. scores: columns, or [] for all
    that end in `_score`, and `score`. slots: samples per problem, or None for as many as the fullest problem has.
    most_errors: the largest share of rows that may have an error. needs_scores: refuse a file without scores.
    """
    records = unfold(read_records(path), needs_scores)
    first = first_readable(read_records(path))
    if first is None:
        raise InputError(f"{path}: holds no rows")
    found = ScoredColumns(
        path, next(unfold([first], needs_scores))[1], {name: value for name, value in columns.items() if value}
    )
    file = found.file(found.scores(scores, [name for name in found.first if _is_score(name)], needs_scores))
    if file.correct_column is None:
        file = replace(file, reference_format=_format_of_references(path, file.reference_column, needs_scores))
    read = _Read()
    for number, record in records:
        read.add(file, record, number)
    if not read.counts:
        raise InputError(f"{path}: no row has a problem in '{found.problem}'; name the column with --problem-column")
    read.report(path).check(most_errors)
    if read.contradictions:
        raise InputError(f"{path}: {found.of_contradictions(read.contradictions)}")
    most = max(read.counts.values())
    if slots is not None and slots < most:
        raise InputError(f"--samples-per-problem {slots}: {path} has up to {most} samples of a problem")
    pairs = found.scores(scores, list(read.score_columns), needs_scores)
    version = grader_version if file.correct_column is None or file.text_column is not None else 0
    lists_without_scores = not needs_scores and bool(pairs) and any(map(_is_list_without_scores, read_records(path)))
    file = replace(
        file,
        digest=rows_digest(path),
        scores=tuple(pairs),
        slots=slots or most,
        grader_version=version,
        lists_without_scores=lists_without_scores,
    )
    line = f"{path}: {container(path)}, {read.rows:,} samples of {len(read.counts):,} problems, up to {most:,} each; "
    line += found.told(pairs)
    if file.correct_column is None and read.references:
        line += f"; the first references: {', '.join(short(reference) for reference in read.references)}"
    if is_nested(first, needs_scores):
        line += f"; {told(first)}"
    return file, ScoredFileReport(line, _notes(file, read))


def _format_of_references(path: Path, column: str, needs_scores: bool) -> str:
    """Return in which form answers to grade against are: a key of ANSWER_FORMATS. Raises InputError for prose."""
    try:
        return find_format(path, (record for _, record in unfold(read_records(path), needs_scores)), column)
    except InputError:
        raise InputError(
            f"{path}: '{column}' holds prose in most rows, and no answer would equal it: give the final answer alone, "
            r"after #### or in \boxed{}, or grades (--correct-column)"
        ) from None


def _is_list_without_scores(record: Record) -> bool:
    return is_nested(record, needs_scores=False) and not is_nested(record)


def _is_score(name: str) -> bool:
    return name.endswith(SUFFIX) or name == "score"


@dataclass
class _Read:
    """What is counted while a file is read."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # samples of each problem
    errors: list[str] = field(default_factory=list)
    verdicts: dict[tuple[str, str], bool] = field(default_factory=dict)  # of each answer of each problem
    contradictions: list[str] = field(default_factory=list)
    copies: Counter[int] = field(default_factory=Counter)  # rows that are alike in all columns
    score_columns: dict[str, None] = field(default_factory=dict)
    references: dict[str, None] = field(default_factory=dict)  # the first three
    negative: set[str] = field(default_factory=set)  # columns of numbers below 0

    def add(self, file: ScoredFile, record: Record, number: int) -> None:
        """Count a sample."""
        row = read_sample(file, record, number)
        self.rows += 1
        self.copies[hash(repr(record))] += 1
        self.score_columns |= {name: None for name in record if _is_score(name)}
        self.negative |= {name for name, value in record.items() if isinstance(value, int | float) and value < 0}
        if row["split"] == SPLIT:
            self.counts[row["problem_id"]] += 1
        if len(self.references) < 3 and row["ground_truth_answer"] is not None:
            self.references[row["ground_truth_answer"]] = None
        if row["error"] is not None:
            self.errors.append(row["error"])
        elif row["answer"] is not None and file.text_column is None and file.correct_column is not None:
            verdict = self.verdicts.setdefault((row["problem_id"], row["answer"]), row["is_correct"])
            if verdict != row["is_correct"]:
                self.contradictions.append(f"row {number}: {short(row['answer'])}")

    def report(self, path: Path) -> FileReport:
        """Return the report on the rows that cannot be used."""
        return FileReport(path, self.rows, self.errors)


def _notes(file: ScoredFile, read: _Read) -> list[str]:
    """Return what a reader of the results must know of the file as a whole."""
    notes = []
    if file.slots == 1:
        notes.append("one sample per problem: there is nothing to choose from, and all methods are alike")
    times = min(read.copies.values())
    if times > 1 and file.slots > 1 and all(count % times == 0 for count in read.copies.values()):
        notes.append(f"every row is there {times} times (was the file written {times} times?): each counts as a sample")
    negative = [name for name, column in file.scores if column in read.negative]
    if file.answer_column == NO_COLUMN and file.text_column is None:
        notes.append("the file has no answers, so there is no voting")
    elif negative:
        notes.append(f"scores below 0 are no weights: no weighted voting by {', '.join(negative)}")
    return notes
