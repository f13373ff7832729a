"""The opening of the engine that a study's settings name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.sampling.engines import Engine, SamplingConfig
from components.sampling.transformers_engine import TransformersEngine
from components.sampling.vllm_engine import VllmEngine


def open_engine(folder: Path, config: SamplingConfig, options: Mapping[str, Any] = {}) -> Engine:
    """Open the engine that a config names, with a model's folder. options: vLLM's, of the placement."""
    return VllmEngine(folder, config, options) if config.engine == "vllm" else TransformersEngine(folder, config)
