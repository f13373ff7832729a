"""The cost of a study, stage by stage, and of accuracy at inference.

Seconds are those of the stage when it was computed (of stages that stream together, the later one's are those after the
earlier one's end). Where that run found some shards done, they count as its own did: its seconds are scaled to all
shards, and None where it found all. CPU- and GPU-seconds are what its workers held.

FLOPs are 6 per parameter and token in training, 2 in sampling and scoring (Kaplan et al. 2020, §2.1); attention is left
out. The tokens are those that a model computes (`computed_tokens.py`): prompts count where they are computed, which is
with every training example, once per problem and block of samples in scoring, and in sampling as the engine's cache
lets it. Training counts a prefix that examples share once, as it is computed; scoring counts it for each sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from components.dataflow.datasets import Dataset
from components.dataflow.errors import InputError
from components.dataflow.stage import Model
from components.dataflow.store import Store
from components.models.model_folder import read_config

TRAINING, INFERENCE = 6, 2  # FLOPs per parameter and token
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def parameters(store: Store, model: Model) -> float:
    """Return how many parameters a model folder holds: the bytes of its weights by those of one, as its config says.

    Raises InputError where the config is none.
    """
    inside = model.path.startswith(f"{store.root}/")
    folder = _relative(store, model) if inside else model.path
    config = store.files.read(f"{folder}/config.json") if inside else (Path(folder) / "config.json").read_bytes()
    try:
        settings = read_config(config, f"{model.path}/config.json")
    except ValueError as error:
        raise InputError(str(error)) from error
    weights = [name for name in model.files if name.endswith(".safetensors")]
    sizes = (store.files.size(f"{folder}/{n}") if inside else (Path(folder) / n).stat().st_size for n in weights)
    return sum(size or 0 for size in sizes) / _BYTES.get(str(settings.get("dtype") or settings.get("torch_dtype")), 4)


def _relative(store: Store, model: Model) -> str:
    return model.path.removeprefix(store.root + "/")


def seconds_of(manifest: Mapping[str, Any], shards: int) -> float | None:
    """Return the seconds that a stage's shards take at the pace of the run that ended the stage; None: not known."""
    computed = shards - manifest.get("shards_reused", 0)
    if "seconds" not in manifest or (shards and computed <= 0):
        return None
    return float(manifest["seconds"]) * (shards / computed if shards else 1)


def stage_costs(
    store: Store, results: Mapping[str, Dataset | Model], work: Mapping[str, tuple[float | None, float]]
) -> pd.DataFrame:
    """Return a row per stage: stage, rows, tokens, seconds, cpu_seconds, gpu_seconds, flops; None where it is not
    known.

    work: stage → (tokens, FLOPs per token) of those that run a model.
    """
    rows = []
    for name, result in results.items():
        manifest = store.manifest(store.folder_of(result)) or {}
        seconds = seconds_of(manifest, len(result.shards) if isinstance(result, Dataset) else 0)
        held = manifest.get("placement")
        tokens, per_token = work.get(name, (None, 0.0))
        rows.append(
            {
                "stage": name,
                "rows": result.rows if isinstance(result, Dataset) else None,
                "tokens": tokens,
                "seconds": seconds,
                "cpu_seconds": None if held is None or seconds is None else seconds * held["cpus"],
                "gpu_seconds": None if held is None or seconds is None else seconds * held["gpus"],
                "flops": None if tokens is None else tokens * per_token,
            }
        )
    return pd.DataFrame(rows)


def accuracy_against_compute(
    best_of_n: pd.DataFrame, per_problem: Mapping[str, tuple[float, float]]
) -> list[dict[str, Any]]:
    """Return series of the test split's accuracy, in per cent, against FLOPs per problem.

    N samples are each sampled and, where the method needs it, scored. per_problem: method → FLOPs of a problem, however
    many samples it has, and of one sample.
    """
    rows = best_of_n[best_of_n["split"] == "test"]
    series = []
    for method, (once, each) in per_problem.items():
        of_method = rows[rows["method"] == method].sort_values("n").to_dict("records")
        points = [
            {
                "x": once + each * row["n"],
                "y": 100 * row["accuracy"],
                "low": 100 * row["ci_low"],
                "high": 100 * row["ci_high"],
            }
            for row in of_method
        ]
        if points:
            series.append({"kind": method, "points": points})
    return series
