"""The paper's size: MATH, a base model of 7 billion parameters, PRM800K's labels; for GPUs."""

from __future__ import annotations

import dataclasses

from components.data.sft_from_samples import KeepRightConfig
from components.labels.judge_labels import PROMPT, JudgeConfig
from components.labels.prm_labels import VerifierLabelsConfig
from components.sampling.engines import SamplingConfig
from components.training.config import GeneratorConfig, RewardModelConfig, TrainingConfig
from components.verifiers.scoring import ScoringConfig
from flows.presets.laptop import LAPTOP, NO_EVALUATION
from flows.presets.preset import FEW_SHOT, STOP, PlanConfig, SmallScaleConfig, rollouts_like


def _small_scale(sampling: SamplingConfig, finetuning: GeneratorConfig) -> SmallScaleConfig:
    """§4.1 and figure 4: 1 to 200 solutions per problem, best of 500, three seeds, a pool of 1,000. Sizes of models and
    all of their training are unstated there."""
    training = TrainingConfig(epochs=2, batch_size=256, learning_rate=1e-5, max_tokens=4096)
    return SmallScaleConfig(
        train_problems=12_000,
        generator=finetuning,
        sampling=dataclasses.replace(sampling, samples_per_problem={"train": 1000, "test": 500}),
        process=RewardModelConfig("prm", training, NO_EVALUATION),
        outcome=RewardModelConfig("orm", training, NO_EVALUATION),
        sizes=(1, 5, 10, 20, 50, 100, 200),
        round_sizes=(10, 50, 200),
    )


# The paper's numbers, where it gives them. Its learning rates and batch sizes are unstated (only that a low rate is
# critical, §2.6, and that they were swept on the first tenth of PRM800K): ours are a start for a sweep.
SAMPLING = SamplingConfig(
    samples_per_problem={"train": 100, "test": 1860, "ood": 100},  # §2.5, §3.1 and table 1
    temperature=1.0,
    max_tokens=1024,
    max_model_length=4096,
    dtype="bfloat16",
    engine="vllm",
    sample_block=20,
)
MATH_7B = dataclasses.replace(
    LAPTOP,
    name="math_7b",
    about="the paper's size: MATH in PRM800K's 12,000/500 split, a 7B base model, PRM800K labels, 1860 samples; "
    "needs GPUs, files and a base model",
    few_shot=dataclasses.replace(
        SAMPLING, samples_per_problem={"train": 8}, few_shot=FEW_SHOT, stop=STOP, sample_block=8
    ),
    keep_right=KeepRightConfig(),
    finetuning=GeneratorConfig(TrainingConfig(epochs=1, batch_size=128, learning_rate=1e-5), None),  # §2.2: one epoch
    sampling=SAMPLING,
    orm=RewardModelConfig("orm", TrainingConfig(epochs=1, batch_size=256, learning_rate=1e-5, max_tokens=4096)),  # §2.5
    prm=RewardModelConfig("prm", TrainingConfig(epochs=2, batch_size=256, learning_rate=1e-5, max_tokens=4096)),  # §2.6
    scoring=ScoringConfig(dtype="bfloat16"),
    rollouts=rollouts_like(SAMPLING),
    verifier_labels=VerifierLabelsConfig(dtype="bfloat16"),
    judge=JudgeConfig(
        dataclasses.replace(
            SAMPLING,
            samples_per_problem={},
            sample_block=1,
            temperature=0.0,
            max_tokens=4096,
            max_model_length=8192,
        ),
        prompt=PROMPT.read_text(encoding="utf-8"),
    ),
    label_sources=("human",),
    training_seeds=1,  # a 7B model is trained once; the sentences say so
    learning_rates=(),
    small_scale=_small_scale(
        SAMPLING, GeneratorConfig(TrainingConfig(epochs=1, batch_size=128, learning_rate=1e-5), None)
    ),
    # MATH's problems have 203 characters in the mean; how much a model writes on them is its own.
    plan=PlanConfig(prompt_tokens=75, solution_tokens=400, step_tokens=40, on_gpus=True),
    needs_files=True,
)
