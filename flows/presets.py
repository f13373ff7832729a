"""Presets: every number of a study, once, typed, with the paper's section where it has one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from components.contamination import ContaminationConfig
from components.format_examples import KeepRightConfig
from components.grading import GRADER_VERSION
from components.judge import PROMPT, JudgeConfig
from components.labelling import LabellingConfig
from components.models import Architecture, EvaluationConfig, GeneratorConfig, RewardModelConfig, TrainingConfig
from components.rollouts import RolloutsConfig
from components.sampling import SamplingConfig
from components.scored_samples import ReductionConfig
from components.scoring import ScoringConfig
from components.step_errors import StepErrorsConfig
from components.verifier_labels import VerifierLabelsConfig
from components.worked_arithmetic import WorldConfig
from flows import small_scale_presets
from flows.plan_cost import PlanConfig
from flows.results import EstimationConfig
from flows.small_scale_presets import SmallScaleConfig

# Worked examples before each prompt when a base model does not know the format yet (paper §2.2: few-shot; how many
# shots is unstated there). Newline-delimited steps, the answer in a section of its own.
FEW_SHOT = """\
What is the sum of the first 5 odd numbers?

The first five odd numbers are 1, 3, 5, 7, 9.
Their sum is 1 + 3 + 5 + 7 + 9 = 25.
# Answer

25

---

If $2x + 3 = 11$, what is $x^2$?

Subtract 3 from both sides: $2x = 8$.
Divide by 2: $x = 4$.
So $x^2 = 4^2 = 16$.
# Answer

16

---

A rectangle has sides $3$ and $5$. What fraction of its perimeter is its longer side?

The perimeter is $2(3 + 5) = 16$.
The longer side is $5$.
The fraction is $\\frac{5}{16}$.
# Answer

\\frac{5}{16}

---

"""

# What a model that was taught to chat is told in place of going on with a text, before the examples and the problem.
CHAT_INSTRUCTION = """\
Solve the problem that comes last, step by step. Write each step on a line of its own, without headings and without \
empty lines between the steps. Then write a line "# Answer", an empty line, and the final answer alone, as in the \
examples, if there are any."""

STOP = "\n---"  # what a base model writes before it goes on to another problem


@dataclass(frozen=True)
class Preset:
    """One study: every number that can change its results."""

    name: str
    about: str
    world: WorldConfig  # the embedded problems, and what the embedded generator learns from
    generator: GeneratorConfig  # from nothing, on the world's teacher
    # With a base model instead (paper §2.2): few-shot samples, those kept, and one epoch over them.
    few_shot: SamplingConfig
    keep_right: KeepRightConfig
    finetuning: GeneratorConfig
    sampling: SamplingConfig
    orm: RewardModelConfig
    labelling: LabellingConfig  # of the embedded world's steps
    prm: RewardModelConfig
    scoring: ScoringConfig
    reduction: ReductionConfig
    estimation: EstimationConfig
    step_errors: StepErrorsConfig
    rollouts: RolloutsConfig  # of label sources
    verifier_labels: VerifierLabelsConfig
    judge: JudgeConfig
    judge_training: GeneratorConfig  # of the embedded world's judge, from its generator, on
    judge_world: WorldConfig
    contamination: ContaminationConfig
    small_scale: SmallScaleConfig  # of flows/small_scale.py
    plan: PlanConfig  # what a plan assumes
    # Where step labels come from (flows/label_sources.py), each with a PRM of its own; the first one's is `prm`.
    label_sources: tuple[str, ...] = ("rule",)
    # So many ORMs and PRMs on the same solutions: the noise of training, told apart from that of the problems.
    training_seeds: int = 1
    # Rates to try for both reward models, each of which keeps the one that does best on held-out problems; (): none.
    learning_rates: tuple[float, ...] = ()
    needs_files: bool = False  # problems from files and a base model, not the embedded world


def reseeded(config: Any, seed: int) -> Any:
    """A copy of nested configs with every field named `seed` set."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "seed":
            changes["seed"] = seed
        elif dataclasses.is_dataclass(value):
            changes[field.name] = reseeded(value, seed)
    return dataclasses.replace(config, **changes)


_LAPTOP_SAMPLING = SamplingConfig(
    samples_per_problem={"train": 4, "test": 64, "ood": 16},
    temperature=0.7,  # fewer accidents, which are too rare for a small verifier to learn
    max_tokens=128,
    max_model_length=2048,
    dtype="float32",
    engine="vllm",
)


def rollouts_like(sampling: SamplingConfig) -> RolloutsConfig:
    """Continuations that are sampled like solutions; Math-Shepherd's eight of each step."""
    sampling = dataclasses.replace(sampling, samples_per_problem={}, sample_block=1)
    return RolloutsConfig(sampling, search="every_step", grader_version=GRADER_VERSION)


_LAPTOP_EVALUATION = EvaluationConfig(held_out_share=0.025)  # 100 problems

LAPTOP = Preset(
    name="laptop",
    about="the embedded study on a laptop's CPU, minutes; or your own files of problems with the same tiny models",
    world=WorldConfig(),
    generator=GeneratorConfig(
        TrainingConfig(epochs=1, batch_size=16, learning_rate=2e-3, shuffle=False, max_tokens=256),
        Architecture(),
    ),
    few_shot=dataclasses.replace(
        _LAPTOP_SAMPLING, samples_per_problem={"train": 4}, max_tokens=512, few_shot=FEW_SHOT, stop=STOP
    ),
    keep_right=KeepRightConfig(),
    finetuning=GeneratorConfig(TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-4), None),
    sampling=_LAPTOP_SAMPLING,
    orm=RewardModelConfig("orm", TrainingConfig(epochs=2, batch_size=8, learning_rate=1e-3), _LAPTOP_EVALUATION),
    # A tiny generator's mistakes are of few kinds; a PRM that sees those alone never looks at the rest of a step.
    labelling=LabellingConfig(alternatives=8),
    # At the ORM's rate a PRM sometimes forgets what the generator knows before it has learned to use it. Alternatives
    # make it look at all of a step; the last steps, without them, teach it how rare wrong steps are in solutions.
    prm=RewardModelConfig(
        "prm",
        TrainingConfig(epochs=3, batch_size=4, learning_rate=3e-4, warmup_share=0.03, decay_share=0.4),
        _LAPTOP_EVALUATION,
        prm_share_without_alternatives=0.1,
    ),
    scoring=ScoringConfig(),
    reduction=ReductionConfig(reduction="product", neutral="positive"),
    estimation=EstimationConfig(),
    step_errors=StepErrorsConfig(),
    rollouts=rollouts_like(_LAPTOP_SAMPLING),
    verifier_labels=VerifierLabelsConfig(),
    judge=JudgeConfig(
        dataclasses.replace(_LAPTOP_SAMPLING, samples_per_problem={}, sample_block=1, temperature=0.0, max_tokens=160),
        prompt="{problem}\n{steps}",  # a tiny model reads no instructions
    ),
    judge_training=GeneratorConfig(TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-3), None),
    judge_world=WorldConfig(teacher_solutions=16_000, curriculum_share=0.0),
    contamination=ContaminationConfig(),
    small_scale=small_scale_presets.laptop(_LAPTOP_SAMPLING),
    plan=PlanConfig(prompt_tokens=24, solution_tokens=27, step_tokens=7),
)

SMOKE = dataclasses.replace(
    LAPTOP,
    name="smoke",
    about="the same code at the smallest size that runs everything; its numbers mean nothing",
    world=WorldConfig(
        train_problems=60,
        test_problems=20,
        ood_problems=5,
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
        LAPTOP.sampling, samples_per_problem={"train": 2, "test": 8, "ood": 4}, sample_block=4
    ),
    # A base model of this size makes nothing of worked examples: it is asked plainly.
    few_shot=dataclasses.replace(_LAPTOP_SAMPLING, samples_per_problem={"train": 4}),
    orm=RewardModelConfig("orm", TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-3)),
    labelling=LabellingConfig(alternatives=2),
    judge_world=WorldConfig(min_operations=2, max_operations=3, teacher_solutions=800, curriculum_share=0.0),
    prm=RewardModelConfig("prm", TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-3)),
    small_scale=small_scale_presets.smoke(dataclasses.replace(_LAPTOP_SAMPLING, sample_block=4)),
    plan=PlanConfig(prompt_tokens=20, solution_tokens=22, step_tokens=7),
)

LABEL_SOURCES = dataclasses.replace(
    LAPTOP,
    name="label_sources",
    about="who should rate the steps: on the laptop's embedded world, one PRM each from the exact rule, rollouts, "
    "their binary search, another PRM and a judge, on the same solutions",
    # Rollouts take eight continuations of every step. The first 500 problems are the same as the laptop study's.
    world=dataclasses.replace(LAPTOP.world, train_problems=500),
    labelling=LabellingConfig(alternatives=0),  # which no other source has
    label_sources=("rule", "rollouts", "rollouts_search", "prm", "judge"),
)

# The paper's numbers, where it gives them. Its learning rates and batch sizes are unstated (only that a low rate is
# critical, §2.6, and that they were swept on the first tenth of PRM800K): ours are a start for a sweep.
_MATH_SAMPLING = SamplingConfig(
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
        _MATH_SAMPLING, samples_per_problem={"train": 8}, few_shot=FEW_SHOT, stop=STOP, sample_block=8
    ),
    keep_right=KeepRightConfig(),
    finetuning=GeneratorConfig(TrainingConfig(epochs=1, batch_size=128, learning_rate=1e-5), None),  # §2.2: one epoch
    sampling=_MATH_SAMPLING,
    orm=RewardModelConfig("orm", TrainingConfig(epochs=1, batch_size=256, learning_rate=1e-5, max_tokens=4096)),  # §2.5
    prm=RewardModelConfig("prm", TrainingConfig(epochs=2, batch_size=256, learning_rate=1e-5, max_tokens=4096)),  # §2.6
    scoring=ScoringConfig(dtype="bfloat16"),
    rollouts=rollouts_like(_MATH_SAMPLING),
    verifier_labels=VerifierLabelsConfig(dtype="bfloat16"),
    judge=JudgeConfig(
        dataclasses.replace(
            _MATH_SAMPLING,
            samples_per_problem={},
            sample_block=1,
            temperature=0.0,
            max_tokens=4096,
            max_model_length=8192,
        ),
        prompt=PROMPT.read_text(encoding="utf-8"),
    ),
    label_sources=("human",),
    small_scale=small_scale_presets.paper(
        _MATH_SAMPLING, GeneratorConfig(TrainingConfig(epochs=1, batch_size=128, learning_rate=1e-5), None)
    ),
    # MATH's problems have 203 characters in the mean; how much a model writes on them is its own.
    plan=PlanConfig(prompt_tokens=75, solution_tokens=400, step_tokens=40, on_gpus=True),
    needs_files=True,
)

# Of problems, samples, training and votes alike; chosen before it was ever run.
SEED = 8
PRESETS = {preset.name: reseeded(preset, SEED) for preset in (SMOKE, LAPTOP, LABEL_SOURCES, MATH_7B)}
