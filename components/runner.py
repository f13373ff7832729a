"""The runner: plans and runs stages against a store. Ray gives parallelism and retries, the store correctness.

Every stage is asked for by key. What is committed is reused, shard by shard; the rest is computed, and a manifest
closes the stage. In plan mode nothing runs: each stage's standing is noted, and what hangs on a missing one "waits".
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from components.stage import MapStage, Model, ModelStage, TableStage, code_digest, digest, recipe
from components.store import Dataset, Shard, Store, StoreError, content_digest, folder_digest


@dataclass(frozen=True)
class Pool:
    """Placement of a map stage: how many actors, and what each holds. Never part of a key."""

    actors: int = 1
    cpus: float = 0.25
    gpus: float = 0


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


@dataclass(frozen=True)
class Task:
    """One output shard to make: from which input shard, which item of it, and under which key."""

    source: Shard
    item: Mapping[str, int]
    key: str


@dataclass
class Runner:
    """Runs stages, or in plan mode only looks. start_engine() is called once, before the first work that needs Ray."""

    store: Store
    pools: Mapping[str, Pool] = field(default_factory=dict)
    plan_only: bool = False
    start_engine: Callable[[], None] = lambda: None
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
        if waiting := _unknown(inputs, stage.models):
            return self._foresee_model(stage, waiting)
        recipe_digest = digest(recipe(stage))
        key = digest([recipe_digest, {name: dataset.digest for name, dataset in inputs.items()}])
        folder = self.store.folder("models", stage.name, key)
        manifest = self.store.manifest(folder)
        if manifest is None and self.plan_only:
            return self._foresee_model(stage, "")
        run = self._begin(stage.name, "MISS" if manifest is None else "HIT", int(manifest is not None))
        if manifest is None:
            began = time.perf_counter()
            self.start_engine()
            scratch = self.store.folder("scratch", stage.name, key)
            built = scratch / "model"
            shutil.rmtree(built, ignore_errors=True)
            built.mkdir(parents=True)
            files = {name: [self._verified(shard) for shard in dataset.shards] for name, dataset in inputs.items()}
            models = {name: model.path for name, model in stage.models.items()}
            metrics = stage.train(stage.config, files, models, built, scratch, self.pools.get("train", Pool()))
            about = self._about(stage, inputs, code_digest(stage.train), 0, time.perf_counter() - began)
            self.store.write_model(stage.name, key, built, about | {"metrics": metrics})
            shutil.rmtree(scratch, ignore_errors=True)
            manifest = self.store.manifest(folder)
            assert manifest is not None
        if folder_digest(folder)[0] != manifest["digest"]:
            raise StoreError(
                f"{folder} is damaged: its files are not those of its manifest; delete it to train it again"
            )
        model = Model(folder, manifest["digest"], manifest["metrics"])
        run.seconds, run.shards_total = manifest["seconds"], 1
        self.results[stage.name] = model
        return model

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
        tasks = [task for shard in source.shards for task in _tasks(stage, recipe_digest, shard)]
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
            self._stream(pending, stage, downstream)
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

    def _stream(self, pending: Sequence[Task], first: MapStage, downstream: Sequence[MapStage]) -> None:
        import ray.data

        items = [{"task": json.dumps(asdict(task))} for task in pending]
        stream: ray.data.Dataset = ray.data.from_items(items, override_num_blocks=len(items))
        for stage in (first, *downstream):
            pool = self.pools.get(stage.name, Pool())
            stream = stream.map_batches(
                ShardWorker,
                fn_constructor_args=(stage, digest(recipe(stage)), self.store.root),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=min(pool.actors, len(items)), max_tasks_in_flight_per_actor=2),
                num_cpus=pool.cpus,
                num_gpus=pool.gpus or None,
            )
        # A progress line at once on a terminal, every few seconds in a log.
        with tqdm(total=len(items), desc=f"  {first.name}", unit="shard", mininterval=5, dynamic_ncols=True) as bar:
            rows = 0
            for result in stream.iter_rows():
                rows += json.loads(result["task"])["source"]["rows"]
                bar.set_postfix_str(f"{rows:,} rows", refresh=False)
                bar.update()

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


class ShardWorker:
    """The actor of every map stage: load a shard, compute, commit, and pass the committed shard's name on."""

    def __init__(self, stage: MapStage, recipe_digest: str, root: Path) -> None:
        self.stage, self.recipe_digest, self.store = stage, recipe_digest, Store(root)
        self.worker = stage.make_worker(stage.config, {name: model.path for name, model in stage.models.items()})

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"task": [self._one(json.loads(text)) for text in batch["task"]]}

    def _one(self, message: dict[str, Any]) -> str:
        source = Shard(**message["source"])
        if message["key"]:
            task = Task(source, message["item"], message["key"])
        else:  # from the stage before in the same pipeline
            [task] = _tasks(self.stage, self.recipe_digest, source)
        shard = self.store.committed(self.stage.name, task.key)
        if shard is None:
            table = self.worker(self.store.read_shard(source), task.item)
            expected = self.stage.expected_rows(task.item, source.rows)
            if len(table) != expected:
                raise StoreError(
                    f"stage {self.stage.name} gave {len(table)} rows for {expected}: rows were lost or doubled"
                )
            attributes = {**source.attributes, **{name: str(value) for name, value in task.item.items()}}
            shard = self.store.commit(self.stage.name, task.key, self.stage.schema, table, attributes)
        return json.dumps({"source": asdict(shard), "item": {}, "key": ""})


def _tasks(stage: MapStage, recipe_digest: str, shard: Shard) -> list[Task]:
    items = stage.items(stage.config, shard.attributes)
    return [Task(shard, item, digest([recipe_digest, shard.digest, item])) for item in items]


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
