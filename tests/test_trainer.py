"""What a training asks a cluster for."""

from __future__ import annotations

from components.stage import Pool
from components.trainer import scaling


def test_workers_are_placed_by_all_that_their_pool_holds() -> None:
    config = scaling(Pool(8, 2, gpus=1, resources={"gpu_train": 1}, sharding="fsdp"))
    assert (config.num_workers, config.use_gpu) == (8, True)
    assert config.resources_per_worker == {"CPU": 2, "GPU": 1, "gpu_train": 1}
    assert scaling(Pool(2, 0.5)).resources_per_worker == {"CPU": 0.5}
