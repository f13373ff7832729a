"""The token counts of a study's prompts, for its costs."""

from __future__ import annotations

from typing import Any

from components.dataflow.datasets import Dataset
from components.dataflow.runner import Runner
from components.dataflow.stage import Model
from components.evaluation.computed_tokens import VLLM_BLOCKS, Prompts, prompts_of
from components.models.model_folder import open_tokenizer_without_torch
from components.sampling import prompts
from components.sampling.engines import SamplingConfig
from components.text.rendering import render_prompts


def sampling_prompts(run: Runner, generator: Model, config: SamplingConfig, problems: Dataset) -> Prompts:
    """Return the prompts that the generator is shown, worked examples and chat turns included."""
    tokenizer, texts = _tokenizer(run, generator), _texts(run, problems)
    ids = prompts.sampling_prompts(tokenizer, config, [*texts.values()])
    return prompts_of(dict(zip(texts, ids, strict=True)))


def reading_prompts(run: Runner, model: Model, problems: Dataset) -> Prompts:
    """Return the prompts before a solution that a reward model reads or learns from, by a model's tokenizer."""
    texts = _texts(run, problems)
    return prompts_of(dict(zip(texts, render_prompts(_tokenizer(run, model), [*texts.values()]), strict=True)))


def cache_block(run: Runner, sampled: Dataset, config: SamplingConfig) -> int | None:
    """Return the tokens of a block of the cache that these were sampled with; None: the engine has no such cache."""
    if config.engine != "vllm":
        return None
    placement = (run.store.manifest(run.store.folder_of(sampled)) or {}).get("placement") or {}
    return VLLM_BLOCKS["gpu" if placement.get("gpus") else "cpu"]


def _tokenizer(run: Runner, model: Model) -> Any:
    return open_tokenizer_without_torch(run.store.local_model(model))


def _texts(run: Runner, problems: Dataset) -> dict[str, str]:
    table = run.store.read(problems, ["problem_id", "problem", "error"]).to_pandas()
    table = table[table["error"].isna()]
    return dict(zip(table["problem_id"], table["problem"], strict=True))
