"""Columns of a file of scored samples: which of them hold the problem, the answer, the grade and the scores.

scored_samples_file.py reads the rows, nested_samples.py unfolds rows of several samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.data.cells import Record, UnreadableRow, cell, columns_of, has_column, number_text, sound
from components.data.nested_samples import REFERENCES, TEXTS
from components.dataflow.errors import InputError
from components.dataflow.stage import field_added_later

SUFFIX = "_score"
NO_COLUMN = "none"  # of answers: the file has none
_RESERVED = ("", "majority", "pass", "pass_at_1")  # names of methods that are no verifier
_PROBLEMS = ("problem", "question")
_PREDICTIONS = ("given_answer", "predicted_answer", "prediction", "pred", "extracted_answer", "model_answer")
_GRADES = ("is_correct", "final_answer_correct", "symbolic_correct", "correct")  # ProcessBench's, NeMo's, and many's
_KNOWN = ("steps", "rating_probs", "source", "level", "subject", "sample_index", "finish_reason")


@dataclass(frozen=True)
class ScoredFile:
    """A file's identity: its content (not its place) and how it is read."""

    digest: str
    scores: tuple[tuple[str, str], ...]  # (verifier's name, its column)
    slots: int  # samples per problem, with those that the file leaves out
    problem_column: str = "problem"
    answer_column: str = "answer"  # NO_COLUMN: the file has no answers, and samples have no vote
    correct_column: str | None = "is_correct"  # None: graded here, against the reference
    grader_version: int = 0
    # The column of the samples' texts, from which answers are extracted where there is no column of answers.
    text_column: str | None = field_added_later(None, value_before=None)
    reference_column: str = field_added_later("ground_truth_answer", value_before="ground_truth_answer")
    # Of a reference that answers are graded against: a key of problem_columns.ANSWER_FORMATS.
    reference_format: str = field_added_later("text", value_before="text")
    # Rows of several samples may lack the scores that others have.
    lists_without_scores: bool = field_added_later(False, value_before=False)

    @property
    def needs_scores(self) -> bool:
        """Whether a list of texts is one of samples only with a list of scores beside it (`nested_samples`)."""
        return bool(self.scores) and not self.lists_without_scores

    @property
    def names(self) -> tuple[str, ...]:
        """The verifiers' names."""
        return tuple(name for name, _ in self.scores)


class ScoredColumns:
    """The columns of a file, by its first row (of one sample) and by what the user named."""

    def __init__(self, path: Path, first: Record, given: Mapping[str, str]) -> None:
        if isinstance(first, UnreadableRow):
            raise InputError(f"{path}: no row can be used; the first: row 0: {first.why}")
        self.path, self.first = path, first
        self.problem = given.get("problem", next((name for name in _PROBLEMS if name in first), "problem"))
        self.correct: str | None = given.get("correct", "is_correct")
        self.text: str | None = None
        self.reference = next((name for name in REFERENCES if name in first), "ground_truth_answer")
        if "correct" not in given and "is_correct" not in first and self.reference not in first:
            self.correct = next((name for name in _GRADES if name in first), self.correct)
        self.predictions = [name for name in _PREDICTIONS if name in first]
        self._require(self.problem, "--problem-column")
        self.answer = self._answer(given.get("answer"))
        if not has_column(first, str(self.correct)):
            self._grade_here(asked="correct" in given)

    def _answer(self, named: str | None) -> str | None:
        """Return the column of answers; None where there is none, or where they are in the samples' texts."""
        if named is not None and named != NO_COLUMN:
            self._require(named, "--answer-column")
            return named
        texts = [name for name in TEXTS if isinstance(self.first.get(name), str)]
        is_graded = has_column(self.first, str(self.correct))
        if named == NO_COLUMN and is_graded:
            return None
        has_reference = is_graded or self.reference in self.first
        if named is None and "answer" in self.first and (has_reference or not (self.predictions or texts)):
            return "answer"
        if "answer" in self.first and not has_reference:
            self.reference = "answer"  # beside a prediction or a text, and without another reference
        if named is None and self.predictions:
            return self.predictions[0]
        self.text = texts[0] if texts else None
        if self.text is None and not is_graded:
            raise InputError(
                f"{self.path}: row 0 has no column 'answer' ({_have(self.first)}); name it with --answer-column"
            )
        return None

    def _grade_here(self, asked: bool) -> None:
        """Let answers be graded here. Raises InputError where there is no reference to grade against."""
        if asked or self.reference not in self.first:
            raise InputError(
                f"{self.path}: row 0 has no column '{self.correct}' ({_have(self.first)}); name it with "
                "--correct-column, or give 'ground_truth_answer', and answers are graded here"
            )
        self.correct = None

    def _require(self, column: str, flag: str) -> None:
        if not has_column(self.first, column):
            raise InputError(f"{self.path}: row 0 has no column '{column}' ({_have(self.first)}); name it with {flag}")

    def file(self, pairs: Sequence[tuple[str, str]]) -> ScoredFile:
        """Return how to read the file's rows, before its digest and its samples per problem are known."""
        return ScoredFile(
            "",
            tuple(pairs),
            1,
            self.problem,
            self.answer or NO_COLUMN,
            self.correct,
            text_column=self.text,
            reference_column=self.reference,
        )

    def scores(self, named: list[str], found: list[str], needs_scores: bool = True) -> list[tuple[str, str]]:
        """Return (verifier's name, column) of each score. Raises InputError; also for none, where scores are needed."""
        path, first = self.path, self.first
        for column in named:
            if not has_column(first, column):
                raise InputError(
                    f"{path}: row 0 has no column '{column}' ({_have(first)}); --scores names columns of scores"
                )
        found = [name for name in found if name != self.correct and not isinstance(first.get(name), bool | list)]
        names = named or found
        pairs = [(name.removesuffix(SUFFIX), name) for name in names]
        if "prm" not in dict(pairs) and "rating_probs" in first:
            pairs.insert(0, ("prm", "rating_probs"))
        if not pairs and (lists := [name for name in first if name.endswith(SUFFIX) and isinstance(first[name], list)]):
            raise InputError(f"{path}: row 0 has a list in '{lists[0]}': a sample has one number of each verifier")
        if not pairs and needs_scores:
            raise InputError(
                f"{path}: no column ends in '{SUFFIX}' ({_have(first)}); name the columns of scores with --scores"
            )
        reserved = [name for name, _ in pairs if name in _RESERVED or name.endswith("_weighted")]
        if reserved or len(dict(pairs)) < len(pairs):
            raise InputError(
                f"{path}: columns of scores {columns_of(dict.fromkeys(names))}: verifiers need names of their own, not "
                "those of votes (majority, pass, …_weighted); rename the columns"
            )
        return pairs

    def of_contradictions(self, contradictions: Sequence[str]) -> str:
        """Say that answers are both right and wrong, and what may be the cause."""
        others = [name for name in self.predictions if name != self.answer]
        name = f" ({', '.join(others)})" if others else ""
        return (
            f"{len(contradictions):,} samples have an answer that another row of the problem grades otherwise (as "
            f"{contradictions[0][:40]}): '{self.answer}' may be the reference; name the samples' answers with "
            f"--answer-column{name}, or leave voting out with --answer-column {NO_COLUMN}"
        )

    def told(self, pairs: Sequence[tuple[str, str]]) -> str:
        """Say which columns were read, and which were not."""
        answer = f"'{self.answer}'" if self.answer else f"the text in '{self.text}'" if self.text else "none"
        grade = f"'{self.correct}'" if self.correct else f"graded here against '{self.reference}'"
        scores = ", ".join(name if column == f"{name}{SUFFIX}" else f"{name} ('{column}')" for name, column in pairs)
        scores = scores or "none"
        used = {self.problem, self.answer, self.correct, self.text, self.reference, *(column for _, column in pairs)}
        ignored = [name for name in self.first if name not in used and name not in _KNOWN]
        more = f"; ignored: {columns_of(dict.fromkeys(ignored))}" if ignored else ""
        return f"problem '{self.problem}', answer {answer}, grade {grade}, scores: {scores}{more}"


def _have(first: Record) -> str:
    return f"it has: {columns_of(first)}"


def problem_of(record: Record, column: str) -> str | None:
    """Return a row's problem as text, or None where it has none; a number may name a problem."""
    value: Any = cell(record, column)
    text = number_text(value) if isinstance(value, int | float) else value
    return sound(str(text)) if isinstance(text, str) and text.strip() else None
