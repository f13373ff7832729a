"""Two workers by DDP and by FSDP2, on CPUs with gloo, against one worker: the same losses, the same weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from components.training.config import TrainingConfig
from components.training.distributed import full_weights, load_full_weights, spread
from components.training.loop import optimise
from tests.training.test_loop import random_examples, tiny_model

pytestmark = pytest.mark.slow
CONFIG = TrainingConfig(epochs=2, batch_size=8, learning_rate=3e-3)


def trained(rank: int, workers: int, sharding: str, budget: int, resume_at: int | None = None) -> dict[str, Any]:
    """Losses and final weights; with `resume_at`, those of a second model that goes on from that step's state."""
    found: dict[str, Any] = {"losses": []}
    states: dict[int, dict[str, Any]] = {}

    def keep(step: int, steps: int, metrics: dict[str, float], get_state: Any) -> bool:
        found["losses"].append(metrics["loss"])
        if step == resume_at:
            shared = [copy.deepcopy(get_state())]
            dist.broadcast_object_list(shared)  # as every worker reads the first one's checkpoint
            states[step] = shared[0]
        return False

    how = {"rank": rank, "workers": workers, "micro_batch_tokens": budget}
    model = spread(tiny_model(3), sharding, torch.device("cpu"))
    optimise(model, random_examples(45), CONFIG, after_step=keep, **how)
    if resume_at is not None:
        model = spread(tiny_model(3), sharding, torch.device("cpu"))
        optimise(model, random_examples(45), CONFIG, state=states[resume_at], **how)
    return found | {"weights": full_weights(model)}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for sharding in ("ddp", "fsdp"):
        for resume_at in (None, 5):
            found = trained(rank, 2, sharding, budget=30, resume_at=resume_at)
            if rank == 0:
                torch.save(found, f"{folder}/{sharding}-{resume_at}.pt")
        # As after early stopping: the first worker alone has kept the best weights.
        model = spread(tiny_model(3), sharding, torch.device("cpu"))
        load_full_weights(model, {name: weight + 1 for name, weight in full_weights(model).items()})
        loaded = full_weights(model)
        if rank == 0:
            torch.save(loaded, f"{folder}/{sharding}-loaded.pt")
        elif sharding == "ddp":
            torch.save(model.state_dict(), f"{folder}/{sharding}-loaded-elsewhere.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_workers_are_one_with_twice_the_accumulation_and_resume_to_the_same_weights(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=2)
    start = full_weights(tiny_model(3))
    for loaded in ("ddp-loaded", "fsdp-loaded", "ddp-loaded-elsewhere"):
        weights = torch.load(tmp_path / f"{loaded}.pt")
        for name, weight in start.items():
            torch.testing.assert_close(weights.get(name, weights.get(f"module.{name}")), weight + 1)
    alone = trained(0, 1, "ddp", budget=15)
    for sharding in ("ddp", "fsdp"):
        together, resumed = (torch.load(tmp_path / f"{sharding}-{at}.pt") for at in (None, 5))
        assert len(together["losses"]) == 12
        assert together["losses"] == pytest.approx(alone["losses"], abs=1e-4)
        assert together["losses"][-1] < together["losses"][0]
        for name, weight in alone["weights"].items():
            torch.testing.assert_close(together["weights"][name], weight, rtol=1e-3, atol=1e-4)
            assert torch.equal(resumed["weights"][name], together["weights"][name])
