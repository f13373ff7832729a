"""The runner: plans and runs stages against a store. Ray gives parallelism and retries, the store correctness.

Every stage is asked for by key. What is committed is reused, shard by shard; the rest is computed, and a manifest
closes the stage. In plan mode nothing runs: each stage's status is noted, and a stage that needs a missing one has the
status WAITS.
"""

from __future__ import annotations

import contextlib
import functools
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from components.dataflow import dry_run
from components.dataflow.datasets import Dataset, Shard, content_digest, cut
from components.dataflow.errors import StudyError
from components.dataflow.explain import why_missing
from components.dataflow.leases import Lease
from components.dataflow.map_executor import Task, stream, stream_concurrently, tasks_of
from components.dataflow.provenance import git_commit, library_versions
from components.dataflow.records import seal
from components.dataflow.stage import MapStage, Model, ModelStage, Pool, TableStage, digest, pool_of, recipe
from components.dataflow.stage_run import Stage, StageRun, manifest_fields, refuse_errors, title_of, unknown
from components.dataflow.store import Store
from components.dataflow.train_executor import TrainingRun, progress_of, train_concurrently
from components.dataflow.visibility import awaited


@dataclass
class Runner:
    """Runs stages, or in plan mode only looks up what is there. start_engine() is called once, before the first work
    that needs Ray.

    only: compute this stage alone; the others are reused or foreseen. max_error_rate: share of a stage's rows in [0, 1]
    that may have errors; a higher share stops the study, after the rows are stored.
    """

    store: Store
    study: str = ""  # names the run's record, the root that keeps its data from `gc`; "": no record
    pools: Mapping[str, Pool] = field(default_factory=dict)
    plan_only: bool = False
    only: str | None = None
    max_error_rate: float = 1.0
    start_engine: Callable[[], None] = lambda: None
    stream: Callable[[Sequence[Task], Sequence[MapStage], Mapping[str, Pool], Store], None] = stream
    stream_concurrently: Callable[
        [Sequence[tuple[MapStage, Sequence[Task]]], Mapping[str, Pool], Store], list[float]
    ] = stream_concurrently
    say: Callable[[str], None] = lambda line: print(line, flush=True)
    runs: list[StageRun] = field(default_factory=list)
    results: dict[str, Dataset | Model] = field(default_factory=dict)
    foreseen: dict[str, pa.Table] = field(default_factory=dict)  # by digest: rows that a plan made and did not store
    announced: bool = False
    making: set[str] = field(default_factory=set)  # the stages that this run is computing
    uses: set[str] = field(default_factory=set)  # folders of models in this store that were given by their path
    run_id: str = field(default_factory=lambda: f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}")

    # Barrier stages ---------------------------------------------------------------------------------------------

    def table(self, stage: TableStage, **inputs: Dataset) -> Dataset:
        """Return the dataset of a barrier stage, computed in this process if it is not there."""
        self._announce()
        key = self._barrier_key(stage, inputs)
        dataset = self.store.dataset(stage.name, key) if key else None
        if dataset is None and not (key and self._computes(stage)):
            return self._foresee_table(stage, key, inputs)
        reused = len(dataset.shards) if dataset is not None else 0
        run = self._begin(stage, inputs, "MISS" if dataset is None else "HIT", reused)
        if dataset is None:
            began = time.perf_counter()
            rows = stage.compute(stage.config, **{n: self._read(d, stage.reads.get(n)) for n, d in inputs.items()})
            shards = []
            for index, (part, attributes) in enumerate(cut(rows, stage, inputs)):
                shard_key = digest([key, index])
                shards.append(self.store.commit(stage.name, shard_key, stage.schema, part, attributes))
            fields = manifest_fields(stage, inputs, sum(shard.rows for shard in shards), time.perf_counter() - began)
            dataset = self.store.write_dataset(stage.name, key, shards, fields)
        return self._end(run, dataset)

    def _read(self, dataset: Dataset, columns: list[str] | None) -> pa.Table:
        return awaited(lambda: self.store.read(dataset, columns), f"the table {dataset.name}")

    def train(self, stage: ModelStage, **inputs: Dataset) -> Model:
        """Return the model of a training stage. A killed training goes on from its last checkpoint."""
        [model] = self.train_concurrently((stage, inputs))
        return model

    def train_concurrently(self, *trainings: tuple[ModelStage, Mapping[str, Dataset]]) -> list[Model]:
        """Return the models of independent training stages, trained at the same time."""
        self._announce()
        models: dict[str, Model] = {}
        keyed: list[tuple[StageRun, str]] = []
        pending: list[TrainingRun] = []
        for stage, inputs in trainings:
            key = self._barrier_key(stage, inputs)
            is_done = bool(key) and self.store.model(stage.name, key) is not None
            if not is_done and not (key and self._computes(stage)):
                models[stage.name] = self._foresee_model(stage, inputs)
                continue
            keyed.append((self._begin(stage, inputs, "HIT" if is_done else "MISS", int(is_done)), key))
            if not is_done:
                pending.append(TrainingRun(stage, key, inputs, manifest_fields(stage, inputs, 0, 0.0), self.store))
        if pending:
            self._train(pending)
        models |= {run.name: self._model(run, key) for run, key in keyed}
        self.results |= {run.name: models[run.name] for run, _ in keyed}
        self.making -= models.keys()
        return [models[stage.name] for stage, _ in trainings]

    def _train(self, pending: list[TrainingRun]) -> None:
        def done(run: TrainingRun) -> bool:
            return self.store.model(run.stage.name, run.key) is not None

        with contextlib.ExitStack() as leases:
            # One lease each, always in the same order: two studies may share trainings, and so they never deadlock.
            for run in sorted(pending, key=lambda run: run.key):
                name = f"{run.stage.name}-{run.key[:16]}"
                leases.enter_context(self._lease(name, functools.partial(done, run)))
            if left := [run for run in pending if not done(run)]:
                self.start_engine()
                train_concurrently(left, self.pools.get("training", Pool()))
        for run in pending:
            self.store.files.delete_folder(run.scratch)

    def _model(self, run: StageRun, key: str) -> Model:
        model, manifest = awaited(lambda: self.store.model(run.name, key), f"the model of stage {run.name}")
        run.seconds, run.shards_total = manifest["seconds"], 1
        return model

    def progress(self, stage: ModelStage, inputs: Mapping[str, Dataset]) -> dict[str, Any] | None:
        """Return how far a training is, as `progress_of` reads it."""
        return progress_of(self.store, self.store.folder("scratch", stage.name, self._barrier_key(stage, inputs)))

    def awaits(self, name: str, missing: str, rows: int = 0) -> Dataset:
        """Return a dataset for a stage that cannot be described before the user gives `missing`; for plans only.

        rows: how many rows to assume, 0: none.
        """
        self.runs.append(run := StageRun(name, "WAITS", waits_for=missing))
        return run.gives(dry_run.assumed_rows(name, rows, "~", rows) if rows else dry_run.unknown(name))

    # Map stages -------------------------------------------------------------------------------------------------

    def map(self, source: Dataset, *stages: MapStage) -> list[Dataset]:
        """Return the datasets of map stages that follow each other.

        Pending shards stream through all stages at once, so that a later stage works while an earlier one still does.
        """
        self._announce()
        datasets: list[Dataset] = []
        computed = 0
        for index, stage in enumerate(stages):
            if unknown({"source": source}, stage.models):
                source = self._look(stage, {"source": source}, "MISS").gives(dry_run.of_map(stage, source))
            else:
                following = [later for later in stages[index + 1 :] if self._computes(later)]
                source, computed = self._map_one(source, stage, following, computed)
            datasets.append(source)
        return datasets

    def map_concurrently(self, *work: tuple[Dataset, MapStage]) -> list[Dataset]:
        """Return the datasets of independent map stages that are placed alike, each of its own source.

        Their pending shards go through one pool of actors. What two of them share is computed once.
        """
        self._announce()
        pending: list[tuple[MapStage, list[Task]]] = []
        taken: set[tuple[str, str]] = set()
        for source, stage in work:
            if not unknown({"source": source}, stage.models) and self._computes(stage):
                tasks = [task for shard in source.shards for task in tasks_of(stage, digest(recipe(stage)), shard)]
                if left := [task for task in self._left(stage, tasks) if (stage.name, task.key) not in taken]:
                    pending.append((stage, left))
                    taken |= {(stage.name, task.key) for task in left}
        computed = self._compute_concurrently(pending) if pending else {}
        datasets = []
        for source, stage in work:
            if stage.title in computed:
                dataset, _ = self._map_one(source, stage, [], *computed[stage.title])
            else:
                [dataset] = self.map(source, stage)
            datasets.append(dataset)
        return datasets

    def _compute_concurrently(self, pending: list[tuple[MapStage, list[Task]]]) -> dict[str, tuple[int, float]]:
        """Compute the pending shards of several stages. Return of each, by its title, their number and its seconds."""
        began = time.perf_counter()
        others = f" and {len(pending) - 1} more, side by side" if len(pending) > 1 else ""
        self.say(f"[{pending[0][0].title}]{others} computing …")
        self.making |= {stage.name for stage, _ in pending}
        self.write_record()
        name = f"map-{digest([[stage.name, task.key] for stage, tasks in pending for task in tasks])[:32]}"
        worked = dict.fromkeys((stage.title for stage, _ in pending), 1e-9)
        with self._lease(name, lambda: not any(self._left(stage, tasks) for stage, tasks in pending)):
            if work_left := [(stage, left) for stage, tasks in pending if (left := self._left(stage, tasks))]:
                self.start_engine()
                seconds = self.stream_concurrently(work_left, self.pools, self.store)
                worked |= {stage.title: 1e-9 + own for (stage, _), own in zip(work_left, seconds, strict=True)}
        for stage, tasks in pending:
            self._computed(stage, tasks)
        per_worked = (time.perf_counter() - began) / sum(worked.values())
        return {stage.title: (len(tasks), per_worked * worked[stage.title]) for stage, tasks in pending}

    def _left(self, stage: MapStage, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks whose shards are not committed."""
        done = self._there(stage, tasks)
        return [task for task in tasks if task.key not in done]

    def _there(self, stage: MapStage, tasks: Sequence[Task]) -> dict[str, Shard]:
        """Return the committed shards of tasks, by key."""
        keys = [task.key for task in tasks]
        if self.plan_only:
            return self.store.all_committed(stage.name, keys)
        return awaited(lambda: self.store.all_committed(stage.name, keys), f"stage {stage.name}")

    def _map_one(
        self, source: Dataset, stage: MapStage, following: Sequence[MapStage], streamed: int, spent: float = 0.0
    ) -> tuple[Dataset, int]:
        """Return the stage's dataset, and how many of its shards this run computed.

        streamed: how many of them were computed with the stage before, or beside others, in `spent` seconds.
        """
        recipe_digest, inputs = digest(recipe(stage)), {"source": source}
        tasks = [task for shard in source.shards for task in tasks_of(stage, recipe_digest, shard)]
        key = digest([stage.name, [task.key for task in tasks]])
        if dataset := self.store.dataset(stage.name, key):
            status = "HIT" if not streamed else "MISS" if streamed == len(tasks) else "PARTIAL"
            run = self._begin(stage, inputs, status, len(tasks) - streamed, len(tasks))
            return self._end(run, dataset), streamed
        done = self._there(stage, tasks)
        pending = [task for task in tasks if task.key not in done]
        reused = max(0, len(done) - streamed)
        status = "HIT" if reused == len(tasks) else "PARTIAL" if reused else "MISS"
        if not self._computes(stage):
            run = self._look(stage, inputs, status, reused, len(tasks))
            if pending:
                return run.gives(dry_run.of_map(stage, source, [done.get(task.key) for task in tasks])), 0
            shards = tuple(done[task.key] for task in tasks)  # only the manifest is missing: a run would write it
            return run.gives(Dataset(stage.name, "", content_digest(shards), shards)), 0
        rows_in = sum(stage.expected_rows(task.item, task.source.rows) for task in tasks)
        self.making |= {later.name for later in following}
        run = self._begin(stage, inputs, status, reused, len(tasks), announced=spent > 0)
        began = time.perf_counter()
        if pending:
            done |= self._stream(stage, key, pending, following)
        pool = pool_of(stage, self.pools)
        fields = manifest_fields(stage, inputs, rows_in, spent + time.perf_counter() - began, pool)
        fields["shards_reused"] = reused
        dataset = self.store.write_dataset(stage.name, key, [done[task.key] for task in tasks], fields)
        return self._end(run, dataset), len(tasks) - reused

    def _stream(
        self, stage: MapStage, key: str, pending: Sequence[Task], following: Sequence[MapStage]
    ) -> dict[str, Shard]:
        name = f"{stage.name}-{key[:16]}"
        with self._lease(name, lambda: self.store.dataset(stage.name, key) is not None):
            if left := self._left(stage, pending):
                self.start_engine()
                self.stream(left, [stage, *following], self.pools, self.store)
        return self._computed(stage, pending)

    def _computed(self, stage: MapStage, tasks: Sequence[Task]) -> dict[str, Shard]:
        """Return the shards of computed tasks by key, once all are visible here."""
        done: dict[str, Shard] = {}

        def look() -> dict[str, Shard] | None:
            nonlocal done
            done |= self.store.all_committed(stage.name, [task.key for task in tasks if task.key not in done])
            return done if len(done) == len(tasks) else None

        return awaited(look, f"stage {stage.name}: what was computed of {len(tasks)} shards")

    def _lease(self, name: str, finished: Callable[[], bool]) -> Lease:
        return Lease(self.store.files, name, finished, self.say, self.record_path if self.study else "")

    # Notes for people -------------------------------------------------------------------------------------------

    def _computes(self, stage: Stage) -> bool:
        return not self.plan_only and self.only in (None, stage.name)

    def _begin(
        self,
        stage: Stage,
        inputs: Mapping[str, Dataset],
        status: str,
        reused: int,
        total: int = 0,
        announced: bool = False,
    ) -> StageRun:
        run = StageRun(title_of(stage), status, reused, total or reused, stage=stage, inputs=inputs)
        self.runs.append(run)
        for model in getattr(stage, "models", {}).values():
            if (folder := self.store.folder_of_given(model)) is not None:
                self.uses.add(folder)
        if not self.plan_only and not announced:
            status_text = {"HIT": "reused", "MISS": "computing …"}.get(status, f"{reused} of {total} reused …")
            self.say(f"[{run.name}] {status_text}")
            if status != "HIT":
                self.making.add(stage.name)
                self.write_record()  # gc must not remove the stage's inputs while it works
        return run

    def _end(self, run: StageRun, dataset: Dataset) -> Dataset:
        run.gives(dataset)
        run.seconds = dataset.seconds
        self.results[run.name] = dataset
        self.making.discard(dataset.name)
        if not self.plan_only:
            refuse_errors(self.store, run.name, dataset, self.max_error_rate)
        return dataset

    def _foresee_table(self, stage: TableStage, key: str, inputs: Mapping[str, Dataset]) -> Dataset:
        """Return the dataset that a barrier stage would give, as far as it is known without computing it.

        A plan computes a table without inputs, and does not store it: that takes seconds, and makes all that depends on
        it known exactly.
        """
        run = self._look(stage, inputs, "MISS")
        if inputs or not self.plan_only:
            return run.gives(dry_run.of_table(stage, inputs))
        dataset, rows = dry_run.compute_unstored(stage, key)
        self.foreseen |= rows
        return run.gives(dataset)

    def _foresee_model(self, stage: ModelStage, inputs: Mapping[str, Dataset]) -> Model:
        self._look(stage, inputs, "MISS", total=1)
        return Model(stage.name, None)

    def _look(
        self, stage: Stage, inputs: Mapping[str, Dataset], status: str, reused: int = 0, total: int = 0
    ) -> StageRun:
        """Note the status of a stage that is not computed now."""
        waiting = unknown(inputs, getattr(stage, "models", {}))
        if stage.name == self.only:
            raise StudyError(f"--only {stage.name}: it builds on {waiting}, which is not there; compute that first")
        why = () if waiting or status == "HIT" else why_missing(self.store, stage, inputs, self.foreseen)
        status = "WAITS" if waiting else status
        run = StageRun(
            title_of(stage), status, reused, total or reused, waits_for=waiting, why=why, stage=stage, inputs=inputs
        )
        self.runs.append(run)
        return run

    def _announce(self) -> None:
        """Write a run record before the first lookup in the store, so that `gc` does not remove what this run finds."""
        if not self.announced:
            self.announced = True
            self.write_record()

    def write_record(self, finished: bool = False) -> None:
        """Write the run record: what this run uses and made so far, which `gc` keeps."""
        if not self.study or self.plan_only:
            return
        stages = {name: self.store.folder_of(result) for name, result in self.results.items()}
        record = {"study": self.study, "run": self.run_id, "finished": finished, "stages": stages}
        record |= {"making": [] if finished else sorted(self.making), "uses": sorted(self.uses)}
        record |= {"git_commit": git_commit(), "libraries": library_versions()}
        self.store.files.put(self.record_path, seal(record))

    @property
    def record_path(self) -> str:
        """The path of the run's record in the store."""
        return f"runs/{self.study}/{self.run_id}.json"

    def _barrier_key(self, stage: TableStage | ModelStage, inputs: Mapping[str, Dataset]) -> str:
        """Return a barrier stage's key, from its recipe and its inputs' digests; "" while an input is only foreseen."""
        if unknown(inputs, getattr(stage, "models", {})):
            return ""
        return digest([digest(recipe(stage)), {name: dataset.digest for name, dataset in inputs.items()}])
