"""The samples that a command line names for a comparison of verifiers, checked before any work. Raises InputError."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.data.readers import fetch
from components.data.sample_ratings import format_of_ratings
from components.data.sample_set_folder import check_sample_set
from components.data.sample_texts import describe_texts
from components.data.scored_description import describe_scored
from components.dataflow.errors import InputError
from components.sampling.grading import GRADER_VERSION
from flows.command_line import checks
from flows.studies.compared_sources import SamplesFile
from flows.study import StoredStudy, open_study


def describe_file(options: argparse.Namespace) -> SamplesFile:
    """Read a file of samples once to check it. Raises InputError."""
    columns = {"problem": options.problem_column, "answer": options.answer_column, "correct": options.correct_column}
    path = fetch(options.samples)
    check_sample_set(path)
    file, report = describe_scored(
        path, columns, options.scores, options.samples_per_problem, GRADER_VERSION, options.max_error_rate, False
    )
    place = options.samples if ":" in options.samples else str(path.resolve())
    texts = describe_texts(path, file, options.segmentation)
    ratings = format_of_ratings(texts, path)
    if ratings is not None:
        report.line += f"; its steps are rated, read as {ratings}"
    return SamplesFile(place, path, file, texts, report, ratings is not None)


def study_of(samples: str, root: str | None) -> StoredStudy | None:
    """Return the finished study whose folder is given, with its store; None for what is no study's folder.

    Raises InputError where --root names another store than that of the study.
    """
    folder = Path(samples)
    if not (folder / "index.json").is_file() or folder.parent.name != "studies":
        return None
    own = folder.resolve().parents[1]
    if root is not None and Path(root).resolve() != own:
        raise InputError(f"--root {root}: the study {folder} lies in the store {own}; leave --root out")
    return open_study(checks.open_store(str(own), begins=True), folder.name)
