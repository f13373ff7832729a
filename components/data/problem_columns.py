"""Columns of a file of problems: which hold the problem and the reference answer, and in which form the answer is.

Decided by the first row and, for the answer's form, by all of them; a user may name each. problem_files.py reads the
rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.data.cells import Record, UnreadableRow, cell, cell_text, columns_of, has_column, short
from components.dataflow.errors import InputError
from components.dataflow.stage import field_added_later

ANSWER_FORMATS = {
    "text": "the whole column",
    "gsm8k": "what follows the last ####, in its line",
    "boxed": "what the last \\boxed{} holds",
    "auto": "in each row what follows ####, else the last \\boxed{}, else the whole column where it is no prose",
}
GSM8K_MARK = re.compile(r"(?:\A|\s)####(?!#)[ \t]*")
BOX = re.compile(r"\\f?box(?:ed)?(?![a-z])")
_PROBLEMS = ("problem", "question")
_ANSWERS = ("answer", "expected_answer", "final_answer", "solution")
_CHOICES = ("choices", "options")
_CHOICE = re.compile(r"[A-E]|(?i:option|choice)[ _]?[A-Ea-e1-5]", re.ASCII)
_NUMBER = re.compile(r"\s*[-+]?\d+(?:[.,]\d+)*\s*")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_MATHEMATICS = re.compile(r"\$[^$]*\$|\\\w+")
_PROSE_WORDS = 8


@dataclass(frozen=True)
class ProblemFile:
    """A file's identity: its content (not its place) and how it is read."""

    digest: str
    problem_column: str = "problem"
    answer_column: str = "answer"
    max_problems: int | None = None  # the first so many rows
    answer_format: str = field_added_later("text", value_before="text")  # a key of ANSWER_FORMATS
    body_column: str | None = field_added_later(None, value_before=None)  # what stands before the question


def is_number(text: str) -> bool:
    """Return whether a text is a number alone, as a problem never is."""
    return bool(_NUMBER.fullmatch(text))


def is_prose(answer: str) -> bool:
    r"""Return whether a reference answer is sentences, which no answer equals: eight words and more outside of LaTeX.

    >>> is_prose("To find the number of cats, we add two to three."), is_prose("x \\in (-\\infty, 2)")
    (True, False)
    """
    return len(_WORD.findall(_MATHEMATICS.sub(" ", answer))) >= _PROSE_WORDS


def find_columns(path: Path, first: Record, problem: str | None, answer: str | None) -> tuple[str, str, str | None]:
    """Return the columns of the problem, the answer and of a body before the question (or None).

    first: the first row. problem, answer: the columns that the user named. Raises InputError where there is none.
    """
    by_lower = {str(name).lower(): str(name) for name in first}
    if problem is None:
        present = [name for name in _PROBLEMS if name in first]
        texts = [name for name in present if not is_number(cell_text(first, name)[0])]
        problem = (texts or present or ["problem"])[0]
        if isinstance(first, UnreadableRow):
            raise InputError(f"{path}: no row can be used; the first: row 0: {first.why}")
    if answer is None:
        answer = next((name for name in _ANSWERS if name in first), "answer")
    for column in (problem, answer):
        if not has_column(first, column):
            raise InputError(
                f"{path}: row 0 has no column '{column}' (it has: {columns_of(first)}); name it with "
                "--problem-column or --answer-column"
            )
    return problem, answer, by_lower.get("body") if problem.lower() == "question" else None


def refuse_choices(path: Path, records: Iterable[Record]) -> None:
    """Raise InputError where a row has choices in columns of their own, which would be lost."""
    for number, record in enumerate(records):
        listed = [f"a column '{name}'" for name in record if str(name).lower() in _CHOICES and record[name]]
        letters = [name for name in record if _CHOICE.fullmatch(str(name)) and record[name] is not None]
        choices = listed[0] if listed else f"a column for each choice ({', '.join(letters[:4])})"
        if listed or len(letters) > 1:
            raise InputError(
                f"{path}: row {number} has {choices}, which is not read: write the choices into the problem's text, or "
                "name that text with --problem-column"
            )


def find_format(path: Path, records: Iterable[Record], column: str) -> str:
    """Return in which form a column holds the reference answers: a key of ANSWER_FORMATS.

    Raises InputError where more than half of them are prose, without a box or ####: no answer would equal them.
    """
    marks, boxes, prose, count, example, first_has_mark = 0, 0, 0, 0, "", False
    for number, record in enumerate(records):
        text, error = cell_text(record, column)
        if error is None:
            count, has_mark = count + 1, bool(GSM8K_MARK.search(text))
            has_box = not has_mark and bool(BOX.search(text))
            marks, boxes = marks + has_mark, boxes + has_box
            first_has_mark = has_mark if count == 1 else first_has_mark
            if not has_mark and not has_box and is_prose(text):
                prose, example = prose + 1, example or f"row {number}: {short(text)[:40]}…"
    if not boxes and marks and marks + first_has_mark > count / 2:
        return "gsm8k"  # a row without the mark was cut
    if column == "solution" and not marks:
        return "boxed"
    if prose > count / 2:
        raise InputError(
            f"{path}: '{column}' holds prose in {prose:,} of {count:,} rows ({example}), and no answer would equal it; "
            "name another --answer-column, or give --answer-format text to take it whole"
        )
    return "auto" if marks or boxes else "text"


def problem_cell(record: Record, file: ProblemFile) -> tuple[str, str | None]:
    """Return the problem of a row, and the error where there is none: a number is no problem.

    A conversation of one user turn is that turn's text. A body and its question are joined.
    """
    column = file.problem_column
    turns = cell(record, column)
    turns = [turns] if isinstance(turns, dict) and "content" in turns else turns
    if isinstance(turns, list) and turns and all(isinstance(turn, dict) and "content" in turn for turn in turns):
        asked = [turn for turn in turns if turn.get("role") != "system"]
        if len(asked) != 1:
            return "", f"'{column}' is a conversation of {len(asked)} turns, not a problem"
        if asked[0].get("role") == "assistant":
            return "", f"'{column}' is a turn of the assistant, not a problem"
        record, column = asked[0], "content"
    text, error = cell_text(record, column)
    if error is None and is_number(text):
        return "", f"'{column}' is {short(text)}, a number and no problem"
    if error is None and file.body_column is not None:
        body, _ = cell_text(record, file.body_column)
        text = f"{body.strip()} {text.strip()}" if body.strip() else text
    return text, error
