"""The laptop's study at the smallest size that runs everything."""

from __future__ import annotations

import dataclasses

from components.labels.rule_labels import LabellingConfig
from components.sampling.engines import SamplingConfig
from components.training.config import Architecture, GeneratorConfig, RewardModelConfig, TrainingConfig
from components.worlds.worked_arithmetic import WorldConfig
from flows.presets.laptop import LAPTOP, NO_EVALUATION, SAMPLING
from flows.presets.preset import PlanConfig, SmallScaleConfig

TRAINING = TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-3, solutions_together=2)


def _small_scale(sampling: SamplingConfig) -> SmallScaleConfig:
    """Return the small-scale study's numbers. sampling: the main study's."""
    return SmallScaleConfig(
        train_problems=60,
        generator=GeneratorConfig(
            TrainingConfig(epochs=1, batch_size=16, learning_rate=2e-3, shuffle=False, max_tokens=256),
            Architecture(hidden_size=32, layers=2, heads=1, intermediate_size=64),
        ),
        sampling=dataclasses.replace(sampling, samples_per_problem={"train": 8, "test": 8}),
        process=RewardModelConfig("prm", TRAINING, NO_EVALUATION),
        outcome=RewardModelConfig("orm", TRAINING, NO_EVALUATION),
        sizes=(1, 2, 4),
        round_sizes=(4,),
        training_seeds=2,
    )


SMOKE = dataclasses.replace(
    LAPTOP,
    name="smoke",
    about="the same code at the smallest size that runs everything; its numbers mean nothing",
    world=WorldConfig(
        train_problems=60,
        test_problems=20,
        ood_problems=5,
        new_facts_problems=5,
        min_operations=2,
        max_operations=3,
        ood_min_operations=4,
        ood_max_operations=5,
        teacher_solutions=3200,
    ),
    generator=dataclasses.replace(
        LAPTOP.generator, architecture=Architecture(hidden_size=64, layers=2, heads=2, intermediate_size=128)
    ),
    sampling=dataclasses.replace(
        LAPTOP.sampling, samples_per_problem={"train": 2, "test": 8, "ood": 4, "new_facts": 4}, sample_block=4
    ),
    # A base model of this size makes nothing of worked examples: it is asked plainly.
    few_shot=dataclasses.replace(SAMPLING, samples_per_problem={"train": 4}, top_p=1.0),
    orm=RewardModelConfig("orm", TRAINING),
    alternatives=LabellingConfig(alternatives=2, misreadings=1),
    judge_world=WorldConfig(min_operations=2, max_operations=3, teacher_solutions=800, curriculum_share=0.0),
    prm=RewardModelConfig("prm", TRAINING),
    training_seeds=1,
    learning_rates=(),
    small_scale=_small_scale(dataclasses.replace(SAMPLING, sample_block=4)),
    plan=PlanConfig(prompt_tokens=20, solution_tokens=22, step_tokens=7),
)
