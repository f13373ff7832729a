"""Process labels that people (or anyone) gave to solutions of their own: a file, as the PRM's training data.

One solution per row of JSON Lines (also gzipped) or Parquet: a problem, and its steps with ratings −1, 0 or +1:

    {"problem": "What is 2 + 2?", "steps": [{"text": "2 + 2 = 4", "rating": 1}, …]}

A step that nobody rated has a null rating or none. In place of a rating a step may have `probabilities`, a soft label:
of being negative, neutral and positive. A row is a finished solution where `finished` says so, or else where its last
step has a line "# Answer". A step may have `alternatives`: other steps in its place, rated like it (paper §2.4: several
were shown to the labelers at each step). Labels count through the first negative step. A row that cannot be used is
kept, with its error.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.examples import PRM_LABELS, one_hot
from components.input_files import InputError, check_unchanged, read_records
from components.stage import TableStage
from components.store import file_digest
from components.text_format import has_answer
from schemas.tables import LABELLED_SOLUTIONS


@dataclass(frozen=True)
class LabelledFile:
    """The file's identity: what it holds, not where it lies."""

    digest: str


def labelled_solutions(config: LabelledFile, path: Path) -> TableStage:
    """The stage that reads the file."""
    compute = functools.partial(_labelled_solutions, path=path)
    return TableStage("labelled_solutions", 2, config, LABELLED_SOLUTIONS, compute, shard_rows=4000)


def describe_labelled(path: Path) -> LabelledFile:
    """Read the file once, to be sure that it can be used. Raises InputError."""
    rows = read_labelled(path)
    good = sum(row["error"] is None for row in rows)
    if not good:
        first = next((row["error"] for row in rows), "it holds no rows")
        raise InputError(f"{path}: no row can be used; the first: {first}")
    return LabelledFile(file_digest(path))


def read_labelled(path: Path) -> list[dict[str, Any]]:
    """The rows of the `labelled_solutions` table."""
    return [_row(number, record) for number, record in enumerate(read_records(path))]


def _row(number: int, record: Mapping[str, Any]) -> dict[str, Any]:
    problem, given = record.get("problem"), record.get("steps")
    given = given if isinstance(given, list) else []
    row: dict[str, Any] = {
        "problem": problem if isinstance(problem, str) else "",
        "steps": [],
        "ratings": [],
        "probabilities": None,
        "alternatives": [],
        "num_labels": sum(_count_labels(step) for step in given),
        "finished": False,
        "source_row": number,
        "error": None,
    }
    try:
        if not row["problem"].strip():
            raise InputError("'problem' is empty")
        if not given:
            raise InputError("'steps' is empty or not a list")
        finished = record.get("finished")
        if not isinstance(finished, bool | None):
            raise InputError(f"'finished' is {finished!r}, not true, false or null")
        labels = [_label(step, f"steps[{at}]") for at, step in enumerate(given)]
        alternatives = [
            {"step": at, **_label(other, f"steps[{at}].alternatives[{place}]")}
            for at, step in enumerate(given)
            for place, other in enumerate(_alternatives(step, f"steps[{at}]"))
        ]
    except InputError as error:
        return row | {"error": f"row {number}: {error}"}
    soft = any(label["probabilities"] is not None for label in labels)
    return row | {
        "steps": [label["text"] for label in labels],
        "ratings": [label["rating"] for label in labels],
        "probabilities": [label["probabilities"] or one_hot(label["rating"]) for label in labels] if soft else None,
        "alternatives": alternatives,
        "finished": has_answer(labels[-1]["text"]) if finished is None else finished,
    }


def _alternatives(step: Mapping[str, Any], where: str) -> list[Any]:
    """A step's alternatives, which have none of their own. Raises InputError."""
    given = step.get("alternatives")
    given = [] if given is None else list(given) if isinstance(given, list | np.ndarray) else given
    if not isinstance(given, list):
        raise InputError(f"{where}.alternatives is {given!r}, not a list")
    for place, other in enumerate(given):
        if isinstance(other, dict) and other.get("alternatives"):
            raise InputError(f"{where}.alternatives[{place}] has alternatives of its own")
    return given


def _label(step: Any, where: str) -> dict[str, Any]:
    """text, rating and probabilities of a step. Raises InputError."""
    if not isinstance(step, dict) or not isinstance(step.get("text"), str):
        raise InputError(f"{where} has no text")
    rating, probabilities = step.get("rating"), step.get("probabilities")
    if rating not in (None, -1, 0, 1) or isinstance(rating, bool):
        raise InputError(f"{where}.rating is {rating!r}, not −1, 0, 1 or null")
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


def _count_labels(step: Any) -> int:
    """How many labels a step has in the file, its alternatives' included, whatever they are worth."""
    if not isinstance(step, dict):
        return 0
    labelled = step.get("rating") is not None or step.get("probabilities") is not None
    others = step.get("alternatives")
    return int(labelled) + (sum(map(_count_labels, others)) if isinstance(others, list) else 0)


def _labelled_solutions(config: LabelledFile, path: Path) -> pa.Table:
    check_unchanged(path, config.digest)
    return pa.Table.from_pylist(read_labelled(path), schema=LABELLED_SOLUTIONS)
