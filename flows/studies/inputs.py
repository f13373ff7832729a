"""The tables that a study starts from: problems, and solutions that others rated or graded."""

from __future__ import annotations

from components.data.contamination import contamination
from components.data.graded_solutions import graded_solutions
from components.data.labelled_solutions import label_counts, labelled_solutions
from components.data.problems import file_attributes, file_problems, world_attributes, world_problems
from components.dataflow.datasets import Dataset
from flows.study import Study


def read_problems(study: Study) -> tuple[Dataset, Dataset]:
    """Return the tables of problems and of their attributes."""
    preset, run = study.preset, study.runner
    if study.files is not None:
        problems = run.table(file_problems(study.files, study.problem_paths))
        return problems, run.table(file_attributes(study.files, study.problem_paths))
    if preset.needs_files:
        options = "--train-problems, --test-problems"
        return run.awaits("problems", options), run.awaits("problem_attributes", options)
    return run.table(world_problems(preset.world)), run.table(world_attributes(preset.world))


def labelled_by_people(study: Study) -> Dataset | None:
    """Return solutions that people rated: PRM800K's files, or any. None where the study has none."""
    preset, run = study.preset, study.runner
    if study.labelled is not None:
        excluded = study.held_out if study.labelled.excluded else ()
        labelled = run.table(labelled_solutions(study.labelled, study.labelled_paths, excluded))
        run.table(label_counts(), labelled_solutions=labelled)
        return labelled
    if "human" in study.label_sources:  # only a plan comes so far without a file
        return run.awaits("labelled_solutions", "--labelled-solutions", preset.plan.labelled_rows)
    return None


def graded_by_others(study: Study) -> Dataset | None:
    """Return solutions that come with their outcome, in place of the study's own samples. None where it has none."""
    if study.graded is None:
        return None
    excluded = study.held_out if study.graded.excluded else ()
    return study.runner.table(graded_solutions(study.graded, study.graded_paths, excluded))


def look_for_contamination(study: Study, problems: Dataset, **trained_on: Dataset | None) -> None:
    """List the evaluation problems that are much like a text that is trained on (§2.1).

    The same problems were refused before any work. The embedded world's splits differ by construction.
    """
    if study.files is not None:
        present = {name: table for name, table in trained_on.items() if table is not None}
        study.runner.table(contamination(study.preset.contamination), problems=problems, **present)
