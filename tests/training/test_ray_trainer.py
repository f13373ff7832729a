"""What a training asks a cluster for."""

from __future__ import annotations

import pytest
import ray

from components.dataflow.stage import Pool
from components.training.ray_trainer import on_one_machine, scaling


def test_workers_are_placed_by_all_that_their_pool_holds() -> None:
    config = scaling(Pool(8, 2, gpus=1, resources={"gpu_train": 1}, sharding="fsdp"))
    assert (config.num_workers, config.use_gpu) == (8, True)
    assert config.resources_per_worker == {"CPU": 2, "GPU": 1, "gpu_train": 1}
    assert scaling(Pool(2, 0.5)).resources_per_worker == {"CPU": 0.5}


def test_a_head_without_room_for_the_workers_is_not_the_only_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0, "gpu_train": 1.0}}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert on_one_machine(Pool(4, 1))
    assert on_one_machine(Pool(1, 1, resources={"gpu_train": 1}))
    assert not on_one_machine(Pool(5, 1))
    assert not on_one_machine(Pool(1, 1, gpus=1))
    assert not on_one_machine(Pool(2, 1, resources={"gpu_train": 1}))
    nodes.append({"Alive": False, "Resources": {}})
    assert not on_one_machine(Pool(1, 1))
