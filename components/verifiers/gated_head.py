"""The head of ArmoRM (Wang et al. 2024): rewards for K objectives, weighed by a gate that reads the problem.

    score = Σ_k gate(h where the problem ends)_k · (h at the last token · Wᵀ · T)_k

W is `regression_layer`, T `reward_transform_matrix`. The gate is an MLP with ReLU, `gating.layers`, whose outputs go
through a softmax at a temperature, times `gating.logit_scale`. Both parts are computed at both positions, so one pass
over packed solutions gives all.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.models.model_folder import read_config
from components.models.safetensors_files import StoredTensor

GATE = "gating."  # before the names of the gate's weights
_TRANSFORM, _SCALE = "reward_transform_matrix", f"{GATE}logit_scale"
_TEMPERATURE = 10.0  # where config.json has no gating_temperature


def open_gated_head(folder: Path, name: str, tensors: dict[str, StoredTensor], width: int, dtype: str) -> Any:
    """Open the head: hidden states (positions, width) to rewards and gate side by side, (positions, 2 K).

    name: of the regression layer. Raises ValueError as `check_gated_head`, and where it reads another width.
    """
    import torch
    from safetensors import safe_open

    check_gated_head(folder, name, tensors)
    if tensors[f"{name}.weight"].shape[1] != width:
        raise ValueError(f"{folder}: {name}.weight reads other hidden states than the model's, of {width} numbers")

    class GatedHead(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for of in (f"{name}.weight", _TRANSFORM, _SCALE, *(part for part in tensors if part.startswith(GATE))):
                with safe_open(tensors[of].path, framework="pt") as file:
                    self.register_buffer(of.replace(".", "_"), file.get_tensor(of).to(getattr(torch, dtype)))

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            rewards = hidden @ self._stored(f"{name}.weight").T @ self._stored(_TRANSFORM)
            for number, layer in enumerate(layers):
                hidden = torch.nn.functional.linear(hidden, self._stored(layer), self._bias(layer))
                hidden = hidden if number == len(layers) - 1 else hidden.relu()
            return torch.cat([rewards, (hidden / temperature).softmax(-1) * self._stored(_SCALE)], -1)

        def _stored(self, of: str) -> torch.Tensor:
            return self.get_buffer(of.replace(".", "_"))

        def _bias(self, layer: str) -> torch.Tensor | None:
            bias = layer.removesuffix("weight") + "bias"
            return self._stored(bias) if bias in tensors else None

    layers = _layers(tensors)
    config = read_config((folder / "config.json").read_bytes(), str(folder / "config.json"))
    temperature = float(config.get("gating_temperature", _TEMPERATURE))
    return GatedHead()


def gated_score(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the score, shape (1, 1). values: the head's outputs where the problem ends and at the end, (2, 2 K)."""
    objectives = values.shape[1] // 2
    return np.asarray((values[0, objectives:] * values[1, :objectives]).sum(keepdims=True)[:, None])


def check_gated_head(folder: Path, name: str, tensors: dict[str, StoredTensor]) -> None:
    """Check the head's names and shapes by the headers of the weights. Raises ValueError, in one line."""
    objectives, reads = (*tensors[f"{name}.weight"].shape, 0, 0)[:2]
    layers = _layers(tensors)
    wanted = {_TRANSFORM: (objectives, objectives), _SCALE: (1,)}
    for layer in layers:
        gives = objectives if layer == layers[-1] else tensors[layer].shape[0] if layer in tensors else 0
        wanted[layer], reads = (gives, reads), gives
    for tensor, shape in wanted.items():
        if tensor not in tensors:
            raise ValueError(f"{folder} lacks weights of the gate: {tensor}")
        if tensors[tensor].shape != shape:
            raise ValueError(f"{folder}: {tensor} has shape {tensors[tensor].shape}; with the others {shape} is due")


def _layers(tensors: dict[str, StoredTensor]) -> list[str]:
    """Return the names of the weights of the gate's layers, through the last one that is there; one at least."""
    numbers = [int(found[1]) for tensor in tensors if (found := re.fullmatch(r"gating\.layers\.(\d+)\.weight", tensor))]
    return [f"{GATE}layers.{number}.weight" for number in range(max(numbers, default=0) + 1)]
