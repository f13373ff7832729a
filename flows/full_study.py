#!/usr/bin/env python
"""The main study of "Let's Verify Step by Step" (§3): one fixed generator, an ORM and a PRM trained on the same
solutions, and best-of-N on held-out problems. Which supervision trains the better verifier?

Departs from the paper in two ways: best-of-N is computed exactly instead of by trials, and intervals are those of the
choice of problems, not of subsampling.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from any folder, installed or not

from components.candidates import CandidatesConfig, candidates
from components.contamination import contamination
from components.datasets import Dataset
from components.format_examples import keep_right
from components.generation import generate
from components.graded_solutions import graded_solutions
from components.grading import GRADER_VERSION, grade
from components.labelled_solutions import label_counts, labelled_solutions
from components.labelling import LabellingConfig, label_steps
from components.models import GeneratorConfig, generator
from components.problems import file_attributes, file_problems, file_rows, teacher, world_attributes, world_problems
from components.reference_solutions import reference_solutions
from components.score_quality import reductions, step_calibration
from components.scored_samples import scored_samples
from components.scoring import score
from components.stage import Model
from components.step_errors import first_errors, step_errors
from flows import cli, label_sources, results, reward_models, summary
from flows.label_sources import Labels


def full_study(study: cli.Study) -> None:
    """The study, top to bottom. Each `run` is one stage: reused where the store has it, else computed."""
    preset, run = study.preset, study.runner

    # The problems: worked arithmetic, or files. Held-out problems are in nothing that is trained on.
    problems, attributes = read_problems(study)
    labelled, graded = labelled_by_people(study), graded_by_others(study)
    look_for_contamination(study, problems, labelled_solutions=labelled, graded_solutions=graded)

    # The generator (§2.2): fixed from here on.
    base = train_generator(study, problems)

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
    prm_inputs = step_supervision(study, base, labels)
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


def read_problems(study: cli.Study) -> tuple[Dataset, Dataset]:
    """The tables of problems and of their attributes."""
    preset, run = study.preset, study.runner
    if study.files is not None:
        problems = run.table(file_problems(study.files, study.problem_paths))
        return problems, run.table(file_attributes(study.files, study.problem_paths))
    if preset.needs_files:
        what = "--train-problems, --test-problems"
        return run.awaits("problems", what), run.awaits("problem_attributes", what)
    return run.table(world_problems(preset.world)), run.table(world_attributes(preset.world))


def look_at_steps(study: cli.Study, solutions: Dataset, samples: Dataset, scores: dict[str, Dataset]) -> None:
    """The PRM by itself: by each reduction of its steps' probabilities (table 4); and where a rule rates steps, whether
    their probabilities mean what they say, and whether it finds the first wrong one."""
    preset, run = study.preset, study.runner
    run.table(reductions(preset.estimation.bootstrap), scored_samples=samples, **scores)
    if study.embedded:
        [labels] = run.map(solutions, label_steps(LabellingConfig(), "held_out_step_labels"))
        run.table(step_calibration(), held_out_step_labels=labels, **scores)
        run.table(step_errors(preset.step_errors), held_out_step_labels=labels, **scores)
        run.table(first_errors(preset.step_errors), held_out_step_labels=labels, **scores)


def train_generator(study: cli.Study, problems: Dataset) -> Model:
    """A base model finetuned for the format; without one, a tiny model trained from nothing on the embedded world's
    teacher, whatever the problems are."""
    preset, run = study.preset, study.runner
    if study.base_model is not None or preset.needs_files:
        base = study.base_model or Model("--base-model", None)  # only a plan comes so far without one
        return finetune(study, problems, base, preset.finetuning)
    return run.train(generator(preset.generator, None), solutions=run.table(teacher(preset.world)))


def finetune(study: cli.Study, problems: Dataset, base: Model, config: GeneratorConfig, prefix: str = "") -> Model:
    """A base model after some epochs on its own right few-shot solutions, or on those that come with the problems.
    prefix: of the stages' names."""
    preset, run, stage = study.preset, study.runner, generator(config, base, f"{prefix}generator")
    if study.learns_from_solutions and study.files is not None:
        rows = functools.partial(file_rows, study.files, study.problem_paths)
        return run.train(stage, solutions=run.table(reference_solutions(study.files, rows)))
    few_shot = generate(preset.few_shot, base, name=f"{prefix}few_shot_solutions")
    graded = grade(name=f"{prefix}few_shot_grades")
    shots, grades = run.map(problems.select(split="train"), few_shot, graded)
    examples = run.table(keep_right(preset.keep_right, f"{prefix}format_examples"), solutions=shots, grades=grades)
    return run.train(stage, solutions=examples)


def labelled_by_people(study: cli.Study) -> Dataset | None:
    """Solutions that people rated: PRM800K's files, or any. None where the study has none."""
    preset, run = study.preset, study.runner
    if study.labelled is not None:
        excluded = study.held_out if study.labelled.excluded else ()
        labelled = run.table(labelled_solutions(study.labelled, study.labelled_paths, excluded))
        run.table(label_counts(), labelled_solutions=labelled)
        return labelled
    if "human" in study.label_sources:  # only a plan comes so far without a file
        return run.awaits("labelled_solutions", "--labelled-solutions", preset.plan.labelled_rows)
    return None


def graded_by_others(study: cli.Study) -> Dataset | None:
    """Solutions that come with their outcome, in place of the study's own samples. None where the study has none."""
    if study.graded is None:
        return None
    excluded = study.held_out if study.graded.excluded else ()
    return study.runner.table(graded_solutions(study.graded, study.graded_paths, excluded))


def look_for_contamination(study: cli.Study, problems: Dataset, **trained_on: Dataset | None) -> None:
    """List the evaluation problems that are much like a text that is trained on (§2.1); the same ones were refused
    before any work. The embedded world's splits differ by construction."""
    if study.files is not None:
        given = {name: table for name, table in trained_on.items() if table is not None}
        study.runner.table(contamination(study.preset.contamination), problems=problems, **given)


def step_supervision(study: cli.Study, base: Model, labels: Labels) -> dict[str, Dataset] | None:
    """What the first PRM learns from, or None where no source rates the steps. labels: takes the source's, if they are
    of the study's own solutions."""
    if not study.label_sources:
        return None
    label_sources.rate(study, study.label_sources[0], base, None, labels)
    return labels.inputs(study.label_sources[0])


if __name__ == "__main__":
    sys.exit(cli.run(full_study, None, __doc__ or ""))
