"""Solutions that come with their outcome: files, as the ORM's training data in place of the study's own samples.

    {"problem": "What is 7 + 5?", "text": "7 + 5 = 12\\n# Answer\\n\\n12", "is_correct": true}
    {"prompt": "What is 7 + 5?", "completion": "7 + 5 = 12", "label": true}            TRL's unpaired preference

Texts are cut into steps by what they show (`segmentation.py`, auto). A row that cannot be used is kept, with its error.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.data.file_report import FileReport
from components.data.import_graded import as_graded, format_of
from components.data.readers import read_records
from components.data.solution_files import SHARD_ROWS, SolutionFiles, describe_solutions, read_shards
from components.dataflow.errors import InputError
from components.dataflow.stage import TableStage
from components.text.answer_extraction import extract_answer
from schemas.tables import GRADED_SOLUTIONS


def graded_solutions(config: SolutionFiles, paths: Sequence[Path], excluded: Collection[str] = ()) -> TableStage:
    """Make the stage that reads the files, shard by shard in bounded memory.

    excluded: `same_text` of held-out problems, whose solutions are not used.
    """
    compute = functools.partial(_graded_solutions, paths=paths, excluded=frozenset(excluded))
    return TableStage("graded_solutions", 2, config, GRADED_SOLUTIONS, compute, shard_rows=SHARD_ROWS)


def describe_graded(
    paths: Sequence[Path], held_out: Mapping[str, str], drop_contaminated: bool, most_errors: float = 1.0
) -> tuple[SolutionFiles, list[FileReport]]:
    """Read the files once to check them. Return their digests and reports. Raises InputError (describe_solutions)."""
    return describe_solutions(paths, read_graded, held_out, drop_contaminated, most_errors)


def read_graded(path: Path, file: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the rows of the `graded_solutions` table, of a record with several solutions one for each."""
    for number, record in enumerate(read_records(path)):
        for row in _rows(number, record):
            yield row | {"source_file": file}


def _rows(number: int, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    row: dict[str, Any] = {"problem": "", "steps": [], "is_correct": None, "dropped": None, "finished": True}
    row |= {"source_row": number, "error": None, "format": ""}
    try:
        solutions = as_graded(record)
        row["format"] = format_of(record)
    except InputError as error:
        yield row | {"error": f"row {number}: {error}"}
        return
    for graded in solutions:
        if not graded["steps"]:
            yield row | {"problem": graded["problem"], "error": f"row {number}: the solution is empty"}
            continue
        # A solution without an answer was cut, and has no end of text to learn from.
        finished = extract_answer(graded["text"])[0] is not None
        yield row | {name: graded[name] for name in ("problem", "steps", "is_correct")} | {"finished": finished}


def _graded_solutions(config: SolutionFiles, paths: Sequence[Path], excluded: Collection[str]) -> Iterator[pa.Table]:
    return read_shards(config, paths, excluded, read_graded, GRADED_SOLUTIONS)
