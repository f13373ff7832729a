"""The opening of the engine that a study's settings name."""

from __future__ import annotations

from pathlib import Path

from components.sampling.engines import Engine, SamplingConfig
from components.sampling.transformers_engine import TransformersEngine
from components.sampling.vllm_engine import VllmEngine


def open_engine(folder: Path, config: SamplingConfig) -> Engine:
    """Open the engine that a config names, with a model's folder."""
    return VllmEngine(folder, config) if config.engine == "vllm" else TransformersEngine(folder, config)
