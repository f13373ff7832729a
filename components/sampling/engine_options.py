"""vLLM's own options in a placement, [engines.vllm]: which of them can change tokens, and so are a part of the key.

A batch of another size changes floats in their last digits, and so now and then a token, as another number of GPUs or
another machine does: such options are placement. What makes another model of the weights is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# What they are, as vLLM's own help says more fully.
CHANGE_TOKENS = {
    "quantization": "weights in fewer bits",
    "kv_cache_dtype": "keys and values in fewer bits",
    "speculative_config": "tokens guessed by a smaller model and checked",
    "hf_overrides": "fields of config.json, as the scaling of positions",
    "use_fp64_gumbel": "the noise of sampling in float64",
}
KEEP_TOKENS = {
    "max_num_seqs": "sequences in a batch",
    "max_num_batched_tokens": "tokens of a step",
    "gpu_memory_utilization": "share of the GPU's memory",
    "kv_cache_memory_bytes": "bytes of the cache",
    "num_gpu_blocks_override": "blocks of the cache",
    "block_size": "tokens of a block",
    "enable_prefix_caching": "keep the cache of prompts",
    "enable_chunked_prefill": "read prompts in parts",
    "long_prefill_token_threshold": "prompts that are read in parts",
    "enforce_eager": "no graphs",
    "cpu_offload_gb": "weights in the CPU's memory",
    "compilation_config": "how it is compiled",
    "attention_backend": "which kernels",
    "async_scheduling": "plan a step while the last one runs",
    "disable_custom_all_reduce": "how GPUs exchange",
    "pipeline_parallel_size": "GPUs that hold a part of the layers each",
    "distributed_executor_backend": "what runs the GPUs of an engine",
}


def check(options: Mapping[str, Any], gpus: float, nodes: int = 1) -> None:
    """Raise ValueError for an option that is not in the lists, or does not go with an engine's number of GPUs.

    nodes: that an engine is spread over, with so many GPUs on each.
    """
    for name in options:
        if name not in CHANGE_TOKENS and name not in KEEP_TOKENS:
            raise ValueError(
                f"no option {name!r}; there are {', '.join([*KEEP_TOKENS, *CHANGE_TOKENS])}. Length, dtype, seed and "
                "the number of GPUs are set elsewhere"
            )
    if nodes > 1 and (chosen := {"pipeline_parallel_size", "distributed_executor_backend"} & options.keys()):
        raise ValueError(f"{min(chosen)} follows from nodes = {nodes}: each holds a part of the layers, through Ray")
    parts = options.get("pipeline_parallel_size", 1)
    if type(parts) is not int or parts < 1 or (parts > 1 and gpus % parts):
        raise ValueError(
            f"pipeline_parallel_size is {parts!r}, and an engine has {gpus:g} GPUs: it must divide them; each part of "
            "the layers is then split over its share of them"
        )


def of_key(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the options that can change tokens, as a config holds them: name and JSON, by name."""
    return tuple((name, json.dumps(options[name], sort_keys=True)) for name in sorted(options) if name in CHANGE_TOKENS)


def of_placement(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a placement that an engine is opened with. Those that can change tokens come with a
    sampling's config, or not at all: a stage whose key has none of them must not have them."""
    return {name: value for name, value in options.items() if name not in CHANGE_TOKENS}


def over_nodes(options: Mapping[str, Any], gpus: float, nodes: int) -> dict[str, Any]:
    """Return the options of an engine that is spread over nodes: a part of the layers on each, which its GPUs share."""
    spread = {"tensor_parallel_size": int(gpus), "pipeline_parallel_size": nodes, "distributed_executor_backend": "ray"}
    return {**options, **(spread if nodes > 1 else {})}


def arguments(of_config: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Return a config's options as arguments of `vllm.LLM`."""
    return {name: json.loads(value) for name, value in of_config}
