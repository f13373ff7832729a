"""The numbers of the small-scale study (paper §4), beside each preset of the main one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from components.models import (
    Architecture,
    EvaluationConfig,
    GeneratorConfig,
    RewardModelConfig,
    TrainingConfig,
)
from components.sampling import SamplingConfig

POLICIES = ("active", "uncertainty", "top_k", "iterated")


@dataclass(frozen=True)
class SmallScaleConfig:
    """Every number of §4. The problems, the labeller and all that trains it are the main study's."""

    train_problems: int  # the first so many of the study's (or a few more, to fill a shard)
    generator: GeneratorConfig  # the small one: from nothing on the world's teacher, or finetuned
    sampling: SamplingConfig  # train: the pool that is chosen from; test: the N of best-of-N
    process: RewardModelConfig
    outcome: RewardModelConfig  # of both outcome series
    sizes: tuple[int, ...]  # solutions labelled per problem, each set within the next
    round_sizes: tuple[int, ...]  # of the iterated loop, after the first round at the smallest size
    policies: tuple[str, ...] = POLICIES  # of choosing what to label
    wrong_share: float = 0.8  # of what active learning labels: convincing wrong answers
    training_seeds: int = 3
    labeller: str = "prm"  # PRM_large; or rule: the embedded world's exact one


_NO_EVALUATION = EvaluationConfig(held_out_share=0.0)  # all solutions train; the test samples tell


def smoke(sampling: SamplingConfig) -> SmallScaleConfig:
    """sampling: the main study's."""
    training = TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-3)
    return SmallScaleConfig(
        train_problems=60,
        generator=GeneratorConfig(
            TrainingConfig(epochs=1, batch_size=16, learning_rate=2e-3, shuffle=False, max_tokens=256),
            Architecture(hidden_size=32, layers=2, heads=1, intermediate_size=64),
        ),
        sampling=dataclasses.replace(sampling, samples_per_problem={"train": 8, "test": 8}),
        process=RewardModelConfig("prm", training, _NO_EVALUATION),
        outcome=RewardModelConfig("orm", training, _NO_EVALUATION),
        sizes=(1, 2, 4),
        round_sizes=(4,),
        training_seeds=2,
    )


def laptop(sampling: SamplingConfig) -> SmallScaleConfig:
    # All series are trained alike, at a rate and for as long as suits each of them best: at 1e-3 the outcome verifiers
    # end lower, and at 5e-4 one in three process verifiers learns little.
    training = TrainingConfig(epochs=3, batch_size=4, learning_rate=3e-4, warmup_share=0.03, decay_share=0.4)
    return SmallScaleConfig(
        train_problems=600,
        generator=GeneratorConfig(
            TrainingConfig(epochs=1, batch_size=16, learning_rate=2e-3, shuffle=False, max_tokens=256),
            Architecture(hidden_size=96, layers=3, heads=3, intermediate_size=256),
        ),
        sampling=dataclasses.replace(sampling, samples_per_problem={"train": 32, "test": 32}),
        process=RewardModelConfig("prm", training, _NO_EVALUATION),
        outcome=RewardModelConfig("orm", training, _NO_EVALUATION),
        sizes=(1, 2, 4, 8),
        round_sizes=(2, 8),
        policies=("active",),  # figure 4a's; with --policies active iterated it takes a fifth longer
    )


def paper(sampling: SamplingConfig, finetuning: GeneratorConfig) -> SmallScaleConfig:
    """§4.1 and figure 4: 1 to 200 solutions per problem, best of 500, three seeds, a pool of 1,000. Sizes of models and
    all of their training are unstated there."""
    training = TrainingConfig(epochs=2, batch_size=256, learning_rate=1e-5, max_tokens=4096)
    return SmallScaleConfig(
        train_problems=12_000,
        generator=finetuning,
        sampling=dataclasses.replace(sampling, samples_per_problem={"train": 1000, "test": 500}),
        process=RewardModelConfig("prm", training, _NO_EVALUATION),
        outcome=RewardModelConfig("orm", dataclasses.replace(training, epochs=1), _NO_EVALUATION),
        sizes=(1, 5, 10, 20, 50, 100, 200),
        round_sizes=(10, 50, 200),
    )
