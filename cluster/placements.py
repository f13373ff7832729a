"""Placements: what runs on how many CPUs and GPUs. Never part of a key; a study may change placement at any time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from components.stage import Pool


def auto(resources: Mapping[str, float], sharding: str = "ddp") -> dict[str, Pool]:
    """Pools for what a Ray cluster has ("CPU", "GPU"): an engine on each GPU, or two engines on CPUs.

    Shares of a CPU are logical: a pipeline's actors hold at most four fifths of the CPUs, so that another task always
    fits. sharding: how training workers share a model (see Pool). Raises ValueError for a cluster with less than one
    CPU.
    """
    cpus, gpus = resources.get("CPU", 0), int(resources.get("GPU", 0))
    if cpus < 1:
        raise ValueError(f"the cluster has {cpus:g} CPUs; a study needs at least 1")
    if gpus:
        engine = Pool(actors=gpus, cpus=min(1.0, 0.6 * cpus / gpus), gpus=1)
    else:
        engine = Pool(actors=2 if cpus >= 2 else 1, cpus=0.5)
    graders = Pool(actors=max(1, min(8, int(0.2 * cpus / 0.25))), cpus=min(0.25, 0.2 * cpus))
    sampling = replace(engine, shards_at_once=2)  # a second shard fills the batches that the first one leaves empty
    return {
        "few_shot_solutions": sampling,
        "few_shot_grades": graders,
        "solutions": sampling,
        "grades": graders,
        "small_few_shot_solutions": sampling,
        "small_few_shot_grades": graders,
        "small_solutions": sampling,
        "small_grades": graders,
        "step_labels": graders,
        "rollouts": sampling,
        "judgements": sampling,
        "scores": engine,
        "train": replace(engine, sharding=sharding),
    }
