"""Problems: from the embedded world, or from files of the user's own (problem_files.py)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.data.held_out import HeldOut, held_out_texts
from components.data.problem_columns import ProblemFile
from components.data.problem_files import EXCLUDED, folder_or_file_digest, problem_id, read_problems
from components.dataflow.errors import InputError
from components.dataflow.stage import TableStage, field_added_later
from components.worlds.worked_arithmetic import Chain, WorldConfig, chains, teacher_solutions
from schemas.results import PROBLEM_ATTRIBUTES
from schemas.tables import PROBLEMS, TEACHER_SOLUTIONS

PROBLEMS_PER_SHARD = 150


@dataclass(frozen=True)
class ProblemFiles:
    """The files of problems, one per split."""

    train: ProblemFile
    test: ProblemFile
    ood: ProblemFile | None = field_added_later(None, value_before=None)  # noqa: RUF009
    # Put train problems that equal an evaluation problem into the split `excluded`, from which nothing is sampled,
    # instead of stopping the study.
    drop_contaminated: bool = field_added_later(False, value_before=False)


def world_problems(config: WorldConfig) -> TableStage:
    """Make the stage that creates the embedded world's problems: train, test, ood and new_facts."""
    return TableStage("problems", 3, config, PROBLEMS, _world_problems, PROBLEMS_PER_SHARD, shard_by="split")


def file_problems(config: ProblemFiles, paths: Mapping[str, Path]) -> TableStage:
    """Make the stage that reads the user's problems. paths: the file of each split."""
    compute = functools.partial(_file_problems, paths=paths)
    return TableStage("problems", 2, config, PROBLEMS, compute, PROBLEMS_PER_SHARD, shard_by="split")


def world_attributes(config: WorldConfig) -> TableStage:
    """Make the stage that gives the lengths of the embedded world's problems."""
    return TableStage("problem_attributes", 2, config, PROBLEM_ATTRIBUTES, _world_attributes)


def file_attributes(config: ProblemFiles, paths: Mapping[str, Path]) -> TableStage:
    """Make the stage that reads the columns `level`, `subject` and `source` of the user's problems, where they are."""
    compute = functools.partial(_file_attributes, paths=paths)
    return TableStage("problem_attributes", 2, config, PROBLEM_ATTRIBUTES, compute)


def teacher(config: WorldConfig) -> TableStage:
    """Make the stage that writes the texts which the embedded generator learns from."""
    return TableStage("teacher_solutions", 2, config, TEACHER_SOLUTIONS, _teacher_solutions, shard_rows=4000)


def check_disjoint(rows: list[dict[str, Any]]) -> None:
    """Raise InputError when a problem of one split is, after normalisation, one of another, or when an evaluation
    problem stands whole in a train problem."""
    held_out = HeldOut(held_out_texts(rows))
    seen: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["split"] != "train"):  # evaluation problems meet those of training
        text = row["same_text"]
        if not row["problem"].strip() or row["error"] is not None:
            continue
        if row["split"] == "train":
            text = held_out.find_same(text) or text
        other = seen.setdefault(text, row)
        if other["split"] == row["split"]:
            continue
        relation = "is the same problem as" if other["same_text"] == text else "stands whole in the problem of"
        drop = "; or leave such train rows out with --contaminated drop" if other["split"] == "train" else ""
        raise InputError(
            f"{row['split']} row {row['source_row']} {relation} {other['split']} row {other['source_row']} (spacing "
            f"and LaTeX aside); remove one of them, or the curves would measure memory{drop}"
        )


def _world_problems(config: WorldConfig) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {"problem_id": problem_id(chain.problem), "split": split, "problem": chain.problem}
        | {"ground_truth_answer": str(chain.answer), "source": "worked_arithmetic", "source_row": number, "error": None}
        for split, number, chain in _world_chains(config)
    ]
    return pa.Table.from_pylist(rows, schema=PROBLEMS)


def _world_attributes(config: WorldConfig) -> pa.Table:
    rows = [
        {"problem_id": problem_id(chain.problem), "split": split, "error": None}
        | {"source": f"chains of {len(chain.operations)}" if split == "ood" else "worked_arithmetic"}
        | {"level": f"{len(chain.operations)} operations", "subject": None}
        for split, _, chain in _world_chains(config)
    ]
    return pa.Table.from_pylist(rows, schema=PROBLEM_ATTRIBUTES)


def _world_chains(config: WorldConfig) -> Iterator[tuple[str, int, Chain]]:
    """Yield (split, number in it, chain)."""
    counts = {"train": config.train_problems, "test": config.test_problems, "ood": config.ood_problems}
    counts |= {"new_facts": config.new_facts_problems}
    for split, count in counts.items():
        for number, chain in enumerate(chains(config, split, count)):
            yield split, number, chain


def _file_problems(config: ProblemFiles, paths: Mapping[str, Path]) -> pa.Table:
    return pa.Table.from_pylist(file_rows(config, paths), schema=PROBLEMS)


def _file_attributes(config: ProblemFiles, paths: Mapping[str, Path]) -> pa.Table:
    rows = []
    for row in file_rows(config, paths):
        if row["split"] == EXCLUDED:
            continue
        attributes = row.pop("attributes")
        rows.append(row | attributes | {"source": attributes["source"] or "file", "error": None})
    return pa.Table.from_pylist(rows, schema=PROBLEM_ATTRIBUTES)


def file_rows(config: ProblemFiles, paths: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Read the rows of all splits by read_problems. Raises InputError when a file has changed since."""
    return [row for rows in rows_by_split(config, paths).values() for row in rows]


def rows_by_split(config: ProblemFiles, paths: Mapping[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """Return the same rows by the split that their file was given for. Raises InputError."""
    rows = {}
    for split, file in (("train", config.train), ("test", config.test), ("ood", config.ood)):
        if file is not None:
            if folder_or_file_digest(paths[split]) != file.digest:
                raise InputError(f"{paths[split]}: changed while the study ran; start it again")
            rows[split] = read_problems(paths[split], file, split)
    if config.drop_contaminated:
        held_out = HeldOut(held_out_texts(itertools.chain.from_iterable(rows.values())))
        for row in rows["train"]:
            if row["split"] == "train" and held_out.find_same(row["same_text"]) is not None:
                row["split"] = EXCLUDED
    return rows


def _teacher_solutions(config: WorldConfig) -> pa.Table:
    rows = [{"problem": chain.problem, "steps": steps, "error": None} for chain, steps in teacher_solutions(config)]
    return pa.Table.from_pylist(rows, schema=TEACHER_SOLUTIONS)
