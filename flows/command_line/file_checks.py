"""The files that a command line names, checked before any work: problems and labelled solutions. Raises InputError."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from components.data.graded_solutions import describe_graded
from components.data.labelled_solutions import describe_labelled
from components.data.problem_files import describe_file
from components.data.problems import EXCLUDED, ProblemFiles, check_disjoint, file_rows, held_out_texts
from components.data.readers import fetch
from components.data.sft_from_references import has_solutions
from components.data.solution_files import SolutionFiles
from components.dataflow.errors import InputError


def problem_paths(options: argparse.Namespace) -> dict[str, Path]:
    """Return split → path on this machine of the files of problems that are given."""
    names = {"train": options.train_problems, "test": options.test_problems, "ood": options.ood_problems}
    return {split: fetch(name) for split, name in names.items() if name is not None}


def problem_files(options: argparse.Namespace) -> tuple[ProblemFiles | None, dict[str, str]]:
    """Return the files of problems, and their evaluation problems by normalised text. Raises InputError."""
    paths = problem_paths(options)
    if not paths:
        return None, {}
    if not {"train", "test"} <= set(paths):
        raise InputError("--train-problems and --test-problems go together: give both")
    columns = (options.problem_column, options.answer_column, options.max_problems, options.answer_format)
    described = {split: describe_file(path, *columns) for split, path in paths.items()}
    files = ProblemFiles(**described, drop_contaminated=options.contaminated == "drop")
    rows = file_rows(files, paths)
    if not any(row["split"] == "train" and row["error"] is None for row in rows):
        raise InputError(
            f"{options.train_problems}: every usable row is an evaluation problem: none is left to train on"
        )
    check_disjoint([row for row in rows if row["split"] != EXCLUDED])
    if learns_from_solutions(options) and not has_solutions(rows):
        raise InputError(
            f"{options.train_problems}: no row has a solution in a column 'solution', or before '####' in its answer: "
            "--format-from solutions cannot learn from it; leave it out, for few-shot samples"
        )
    return files, held_out_texts(rows)


def labelled_files(
    options: argparse.Namespace, files: ProblemFiles | None, held_out: Mapping[str, str]
) -> tuple[SolutionFiles | None, tuple[Path, ...]]:
    """Return the files of labelled solutions, and their paths on this machine. Raises InputError."""
    paths = tuple(map(fetch, options.labelled_solutions))
    if not paths:
        return None, ()
    if files is None:
        raise InputError("--labelled-solutions goes with files of problems; the embedded problems have an exact rule")
    return describe_labelled(paths, held_out, options.contaminated == "drop"), paths


def graded_files(
    options: argparse.Namespace, files: ProblemFiles | None, held_out: Mapping[str, str]
) -> tuple[SolutionFiles | None, tuple[Path, ...]]:
    """Return the files of graded solutions, and their paths on this machine. Raises InputError."""
    paths = tuple(map(fetch, options.graded_solutions))
    if not paths:
        return None, ()
    if files is None:
        raise InputError("--graded-solutions goes with files of problems; the embedded ones are sampled and graded")
    return describe_graded(paths, held_out, options.contaminated == "drop"), paths


def learns_from_solutions(options: argparse.Namespace) -> bool:
    """Tell whether the format is learned from the train problems' own solutions.

    `problem_files` checks that there are some. Raises InputError where the option does not fit the others.
    """
    if options.format_from != "solutions":
        return False
    if options.base_model is None and options.command == "run":
        raise InputError("--format-from solutions is for a base model: give --base-model FOLDER")
    if options.train_problems is None:
        raise InputError("--format-from solutions reads them from --train-problems; give --train-problems FILE")
    return True
