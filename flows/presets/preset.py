"""Presets: every number of a study, once, typed, with the paper's section where it has one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import PositiveFloat, PositiveInt

from components.data.contamination import ContaminationConfig
from components.data.sft_from_samples import KeepRightConfig
from components.evaluation.curves import EstimationConfig
from components.evaluation.first_error import StepErrorsConfig
from components.evaluation.scored_samples import ReductionConfig
from components.labels.judge_labels import JudgeConfig
from components.labels.prm_labels import VerifierLabelsConfig
from components.labels.rollouts import RolloutsConfig
from components.labels.rule_labels import LabellingConfig
from components.sampling.engines import SamplingConfig
from components.sampling.grading import GRADER_VERSION
from components.training.config import GeneratorConfig, RewardModelConfig
from components.verifiers.scoring import ScoringConfig
from components.worlds.worked_arithmetic import WorldConfig
from flows.presets.label_source_names import LabelSource
from schemas.settings import Share, settings
from schemas.small_scale import POLICIES, Policy

# Worked examples before each prompt when a base model does not know the format yet (paper §2.2: few-shot; how many
# shots is unstated there). Newline-delimited steps, the answer in a section of its own.
FEW_SHOT = (Path(__file__).with_name("few_shot.txt")).read_text(encoding="utf-8")

# What a model that was taught to chat is told in place of going on with a text, before the examples and the problem.
CHAT_INSTRUCTION = (Path(__file__).with_name("chat_instruction.txt")).read_text(encoding="utf-8")

# What a model that is sampled as it is is told, in the user's turn of its own chat template.
GENERATOR_PROMPT = (Path(__file__).with_name("generator_prompt.txt")).read_text(encoding="utf-8")

STOP = "\n---"  # what a base model writes before it goes on to another problem


# Where a preset says how an engine samples.
SAMPLING_PATHS = ("sampling", "few_shot", "rollouts.sampling", "judge.sampling", "small_scale.sampling")

Seeds = Annotated[int, Ge(1), Le(1000)]  # how many trainings of one model


@settings
class SmallScaleConfig:
    """Every number of §4. The problems, the labeller and all that trains it are the main study's."""

    train_problems: PositiveInt  # the first so many of the study's (or a few more, to fill a shard)
    generator: GeneratorConfig  # the small one: from nothing on the world's teacher, or finetuned
    sampling: SamplingConfig  # train: the pool that is chosen from; test: the N of best-of-N
    process: RewardModelConfig
    outcome: RewardModelConfig  # of both outcome series
    sizes: tuple[PositiveInt, ...]  # solutions labelled per problem, each set within the next
    round_sizes: tuple[PositiveInt, ...]  # of the iterated loop, after the first round at the smallest size
    policies: tuple[Policy, ...] = POLICIES  # of choosing what to label
    wrong_share: Share = 0.8  # of what active learning labels: convincing wrong answers
    training_seeds: Seeds = 3  # verifiers per series and size
    labeller: Literal["prm", "rule"] = "prm"  # PRM_large; or rule: the embedded world's exact one

    def __post_init__(self) -> None:
        sizes, pool = self.sizes, self.sampling.samples_per_problem["train"]
        for name, values in (("sizes", sizes), ("round_sizes", self.round_sizes)):
            if list(values) != sorted(set(values)):
                raise ValueError(f"{name} {' '.join(map(str, values))}: each must be larger than the one before")
        if not sizes:
            raise ValueError("sizes: one at least is wanted")
        if len(set(self.policies)) < len(self.policies):
            raise ValueError("policies: one is named twice")
        if (largest := max((*sizes, *self.round_sizes))) > pool:
            raise ValueError(f"size {largest}: the pool has {pool} solutions per problem; give a larger --pool too")


@settings
class PlanConfig:
    """Assumptions, for plans alone: no result depends on them. Means of tokens, by the generator's tokenizer."""

    prompt_tokens: PositiveInt  # of a problem's text
    solution_tokens: PositiveInt  # of a solution, sampled or a teacher's
    step_tokens: PositiveInt  # of an alternative to a step
    labelled_tokens: PositiveInt = 200  # of a labelled solution: PRM800K's have 556 characters, to the first error
    labelled_rows: PositiveInt = 98_731  # where no file is given: PRM800K's train lines (949 + 97,782), unfiltered
    base_parameters: PositiveFloat = 7e9  # where no base model is given
    small_base_parameters: PositiveFloat = 5e8  # where no small one is
    on_gpus: bool = False  # tell GPU-hours instead of FLOPs


@settings
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
    alternatives: LabellingConfig  # of them and of alternatives to them, for --label-sources rule alternatives
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
    # Where step labels come from (studies/label_sources.py), each with a PRM of its own; the first one's is `prm`.
    label_sources: tuple[LabelSource, ...] = ("rule",)
    # So many ORMs and PRMs on the same solutions: the noise of training, told apart from that of the problems.
    training_seeds: Seeds = 1
    # Rates to try for both reward models, each of which keeps the one that does best on held-out problems; (): none.
    learning_rates: tuple[PositiveFloat, ...] = ()
    needs_files: bool = False  # problems from files and a base model, not the embedded world

    def __post_init__(self) -> None:
        for name, values in (("learning_rates", self.learning_rates), ("label_sources", self.label_sources)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: one is named twice")
        for sampling in (self.sampling, self.small_scale.sampling):
            if not {"train", "test"} <= sampling.samples_per_problem.keys():
                raise ValueError("samples_per_problem must have train and test")
        if self.sampling.temperature < 0.01:
            raise ValueError("temperature must be 0.01 or more: without chance all samples of a problem are one")


def reseeded(config: Any, seed: int) -> Any:
    """Return a copy of nested configs with every field named `seed` set."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "seed":
            changes["seed"] = seed
        elif dataclasses.is_dataclass(value):
            changes[field.name] = reseeded(value, seed)
    return dataclasses.replace(config, **changes)


def rollouts_like(sampling: SamplingConfig) -> RolloutsConfig:
    """Return the config of continuations that are sampled like solutions: Math-Shepherd's eight of each step."""
    sampling = dataclasses.replace(sampling, samples_per_problem={}, sample_block=1)
    return RolloutsConfig(sampling, search="every_step", grader_version=GRADER_VERSION)
