"""Notes that the runner keeps of each stage: for people, for manifests, and to refuse a stage with too many errors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.dataflow.datasets import Dataset
from components.dataflow.errors import StudyError
from components.dataflow.provenance import git_commit, library_versions
from components.dataflow.source_digest import code_digest
from components.dataflow.stage import MapStage, Model, ModelStage, Pool, TableStage, recipe
from components.dataflow.store import Store

Stage = MapStage | TableStage | ModelStage


@dataclass
class StageRun:
    """The outcome of one stage. status: HIT, PARTIAL, MISS or WAITS, as it was before any work."""

    name: str
    status: str
    shards_reused: int = 0
    shards_total: int = 0
    rows: int = 0
    rows_error: int = 0
    seconds: float = 0.0
    waits_for: str = ""
    why: tuple[str, ...] = ()  # in a plan, the differences from the nearest earlier recipe of the stage
    stage: MapStage | TableStage | ModelStage | None = None  # None: it cannot be described yet
    inputs: Mapping[str, Dataset] = field(default_factory=dict)
    output: Dataset | None = None  # the dataset that the stage gave, or that a plan foresees; None: a model

    def gives(self, dataset: Dataset) -> Dataset:
        """Note the stage's dataset, there or foreseen, and return it."""
        self.output, self.shards_total = dataset, len(dataset.shards)
        self.rows, self.rows_error = dataset.rows, dataset.rows_error
        return dataset


def title_of(stage: Stage) -> str:
    """Return the stage's name in the study."""
    return stage.title if isinstance(stage, MapStage) else stage.name


def manifest_fields(
    stage: Stage, inputs: Mapping[str, Dataset], rows_in: int, seconds: float, pool: Pool | None = None
) -> dict[str, Any]:
    """Return the manifest's fields on how its stage was computed. pool: where; None: by the driver alone."""
    return {
        "placement": (pool or Pool(actors=1, cpus=1)).held,
        "rows_in": rows_in,
        "recipe": recipe(stage),
        "inputs": {name: {"stage": d.name, "digest": d.digest} for name, d in inputs.items()},
        "model_files": {name: dict(model.files) for name, model in getattr(stage, "models", {}).items()},
        "code": code_digest(stage),
        "git_commit": git_commit(),
        "libraries": library_versions(),
        "seconds": round(seconds, 1),
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def refuse_errors(store: Store, title: str, dataset: Dataset, max_error_rate: float) -> None:
    """Raise StudyError when too many of a dataset's rows have errors. title: of its stage in the study."""
    if dataset.rows_error <= max_error_rate * dataset.rows:
        return
    bad = next(shard for shard in dataset.shards if shard.rows_error)
    first = next(error for error in store.read_shard(bad, ["error"])["error"].to_pylist() if error)
    raise StudyError(
        f"stage {title}: {dataset.rows_error} of {dataset.rows} rows have errors, more than "
        f"--max-error-rate {max_error_rate:g} allows; the first: {first}. All rows are kept in "
        f"{store.files.url(dataset.folder)}: mend the input, or raise the rate"
    )


def unknown(inputs: Mapping[str, Dataset], models: Mapping[str, Model] | None = None) -> str:
    """Return the names of the inputs and models that a plan only foresees, joined by commas; "" for none."""
    names = [dataset.name for dataset in inputs.values() if dataset.digest is None]
    names += [model.path for model in (models or {}).values() if model.digest is None]
    return ", ".join(names)
