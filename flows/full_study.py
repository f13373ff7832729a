#!/usr/bin/env python
"""The main study of "Let's Verify Step by Step" (§3): one fixed generator, an ORM and a PRM trained on the same
solutions, and best-of-N on held-out problems. Which supervision trains the better verifier?

Departs from the paper in three ways: best-of-N is computed exactly instead of by trials; intervals are those of the
choice of problems and trainings, not of subsampling; and where reward models are trained several times, the verdict is
on the mean of their scores.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file, which finds its packages from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.dataflow.datasets import Dataset
from components.evaluation.answer_clusters import CandidatesConfig, candidates
from components.evaluation.distinct_samples import distinct_samples
from components.evaluation.first_error import first_errors, step_errors
from components.evaluation.score_quality import reductions, step_calibration
from components.evaluation.scored_samples import scored_samples, verifiers_of
from components.labels.rule_labels import LabellingConfig, label_steps
from components.sampling.grading import GRADER_VERSION, grade
from components.verifiers.scoring import score
from components.worlds.reference_verifiers import ReferenceConfig, reference_scores
from flows.command_line import cli
from flows.studies import comparison, generators, inputs, label_sources, results, reward_models, summary
from flows.studies.label_sources import Labels
from flows.studies.reward_models import Rival
from flows.study import Study


def full_study(study: Study) -> None:
    """Run the study, top to bottom. Each `run` is one stage: reused where the store has it, else computed."""
    preset, run = study.preset, study.runner

    # The problems: worked arithmetic, or files. Held-out problems are in nothing that is trained on.
    problems, attributes = inputs.read_problems(study)
    labelled, graded = inputs.labelled_by_people(study), inputs.graded_by_others(study)
    inputs.look_for_contamination(study, problems, labelled_solutions=labelled, graded_solutions=graded)

    # The generator (§2.2): fixed from here on.
    generator = generators.generator_of(study, problems)

    # N samples per problem (§3.1), graded by their final answer while more are sampled.
    solutions, grades = run.map(problems, generators.sampling_stage(study, problems, generator), grade())
    train_solutions, train_grades = solutions.select(split="train"), grades.select(split="train")

    # The outcome-supervised reward model (§2.5): is the final answer right? The process-supervised one (§2.6): is each
    # step right, through the first error? Both from the generator's weights, on the same solutions, at the best of the
    # same learning rates; once per training seed.
    base = generators.reward_model_base(study, generator)
    sources = study.label_sources
    labels = Labels(train_solutions, labelled)
    orm_inputs = {"solutions": train_solutions, "grades": train_grades}
    if graded is not None:
        orm_inputs = {"graded_solutions": graded}
    prm_inputs = label_sources.step_supervision(study, generator, labels)
    rivals = [Rival("orm", preset.orm, orm_inputs)]
    rivals += [Rival("prm", preset.prm, prm_inputs)] if prm_inputs is not None else []
    rivals = reward_models.at_best_rates(study, base, rivals)
    trained = reward_models.train(study, base, rivals)

    # Both read the same held-out samples (§3.2), of all seeds by one pool of actors. Other sources of step labels, if
    # any, have a PRM each on the same solutions.
    held_out = solutions.without(split="train")
    reading = []
    for seed, models in enumerate(trained):
        prm = study.published_prm or models.get("prm")
        reading.append((held_out, score(preset.scoring, models["orm"], prm, reward_models.of_seed("scores", seed))))
    scores = {dataset.name: dataset for dataset in run.map_concurrently(*reading)}
    for source in sources[1:]:
        label_sources.rate(study, source, generator, study.published_prm or trained[0].get("prm"), labels)
    other_scores: dict[str, Dataset] = {}
    for seed, name in enumerate(scores):
        other_scores |= label_sources.train_others(study, seed, base, rivals[-1].config, labels, held_out, name)
    if labels.by_source and sources != ("rule",):
        labels.compare(run)

    # What the scores say: best-of-N, exactly, with intervals over problems, and what is behind it.
    held_out_grades = grades.without(split="train")
    answers = run.table(candidates(CandidatesConfig(GRADER_VERSION)), grades=held_out_grades)
    joined = {"grades": held_out_grades, "candidates": answers, "solutions": held_out}
    more_prms = [f"prm_{source}" for source in sources[1:]]
    # The embedded world's exact rule rates held-out steps too. It is the ceiling; a lookup and a regression are floors.
    rule_labels = held_out_rule_labels(study, held_out)
    if rule_labels is not None:
        learned = label_sources.by_rule(study, labels)
        known = {"solutions": held_out, "step_labels": rule_labels, "train_solutions": train_solutions}
        known |= {"train_step_labels": learned, "train_grades": train_grades}
        joined["reference_scores"] = run.table(reference_scores(ReferenceConfig()), **known)
    # Chance in a single training is great; the mean score of several of the same verifier hardly has it.
    ensembles = reward_models.ensembles(trained)
    stage = scored_samples(preset.reduction, more_prms, rule_labels is not None, ensembles)
    samples = run.table(stage, **joined, **scores, **other_scores)
    if study.verifiers:  # of others, on the very same samples
        read = comparison.read_samples(run, held_out, study.verifiers)
        samples = comparison.side_by_side(run, verifiers_of(stage.schema), study.verifiers, samples, held_out, read)
        if rule_labels is not None:
            comparison.look_at_steps(run, study.verifiers, read, rule_labels, {})
    results.compute(run, preset.estimation, samples, attributes)
    run.table(distinct_samples(), solutions=held_out, grades=held_out_grades)
    if prm_inputs is not None or study.published_prm is not None:
        look_at_steps(study, rule_labels, samples, scores)
    summary.write(study)


def held_out_rule_labels(study: Study, held_out: Dataset) -> Dataset | None:
    """Rate the steps of held-out solutions by the exact rule. None where there is no rule."""
    if not study.embedded:
        return None
    [labels] = study.runner.map(held_out, label_steps(LabellingConfig(), "held_out_step_labels"))
    return labels


def look_at_steps(study: Study, rule_labels: Dataset | None, samples: Dataset, scores: dict[str, Dataset]) -> None:
    """Compute the tables on the PRM by itself: accuracy by each reduction of its steps' probabilities (table 4).

    Where a rule rates steps: the calibration of their probabilities, and whether the PRM finds the first wrong step.
    """
    preset, run = study.preset, study.runner
    run.table(reductions(preset.estimation.bootstrap), scored_samples=samples, **scores)
    if rule_labels is not None:
        run.table(step_calibration(), held_out_step_labels=rule_labels, **scores)
        run.table(step_errors(preset.step_errors), held_out_step_labels=rule_labels, **scores)
        run.table(first_errors(preset.step_errors), held_out_step_labels=rule_labels, **scores)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return cli.run(full_study, argv, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
