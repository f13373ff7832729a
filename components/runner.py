"""The runner: plans and runs stages against a store. Ray gives parallelism and retries, the store correctness.

Every stage is asked for by key. What is committed is reused, shard by shard; the rest is computed, and a manifest
closes the stage. In plan mode nothing runs: each stage's standing is noted, and what hangs on a missing one "waits".
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from components import foreseen
from components.datasets import Dataset, Shard, content_digest, cut
from components.explain import why_missing
from components.leases import Lease
from components.provenance import git_commit, library_versions
from components.side_by_side import PROGRESS, TrainingRun, train_side_by_side
from components.stage import MapStage, Model, ModelStage, Pool, TableStage, digest, pool_of, recipe
from components.standing import Stage, StageRun, StudyError, about, refuse_errors, unknown
from components.store import Store, seal
from components.streaming import Task, stream, stream_side_by_side, tasks_of


@dataclass
class Runner:
    """Runs stages, or in plan mode only looks. start_engine() is called once, before the first work that needs Ray.

    only: compute this stage alone; the others are reused or foreseen. max_error_rate: share of a stage's rows in [0, 1]
    that may have errors; more stop the study, after they are stored.
    """

    store: Store
    study: str = ""  # names the run's record, the root that keeps its data from `gc`; "": no record
    pools: Mapping[str, Pool] = field(default_factory=dict)
    plan_only: bool = False
    only: str | None = None
    max_error_rate: float = 1.0
    start_engine: Callable[[], None] = lambda: None
    stream: Callable[[Sequence[Task], Sequence[MapStage], Mapping[str, Pool], Store], None] = stream
    stream_side_by_side: Callable[[Sequence[tuple[MapStage, Sequence[Task]]], Mapping[str, Pool], Store], None] = (
        stream_side_by_side
    )
    say: Callable[[str], None] = lambda line: print(line, flush=True)
    runs: list[StageRun] = field(default_factory=list)
    results: dict[str, Dataset | Model] = field(default_factory=dict)
    foreseen: dict[str, pa.Table] = field(default_factory=dict)  # by digest: rows that a plan made and did not store
    run_id: str = field(default_factory=lambda: f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}")

    # Barrier stages ---------------------------------------------------------------------------------------------

    def table(self, stage: TableStage, **inputs: Dataset) -> Dataset:
        """The dataset of a barrier stage, computed in this process if it is not there."""
        key = self._barrier_key(stage, inputs)
        dataset = self.store.dataset(stage.name, key) if key else None
        if dataset is None and not (key and self._computes(stage)):
            return self._foresee_table(stage, key, inputs)
        reused = len(dataset.shards) if dataset is not None else 0
        run = self._begin(stage, inputs, "MISS" if dataset is None else "HIT", reused)
        if dataset is None:
            began = time.perf_counter()
            rows = stage.compute(stage.config, **{n: self.store.read(d, stage.reads.get(n)) for n, d in inputs.items()})
            shards = []
            for index, (part, attributes) in enumerate(cut(rows, stage, inputs)):
                shard_key = digest([key, index])
                shards.append(self.store.commit(stage.name, shard_key, stage.schema, part, attributes))
            made = about(stage, inputs, sum(shard.rows for shard in shards), time.perf_counter() - began)
            dataset = self.store.write_dataset(stage.name, key, shards, made)
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
            key = self._barrier_key(stage, inputs)
            there = bool(key) and self._manifest("models", stage.name, key) is not None
            if not there and not (key and self._computes(stage)):
                models[stage.name] = self._foresee_model(stage, inputs)
                continue
            asked.append((self._begin(stage, inputs, "HIT" if there else "MISS", int(there)), key))
            if not there:
                pending.append(TrainingRun(stage, key, inputs, about(stage, inputs, 0, 0.0), self.store))
        if pending:
            self._train(pending)
        models |= {run.name: self._model(run, key) for run, key in asked}
        self.results |= {run.name: models[run.name] for run, _ in asked}
        return [models[stage.name] for stage, _ in trainings]

    def _train(self, pending: list[TrainingRun]) -> None:
        def done(run: TrainingRun) -> bool:
            return self._manifest("models", run.stage.name, run.key) is not None

        with contextlib.ExitStack() as leases:
            # One each, in one order everywhere: two studies may have some of them in common, and none waits in a ring.
            for run in sorted(pending, key=lambda run: run.key):
                name = f"{run.stage.name}-{run.key[:16]}"
                leases.enter_context(Lease(self.store.files, name, functools.partial(done, run), self.say))
            if left := [run for run in pending if not done(run)]:
                self.start_engine()
                train_side_by_side(left, self.pools.get("training", Pool()))
        for run in pending:
            self.store.files.delete_folder(run.scratch)

    def _model(self, run: StageRun, key: str) -> Model:
        folder = self.store.folder("models", run.name, key)
        manifest = self.store.manifest(folder)
        assert manifest is not None
        run.seconds, run.shards_total = manifest["seconds"], 1
        return Model(self.store.files.url(folder), manifest["digest"], manifest["files"], manifest["metrics"])

    def progress(self, stage: ModelStage, inputs: Mapping[str, Dataset]) -> dict[str, Any] | None:
        """How far a training is: step, steps, loss; None: it was not begun."""
        key = self._barrier_key(stage, inputs)
        try:
            found: dict[str, Any] = json.loads(
                self.store.files.read(f"{self.store.folder('scratch', stage.name, key)}/{PROGRESS}")
            )
        except (FileNotFoundError, ValueError):
            return None
        return found

    def awaits(self, name: str, what: str, rows: int = 0) -> Dataset:
        """The dataset of a stage that cannot be described before the user gives `what`; for plans only. rows: how many
        to assume, 0: none."""
        self.runs.append(run := StageRun(name, "WAITS", waits_for=what))
        return run.gives(foreseen.assumed_rows(name, rows, "~", rows) if rows else foreseen.unknown(name))

    # Map stages -------------------------------------------------------------------------------------------------

    def map(self, source: Dataset, *stages: MapStage) -> list[Dataset]:
        """The datasets of map stages that follow each other. Pending shards stream through all of them at once, so
        that a later stage works while an earlier one still does."""
        datasets: list[Dataset] = []
        computed = 0
        for index, stage in enumerate(stages):
            if unknown({"source": source}, stage.models):
                source = self._look(stage, {"source": source}, "MISS").gives(foreseen.of_map(stage, source))
            else:
                following = [later for later in stages[index + 1 :] if self._computes(later)]
                source, computed = self._map_one(source, stage, following, computed)
            datasets.append(source)
        return datasets

    def map_side_by_side(self, *work: tuple[Dataset, MapStage]) -> list[Dataset]:
        """The datasets of map stages that do not need each other and are placed alike, each of its own source. Their
        pending shards go through one pool of actors."""
        pending = []
        for source, stage in work:
            if not unknown({"source": source}, stage.models) and self._computes(stage):
                tasks = [task for shard in source.shards for task in tasks_of(stage, digest(recipe(stage)), shard)]
                if left := self._left(stage, tasks):
                    pending.append((stage, left))
        began = time.perf_counter()
        if pending:
            others = f" and {len(pending) - 1} more, side by side" if len(pending) > 1 else ""
            self.say(f"[{pending[0][0].name}]{others} computing …")
            self.write_record()
            name = f"map-{digest([[stage.name, task.key] for stage, tasks in pending for task in tasks])[:32]}"
            with Lease(self.store.files, name, lambda: not any(self._left(*one) for one in pending), self.say):
                if work_left := [(stage, left) for stage, tasks in pending if (left := self._left(stage, tasks))]:
                    self.start_engine()
                    self.stream_side_by_side(work_left, self.pools, self.store)
        counts = {stage.name: len(tasks) for stage, tasks in pending}
        per_task = (time.perf_counter() - began) / max(1, sum(counts.values()))
        datasets = []
        for source, stage in work:
            if stage.name in counts:
                dataset, _ = self._map_one(source, stage, [], counts[stage.name], per_task * counts[stage.name])
            else:
                [dataset] = self.map(source, stage)
            datasets.append(dataset)
        return datasets

    def _left(self, stage: MapStage, tasks: Sequence[Task]) -> list[Task]:
        """Those of the tasks whose shards are not committed."""
        done = self.store.all_committed(stage.name, [task.key for task in tasks])
        return [task for task in tasks if task.key not in done]

    def _map_one(
        self, source: Dataset, stage: MapStage, following: Sequence[MapStage], streamed: int, spent: float = 0.0
    ) -> tuple[Dataset, int]:
        """The stage's dataset, and how many of its shards this run computed; `streamed` of them came on the way, while
        the stage before was computed, or beside others, in `spent` seconds."""
        recipe_digest, inputs = digest(recipe(stage)), {"source": source}
        tasks = [task for shard in source.shards for task in tasks_of(stage, recipe_digest, shard)]
        key = digest([stage.name, [task.key for task in tasks]])
        if dataset := self.store.dataset(stage.name, key):
            status = "HIT" if not streamed else "MISS" if streamed == len(tasks) else "PARTIAL"
            run = self._begin(stage, inputs, status, len(tasks) - streamed, len(tasks))
            return self._end(run, dataset), streamed
        done = self.store.all_committed(stage.name, [task.key for task in tasks])
        pending = [task for task in tasks if task.key not in done]
        reused = max(0, len(done) - streamed)
        status = "HIT" if reused == len(tasks) else "PARTIAL" if reused else "MISS"
        if not self._computes(stage):
            run = self._look(stage, inputs, status, reused, len(tasks))
            if pending:
                return run.gives(foreseen.of_map(stage, source, [done.get(task.key) for task in tasks])), 0
            shards = tuple(done[task.key] for task in tasks)  # all are there, the manifest is not: a run would add it
            return run.gives(Dataset(stage.name, "", content_digest(shards), shards)), 0
        rows_in = sum(stage.expected_rows(task.item, task.source.rows) for task in tasks)
        run = self._begin(stage, inputs, status, reused, len(tasks), told=spent > 0)
        began = time.perf_counter()
        if pending:
            done |= self._stream(stage, key, pending, following)
        pool = pool_of(stage, self.pools)
        made = about(stage, inputs, rows_in, spent + time.perf_counter() - began, pool)
        dataset = self.store.write_dataset(stage.name, key, [done[task.key] for task in tasks], made)
        return self._end(run, dataset), len(tasks) - reused

    def _stream(
        self, stage: MapStage, key: str, pending: Sequence[Task], following: Sequence[MapStage]
    ) -> dict[str, Shard]:
        name = f"{stage.name}-{key[:16]}"
        with Lease(self.store.files, name, lambda: self.store.dataset(stage.name, key) is not None, self.say):
            there = self.store.all_committed(stage.name, [task.key for task in pending])
            if left := [task for task in pending if task.key not in there]:
                self.start_engine()
                self.stream(left, [stage, *following], self.pools, self.store)
        return self.store.all_committed(stage.name, [task.key for task in pending])

    # Notes for people -------------------------------------------------------------------------------------------

    def _computes(self, stage: Stage) -> bool:
        return not self.plan_only and self.only in (None, stage.name)

    def _begin(
        self, stage: Stage, inputs: Mapping[str, Dataset], status: str, reused: int, total: int = 0, told: bool = False
    ) -> StageRun:
        run = StageRun(stage.name, status, reused, total or reused, stage=stage, inputs=inputs)
        self.runs.append(run)
        if not self.plan_only and not told:
            standing = {"HIT": "reused", "MISS": "computing …"}.get(status, f"{reused} of {total} reused …")
            self.say(f"[{stage.name}] {standing}")
            if status != "HIT":
                self.write_record()  # what this stage builds on is not to be collected while it works
        return run

    def _end(self, run: StageRun, dataset: Dataset) -> Dataset:
        manifest = self.store.manifest(dataset.folder) or {}
        run.gives(dataset)
        run.seconds = manifest["seconds"]
        self.results[dataset.name] = dataset
        if not self.plan_only:
            refuse_errors(self.store, dataset, self.max_error_rate)
        return dataset

    def _foresee_table(self, stage: TableStage, key: str, inputs: Mapping[str, Dataset]) -> Dataset:
        """What a barrier stage would give, as far as that can be told without it. A plan makes a table that is made
        from nothing, and does not store it: that takes seconds, and tells exactly what hangs on it."""
        run = self._look(stage, inputs, "MISS")
        if inputs or not self.plan_only:
            return run.gives(foreseen.of_table(stage, inputs))
        dataset, rows = foreseen.made(stage, key)
        self.foreseen |= rows
        return run.gives(dataset)

    def _foresee_model(self, stage: ModelStage, inputs: Mapping[str, Dataset]) -> Model:
        self._look(stage, inputs, "MISS", total=1)
        return Model(stage.name, None)

    def _look(
        self, stage: Stage, inputs: Mapping[str, Dataset], status: str, reused: int = 0, total: int = 0
    ) -> StageRun:
        """Note the standing of a stage that is not computed now."""
        waiting = unknown(inputs, getattr(stage, "models", {}))
        if stage.name == self.only:
            raise StudyError(f"--only {stage.name}: it builds on {waiting}, which is not there; compute that first")
        why = () if waiting or status == "HIT" else why_missing(self.store, stage, inputs, self.foreseen)
        status = "WAITS" if waiting else status
        run = StageRun(
            stage.name, status, reused, total or reused, waits_for=waiting, why=why, stage=stage, inputs=inputs
        )
        self.runs.append(run)
        return run

    def write_record(self, finished: bool = False) -> None:
        """Note what this run uses and made so far: the root that keeps it all from `gc`."""
        if not self.study or self.plan_only:
            return
        stages = {name: _folder(self.store, result) for name, result in self.results.items()}
        record = {"study": self.study, "run": self.run_id, "finished": finished, "stages": stages}
        record |= {"git_commit": git_commit(), "libraries": library_versions()}
        self.store.files.put(f"runs/{self.study}/{self.run_id}.json", seal(record))

    def _barrier_key(self, stage: TableStage | ModelStage, inputs: Mapping[str, Dataset]) -> str:
        """The key of a barrier stage: its recipe and what its inputs contain; "" while an input is only foreseen."""
        if unknown(inputs, getattr(stage, "models", {})):
            return ""
        return digest([digest(recipe(stage)), {name: dataset.digest for name, dataset in inputs.items()}])

    def _manifest(self, kind: str, name: str, key: str) -> dict[str, Any] | None:
        return self.store.manifest(self.store.folder(kind, name, key))


def _folder(store: Store, result: Dataset | Model) -> str:
    return result.folder if isinstance(result, Dataset) else result.path.removeprefix(store.root + "/")
