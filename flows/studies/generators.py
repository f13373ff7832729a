"""The generator of a study (paper §2.2): a finetuned base model, or a tiny one trained from nothing."""

from __future__ import annotations

import functools

from components.data.problems import file_rows, teacher
from components.data.sft_from_references import reference_solutions
from components.data.sft_from_samples import keep_right
from components.dataflow.datasets import Dataset
from components.dataflow.stage import Model
from components.sampling.generation import generate
from components.sampling.grading import grade
from components.training.config import GeneratorConfig
from components.training.stages import generator
from flows.study import Study


def train_generator(study: Study, problems: Dataset) -> Model:
    """Train the generator: finetune the base model for the format.

    Without a base model: a tiny model from nothing, on the embedded world's teacher, whatever the problems are.
    """
    preset, run = study.preset, study.runner
    if study.base_model is not None or preset.needs_files:
        base = study.base_model or Model("--base-model", None)  # only a plan comes so far without one
        return finetune(study, problems, base, preset.finetuning)
    return run.train(generator(preset.generator, None), solutions=run.table(teacher(preset.world)))


def finetune(study: Study, problems: Dataset, base: Model, config: GeneratorConfig, prefix: str = "") -> Model:
    """Finetune a base model on its own right few-shot solutions, or on those that come with the problems.

    prefix: of the stages' names.
    """
    preset, run, stage = study.preset, study.runner, generator(config, base, f"{prefix}generator")
    if study.learns_from_solutions and study.files is not None:
        rows = functools.partial(file_rows, study.files, study.problem_paths)
        return run.train(stage, solutions=run.table(reference_solutions(study.files, rows)))
    few_shot = generate(preset.few_shot, base, name=f"{prefix}few_shot_solutions")
    graded = grade(name=f"{prefix}few_shot_grades")
    shots, grades = run.map(problems.select(split="train"), few_shot, graded)
    examples = run.table(keep_right(preset.keep_right, f"{prefix}format_examples"), solutions=shots, grades=grades)
    return run.train(stage, solutions=examples)
