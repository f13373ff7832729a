"""Studies of one's own instruct model and files of problems: on one GPU, and on a node of eight. No run is behind their
rates; they are a start."""

from __future__ import annotations

import dataclasses

from components.data.sft_from_samples import KeepRightConfig
from components.labels.judge_labels import PROMPT, JudgeConfig
from components.labels.prm_labels import VerifierLabelsConfig
from components.sampling.engines import SamplingConfig
from components.training.config import EvaluationConfig, GeneratorConfig, RewardModelConfig, TrainingConfig
from components.verifiers.scoring import ScoringConfig
from flows.presets.laptop import LAPTOP
from flows.presets.math_7b import MATH_7B
from flows.presets.preset import FEW_SHOT, STOP, PlanConfig, rollouts_like

# GSM8K's and MATH's solutions by an instruct model are some 150 to 500 tokens.
SAMPLING = SamplingConfig(
    samples_per_problem={"train": 8, "test": 64, "ood": 64},
    temperature=1.0,  # where the model has no value of its own
    max_tokens=1024,
    max_model_length=4096,
    dtype="bfloat16",
    engine="vllm",
    sample_block=8,
)
TRAINING = TrainingConfig(epochs=2, batch_size=32, learning_rate=1e-5, max_tokens=2048, solutions_together=8)
EVALUATION = EvaluationConfig(held_out_share=0.05, per_epoch=2, watch="loss")
JUDGE = JudgeConfig(
    dataclasses.replace(
        SAMPLING, samples_per_problem={}, sample_block=1, temperature=0.0, max_tokens=2048, max_model_length=8192
    ),
    prompt=PROMPT.read_text(encoding="utf-8"),
)

ONE_GPU = dataclasses.replace(
    LAPTOP,
    name="one_gpu",
    about="your own instruct model of 0.5 to 3B (--generator) and files of problems, on one GPU; steps are rated by "
    "rollouts",
    few_shot=dataclasses.replace(
        SAMPLING, samples_per_problem={"train": 8}, few_shot=FEW_SHOT, stop=STOP, sample_block=8
    ),
    keep_right=KeepRightConfig(),
    finetuning=GeneratorConfig(TrainingConfig(epochs=1, batch_size=32, learning_rate=1e-5), None),
    sampling=SAMPLING,
    orm=RewardModelConfig("orm", TRAINING, EVALUATION),
    prm=RewardModelConfig("prm", TRAINING, EVALUATION),
    scoring=ScoringConfig(dtype="bfloat16"),
    rollouts=rollouts_like(SAMPLING),
    verifier_labels=VerifierLabelsConfig(dtype="bfloat16"),
    judge=JUDGE,
    label_sources=("rollouts_search",),  # after every step they take some five times as many continuations
    training_seeds=1,
    learning_rates=(),
    small_scale=MATH_7B.small_scale,
    plan=PlanConfig(
        prompt_tokens=120,
        solution_tokens=300,
        step_tokens=40,
        base_parameters=1.5e9,
        small_base_parameters=5e8,
        on_gpus=True,
    ),
    needs_files=True,
)

NODE_8GPU = dataclasses.replace(
    ONE_GPU,
    name="node_8gpu",
    about="the same for a model of 7B on a node of eight GPUs of 80 GB, which share each training (--sharding fsdp)",
    finetuning=GeneratorConfig(TrainingConfig(epochs=1, batch_size=128, learning_rate=1e-5), None),
    sampling=dataclasses.replace(SAMPLING, samples_per_problem={"train": 16, "test": 256, "ood": 64}, sample_block=16),
    orm=RewardModelConfig("orm", dataclasses.replace(TRAINING, batch_size=128), EVALUATION),
    prm=RewardModelConfig("prm", dataclasses.replace(TRAINING, batch_size=128), EVALUATION),
    plan=dataclasses.replace(ONE_GPU.plan, base_parameters=7e9),
)
