"""LoRA adapters: what is checked of their config, and how they are merged into the weights of their base model.

A merged weight is W + alpha / r · B A (Hu et al. 2021). Only what this formula covers is merged.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from components.models.safetensors_files import read_header

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."  # peft wraps a model twice
# Fields of adapter_config.json with the values that leave the formula as it is; None, false and empty do so too.
_PLAIN: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (),
    "use_rslora": (),
    "use_qalora": (),
    "lora_bias": (),
    "fan_in_fan_out": (),
    "modules_to_save": (),
    "rank_pattern": (),
    "alpha_pattern": (),
    "layer_replication": (),
    "trainable_token_indices": (),
    "target_parameters": (),
    "alora_invocation_tokens": (),
    "init_lora_weights": (True, "gaussian", "eva", "orthogonal"),  # others, as pissa, change the base model's weights
}


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter, which needs the folder of its base model."""
    return (folder / _CONFIG).is_file()


def read_adapter(folder: Path) -> tuple[float, list[str]]:
    """Return alpha / r of a LoRA adapter, and the names of the modules that it changes.

    Raises ValueError, in one line, for an adapter that is no plain LoRA, or whose files are not whole.
    """
    path = folder / _CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        rank, alpha = config["r"], config["lora_alpha"]
        if type(rank) is not int or rank < 1 or isinstance(alpha, bool) or not isinstance(alpha, int | float):
            raise ValueError("r and lora_alpha")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no config of a LoRA adapter: {error}") from error
    for field, plain in _PLAIN.items():
        value = config.get(field)
        if value not in plain and (value or field == "peft_type"):
            raise ValueError(
                f"{path}: {field} is {json.dumps(value)[:60]}: only plain LoRA is merged; merge it with peft "
                "(merge_and_unload) and save the model"
            )
    if not (folder / _WEIGHTS).is_file():
        raise ValueError(f"{folder} has no {_WEIGHTS}: pickles are not read")
    halves: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name, tensor in read_header(folder / _WEIGHTS).items():
        module, _, half = name.removesuffix(".weight").removeprefix(_PREFIX).rpartition(".")
        if half not in ("lora_A", "lora_B") or not name.startswith(_PREFIX) or len(tensor.shape) != 2:
            raise ValueError(f"{folder / _WEIGHTS} holds {name}, which is no weight of plain LoRA")
        halves[module][half] = tensor.shape
    for module, shapes in halves.items():
        if len(shapes) != 2 or not shapes["lora_A"][0] == shapes["lora_B"][1] == rank:
            raise ValueError(f"{folder / _WEIGHTS}: {module} has not both lora_A and lora_B of rank {rank}")
    if not halves:
        raise ValueError(f"{folder / _WEIGHTS} holds no weights")
    return alpha / rank, sorted(halves)


def merge_adapter(model: Any, folder: Path) -> None:
    """Add an adapter's weights to those of a language model, in place. Raises ValueError for an adapter of another."""
    import torch
    from safetensors.torch import load_file

    scale, modules = read_adapter(folder)
    weights = load_file(folder / _WEIGHTS)
    for name in modules:
        lora_a, lora_b = (weights[f"{_PREFIX}{name}.lora_{half}.weight"].float() for half in "AB")
        try:
            weight = model.get_submodule(name).weight
        except AttributeError as error:
            raise ValueError(f"{folder} changes {name}, which its base model has not") from error
        if name.endswith("lm_head") and weight is model.get_input_embeddings().weight:
            raise ValueError(f"{folder} changes {name}, whose weights its base model shares with the input embedding")
        if weight.shape != (lora_b.shape[0], lora_a.shape[1]):
            raise ValueError(f"{folder} changes {name}, whose shape is another in the base model")
        with torch.no_grad():
            weight.copy_(weight.float() + scale * (lora_b @ lora_a))
