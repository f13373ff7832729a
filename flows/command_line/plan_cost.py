"""What a plan expects each stage to cost: tokens, and FLOPs or GPU-hours, before anything ran.

What a finished run did spend is in its report (`components/evaluation/compute_cost.py`, whose counts of FLOPs are used
here). What a plan cannot know is an assumption, in the preset (`PlanConfig`) or below, and printed under the table.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.dataflow.datasets import Dataset, Shard
from components.dataflow.runner import Runner
from components.dataflow.stage import Model, ModelStage, TableStage
from components.dataflow.stage_run import StageRun
from components.evaluation.compute_cost import INFERENCE, TRAINING, parameters
from components.labels.judge_labels import JudgeConfig
from components.labels.prm_labels import VerifierLabelsConfig
from components.labels.rollouts import RolloutsConfig
from components.sampling.engines import SamplingConfig
from components.training.config import Architecture, GeneratorConfig, RewardModelConfig
from components.verifiers.scoring import ScoringConfig
from components.worlds.worked_arithmetic import VOCABULARY
from flows.presets.preset import PlanConfig, Preset

PEAK_FLOPS = 989e12  # FLOP/s of an H100 SXM, bfloat16, dense (NVIDIA's data sheet)
# Shares of that peak. One H200, which has the same, gave 0.39 in sampling by 7.6 billion parameters, where it waits for
# memory (an H100's has 0.7 of the speed), and 0.30 in training 1.3 billion (tests/benchmarks: engine_rate, training).
UTILISATION = {"sampling": 0.25, "scoring": 0.40, "training": 0.30}
_CHARACTERS_PER_TOKEN = 3  # of few-shot examples: English and LaTeX, rather too many tokens than too few
_SPECIAL_AND_BYTES = 2 + 256  # of the embedded tokenizer


@dataclass(frozen=True)
class Work:
    """The work that a stage still has to do, as expected.

    prompts, tokens: tokens read, and tokens written or learned from. most_tokens: tokens if every solution were as long
    as allowed. rows_are: as in Dataset.
    """

    kind: str  # sampling, scoring or training
    prompts: float
    tokens: float
    most_tokens: float
    flops: float
    rows_are: str = ""

    @property
    def gpu_hours(self) -> float:
        """Hours of an H100."""
        return self.flops / (PEAK_FLOPS * UTILISATION[self.kind]) / 3600


def expected_work(runner: Runner, preset: Preset) -> dict[str, Work]:
    """Return stage → expected work, of the stages of a plan that run a model and are not done."""
    found = {}
    for run in runner.runs:
        if run.status == "HIT" or run.stage is None or isinstance(run.stage, TableStage):
            continue
        config: Any = run.stage.config
        size = sum(model_size(runner, preset, model) for model in run.stage.models.values())
        if isinstance(config, SamplingConfig):
            found[run.name] = _sampling(run, config, preset.plan, size)
        elif isinstance(config, ScoringConfig | VerifierLabelsConfig):
            found[run.name] = _scoring(run, preset, size)
        elif isinstance(config, RolloutsConfig):
            found[run.name] = _rollouts(run, config, preset.plan, size)
        elif isinstance(config, JudgeConfig):
            found[run.name] = _judging(run, config, preset.plan, size)
        elif isinstance(config, GeneratorConfig | RewardModelConfig):
            found[run.name] = _training(run, config, preset, model_size(runner, preset, Model(run.name, None)))
    return {name: work for name, work in found.items() if work.tokens}


def model_size(runner: Runner, preset: Preset, model: Model) -> float:
    """Return the parameters of a model.

    They are counted in the folder of a model that exists; taken from the architecture, or from the starting model, of
    one that a plan foresees (its head is another); and assumed for a model that is still to be given.
    """
    if model.digest is not None:
        return parameters(runner.store, model)
    there = runner.results.get(model.path)
    if isinstance(there, Model):
        return parameters(runner.store, there)
    stages = {run.name: run.stage for run in runner.runs}
    stage = stages.get(model.path)
    if not isinstance(stage, ModelStage):
        small = model.path == "--small-base-model"
        return preset.plan.small_base_parameters if small else preset.plan.base_parameters
    architecture = getattr(stage.config, "architecture", None)
    if architecture is not None:
        return architecture_parameters(architecture)
    [start] = stage.models.values()
    return model_size(runner, preset, start)


def columns(work: Mapping[str, Work], preset: Preset) -> dict[str, dict[str, str]]:
    """Return column → stage → cell, for a plan's table."""
    if not work:
        return {}
    last = "GPU-hours" if preset.plan.on_gpus else "FLOPs"
    return {
        "prompts": {name: one.rows_are + short(one.prompts) for name, one in work.items()},
        "tokens": {name: one.rows_are + short(one.tokens) for name, one in work.items()},
        "at most": {name: short(one.most_tokens) for name, one in work.items()},
        last: {
            name: one.rows_are + (f"{one.gpu_hours:,.1f}" if preset.plan.on_gpus else short(one.flops))
            for name, one in work.items()
        },
    }


def footnote(runner: Runner, work: Mapping[str, Work], preset: Preset) -> list[str]:
    """Return the lines that explain the columns and their assumptions; none without work."""
    if not work:
        return []
    plan, models = preset.plan, [run.name for run in runner.runs if isinstance(run.stage, ModelStage)]
    sizes = sorted({model_size(runner, preset, Model(name, None)) for name in models})
    size = " to ".join(short(one) for one in dict.fromkeys((sizes[0], sizes[-1]))) if sizes else "known"
    total = sum(one.flops for one in work.values())
    most_thinking = preset.sampling.max_thinking_tokens
    thinking = f", its thinking {most_thinking // 2}" if most_thinking else ""
    text = (
        "rows: ≤ at most, ~ assumed, ? unknown. "
        f"tokens: of what is not done, if a problem has {plan.prompt_tokens}, a solution {plan.solution_tokens}"
        f"{thinking} and a labelled one {plan.labelled_tokens}; at most: if each were as long as it may be. In "
        f"training times epochs, without held-out problems; an alternative to a step adds {plan.step_tokens}. "
        "prompts: read once per problem and shard, in training with every solution or group of sampled ones. "
        f"FLOPs: {INFERENCE} per parameter and token in sampling and scoring, {TRAINING} in training, of {size} "
        f"parameters a model: {total:.2g} in all. "
    )
    if plan.on_gpus:
        hours = sum(one.gpu_hours for one in work.values())
        shares = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in UTILISATION.items())
        text += (
            f"GPU-hours: FLOPs / ({PEAK_FLOPS / 1e12:.0f}e12 FLOP/s, an H100's peak in bfloat16, x an assumed "
            f"utilisation: {shares}) / 3600: {hours:,.0f} in all."
        )
    return textwrap.wrap(text, 118)


def short(number: float) -> str:
    """Return a number with three digits and a unit.

    >>> [short(n) for n in (0, 96, 852_000_000, 2.13e6, 1.5e18)]
    ['0', '96', '852M', '2.13M', '1.5E']
    """
    for unit, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def architecture_parameters(architecture: Architecture) -> int:
    """Return the parameters of the embedded generator: a Llama with tied embeddings, over the world's vocabulary."""
    tokens = {word for word in VOCABULARY if len(word.encode()) > 1} | {f" {word}" for word in VOCABULARY}
    hidden = architecture.hidden_size
    layer = 4 * hidden**2 + 3 * hidden * architecture.intermediate_size + 2 * hidden
    return (_SPECIAL_AND_BYTES + len(tokens)) * hidden + architecture.layers * layer + hidden


def _sampling(run: StageRun, config: SamplingConfig, plan: PlanConfig, size: float) -> Work:
    rows, problems = _pending(run.output)
    prompts = problems * (plan.prompt_tokens + len(config.few_shot) // _CHARACTERS_PER_TOKEN)
    thinking = config.max_thinking_tokens  # how much of it is used is not known
    tokens = rows * (min(plan.solution_tokens, config.max_tokens) + thinking // 2)
    most = rows * (config.max_tokens + thinking)
    return Work("sampling", prompts, tokens, most, INFERENCE * size * (prompts + tokens), _sign(run.output))


def _scoring(run: StageRun, preset: Preset, size: float) -> Work:
    rows, problems = _pending(run.output)
    prompts, longest = problems * preset.plan.prompt_tokens, preset.sampling.max_tokens
    tokens = rows * min(preset.plan.solution_tokens, longest)
    return Work("scoring", prompts, tokens, rows * longest, INFERENCE * size * (prompts + tokens), _sign(run.output))


def _rollouts(run: StageRun, config: RolloutsConfig, plan: PlanConfig, size: float) -> Work:
    """Expect continuations of half a solution in the mean.

    There are as many as steps but the last; for the search, as many as halving takes if every answer is wrong.
    """
    rows, _ = _pending(run.output)
    steps = max(1, round(plan.solution_tokens / plan.step_tokens) - 1)
    asked = steps if config.search == "every_step" else math.ceil(math.log2(steps + 1))
    continuations = rows * asked * min(config.rollout_block, config.rollouts_per_step)
    prompts = rows * asked * (plan.prompt_tokens + plan.solution_tokens / 2)
    tokens, most = continuations * plan.solution_tokens / 2, continuations * config.sampling.max_tokens
    sign = "~" if config.search == "every_step" else "≤"
    return Work("sampling", prompts, tokens, most, INFERENCE * size * (prompts + tokens), sign)


def _judging(run: StageRun, config: JudgeConfig, plan: PlanConfig, size: float) -> Work:
    """Expect a judge as large as the generator, which writes as much as it may."""
    rows, _ = _pending(run.output)
    prompts = rows * (plan.prompt_tokens + plan.solution_tokens + len(config.prompt) // _CHARACTERS_PER_TOKEN)
    most = rows * config.sampling.max_tokens
    return Work("sampling", prompts, most, most, INFERENCE * size * (prompts + most), "≤")


def _training(run: StageRun, config: GeneratorConfig | RewardModelConfig, preset: Preset, size: float) -> Work:
    plan, training = preset.plan, config.training
    [source, *_] = run.inputs.values()
    sampled = source.name.startswith(("solutions", "supervised"))
    mean = plan.labelled_tokens if "labelled_solutions" in run.inputs else plan.solution_tokens
    longest = training.max_tokens - plan.prompt_tokens
    together = 1
    if sampled:
        mean, longest = min(mean, preset.sampling.max_tokens), min(longest, preset.sampling.max_tokens)
        together = min(training.solutions_together, preset.sampling.samples_per_problem.get("train", 1))
    share = 1 - config.evaluation.held_out_share if isinstance(config, RewardModelConfig) else 1.0
    alternatives = 0.0
    labels = run.inputs.get("step_labels")
    if isinstance(config, RewardModelConfig) and labels is not None and labels.name == "step_labels":  # the rule's
        with_them = training.epochs * (1 - config.prm_share_without_alternatives)
        alternatives = with_them * preset.labelling.alternatives * plan.step_tokens
    rows = share * source.rows
    prompts = rows * training.epochs * plan.prompt_tokens / together
    tokens = rows * (training.epochs * mean + alternatives)
    most = rows * (training.epochs * longest + alternatives)
    return Work("training", prompts, tokens, most, TRAINING * size * (prompts + tokens), source.rows_are)


def _sign(dataset: Dataset | None) -> str:
    return dataset.rows_are if dataset is not None else ""


def _pending(dataset: Dataset | None) -> tuple[int, int]:
    """Return the rows that are missing, and how often a problem's prompt is read for them: once per shard."""
    shards: list[Shard] = [shard for shard in dataset.shards if not shard.digest] if dataset is not None else []
    return sum(shard.rows for shard in shards), sum(
        shard.rows // int(shard.attributes.get("sample_count", 1)) for shard in shards
    )
