"""A model for reading, on the CPU, on a GPU, or with its layers on several GPUs of a node, one after another.

The GPUs work in turn, so several add memory and no speed: they are for models that one does not hold.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)
USABLE = 0.8  # share of a GPU's free memory that weights may take: the rest is for what is computed


def on_devices(module: Module, model: Any) -> Module:
    """Put a module on the GPU, where there is one, in evaluation mode; on as many GPUs as its weights need.

    model: its decoder, a Hugging Face model. Raises ValueError where all GPUs of this process together are too small.
    """
    if not torch.cuda.is_available():
        return module.eval()
    if torch.cuda.device_count() == 1:
        return module.to("cuda").eval()
    gc.collect()
    torch.cuda.empty_cache()  # what a model before this one held counts as taken else
    free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
    size = sum(part.numel() * part.element_size() for part in [*module.parameters(), *module.buffers()])
    devices = [torch.device("cuda", index) for index in needed(size, free)]
    if len(devices) == 1:
        return module.to(devices[0]).eval()
    spread(module, model, devices)
    return module.eval()


def needed(size: float, free: Sequence[float]) -> list[int]:
    """Return the GPUs that weights of so many bytes are put on, the one with most room first: that one if it holds
    them, else more, each with an equal part.

    free: bytes of each. Raises ValueError where no number of them holds its part.
    """
    order = sorted(range(len(free)), key=lambda index: -free[index])
    for count in range(1, len(order) + 1):
        if size / count <= USABLE * free[order[count - 1]]:
            return order[:count]
    raise ValueError(
        f"weights of {size / 1e9:.1f} GB do not fit, in equal parts, into {USABLE:.0%} of what is free on each of "
        f"{len(free)} GPUs ({', '.join(f'{each / 1e9:.1f}' for each in free)} GB): give [scorers] more gpus, or "
        "dtype=bfloat16"
    )


def spread(module: nn.Module, model: Any, devices: Sequence[torch.device]) -> None:
    """Put the decoder layers of a module on devices, in their order, alike many on each; all else on the first.

    model: its decoder. What a layer gets is moved to its device, and what the last one gives back to the first.
    """
    decoder = model.base_model
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList) or len(layers) < len(devices):
        raise ValueError(f"{type(decoder).__name__}: its layers cannot be spread over {len(devices)} GPUs")
    decoder.layers = nn.ModuleList()  # these stay where they are
    module.to(devices[0])
    decoder.layers = layers
    for number, layer in enumerate(layers):
        device = devices[number * len(devices) // len(layers)]
        layer.to(device)
        layer.register_forward_pre_hook(_Moves(device).given, with_kwargs=True)
    layers[-1].register_forward_hook(_Moves(devices[0]).returned)


class _Moves:
    """Hooks that move what a layer gets, or gives, to a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def given(self, layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return _moved(args, self.device), {name: _moved(value, self.device) for name, value in kwargs.items()}

    def returned(self, layer: nn.Module, args: Any, output: Any) -> Any:
        return _moved(output, self.device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_moved(each, device) for each in value)
    return value.to(device) if hasattr(value, "to") else value
