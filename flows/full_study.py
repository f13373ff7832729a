#!/usr/bin/env python
"""The main study of "Let's Verify Step by Step" (§3): one fixed generator, an ORM and a PRM trained on the same
solutions, and best-of-N on held-out problems. Which supervision trains the better verifier?

Departs from the paper in two ways: best-of-N is computed exactly instead of by trials, and intervals are those of the
choice of problems, not of subsampling.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file, which finds its packages from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.dataflow.datasets import Dataset
from components.evaluation.answer_clusters import CandidatesConfig, candidates
from components.evaluation.first_error import first_errors, step_errors
from components.evaluation.score_quality import reductions, step_calibration
from components.evaluation.scored_samples import scored_samples
from components.labels.rule_labels import LabellingConfig, label_steps
from components.sampling.generation import generate
from components.sampling.grading import GRADER_VERSION, grade
from components.verifiers.scoring import score
from flows.command_line import cli
from flows.studies import generators, inputs, label_sources, results, reward_models, summary
from flows.studies.label_sources import Labels
from flows.study import Study


def full_study(study: Study) -> None:
    """Run the study, top to bottom. Each `run` is one stage: reused where the store has it, else computed."""
    preset, run = study.preset, study.runner

    # The problems: worked arithmetic, or files. Held-out problems are in nothing that is trained on.
    problems, attributes = inputs.read_problems(study)
    labelled, graded = inputs.labelled_by_people(study), inputs.graded_by_others(study)
    inputs.look_for_contamination(study, problems, labelled_solutions=labelled, graded_solutions=graded)

    # The generator (§2.2): fixed from here on.
    base = generators.train_generator(study, problems)

    # N samples per problem (§3.1), graded by their final answer while more are sampled.
    solutions, grades = run.map(problems, generate(preset.sampling, base), grade())
    train_solutions, train_grades = solutions.select(split="train"), grades.select(split="train")

    # The outcome-supervised reward model (§2.5): is the final answer right? The process-supervised one (§2.6): is each
    # step right, through the first error? Both from the generator's weights, on the same solutions; once per training
    # seed. Both read the same held-out samples (§3.2).
    sources = study.label_sources
    labels = Labels(train_solutions, labelled)
    orm_inputs = {"solutions": train_solutions, "grades": train_grades}
    if graded is not None:
        orm_inputs = {"graded_solutions": graded}
    prm_inputs = label_sources.step_supervision(study, base, labels)
    orm_config = reward_models.best_rate(study, preset.orm, base, orm_inputs)
    prm_config = reward_models.best_rate(study, preset.prm, base, prm_inputs)
    scores: dict[str, Dataset] = {}
    other_scores: dict[str, Dataset] = {}
    held_out = solutions.without(split="train")
    for seed in range(preset.training_seeds):
        orm, prm = reward_models.train(study, seed, base, (orm_config, orm_inputs), (prm_config, prm_inputs))
        name = reward_models.of_seed("scores", seed)
        [scores[name]] = run.map(held_out, score(preset.scoring, orm, prm, name))
        # Other sources of step labels, if any, each with a PRM of its own on the same solutions.
        for source in sources[1:] if seed == 0 else ():
            label_sources.rate(study, source, base, prm, labels)
        other_scores |= label_sources.train_others(study, seed, base, prm_config, labels, held_out, name)
    if labels.by_source and sources != ("rule",):
        labels.compare(run)

    # What the scores say: best-of-N, exactly, with intervals over problems, and what is behind it.
    held_out_grades = grades.without(split="train")
    answers = run.table(candidates(CandidatesConfig(GRADER_VERSION)), grades=held_out_grades)
    joined = {"grades": held_out_grades, "candidates": answers, "solutions": held_out}
    more_prms = [f"prm_{source}" for source in sources[1:]]
    samples = run.table(scored_samples(preset.reduction, more_prms), **joined, **scores, **other_scores)
    results.compute(run, preset.estimation, samples, attributes)
    if prm_inputs is not None or study.published_prm is not None:
        look_at_steps(study, held_out, samples, scores)
    summary.write(study)


def look_at_steps(study: Study, solutions: Dataset, samples: Dataset, scores: dict[str, Dataset]) -> None:
    """Compute the tables on the PRM by itself: accuracy by each reduction of its steps' probabilities (table 4).

    Where a rule rates steps: the calibration of their probabilities, and whether the PRM finds the first wrong step.
    """
    preset, run = study.preset, study.runner
    run.table(reductions(preset.estimation.bootstrap), scored_samples=samples, **scores)
    if study.embedded:
        [labels] = run.map(solutions, label_steps(LabellingConfig(), "held_out_step_labels"))
        run.table(step_calibration(), held_out_step_labels=labels, **scores)
        run.table(step_errors(preset.step_errors), held_out_step_labels=labels, **scores)
        run.table(first_errors(preset.step_errors), held_out_step_labels=labels, **scores)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return cli.run(full_study, argv, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
