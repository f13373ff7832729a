r"""Files of problems: MATH, GSM8K, or anyone's own columns, each row normalised to the `problems` schema.

A problem and an answer per row, in any container (containers.py), whose columns may have any name:

    {"problem": "What is $2^{10}$?", "answer": "1024"}                              as MATH in PRM800K's split
    {"question": "Tom has 2 cats …", "answer": "He has 2 + 3 = 5.\n#### 5"}          GSM8K: what follows the last ####
    {"problem": "What is $1 + 1$?", "solution": "It is $\\boxed{2}$."}                no answer: the last \boxed

or the folder of MATH as it was released: a JSON file per problem (problem, level, type, solution). A row that cannot be
used is kept, with its error.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.data.cells import cell_text, first_readable, number_text, short, sound
from components.data.file_report import FileReport, quoted
from components.data.problem_columns import (
    ANSWER_FORMATS,
    GSM8K_MARK,
    ProblemFile,
    find_columns,
    find_format,
    is_prose,
    problem_cell,
    refuse_choices,
)
from components.data.readers import read_records, rows_digest
from components.data.reference_answers import reference_in
from components.dataflow.errors import InputError
from components.dataflow.model_files import file_digest
from components.dataflow.stage import digest
from components.text.problem_matching import same_text

ATTRIBUTES = ("source", "level", "subject")
EXCLUDED = "excluded"  # the split of rows from which nothing is sampled: duplicates, and contaminated train problems
_COUNT_AND_UNIT = re.compile(r"([-+]?[\d.,]*\d) \([A-Za-z][A-Za-z .'-]*\)")  # ASDiv's "9 (apples)"
_NO_REFERENCE = {"none", "null", "nan", "n/a", "na", "proof", "notfound", "not found", "unknown", "no answer"}


def describe_file(
    path: Path,
    problem_column: str | None = None,
    answer_column: str | None = None,
    max_problems: int | None = None,
    answer_format: str | None = None,
) -> ProblemFile:
    """Return how to read a file of problems, and its digest.

    None is found out from the rows (problem_columns.py). Raises InputError when no row can be used.
    """
    first = first_readable(_records(path, max_problems))
    if first is None:
        raise InputError(f"{path}: holds no rows")
    if problem_column is None:
        refuse_choices(path, _records(path, max_problems))
    problem_column, answer_column, body = find_columns(path, first, problem_column, answer_column)
    if answer_format is None:
        answer_format = find_format(
            path, _records(path, max_problems, {answer_column, answer_column.partition(".")[0]}), answer_column
        )
    file = ProblemFile(
        folder_or_file_digest(path), problem_column, answer_column, max_problems, answer_format, body_column=body
    )
    rows = read_problems(path, file, "train")
    if all(row["error"] for row in rows):
        raise InputError(f"{path}: no row can be used; the first: {rows[0]['error']}")
    return file


def report_problems(path: Path, file: ProblemFile, rows: Sequence[Mapping[str, Any]]) -> FileReport:
    """Return the report on a file of problems. rows: of read_problems."""
    good = [row for row in rows if row["error"] is None]
    references = [row["ground_truth_answer"] for row in good]
    body = f"'{file.body_column}' and " if file.body_column is not None else ""
    details = [
        f"problem from {body}'{file.problem_column}'",
        f"answer from '{file.answer_column}' ({file.answer_format}): {quoted(references)}",
    ]
    notes = []
    again = sum(row["split"] == EXCLUDED for row in good)
    if again:
        notes.append(f"{again:,} left out: there twice, or evaluation problems")
    prose = [row for row in good if is_prose(row["ground_truth_answer"])]
    if prose:
        example = f"row {prose[0]['source_row']}: {short(prose[0]['ground_truth_answer'])}"
        notes.append(f"WARNING: {len(prose):,} reference answers are prose, which no answer equals ({example})")
    errors = [row["error"] for row in rows if row["error"] is not None]
    return FileReport(path, len(rows), errors, details, notes)


def folder_or_file_digest(path: Path) -> str:
    """Return the digest of what a path names: of MATH's folder, its JSON files' contents and names."""
    names = _math_names(path)
    if names:
        return digest([[_name(name), _digest_of(path / name)] for name in names])
    return rows_digest(path)


def _digest_of(path: Path) -> str | None:
    return file_digest(path) if path.is_file() else None


def _name(name: str) -> str:
    """Return a file's name as text; one that is not UTF-8 has escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def problem_id(problem: str) -> str:
    """Return the first 16 hex digits of the sha256 of a problem's text."""
    return hashlib.sha256(problem.encode()).hexdigest()[:16]


def read_problems(path: Path, file: ProblemFile, split: str) -> list[dict[str, Any]]:
    """Read the rows of the `problems` table from one file.

    Each has `attributes` (source, level, subject), `solution` (text or None) and `same_text` too, which is equal for
    problems that differ in layout alone. A problem that is there twice with one answer counts once: the second row has
    the split `excluded`. Raises InputError for a file that cannot be read.
    """
    seen: dict[str, tuple[int, str | None]] = {}
    taken: set[str] = set()
    rows: list[dict[str, Any]] = []
    for number, record in enumerate(_records(path, file.max_problems, _columns_read(file))):
        problem, error = problem_cell(record, file)
        answer, no_answer = _answer(record, file)
        error, problem = error or no_answer, sound(problem)
        identity, own_split = problem_id(problem), split
        first, reference = seen.get(identity, (number, answer))
        if error is None and first != number:
            if answer == reference:
                own_split = EXCLUDED
            else:
                error = f"the same problem as row {first}, with another answer"
        if error is None:
            seen.setdefault(identity, (number, answer))
        if identity in taken:
            identity = problem_id(f"{problem}\0{number}")
        taken.add(identity)
        rows.append(
            {"problem_id": identity, "split": own_split, "problem": problem, "ground_truth_answer": answer}
            | {"source": "file", "source_row": number, "error": None if error is None else f"row {number}: {error}"}
            | {"attributes": _attributes(record), "solution": _solution(record, file), "same_text": same_text(problem)}
        )
    return rows


def _columns_read(file: ProblemFile) -> set[str]:
    """Return the columns that a row is made of; of a dotted name the whole, and its first part."""
    named = [file.problem_column, file.answer_column, *([file.body_column] if file.body_column is not None else [])]
    return {"solution", "type", *ATTRIBUTES, *named, *(name.partition(".")[0] for name in named)}


def _records(path: Path, most: int | None, columns: set[str] | None = None) -> Iterable[Mapping[str, Any]]:
    """Yield the rows of a file, or of MATH's folder in the order of their names. Raises InputError.

    columns: those that are needed; None: all.
    """
    names = _math_names(path)
    if not names:
        yield from read_records(path, most, columns)
        return
    for name in names[:most]:
        record = _json_object(path / name)
        if record is None:  # kept, as a row without a problem
            record = {"problem": None, "solution": None}
        level = str(record.get("level", "")).removeprefix("Level ")
        yield record | {"level": level if level.isdecimal() else None, "subject": record.get("type"), "source": "MATH"}


def _math_names(folder: Path) -> list[str]:
    """Return the JSON files of a folder that holds, as MATH's does, one for each problem; of others none."""
    if not folder.is_dir() or (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
        return []
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    first = next((record for name in names if (record := _json_object(folder / name)) is not None), {})
    return names if "problem" in first and "solution" in first else []


def _json_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object that a file holds; None for what is none: a link to a device is never opened."""
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _answer(record: Mapping[str, Any], file: ProblemFile) -> tuple[str | None, str | None]:
    """Return the reference answer, and the error where there is none."""
    column, form = file.answer_column, file.answer_format
    text, error = cell_text(record, column)
    if error is not None:
        return text, error
    reference = reference_in(text, form)
    if reference is None:
        return None, f"'{column}' has no answer ({ANSWER_FORMATS[form]})"
    reference, listed = _item_of_list(reference)
    if listed > 1:
        return None, f"'{column}' is {short(reference)}, a list of {listed} answers"
    if unit := _COUNT_AND_UNIT.fullmatch(reference):
        reference = unit[1]
    if reference.strip().casefold() in _NO_REFERENCE:
        return None, f"'{column}' is {short(reference)}, which stands for no answer"
    return reference, None


def _item_of_list(text: str) -> tuple[str, int]:
    """Return the item of a text that is a JSON list of one text, as Skywork writes answers; and how many it lists.

    What is no list of texts stays, and lists one.
    """
    if not text.startswith('["'):
        return text, 1
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return text, 1
    if not all(isinstance(item, str) for item in items):
        return text, 1
    return (items[0], 1) if len(items) == 1 else (text, len(items))


def _solution(record: Mapping[str, Any], file: ProblemFile) -> str | None:
    """Return a problem's own solution, if it has one: beside its answer, or before the answer's mark."""
    solution = record.get("solution")
    answer = record.get(file.answer_column)
    if file.answer_format in ("gsm8k", "auto") and isinstance(answer, str) and GSM8K_MARK.search(answer):
        return answer[: list(GSM8K_MARK.finditer(answer))[-1].start()].strip()
    return solution if isinstance(solution, str) else None


def _attributes(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return a row's attributes as text, whatever it holds: attributes are only shown, and never an error."""
    values = {name: record.get(name) for name in ATTRIBUTES}
    level = values["level"]
    if isinstance(level, str) and level.startswith("Level "):  # MATH's own, outside of its folder
        values |= {"level": level.removeprefix("Level "), "subject": values["subject"] or record.get("type")}
    values = {name: number_text(value) if isinstance(value, float) else value for name, value in values.items()}
    return {name: None if value is None or value == "" else sound(str(value)) for name, value in values.items()}
