"""The embedded study on a laptop: problems of worked arithmetic, a tiny transformer trained from nothing."""

from __future__ import annotations

import dataclasses

from components.data.contamination import ContaminationConfig
from components.data.sft_from_samples import KeepRightConfig
from components.evaluation.curves import EstimationConfig
from components.evaluation.first_error import StepErrorsConfig
from components.evaluation.scored_samples import ReductionConfig
from components.labels.judge_labels import JudgeConfig
from components.labels.prm_labels import VerifierLabelsConfig
from components.labels.rule_labels import LabellingConfig
from components.sampling.engines import SamplingConfig
from components.training.config import (
    Architecture,
    EvaluationConfig,
    GeneratorConfig,
    RewardModelConfig,
    TrainingConfig,
)
from components.verifiers.scoring import ScoringConfig
from components.worlds.worked_arithmetic import WorldConfig
from flows.presets.preset import FEW_SHOT, STOP, PlanConfig, Preset, SmallScaleConfig, rollouts_like

SAMPLING = SamplingConfig(
    samples_per_problem={"train": 2, "test": 64, "ood": 16, "new_facts": 16},
    temperature=1.0,  # colder samples are copies of each other: at 0.7, sixty-four were six texts
    top_p=0.98,  # without accidents: each kind is too rare for a small verifier to learn, and best-of-64 picks them
    max_tokens=128,
    max_model_length=2048,
    dtype="float32",
    engine="vllm",
)

# Gently at first: a generator that has learned to look up what a problem says must not forget it.
TRAINING = TrainingConfig(
    epochs=4, batch_size=16, learning_rate=3e-4, warmup_share=0.1, decay_share=0.4, solutions_together=2
)

# By the loss: on problems like those that a model trains on its AUC is soon near 1, at every rate. Once an epoch: four
# evaluations take a tenth of the training's time.
EVALUATION = EvaluationConfig(held_out_share=0.05, per_epoch=1, watch="loss")

NO_EVALUATION = EvaluationConfig(held_out_share=0.0)  # all solutions train; the test samples tell


def _small_scale(sampling: SamplingConfig) -> SmallScaleConfig:
    # All series are trained alike, at a rate and for as long as suits each of them best: at 1e-3 the outcome verifiers
    # end lower, and at 5e-4 one in three process verifiers learns little.
    """Return the small-scale study's numbers. sampling: the main study's."""
    training = TrainingConfig(
        epochs=3, batch_size=4, learning_rate=3e-4, warmup_share=0.03, decay_share=0.4, solutions_together=2
    )
    return SmallScaleConfig(
        train_problems=600,
        generator=GeneratorConfig(
            TrainingConfig(epochs=1, batch_size=16, learning_rate=2e-3, shuffle=False, max_tokens=256),
            Architecture(hidden_size=96, layers=3, heads=3, intermediate_size=256),
        ),
        # A pool that is large against what is chosen of it: the paper's has 1,000, of which it labels up to 200.
        sampling=dataclasses.replace(sampling, samples_per_problem={"train": 64, "test": 32}),
        process=RewardModelConfig("prm", training, NO_EVALUATION),
        outcome=RewardModelConfig("orm", training, NO_EVALUATION),
        sizes=(1, 2, 4, 8),
        round_sizes=(2, 8),
        policies=("active",),  # figure 4a's; with --policies active iterated it takes a fifth longer
    )


LAPTOP = Preset(
    name="laptop",
    about="the embedded study on a laptop's CPU, minutes; or your own files of problems with the same tiny models",
    world=WorldConfig(),
    generator=GeneratorConfig(
        TrainingConfig(epochs=1, batch_size=16, learning_rate=2e-3, shuffle=False, max_tokens=256),
        # Deep rather than wide: a verifier looks up what the problem says, compares, and sums up at the step's end,
        # each in a layer of its own. With four layers of 128 it was chance whether a PRM learned that in time.
        Architecture(hidden_size=96, layers=6, heads=3, intermediate_size=288),
    ),
    few_shot=dataclasses.replace(
        SAMPLING, samples_per_problem={"train": 4}, top_p=1.0, max_tokens=512, few_shot=FEW_SHOT, stop=STOP
    ),
    keep_right=KeepRightConfig(),
    finetuning=GeneratorConfig(TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-4), None),
    sampling=SAMPLING,
    # Both are trained alike, but for the learning rate: each keeps the best of the same ones.
    orm=RewardModelConfig("orm", TRAINING, EVALUATION),
    labelling=LabellingConfig(),
    alternatives=LabellingConfig(alternatives=8, misreadings=4),
    # The last steps, without alternatives, teach a PRM that has them how rare wrong steps are in solutions.
    prm=RewardModelConfig("prm", TRAINING, EVALUATION, prm_share_without_alternatives=0.1),
    scoring=ScoringConfig(),
    reduction=ReductionConfig(reduction="product", neutral="positive"),
    estimation=EstimationConfig(),
    step_errors=StepErrorsConfig(),
    rollouts=rollouts_like(SAMPLING),
    verifier_labels=VerifierLabelsConfig(),
    judge=JudgeConfig(
        dataclasses.replace(
            SAMPLING, samples_per_problem={}, sample_block=1, temperature=0.0, top_p=1.0, max_tokens=160
        ),
        prompt="{problem}\n{steps}",  # a tiny model reads no instructions
    ),
    judge_training=GeneratorConfig(TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-3), None),
    judge_world=WorldConfig(teacher_solutions=16_000, curriculum_share=0.0),
    contamination=ContaminationConfig(),
    training_seeds=3,
    learning_rates=(3e-4, 5e-4),
    small_scale=_small_scale(SAMPLING),
    plan=PlanConfig(prompt_tokens=24, solution_tokens=27, step_tokens=7),
)
