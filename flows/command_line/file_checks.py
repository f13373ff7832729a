"""The files that a command line names, checked before any work: problems and labelled solutions. Raises InputError."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.data.file_report import FileReport
from components.data.graded_solutions import describe_graded
from components.data.held_out import held_out_texts
from components.data.labelled_solutions import describe_labelled
from components.data.problem_columns import ANSWER_FORMATS
from components.data.problem_files import EXCLUDED, describe_file, report_problems
from components.data.problems import ProblemFiles, check_disjoint, rows_by_split
from components.data.readers import fetch
from components.data.sft_from_references import has_solutions
from components.data.solution_files import SolutionFiles
from components.dataflow.errors import InputError

_SPLITS = ("train", "test", "ood")


def problem_paths(options: argparse.Namespace) -> dict[str, Path]:
    """Return split → path on this machine of the files of problems that are given."""
    names = {"train": options.train_problems, "test": options.test_problems, "ood": options.ood_problems}
    return {split: fetch(name) for split, name in names.items() if name is not None}


def problem_files(options: argparse.Namespace, told: list[str]) -> tuple[ProblemFiles | None, dict[str, str]]:
    """Return the files of problems, and their evaluation problems by normalised text.

    told: takes a line on each file. Raises InputError.
    """
    paths = problem_paths(options)
    columns = {split: _columns(options, split) for split in _SPLITS}
    if not paths:
        return None, {}
    if not {"train", "test"} <= set(paths):
        raise InputError("--train-problems and --test-problems go together: give both")
    described = {split: describe_file(path, *columns[split]) for split, path in paths.items()}
    files = ProblemFiles(**described, drop_contaminated=options.contaminated == "drop")
    rows = rows_by_split(files, paths)
    reports = {split: report_problems(path, described[split], rows[split]) for split, path in paths.items()}
    for split, report in reports.items():
        report.check(options.max_error_rate)
        told.append(report.line(f"{split} problems"))
    all_rows = [row for of_split in rows.values() for row in of_split]
    if not any(row["split"] == "train" and row["error"] is None for row in all_rows):
        raise InputError(
            f"{options.train_problems}: every usable row is an evaluation problem: none is left to train on"
        )
    check_disjoint([row for row in all_rows if row["split"] != EXCLUDED])
    if learns_from_solutions(options) and not has_solutions(all_rows):
        raise InputError(
            f"{options.train_problems}: no row has a solution in a column 'solution', or before '####' in its answer: "
            "--format-from solutions cannot learn from it; leave it out, for few-shot samples"
        )
    return files, held_out_texts(all_rows)


def _columns(options: argparse.Namespace, split: str) -> tuple[str | None, str | None, int | None, str | None]:
    """Return a split's columns of problem and answer, most rows and answer format. Raises InputError."""
    form = of_split("--answer-format", options.answer_format, split)
    if form is not None and form not in ANSWER_FORMATS:
        raise InputError(f"--answer-format {form}: is not one of {', '.join(ANSWER_FORMATS)}")
    most = of_split("--max-problems", options.max_problems, split)
    if most is not None and not (most.isdecimal() and int(most) >= 1):
        raise InputError(f"--max-problems {most}: must be a whole number of 1 or more")
    return (
        of_split("--problem-column", options.problem_column, split),
        of_split("--answer-column", options.answer_column, split),
        None if most is None else int(most),
        form,
    )


def of_split(flag: str, given: Sequence[str], split: str) -> str | None:
    """Return the value of an option for a split: that of `SPLIT=VALUE`, else that without a split, else None.

    Raises InputError for a value that is given twice.
    """
    named: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name, value = (name, value) if equals and name in _SPLITS else ("", text)
        if name in named:
            raise InputError(f"{flag} {' '.join(given)}: {name or 'all splits'} is given twice")
        named[name] = value
    return named.get(split, named.get(""))


def labelled_files(
    options: argparse.Namespace, files: ProblemFiles | None, held_out: Mapping[str, str], told: list[str]
) -> tuple[SolutionFiles | None, tuple[Path, ...]]:
    """Return the files of labelled solutions, and their paths on this machine. Raises InputError."""
    if options.labelled_solutions and files is None:
        raise InputError("--labelled-solutions goes with files of problems; the embedded problems have an exact rule")
    return _solution_files(options, "labelled solutions", options.labelled_solutions, describe_labelled, held_out, told)


def graded_files(
    options: argparse.Namespace, files: ProblemFiles | None, held_out: Mapping[str, str], told: list[str]
) -> tuple[SolutionFiles | None, tuple[Path, ...]]:
    """Return the files of graded solutions, and their paths on this machine. Raises InputError."""
    if options.graded_solutions and files is None:
        raise InputError("--graded-solutions goes with files of problems; the embedded ones are sampled and graded")
    return _solution_files(options, "graded solutions", options.graded_solutions, describe_graded, held_out, told)


def _solution_files(
    options: argparse.Namespace,
    what: str,
    names: Sequence[str],
    describe: Callable[..., tuple[SolutionFiles, list[FileReport]]],
    held_out: Mapping[str, str],
    told: list[str],
) -> tuple[SolutionFiles | None, tuple[Path, ...]]:
    paths = tuple(map(fetch, names))
    if not paths:
        return None, ()
    described, reports = describe(paths, held_out, options.contaminated == "drop", options.max_error_rate)
    told += [report.line(what) for report in reports]
    return described, paths


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
