"""Several workers, one model: DDP (each holds all weights) or FSDP2 (each holds a shard), and state that fits either.

The choice is placement: the numbers are the same to rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
_SPREAD = StateDictOptions(full_state_dict=True)  # every worker reads the whole state, and keeps its part


def spread(model: nn.Module, sharding: str, device: torch.device) -> nn.Module:
    """Put the model on this worker's device, ready for training on all workers of the process group, and return it.

    sharding: "ddp", or "fsdp" (FSDP2, a shard per decoder layer; activations are recomputed in the backward pass).
    Raises ValueError for another.
    """
    model = model.to(device)
    if sharding == "ddp":
        return nn.parallel.DistributedDataParallel(model) if _workers() > 1 else model
    if sharding != "fsdp":
        raise ValueError(f"sharding {sharding!r}: ddp or fsdp")
    decoder: Any = model.model
    if device.type == "cuda":
        decoder.gradient_checkpointing_enable()
    mesh = init_device_mesh(device.type, (_workers(),))
    half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    policy = half if device.type == "cuda" else MixedPrecisionPolicy()
    layers = getattr(decoder.base_model, "layers", None)
    if layers is None:
        raise ValueError(f"{decoder.config.model_type}: its layers are not found; train it with --sharding ddp")
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    return model


@contextlib.contextmanager
def without_exchange(model: nn.Module) -> Iterator[None]:
    """Add up gradients on this worker, without an exchange with the others yet."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        with model.no_sync():
            yield
    elif isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(False)
        yield
        model.set_requires_gradient_sync(True)
    else:
        yield


def full_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return model and optimizer whole, on the CPU of the first worker.

    The other workers get parts, of no use. All workers must call it.
    """
    weights, moments = get_state_dict(model, optimizer, options=_FULL)
    return {"model": weights, "optimizer": moments}


def full_weights(model: nn.Module) -> dict[str, Any]:
    """Return a copy of the model's weights, whole, on the CPU of the first worker. All workers must call it."""
    weights: dict[str, Any] = get_model_state_dict(model, options=_FULL)
    return {name: weight.clone() for name, weight in weights.items()}


def load_full_state(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load what `full_state` gave; on every worker the same state."""
    set_state_dict(
        model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=_SPREAD
    )


def load_full_weights(model: nn.Module, weights: dict[str, Any]) -> None:
    """Load what `full_weights` gave the first worker, on all of them. All workers must call it."""
    several = StateDictOptions(full_state_dict=True, broadcast_from_rank0=_workers() > 1)
    set_model_state_dict(model, dict(weights), options=several)


def sum_over_workers(values: Tensor) -> Tensor:
    """Return the sum of each worker's tensor, on all of them."""
    if _workers() == 1:
        return values
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = values.to(device)
    dist.all_reduce(total)
    return total.cpu()


def first_workers(flag: bool) -> bool:
    """Return the first worker's flag on all of them: clocks differ, and a joint act needs one decision."""
    return bool(sum_over_workers(torch.tensor(float(flag and (_workers() == 1 or dist.get_rank() == 0)))))


def first_workers_metrics(metrics: dict[str, float]) -> dict[str, float]:
    """Return the first worker's metrics on all of them: equal to rounding is not enough for a joint decision."""
    if _workers() == 1:
        return metrics
    shared = [metrics]
    dist.broadcast_object_list(shared)
    return shared[0]


def _workers() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1
