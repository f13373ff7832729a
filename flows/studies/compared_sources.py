"""What verifiers are compared on: the samples of a file, or those of a finished study."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.data.sample_ratings import file_ratings
from components.data.sample_texts import SampleTexts, file_solutions
from components.data.scored_columns import ScoredFile
from components.data.scored_description import ScoredFileReport
from components.data.scored_samples_file import file_samples, scored_file_attributes, scored_file_samples
from components.dataflow.datasets import Dataset
from components.dataflow.runner import Runner
from components.evaluation.answer_clusters import CandidatesConfig, candidates
from components.evaluation.compared_samples import ComparedVerifier
from components.evaluation.scored_samples import models_of
from components.sampling.grading import GRADER_VERSION
from components.statistics.confidence import MEASURES
from flows.study import StoredStudy, VerifierSpec


@dataclass(frozen=True)
class ComparedSamples:
    """Samples with their grades, the solutions that verifiers read, and the attributes of problems.

    graded: scored_samples. labels: ratings of the solutions' steps, where there are any. read: of verifiers whose
    scores the samples came with, the tables with their steps' probabilities, one per training seed. earlier: those that
    a study compared with its own. is_prm_given: others trained the study's PRM.
    """

    graded: Dataset
    solutions: Dataset
    grades: Dataset
    attributes: Dataset
    labels: Dataset | None = None
    read: Mapping[str, Sequence[Dataset]] = field(default_factory=dict)
    earlier: Sequence[VerifierSpec] = ()
    is_prm_given: bool = False


@dataclass(frozen=True)
class SamplesFile:
    """A file of samples, read once to check it. place: its path or URL, for people. is_rated: its steps are rated."""

    place: str
    path: Path
    file: ScoredFile
    texts: SampleTexts
    report: ScoredFileReport
    is_rated: bool

    @property
    def verifiers(self) -> tuple[str, ...]:
        """The verifiers whose scores the file has."""
        return self.file.names


def of_file(run: Runner, source: SamplesFile) -> ComparedSamples:
    """Return the samples of a file."""
    samples = run.table(file_samples(source.file, source.path))
    answers = run.table(candidates(CandidatesConfig(GRADER_VERSION)), grades=samples)
    graded = run.table(scored_file_samples(source.file), file_samples=samples, candidates=answers)
    attributes = run.table(scored_file_attributes(source.file), file_samples=samples)
    solutions = run.table(file_solutions(source.texts, source.path))
    labels = run.table(file_ratings(source.texts, source.path)) if source.is_rated else None
    return ComparedSamples(graded, solutions, samples, attributes, labels)


def verifiers_of_study(study: StoredStudy) -> tuple[str, ...]:
    """Return the verifiers whose scores a study has."""
    return tuple(models_of(study.store.read(study.table("scored_samples").first(1))))


def of_study(study: StoredStudy) -> ComparedSamples:
    """Return the held-out samples of a study."""
    names = ("scored_samples", "solutions", "grades", "problem_attributes")
    graded, solutions, grades, attributes = (study.table(name) for name in names)
    labels = study.table("held_out_step_labels") if "held_out_step_labels" in study.index else None
    scores = [study.table(name) for name in study.index if re.fullmatch(r"scores(_seed_\d+)?", name)]
    return ComparedSamples(
        graded,
        solutions.without(split="train"),
        grades.without(split="train"),
        attributes,
        labels,
        {"prm": scores},
        compared_before(study, graded),
        is_prm_given="prm" in verifiers_of_study(study) and "prm" not in study.index,
    )


def compared_before(study: StoredStudy, graded: Dataset) -> list[VerifierSpec]:
    """Return the verifiers that a study read besides its own, as its table of scored samples was made."""
    recipe = (study.store.manifest(graded.folder) or {}).get("recipe", {})
    given = [ComparedVerifier(**each) for each in recipe.get("config", {}).get("verifiers", ())]
    no_training = {each.name for each in given if each.column in MEASURES or f"{each.name}_votes" in study.index}
    return [VerifierSpec(each.name, None, each, is_trained=each.name not in no_training) for each in given]
