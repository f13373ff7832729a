"""The runner: plans and runs stages against a store. Ray gives parallelism and retries, the store correctness.

Every stage is asked for by key. What is committed is reused, shard by shard; the rest is computed, and a manifest
closes the stage. In plan mode nothing runs: each stage's standing is noted, and what hangs on a missing one "waits".
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.side_by_side import TrainingRun, train_side_by_side
from components.stage import MapStage, Model, ModelStage, Pool, TableStage, code_digest, digest, recipe
from components.store import Dataset, Shard, Store, StoreError, content_digest, folder_digest
from components.streaming import Task, stream, tasks_of


@dataclass
class StageRun:
    """What became of one stage. status: HIT, PARTIAL, MISS or WAITS, as it stood before any work."""

    name: str
    status: str
    shards_reused: int = 0
    shards_total: int = 0
    rows: int = 0
    rows_error: int = 0
    seconds: float = 0.0
    waits_for: str = ""


@dataclass
class Runner:
    """Runs stages, or in plan mode only looks. start_engine() is called once, before the first work that needs Ray."""

    store: Store
    pools: Mapping[str, Pool] = field(default_factory=dict)
    plan_only: bool = False
    start_engine: Callable[[], None] = lambda: None
    stream: Callable[[Sequence[Task], Sequence[MapStage], Mapping[str, Pool], Store], None] = stream
    say: Callable[[str], None] = lambda line: print(line, flush=True)
    runs: list[StageRun] = field(default_factory=list)
    results: dict[str, Dataset | Model] = field(default_factory=dict)

    # Barrier stages ---------------------------------------------------------------------------------------------

    def table(self, stage: TableStage, **inputs: Dataset) -> Dataset:
        """The dataset of a barrier stage, computed in this process if it is not there."""
        if waiting := _unknown(inputs):
            return self._foresee(stage, waiting)
        recipe_digest = digest(recipe(stage))
        key = digest([recipe_digest, {name: dataset.digest for name, dataset in inputs.items()}])
        dataset = self.store.dataset(stage.name, key)
        if dataset is None and self.plan_only:
            return self._foresee(stage, "")
        run = self._begin(
            stage.name, "MISS" if dataset is None else "HIT", 0 if dataset is None else len(dataset.shards)
        )
        if dataset is None:
            began = time.perf_counter()
            rows = stage.compute(stage.config, **{n: self.store.read(d) for n, d in inputs.items()})
            shards = []
            for index, (part, attributes) in enumerate(_cut(rows, stage)):
                shard_key = digest([key, index])
                shards.append(self.store.commit(stage.name, shard_key, stage.schema, part, attributes))
            about = self._about(stage, inputs, code_digest(stage.compute), len(rows), time.perf_counter() - began)
            dataset = self.store.write_dataset(stage.name, key, shards, about)
        return self._end(run, dataset)

    def train(self, stage: ModelStage, **inputs: Dataset) -> Model:
        """The model of a training stage. A killed training goes on from its last checkpoint."""
        [model] = self.train_side_by_side((stage, inputs))
        return model

    def train_side_by_side(self, *trainings: tuple[ModelStage, Mapping[str, Dataset]]) -> list[Model]:
        """The models of training stages that do not need each other, trained at the same time."""
        models: dict[str, Model] = {}
        asked: list[tuple[StageRun, str]] = []
        pending: list[TrainingRun] = []
        for stage, inputs in trainings:
            waiting = _unknown(inputs, stage.models)
            key = "" if waiting else digest([digest(recipe(stage)), {name: d.digest for name, d in inputs.items()}])
            manifest = self.store.manifest(self.store.folder("models", stage.name, key)) if key else None
            if waiting or (manifest is None and self.plan_only):
                models[stage.name] = self._foresee_model(stage, waiting)
                continue
            asked.append((self._begin(stage.name, "HIT" if manifest else "MISS", int(manifest is not None)), key))
            if manifest is None:
                pending.append(self._training_run(stage, key, inputs))
        if pending:
            self.start_engine()
            for run, metrics, seconds in train_side_by_side(pending, self.pools.get("train", Pool())):
                about = {**run.about, "metrics": metrics, "seconds": round(seconds, 1)}
                self.store.write_model(run.stage.name, run.key, run.folder, about)
                shutil.rmtree(run.scratch, ignore_errors=True)
        models |= {stage_run.name: self._model(stage_run, key) for stage_run, key in asked}
        self.results |= {run.name: models[run.name] for run, _ in asked}
        return [models[stage.name] for stage, _ in trainings]

    def _training_run(self, stage: ModelStage, key: str, inputs: Mapping[str, Dataset]) -> TrainingRun:
        scratch = self.store.folder("scratch", stage.name, key)
        built = scratch / "model"
        shutil.rmtree(built, ignore_errors=True)
        built.mkdir(parents=True)
        files = {name: [self._verified(shard) for shard in dataset.shards] for name, dataset in inputs.items()}
        about = self._about(stage, inputs, code_digest(stage.train), 0, 0.0)
        return TrainingRun(stage, key, about, files, built, scratch)

    def _model(self, run: StageRun, key: str) -> Model:
        folder = self.store.folder("models", run.name, key)
        manifest = self.store.manifest(folder)
        assert manifest is not None
        if folder_digest(folder)[0] != manifest["digest"]:
            raise StoreError(
                f"{folder} is damaged: its files are not those of its manifest; delete it to train it again"
            )
        run.seconds, run.shards_total = manifest["seconds"], 1
        return Model(folder, manifest["digest"], manifest["metrics"])

    def awaits(self, name: str, what: str) -> Dataset:
        """The dataset of a stage that cannot be described before the user gives `what`; for plans only."""
        self.runs.append(StageRun(name, "WAITS", waits_for=what))
        return Dataset(name, Path(), None, ())

    # Map stages -------------------------------------------------------------------------------------------------

    def map(self, source: Dataset, *stages: MapStage) -> list[Dataset]:
        """The datasets of map stages that follow each other. Pending shards stream through all of them at once, so
        that a later stage works while an earlier one still does."""
        datasets: list[Dataset] = []
        computed = 0
        for index, stage in enumerate(stages):
            if waiting := _unknown({"": source}, stage.models):
                source = self._foresee(stage, waiting)
            else:
                source, computed = self._map_one(source, stage, stages[index + 1 :], computed)
            datasets.append(source)
        return datasets

    def _map_one(
        self, source: Dataset, stage: MapStage, downstream: Sequence[MapStage], streamed: int
    ) -> tuple[Dataset, int]:
        """The stage's dataset, and how many of its shards this run computed; `streamed` of them came on the way, while
        the stage before was computed."""
        recipe_digest = digest(recipe(stage))
        tasks = [task for shard in source.shards for task in tasks_of(stage, recipe_digest, shard)]
        key = digest([stage.name, [task.key for task in tasks]])
        done = {task.key: shard for task in tasks if (shard := self.store.committed(stage.name, task.key))}
        pending = [task for task in tasks if task.key not in done]
        reused = max(0, len(done) - streamed)
        status = "HIT" if reused == len(tasks) else "PARTIAL" if reused else "MISS"
        run = self._begin(stage.name, status, reused, len(tasks))
        if pending and self.plan_only:
            run.rows = sum(stage.expected_rows(task.item, task.source.rows) for task in tasks)
            return Dataset(stage.name, Path(), None, ()), 0
        began = time.perf_counter()
        if pending:
            self.start_engine()
            self.stream(pending, [stage, *downstream], self.pools, self.store)
            done |= {task.key: shard for task in pending if (shard := self.store.committed(stage.name, task.key))}
        dataset = self.store.dataset(stage.name, key)
        if dataset is None and self.plan_only:  # all shards are there, the manifest is not: a run would add it
            shards = tuple(done[task.key] for task in tasks)
            run.rows = sum(shard.rows for shard in shards)
            return Dataset(stage.name, Path(), content_digest(shards), shards), 0
        if dataset is None:
            rows_in = sum(stage.expected_rows(task.item, task.source.rows) for task in tasks)
            about = self._about(
                stage, {"source": source}, code_digest(stage.make_worker), rows_in, time.perf_counter() - began
            )
            dataset = self.store.write_dataset(stage.name, key, [done[task.key] for task in tasks], about)
        return self._end(run, dataset), len(tasks) - reused

    # Notes for people -------------------------------------------------------------------------------------------

    def _begin(self, name: str, status: str, reused: int, total: int = 0) -> StageRun:
        run = StageRun(name, status, reused, total or reused)
        self.runs.append(run)
        if not self.plan_only:
            self.say(
                f"[{name}] " + {"HIT": "reused", "MISS": "computing …"}.get(status, f"{reused} of {total} reused …")
            )
        return run

    def _end(self, run: StageRun, dataset: Dataset) -> Dataset:
        manifest = self.store.manifest(dataset.folder) or {}
        run.shards_total, run.rows, run.rows_error = len(dataset.shards), dataset.rows, dataset.rows_error
        run.seconds = manifest["seconds"]
        self.results[dataset.name] = dataset
        return dataset

    def _foresee(self, stage: MapStage | TableStage, waits_for: str) -> Dataset:
        self.runs.append(StageRun(stage.name, "WAITS" if waits_for else "MISS", waits_for=waits_for))
        return Dataset(stage.name, Path(), None, ())

    def _foresee_model(self, stage: ModelStage, waits_for: str) -> Model:
        self.runs.append(StageRun(stage.name, "WAITS" if waits_for else "MISS", waits_for=waits_for))
        return Model(Path(stage.name), None)

    def _about(
        self, stage: Any, inputs: Mapping[str, Dataset], code: str, rows_in: int, seconds: float
    ) -> dict[str, Any]:
        return {
            "rows_in": rows_in,
            "recipe": recipe(stage),
            "inputs": {name: {"stage": d.name, "digest": d.digest} for name, d in inputs.items()},
            "code_digest": code,
            "seconds": round(seconds, 1),
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def _verified(self, shard: Shard) -> Path:
        self.store.read_shard(shard)
        return self.store.shard_path(shard)


def _unknown(inputs: Mapping[str, Dataset], models: Mapping[str, Model] | None = None) -> str:
    """Names of the inputs that a plan only foresees."""
    names = [dataset.name for dataset in inputs.values() if dataset.digest is None]
    names += [name for name, model in (models or {}).items() if model.digest is None]
    return ", ".join(names)


def _cut(rows: pa.Table, stage: TableStage) -> list[tuple[pa.Table, dict[str, str]]]:
    """A table's shards: by the values of `shard_by` in order of appearance, then in slices."""
    groups: list[tuple[pa.Table, dict[str, str]]] = [(rows, {})]
    if stage.shard_by is not None:
        values = pc.unique(rows[stage.shard_by]).to_pylist()
        groups = [(rows.filter(pc.equal(rows[stage.shard_by], v)), {stage.shard_by: str(v)}) for v in values]
    return [
        (group.slice(at, stage.shard_rows), attributes)
        for group, attributes in groups
        for at in range(0, max(1, len(group)), stage.shard_rows)
    ]
