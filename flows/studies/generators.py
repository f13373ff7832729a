"""The generator of a study (paper §2.2): a finetuned base model, or a tiny one trained from nothing.

Or one that is sampled as it is, which departs from the paper: an instruct model was taught to reason in steps already.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable

from components.data.problems import file_rows, teacher
from components.data.sft_from_references import reference_solutions
from components.data.sft_from_samples import keep_right
from components.dataflow.datasets import Dataset
from components.dataflow.errors import StudyError
from components.dataflow.stage import MapStage, Model
from components.sampling.endpoint import EndpointAccess
from components.sampling.endpoint_generation import ask_for_solutions, endpoint_config, parameters
from components.sampling.engines import SamplingConfig
from components.sampling.generation import generate
from components.sampling.grading import grade
from components.text.segmentation import AUTO, NEWLINE, rule_for
from components.training.config import GeneratorConfig
from components.training.stages import generator
from flows.studies.endpoints import fingerprint_of
from flows.study import Study

Generator = Model | EndpointAccess
PROBE = "segmentation_probe"


def generator_of(study: Study, problems: Dataset) -> Generator:
    """Return what solutions are sampled from: a model behind an endpoint, or the generator of `train_generator`."""
    return study.endpoint or train_generator(study, problems)


def train_generator(study: Study, problems: Dataset) -> Model:
    """Return the generator: the study's own, as it is, or the base model, finetuned for the format.

    Without either: a tiny model from nothing, on the embedded world's teacher, whatever the problems are.
    """
    preset, run = study.preset, study.runner
    if study.generator is not None:
        return study.generator
    if study.base_model is not None or preset.needs_files:
        base = study.base_model or Model("--base-model", None)  # only a plan comes so far without one
        return finetune(study, problems, base, preset.finetuning)
    return run.train(generator(preset.generator, None), solutions=run.table(teacher(preset.world)))


def reward_model_base(study: Study, generator: Generator) -> Model:
    """Return what both reward models start from: the generator (paper §2.2), or --reward-base."""
    if study.reward_base is not None:
        return study.reward_base
    assert isinstance(generator, Model)
    return generator


def sampling_stage(study: Study, problems: Dataset, generator: Generator) -> MapStage:
    """Return the stage problems → solutions."""
    if isinstance(generator, Model):
        return generate(_with_rule(study, problems, functools.partial(generate, generator=generator)), generator)
    model = generator.endpoint.model
    sent = parameters(endpoint_config(study.preset.sampling, model, ""))
    fingerprint = fingerprint_of(study.runner, "--generator", generator, sent)

    def ask(sampling: SamplingConfig, name: str = "solutions") -> MapStage:
        return ask_for_solutions(endpoint_config(sampling, model, fingerprint), generator, name)

    return ask(_with_rule(study, problems, ask))


def _with_rule(study: Study, problems: Dataset, sample: Callable[..., MapStage]) -> SamplingConfig:
    """Return how the study samples. sample: makes the stage.

    A generator that is sampled as it is writes steps in a way of its own: with segmentation auto, one rule to cut all
    of its texts is chosen, that of most of a sample each of the first train problems. A plan that has none yet keeps
    auto.
    """
    run, sampling = study.runner, study.preset.sampling
    if sampling.segmentation != AUTO or (study.generator is None and study.endpoint is None):
        return sampling
    few = problems.select(split="train").first(1)  # a whole shard
    [probe] = run.map(few, sample(dataclasses.replace(sampling, samples_per_problem={"train": 1}), name=PROBE))
    is_done = run.only in {each.name for each in run.runs}
    if probe.digest is None and run.only is not None and not run.plan_only and not is_done:
        raise StudyError(
            f"--only {run.only}: how steps are cut is chosen by a few samples, which are not there: compute {PROBE} "
            "first, or give --segmentation"
        )
    if probe.digest is None:
        return sampling
    column = "thinking" if sampling.steps_of == "thinking" else "text"
    texts = [text for text in run.store.read(probe, [column])[column].to_pylist() if text.strip()]
    [(rule, count)] = Counter(map(rule_for, texts)).most_common(1) or [(NEWLINE, 0)]
    run.say(
        f"  steps are cut by {rule}, which {count} of {len(texts)} samples show; --segmentation chooses another rule"
    )
    return dataclasses.replace(sampling, segmentation=rule)


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
