"""Placements: what runs on how many CPUs and GPUs. Never part of a key; a study may change placement at any time."""

from __future__ import annotations

from collections.abc import Mapping

from components.runner import Pool


def auto(resources: Mapping[str, float]) -> dict[str, Pool]:
    """Pools for what a Ray cluster has ("CPU", "GPU"): with GPUs an engine on each; else at most two on CPUs.

    Shares of a CPU are logical: a stage's actors and one more task must always fit. Raises ValueError when not.
    """
    cpus, gpus = resources.get("CPU", 0), int(resources.get("GPU", 0))
    if cpus < 1:
        raise ValueError(f"the cluster has {cpus:g} CPUs; a study needs at least 1")
    if gpus:
        engine = Pool(actors=gpus, cpus=1, gpus=1)
        return {
            "bootstrap_solutions": engine,
            "solutions": engine,
            "grades": Pool(actors=max(1, min(8, int(cpus) - gpus - 1)), cpus=0.5),
            "bootstrap_grades": Pool(cpus=0.25),
            "scores": engine,
            "train": engine,
        }
    engine = Pool(actors=2 if cpus >= 2 else 1, cpus=0.5 if cpus >= 2 else 0.25)
    return {
        "bootstrap_solutions": engine,
        "solutions": engine,
        "grades": Pool(),
        "bootstrap_grades": Pool(),
        "scores": engine,
        "train": engine,
    }
