r"""Files of problems: MATH, GSM8K, or anyone's own columns, each row normalised to the `problems` schema.

JSON Lines (also gzipped) or Parquet with a problem and an answer per row, whose columns may have any name:

    {"problem": "What is $2^{10}$?", "answer": "1024"}                              as MATH in PRM800K's split
    {"question": "Tom has 2 cats …", "answer": "He has 2 + 3 = 5.\n#### 5"}          GSM8K: what follows the last ####
    {"problem": "What is $1 + 1$?", "solution": "It is $\\boxed{2}$."}                no answer: the last \boxed

or the folder of MATH as it was released: a JSON file per problem (problem, level, type, solution). A row that cannot be
used is kept, with its error.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.data.readers import read_records
from components.dataflow.errors import InputError
from components.dataflow.model_files import file_digest
from components.dataflow.stage import digest, field_added_later
from components.text.answer_extraction import extract_answer
from components.text.problem_matching import same_text

ATTRIBUTES = ("source", "level", "subject")
ANSWER_FORMATS = {
    "text": "the whole column",
    "gsm8k": "what follows the last line that begins with ####",
    "boxed": "what the last \\boxed{} holds",
}
_GSM8K_MARK = "#### "
# A few of MATH's are \boxed 9, and a few \fbox{9}.
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s+([^\s{}$.,]+)")


@dataclass(frozen=True)
class ProblemFile:
    """A file's identity: its content (not its place) and how it is read."""

    digest: str
    problem_column: str = "problem"
    answer_column: str = "answer"
    max_problems: int | None = None  # the first so many rows
    answer_format: str = field_added_later("text", value_before="text")  # a key of ANSWER_FORMATS


def describe_file(
    path: Path,
    problem_column: str | None = None,
    answer_column: str | None = None,
    max_problems: int | None = None,
    answer_format: str | None = None,
) -> ProblemFile:
    """Return how to read a file of problems, and its digest.

    None is decided by the first row: the columns problem or question, answer or solution; GSM8K's #### or a box. Raises
    InputError when no row can be used.
    """
    first = next(iter(_records(path, 1)), None)
    if first is None:
        raise InputError(f"{path}: holds no rows")
    problem_column = problem_column or ("question" if "question" in first and "problem" not in first else "problem")
    answer_column = answer_column or ("solution" if "solution" in first and "answer" not in first else "answer")
    for column in (problem_column, answer_column):
        if column not in first:
            have = ", ".join(sorted(first)) or "none"
            raise InputError(
                f"{path}: row 0 has no column '{column}' (it has: {have}); name it with "
                f"--problem-column or --answer-column"
            )
    if answer_format is None:
        is_gsm8k = f"\n{_GSM8K_MARK}" in f"\n{first[answer_column]}"
        answer_format = "gsm8k" if is_gsm8k else "boxed" if answer_column == "solution" else "text"
    file = ProblemFile(
        folder_or_file_digest(path), problem_column, answer_column, max_problems, answer_format=answer_format
    )
    rows = read_problems(path, file, "train")
    if all(row["error"] for row in rows):
        raise InputError(f"{path}: no row can be used; the first: {rows[0]['error']}")
    return file


def folder_or_file_digest(path: Path) -> str:
    """Return the digest of a file; for a folder, of its JSON files' contents and names."""
    if path.is_dir():
        return digest([[name, file_digest(path / name)] for name in _names(path)])
    return file_digest(path)


def problem_id(problem: str) -> str:
    """Return the first 16 hex digits of the sha256 of a problem's text."""
    return hashlib.sha256(problem.encode()).hexdigest()[:16]


def read_problems(path: Path, file: ProblemFile, split: str) -> list[dict[str, Any]]:
    """Read the rows of the `problems` table from one file.

    Each has `attributes` (source, level, subject), `solution` (text or None) and `same_text` too, which is equal for
    problems that differ in layout alone. Raises InputError for a file that cannot be read.
    """
    seen: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    for number, record in enumerate(_records(path, file.max_problems)):
        problem, error = _text(record, file.problem_column, number)
        answer, no_answer = _answer(record, file, number)
        error = error or no_answer
        identity = problem_id(problem)
        if error is None and identity in seen:
            error = f"row {number}: the same problem as row {seen[identity]}"
        if identity in seen:
            identity = problem_id(f"{problem}\0{number}")
        seen.setdefault(identity, number)
        solution = record.get("solution")
        if file.answer_format == "gsm8k":
            solution = f"\n{record.get(file.answer_column)}".rpartition(f"\n{_GSM8K_MARK}")[0].strip()
        rows.append(
            {"problem_id": identity, "split": split, "problem": problem, "ground_truth_answer": answer}
            | {"source": "file", "source_row": number, "error": error}
            | {"attributes": {name: _attribute(record.get(name)) for name in ATTRIBUTES}}
            | {"solution": solution if isinstance(solution, str) else None, "same_text": same_text(problem)}
        )
    return rows


def _records(path: Path, most: int | None) -> Iterable[Mapping[str, Any]]:
    """Yield the rows of a file, or of MATH's folder in the order of their names. Raises InputError."""
    if not path.is_dir():
        yield from read_records(path, most)
        return
    names = _names(path)
    if not names:
        raise InputError(f"{path}: the folder has no JSON files; MATH's has one for each problem")
    for name in names[:most]:
        try:
            record = json.loads((path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            record = None
        if not isinstance(record, dict):  # kept, as a row without a problem
            record = {"problem": None, "solution": None}
        level = str(record.get("level", "")).removeprefix("Level ")
        yield record | {"level": level if level.isdecimal() else None, "subject": record.get("type"), "source": "MATH"}


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))


def _answer(record: Mapping[str, Any], file: ProblemFile, number: int) -> tuple[str | None, str | None]:
    """Return the reference answer, and the error where there is none."""
    text, error = _text(record, file.answer_column, number)
    if error is not None or file.answer_format == "text":
        return text, error
    if file.answer_format == "gsm8k":
        _, mark, after = f"\n{text}".rpartition(f"\n{_GSM8K_MARK}")
        reference: str | None = after.strip() if mark else None
    else:
        answer, rule = extract_answer(_BARE_BOX.sub(r"\\boxed{\1}", text).replace("\\fbox{", "\\boxed{"))
        reference = answer if rule == "boxed" else None
    if not reference:
        return None, f"row {number}: '{file.answer_column}' has no answer ({ANSWER_FORMATS[file.answer_format]})"
    return reference, None


def _text(record: Mapping[str, Any], column: str, number: int) -> tuple[str, str | None]:
    """Return a cell as text, and the error where it cannot be used; 7.0, as a column of floats has 7, is "7"."""
    value = record.get(column)
    if value is None:
        return "", f"row {number}: '{column}' is {'null' if column in record else 'missing'}"
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:
        return "", f"row {number}: '{column}' is {value!r}, not text or a number"
    return str(value), None if str(value).strip() else f"row {number}: '{column}' is empty"


def _attribute(value: object) -> str | None:
    """Return an attribute as text, whatever the file holds: attributes are only shown, and never an error."""
    return None if value is None or value != value or value == "" else str(value)
