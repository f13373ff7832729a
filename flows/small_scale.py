#!/usr/bin/env python
"""The controlled study of "Let's Verify Step by Step" (§4): a large PRM labels the solutions of a small generator, so
that supervisions can be compared on the same solutions, and ways to choose which solutions to label at any size.

Departs from the paper in that best-of-N is exact, that every set of solutions lies within the next larger one, and
that intervals are those of problems and training seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file, which finds its packages from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.data.problems import teacher
from components.dataflow.datasets import Dataset
from components.dataflow.stage import Model
from components.evaluation.data_scaling import data_efficiency, data_scaling, series_comparisons
from components.evaluation.label_budget import Round, RoundsConfig, rounds
from components.evaluation.verifier_accuracy import VerifiersConfig, verifier_accuracy
from components.labels.active_learning import ActiveLearningConfig, selection
from components.labels.agreement import AgreementConfig, agreement
from components.labels.rule_labels import LabellingConfig, label_steps
from components.sampling.generation import generate
from components.sampling.grading import grade
from components.training.stages import generator, reward_model
from flows.command_line import cli, option_groups
from flows.studies import (
    generators,
    inputs,
    label_sources,
    reward_models,
    small_scale_budget,
    small_scale_policies,
    small_scale_summary,
)
from flows.studies.label_sources import Labels
from flows.studies.reward_models import Rival
from flows.studies.small_scale_series import (
    ActiveLearningRound,
    Chosen,
    SmallScaleContext,
    label,
    run_remaining_rounds,
    score_all,
    select_one_shot,
    train,
)
from flows.study import Study
from schemas.small_scale import SUPERVISIONS


def small_scale(study: Study) -> None:
    """Run the study, top to bottom. Each `run` is one stage: reused where the store has it, else computed."""
    preset, run, small = study.preset, study.runner, study.preset.small_scale
    seeds = range(small.training_seeds)
    problems, _ = inputs.read_problems(study)

    # PRM_large (§4.1): the main study's PRM, by the same stages. A small generator, with many solutions per problem.
    trains_labeller = small.labeller == "prm" and study.labelling_prm is None
    labelled = inputs.labelled_by_people(study) if trains_labeller else None
    inputs.look_for_contamination(study, problems, labelled_solutions=labelled)
    labeller = prm_large(study, problems, labelled) if trains_labeller else study.labelling_prm
    base = train_small_generator(study, problems)
    shown = problems.first(small.train_problems, split="train")
    sampled = generate(small.sampling, base, name="small_solutions")
    solutions, grades = run.map(shown, sampled, grade("small_grades"))
    context = SmallScaleContext(study, base, solutions, grades, labeller)

    # Three supervisions of the same solutions, the first ones of each problem (figure 4a).
    uniform = ActiveLearningConfig("uniform", small.sizes)
    first = run.table(selection(uniform, "selection_uniform"), grades=context.pool_grades)
    chosen = label(context, {"uniform": first})["uniform"]
    compare_with_rule(context, chosen)
    verifiers = train(
        context, [(series, size, seed, chosen) for series in SUPERVISIONS for size in small.sizes for seed in seeds]
    )

    # Active learning (§4.2): a PRM trained on one solution per problem chooses from the pool, in one go or in rounds.
    selectors = [v for v in verifiers if (v.name.series, v.name.size) == ("process", small.sizes[0])]
    pool_scores = score_all(context, context.pool, selectors, "pool_")
    one_shot, iterated_rounds = select_one_shot(context, selectors, pool_scores)
    iterated_rounds = run_remaining_rounds(context, iterated_rounds)
    verifiers += [*one_shot, *(round_.verifier for round_ in iterated_rounds)]

    # What they say: best-of-N on the same held-out samples.
    names = tuple(verifier.name for verifier in verifiers)
    scores = score_all(context, solutions.select(split="test"), verifiers)
    graded = grades.select(split="test")
    accuracy = run.table(verifier_accuracy(VerifiersConfig(preset.reduction, names)), grades=graded, **scores)
    bootstrap = preset.estimation.bootstrap
    run.table(data_scaling(bootstrap), verifier_accuracy=accuracy)
    run.table(series_comparisons(bootstrap), verifier_accuracy=accuracy)
    efficiency = run.table(data_efficiency(bootstrap), verifier_accuracy=accuracy)
    small_scale_policies.compare_policies(context, verifiers, accuracy, pool_scores, iterated_rounds)
    compare_rounds(context, accuracy, iterated_rounds)
    small_scale_budget.budget(context, verifiers, accuracy, efficiency)
    small_scale_summary.write(study)


def prm_large(study: Study, problems: Dataset, labelled: Dataset | None) -> Model:
    """Train the main study's PRM by the same stages: the large PRM of §4.1.

    labelled: solutions that people rated, None where there are none.
    """
    preset, run = study.preset, study.runner
    base, solutions = generators.train_generator(study, problems), None
    if study.label_sources[0] != "human":
        [solutions] = run.map(problems.select(split="train"), generate(preset.sampling, base))
    inputs = label_sources.step_supervision(study, base, Labels(solutions, labelled))
    # At the best of the main study's rates, as there: where that study is in the store its PRM is used.
    [rival] = reward_models.at_best_rates(study, base, [Rival("prm", preset.prm, inputs or {})])
    return rival.swept or run.train(reward_model(preset.prm, base), **rival.inputs)


def train_small_generator(study: Study, problems: Dataset) -> Model:
    """Train the small generator from nothing on the embedded world's teacher, or finetune a given small base model."""
    preset, run, small = study.preset, study.runner, study.preset.small_scale
    if study.small_base_model is None and not preset.needs_files:
        return run.train(
            generator(small.generator, None, "small_generator"), solutions=run.table(teacher(preset.world))
        )
    base = study.small_base_model or Model("--small-base-model", None)  # only a plan comes so far without one
    return generators.finetune(study, problems, base, small.generator, "small_")


def compare_with_rule(context: SmallScaleContext, chosen: Chosen) -> None:
    """Compare the labeller's ratings with those of the exact rule, where there are both."""
    if context.labeller is None or not context.study.embedded:
        return
    run, [(solutions, labels)] = context.study.runner, chosen.parts
    [by_rule] = run.map(solutions, label_steps(LabellingConfig(), "rule_labels"))
    run.table(agreement(AgreementConfig(("prm_large", "rule"))), prm_large=labels, rule=by_rule)


def compare_rounds(
    context: SmallScaleContext, accuracy: Dataset, iterated_rounds: Sequence[ActiveLearningRound]
) -> None:
    """Compute the table of rounds: does training the selector anew stay stable (§4.2: it did not)?"""
    if not iterated_rounds:
        return
    inputs, described = {"verifier_accuracy": accuracy}, []
    for round_ in iterated_rounds:
        name, chosen = round_.verifier.name, round_.verifier.chosen
        names = [f"{table}_{round_.number}_{name.seed + 1}" for table in ("selection", "supervised", "scores")]
        tables = (chosen.selection, chosen.supervised, round_.selector_scores)
        inputs |= dict(zip(names, tables, strict=True))
        described.append(Round(name.seed, round_.number, name.size, *names))
    context.study.runner.table(rounds(RoundsConfig(tuple(described))), **inputs)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return cli.run(small_scale, argv, __doc__ or "", option_groups.add_small_scale)


if __name__ == "__main__":
    sys.exit(main())
