"""Which stages of a plan fit into a GPU's memory, by the architecture of their model, and which number to change.

An estimate: of sampling the weights and the cache of one sequence of full length, of training what `memory_budget.py`
reckons. A model that is not on this machine is taken to have the shape of the published Qwen2.5 of its size.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.dataflow.errors import InputError
from components.dataflow.runner import Runner
from components.dataflow.stage import Model, ModelStage, TableStage
from components.labels.judge_labels import JudgeConfig
from components.labels.prm_labels import VerifierLabelsConfig
from components.labels.rollouts import RolloutsConfig
from components.models.model_folder import read_config
from components.sampling.engines import SamplingConfig
from components.training.config import GeneratorConfig, RewardModelConfig
from components.training.memory_budget import OF_A_PARAMETER, bytes_of_a_token
from components.verifiers.scoring import ScoringConfig
from flows.command_line.plan_cost import model_size
from flows.presets.paths import path_of
from flows.presets.preset import Preset

_USABLE = 0.9  # of the memory, as vLLM takes it too
_ROW = 2**30  # bytes, about, of a scorer's row
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# parameters → hidden size, layers, feed-forward size, attention heads, heads of keys and values (their config.json)
_QWEN = {
    0.5e9: (896, 24, 4864, 14, 2),
    1.5e9: (1536, 28, 8960, 12, 2),
    3e9: (2048, 36, 11008, 16, 2),
    7e9: (3584, 28, 18944, 28, 4),
    14e9: (5120, 48, 13824, 40, 8),
    32e9: (5120, 64, 27648, 40, 8),
    72e9: (8192, 80, 29568, 64, 8),
}
_QWEN_VOCABULARY = 151_936


@dataclass(frozen=True)
class Gpus:
    """The GPUs that a plan is to fit: bytes of each, and how many share one model in training."""

    memory: float
    count: int = 1


@dataclass(frozen=True)
class Need:
    """What a stage needs of each GPU, in bytes; advice: what to change where that is more than there is."""

    memory: float
    advice: str


def read_gpus(text: str) -> Gpus:
    """Read --fits gpu=24GB or gpu=80GB,count=8. Raises InputError.

    >>> read_gpus("gpu=80GB,count=8")
    Gpus(memory=80000000000.0, count=8)
    """
    match = re.fullmatch(r"gpu=(\d+(?:\.\d+)?)(GB|GiB)(?:,count=([1-9]\d{0,3}))?", text)
    if match is None:
        raise InputError(f"--fits {text}: gpu=24GB is wanted, or gpu=80GB,count=8 for GPUs that share a training")
    if not float(match[1]):
        raise InputError(f"--fits {text}: a GPU without memory holds no model")
    return Gpus(float(match[1]) * (1e9 if match[2] == "GB" else 2**30), int(match[3] or 1))


def needs(runner: Runner, preset: Preset, gpus: Gpus) -> dict[str, Need]:
    """Return stage → need, of the stages of a plan that run a model and are not done."""
    found: dict[str, Need] = {}
    for run in runner.runs:
        if run.status == "HIT" or run.stage is None or isinstance(run.stage, TableStage):
            continue
        config: Any = run.stage.config
        path = path_of(preset, config) or run.name
        if isinstance(config, GeneratorConfig | RewardModelConfig) and isinstance(run.stage, ModelStage):
            found[run.name] = _training(runner, preset, run.name, path, config, gpus)
        elif isinstance(config, SamplingConfig | RolloutsConfig | JudgeConfig) and run.stage.models:
            sampling = config if isinstance(config, SamplingConfig) else config.sampling
            path = path if isinstance(config, SamplingConfig) else f"{path}.sampling"
            [model] = run.stage.models.values()
            found[run.name] = _sampling(runner, preset, model, path, sampling, gpus)
        elif isinstance(config, ScoringConfig | VerifierLabelsConfig):
            found[run.name] = _scoring(runner, preset, run.stage.models, path, config, gpus)
    return found


def column(found: Mapping[str, Need]) -> dict[str, dict[str, str]]:
    """Return the column of a plan's table."""
    return {"GB": {name: f"{need.memory / 1e9:.1f}" for name, need in found.items()}} if found else {}


def lines(found: Mapping[str, Need], gpus: Gpus) -> list[str]:
    """Return what does not fit, and which number to change; or that all does."""
    size = f"{gpus.memory / 1e9:g} GB" + (f" × {gpus.count}" if gpus.count > 1 else "")
    over = {name: need for name, need in found.items() if need.memory > _USABLE * gpus.memory}
    if not found:
        return ["fits: no stage is left that runs a model"]
    if not over:
        return [f"fits: every stage that is left fits into {size}, by estimate"]
    advice: dict[str, list[str]] = {}
    for name, need in over.items():
        advice.setdefault(f"{need.memory / 1e9:.1f} GB: {need.advice}", []).append(name)
    return [
        f"does not fit into {size}, of which {_USABLE:.0%} can be used: {', '.join(names)}: {text}"
        for text, names in advice.items()
    ]


def _shape(runner: Runner, preset: Preset, model: Model) -> Any:
    """Return the config of a model, of the one that it starts from, or of a published one of its size."""
    stages = {run.name: run.stage for run in runner.runs}
    while model.digest is None and isinstance(stage := stages.get(model.path), ModelStage) and stage.models:
        [model] = stage.models.values()
    path = Path(model.path) / "config.json"
    if model.digest is not None and path.is_file():
        config = read_config(path.read_bytes(), str(path))
        return SimpleNamespace(**{**config, **config.get("text_config", {})})
    stage = stages.get(model.path)
    architecture = getattr(stage.config, "architecture", None) if isinstance(stage, ModelStage) else None
    if architecture is not None:
        shape = (architecture.hidden_size, architecture.layers, architecture.intermediate_size, architecture.heads)
        return _named((*shape, architecture.heads), 1000)
    size = model_size(runner, preset, model)
    return _named(_QWEN[min(_QWEN, key=lambda known: abs(math.log(known / size)))], _QWEN_VOCABULARY)


def _named(shape: tuple[int, ...], vocabulary: int) -> SimpleNamespace:
    names = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    return SimpleNamespace(**dict(zip(names, shape, strict=True)), vocab_size=vocabulary)


def _cache_of_a_token(shape: Any, size: int) -> float:
    """Return the bytes of keys and values of one token."""
    width = getattr(shape, "head_dim", None) or shape.hidden_size / shape.num_attention_heads
    heads = getattr(shape, "num_key_value_heads", None) or shape.num_attention_heads
    return 2 * shape.num_hidden_layers * heads * width * size


def _sampling(runner: Runner, preset: Preset, model: Model, path: str, config: SamplingConfig, gpus: Gpus) -> Need:
    size, shape = _BYTES[config.dtype], _shape(runner, preset, model)
    weights = model_size(runner, preset, model) * size
    of_a_token = _cache_of_a_token(shape, size)
    room = _USABLE * gpus.memory - weights
    if room <= 0:
        share = math.ceil(weights / (0.8 * _USABLE * gpus.memory))
        advice = f"its weights alone are {weights / 1e9:.1f} GB: [engines] gpus = {share} in a placement shares them"
    else:
        fits = int(room / of_a_token)
        number = f"{path}.max_model_length of {fits:,}"
        if config.max_thinking_tokens and fits > config.max_model_length:
            number = f"{path}.max_thinking_tokens of {fits - config.max_model_length:,}"
        elif config.max_thinking_tokens:
            number = f"{path}.max_model_length and max_thinking_tokens of {fits:,} together"
        advice = f"a sequence of {config.longest:,} tokens is too long: {number} at most"
    return Need(weights + of_a_token * config.longest, advice)


def _scoring(
    runner: Runner,
    preset: Preset,
    models: Mapping[str, Model],
    path: str,
    config: ScoringConfig | VerifierLabelsConfig,
    gpus: Gpus,
) -> Need:
    weights = sum(model_size(runner, preset, model) for model in models.values()) * _BYTES[config.dtype]
    share = math.ceil(weights / (0.8 * _USABLE * gpus.memory))
    advice = f"{path}.dtype=bfloat16 halves it" if config.dtype == "float32" else f"[scorers] gpus = {share} shares it"
    return Need(weights + _ROW, advice)


def _training(
    runner: Runner, preset: Preset, name: str, path: str, config: GeneratorConfig | RewardModelConfig, gpus: Gpus
) -> Need:
    model = Model(name, None)
    shape, size = _shape(runner, preset, model), model_size(runner, preset, model)
    classes = shape.vocab_size if isinstance(config, GeneratorConfig) else 3
    of_a_token = bytes_of_a_token(shape, classes, recomputed=gpus.count > 1)  # as `distributed.py` has it
    tokens = config.training.max_tokens
    held = OF_A_PARAMETER * size / gpus.count
    room = _USABLE * gpus.memory - held
    if room < 256 * of_a_token:
        left = _USABLE * gpus.memory - 256 * of_a_token
        over = (
            f"--sharding fsdp over {math.ceil(OF_A_PARAMETER * size / left)} such GPUs" if left > 0 else "larger GPUs"
        )
        advice = (
            f"weights, gradients and moments of {size / 1e9:.2g} billion parameters are "
            f"{OF_A_PARAMETER * size / 1e9:.0f} GB: {over}, or a smaller --reward-base"
        )
    else:
        advice = f"its longest example is too long: {path}.training.max_tokens of {int(room / of_a_token):,} at most"
    return Need(held + of_a_token * tokens, advice)


def add_fits(parser: argparse._ActionsContainer) -> None:
    """Add the option."""
    parser.add_argument(
        "--fits",
        metavar="gpu=24GB[,count=N]",
        help="with plan: what each stage needs of a GPU's memory, what does not fit, and which number to change; "
        "count: GPUs that share a training (--sharding fsdp)",
    )
