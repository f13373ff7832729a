"""Process labels that people (or anyone) gave to solutions of their own: files, as the PRM's training data.

One solution per row: a problem, and its steps with ratings −1, 0 or +1:

    {"problem": "What is 2 + 2?", "steps": [{"text": "2 + 2 = 4", "rating": 1}, …]}

or a line of PRM800K as it was released (`prm800k.py`), or a row in a form that others publish (`import_formats.py`).

A step that nobody rated has a null rating or none. In place of a rating a step may have `probabilities`, a soft label:
of being negative, neutral and positive. A row is a finished solution where `finished` says so, or else where its last
step has a line "# Answer". A step may have `alternatives`: other steps in its place, rated like it (paper §2.4: several
were shown to the labellers at each step). Labels count through the first negative step. A row that cannot be used is
kept, with its error; one that is not to be used, with its cause in `dropped`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.data.cells import short, sound
from components.data.file_report import FileReport
from components.data.import_formats import import_row
from components.data.prm800k import is_prm800k
from components.data.readers import read_records
from components.data.solution_files import SHARD_ROWS, SolutionFiles, describe_solutions, read_shards
from components.data.step_labels import ImportedRow
from components.dataflow.errors import InputError
from components.dataflow.stage import TableStage
from components.text.rendering import has_answer
from schemas.ratings import NEGATIVE, NEUTRAL, POSITIVE, PRM_LABELS, one_hot
from schemas.settings import NoSettings
from schemas.tables import LABEL_COUNTS, LABELLED_SOLUTIONS


def labelled_solutions(config: SolutionFiles, paths: Sequence[Path], excluded: Collection[str] = ()) -> TableStage:
    """Make the stage that reads the files, shard by shard in bounded memory.

    excluded: `same_text` of held-out problems, whose solutions are not used.
    """
    compute = functools.partial(_labelled_solutions, paths=paths, excluded=frozenset(excluded))
    return TableStage("labelled_solutions", 4, config, LABELLED_SOLUTIONS, compute, shard_rows=SHARD_ROWS)


def label_counts() -> TableStage:
    """Make the stage labelled_solutions → numbers of rows, labels and steps, by use or cause of being left out."""
    reads = ["ratings", "probabilities", "provenance", "dropped", "num_labels", "num_alternative_labels", "error"]
    return TableStage("label_counts", 1, NoSettings(), LABEL_COUNTS, _counts, reads={"labelled_solutions": reads})


def describe_labelled(
    paths: Sequence[Path],
    held_out: Mapping[str, str] | None = None,
    drop_contaminated: bool = False,
    most_errors: float = 1.0,
) -> tuple[SolutionFiles, list[FileReport]]:
    """Read the files once to check them. Return their digests and reports. Raises InputError (describe_solutions)."""
    return describe_solutions(paths, read_labelled, held_out or {}, drop_contaminated, most_errors)


def read_labelled(path: Path, file: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the rows of the `labelled_solutions` table, and with each its `format`, `notes` and `label_kind`."""
    for number, record in enumerate(read_records(path)):
        yield read_row(number, record) | {"source_file": file}


def read_row(number: int, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row of the table but for its file, and its `format`, `notes` and `label_kind`."""
    imported, broken = ImportedRow({}, ""), None
    try:
        imported = import_row(raw)
        record = imported.row
    except InputError as error:
        fields = raw["question"] if isinstance(raw.get("question"), dict) else raw
        names = ("problem", "prompt", "input", "question")
        record, broken = {"problem": next((fields[name] for name in names if name in fields), None)}, error
    dropped = record.get("dropped") if is_prm800k(raw) else None
    problem, steps = record.get("problem"), record.get("steps")
    steps = steps if isinstance(steps, list) else []
    num_labels = sum(map(_count_labels, steps))
    row: dict[str, Any] = {
        "problem": sound(problem) if isinstance(problem, str) else "",
        "steps": [],
        "ratings": [],
        "probabilities": None,
        "alternatives": [],
        "provenance": [],
        "dropped": dropped,
        "num_labels": num_labels,
        "num_alternative_labels": num_labels - sum(map(_is_labelled, steps)),
        "finished": False,
        "source_row": number,
        "error": None,
        "format": imported.file_format,
        "notes": imported.notes,
        "label_kind": imported.label_kind,
    }
    try:
        if broken is not None:
            raise broken
        if not row["problem"].strip():
            raise InputError("'problem' is empty")
        if not steps and dropped is not None:
            return row  # without steps there was nothing to rate, and nothing is lost
        if not steps:
            raise InputError("'steps' is empty or not a list")
        finished = record.get("finished")
        if not isinstance(finished, bool | None):
            raise InputError(f"'finished' is {short(finished)}, not true, false or null")
        labels = [_label(step, f"steps[{at}]") for at, step in enumerate(steps)]
        alternatives = [
            {"step": at, **_label(other, f"steps[{at}].alternatives[{place}]")}
            for at, step in enumerate(steps)
            for place, other in enumerate(_alternatives(step, f"steps[{at}]"))
        ]
    except InputError as error:
        return row | {"error": f"row {number}: {error}"}
    if row["num_labels"] == 0 and dropped is None:
        row["notes"] = (*row["notes"], "rows have no step with a rating")
    soft = any(label["probabilities"] is not None for label in labels)
    return row | {
        "steps": [label["text"] for label in labels],
        "ratings": [label["rating"] for label in labels],
        "probabilities": [label["probabilities"] or one_hot(label["rating"]) for label in labels] if soft else None,
        "alternatives": alternatives,
        "provenance": [str(step.get("provenance") or "file") for step in steps],
        "finished": has_answer(labels[-1]["text"]) if finished is None else finished,
    }


def _alternatives(step: Mapping[str, Any], where: str) -> list[Any]:
    """Return a step's alternatives. Raises InputError where they are no list, or have alternatives of their own."""
    alternatives = step.get("alternatives")
    if not isinstance(alternatives, list | np.ndarray | None):
        raise InputError(f"{where}.alternatives is {short(alternatives)}, not a list")
    alternatives = [] if alternatives is None else list(alternatives)
    for place, other in enumerate(alternatives):
        if isinstance(other, dict) and other.get("alternatives"):
            raise InputError(f"{where}.alternatives[{place}] has alternatives of its own")
    return alternatives


def _label(step: Any, where: str) -> dict[str, Any]:
    """Return the text, rating and probabilities of a step. Raises InputError."""
    if not isinstance(step, dict) or not isinstance(step.get("text"), str):
        raise InputError(f"{where} has no text")
    rating, probabilities = step.get("rating"), step.get("probabilities")
    if rating not in (None, NEGATIVE, NEUTRAL, POSITIVE) or isinstance(rating, bool):
        raise InputError(f"{where}.rating is {short(rating)}, not −1, 0, 1 or null")
    if probabilities is not None:
        good = isinstance(probabilities, list | np.ndarray) and len(probabilities) == len(PRM_LABELS)
        if not good or not all(isinstance(p, int | float) and 0 <= p <= 1 for p in probabilities):
            raise InputError(f"{where}.probabilities is not three numbers in [0, 1]: negative, neutral, positive")
        if abs(sum(probabilities) - 1) > 0.01:
            raise InputError(f"{where}.probabilities add up to {sum(probabilities):g}, not 1")
        probabilities = [float(p) for p in probabilities]
    return {
        "text": step["text"],
        "rating": None if rating is None else int(rating),
        "probabilities": probabilities,
    }


def _is_labelled(step: Any) -> bool:
    return isinstance(step, dict) and (step.get("rating") is not None or step.get("probabilities") is not None)


def _count_labels(step: Any) -> int:
    """Count the labels of a step in the file, its alternatives' included, usable or not."""
    others = step.get("alternatives") if isinstance(step, dict) else None
    return int(_is_labelled(step)) + (sum(map(_count_labels, others)) if isinstance(others, list) else 0)


def _labelled_solutions(config: SolutionFiles, paths: Sequence[Path], excluded: Collection[str]) -> Iterator[pa.Table]:
    return read_shards(config, paths, excluded, read_labelled, LABELLED_SOLUTIONS)


def _counts(config: NoSettings, labelled_solutions: pa.Table) -> pa.Table:
    """Count rows and labels. The counts add up: all are those used, and those dropped by cause."""
    counts: Counter[str] = Counter()
    for batch in labelled_solutions.to_batches(max_chunksize=SHARD_ROWS):
        for row in batch.to_pylist():
            cause = "error" if row["error"] is not None else row["dropped"]
            became = f"dropped, {cause}" if cause else "used"
            counts.update({"rows": 1, f"rows {became}": 1})
            counts.update({"labels": row["num_labels"], f"labels in rows {became}": row["num_labels"]})
            if cause is None:
                counts["labels of alternatives in rows used"] += row["num_alternative_labels"]
                counts["steps in rows used"] += len(row["ratings"])
                soft = row["probabilities"] or [None] * len(row["ratings"])
                unrated = [rating is None and label is None for rating, label in zip(row["ratings"], soft, strict=True)]
                counts["steps without a rating"] += sum(unrated)
                for evidence in row["provenance"]:
                    # The first word is the source, the second its phase; the rest is worth counting.
                    counts.update(f"steps {note}" for note in evidence.split(", ")[2:])
    rows = [{"what": what, "count": count, "error": None} for what, count in counts.items()]
    return pa.Table.from_pylist(rows, schema=LABEL_COUNTS)
