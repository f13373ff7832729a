"""Execution of map stages: shards stream through pools of actors by Ray Data. Ray gives parallelism and retries, the
store correctness.

Only the names of shards go through the stream. An actor loads its input shard from the store and commits its output
shard there, so no row passes through the driver, and a run that is killed has lost only the shards in flight.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.dataflow import prometheus
from components.dataflow.datasets import Shard
from components.dataflow.errors import StoreError
from components.dataflow.poison_rows import Attempts
from components.dataflow.progress import progress
from components.dataflow.stage import MapStage, Pool, digest, pool_of, recipe
from components.dataflow.store import Store
from components.dataflow.visibility import awaited


@dataclass(frozen=True)
class Task:
    """One output shard to make: its input shard, the item of that shard, and its key."""

    source: Shard
    item: Mapping[str, int]
    key: str


def tasks_of(stage: MapStage, recipe_digest: str, shard: Shard) -> list[Task]:
    """Return the output shards to make of one input shard. Raises ValueError for a foreseen one: it has no content."""
    if not shard.digest:
        raise ValueError(f"stage {stage.name}: a shard of {shard.stage} is only foreseen, and has no part in a key")
    items = stage.items(stage.config, shard.attributes)
    return [Task(shard, item, digest([recipe_digest, shard.digest, item])) for item in items]


def stream(pending: Sequence[Task], stages: Sequence[MapStage], pools: Mapping[str, Pool], store: Store) -> None:
    """Compute and commit the pending shards of the first stage, and pass each on to the stages after it."""
    import ray.data

    items = [{"task": json.dumps(asdict(task))} for task in pending]
    shards: ray.data.Dataset = ray.data.from_items(items, override_num_blocks=len(items))
    for stage in stages:
        pool = pool_of(stage, pools)
        shards = shards.map_batches(
            ShardWorker,
            fn_constructor_args=(stage, digest(recipe(stage)), store),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                size=min(pool.actors, len(items)),
                max_tasks_in_flight_per_actor=pool.shards_at_once + 1,
                enable_true_multi_threading=pool.shards_at_once > 1,
            ),
            max_concurrency=pool.shards_at_once,
            num_cpus=pool.cpus,
            num_gpus=pool.gpus or None,
            resources=dict(pool.resources) or None,
        )
    with progress(f"  {stages[0].name}", "shard", len(items)) as bar:
        rows = 0
        prometheus.set_shards(stages[0].name, 0, len(items))
        for done, result in enumerate(shards.iter_rows(), start=1):
            prometheus.set_shards(stages[0].name, done, len(items) - done)
            rows += json.loads(result["task"])["source"]["rows"]
            bar.set_postfix_str(f"{rows:,} rows", refresh=False)
            bar.update()


def stream_concurrently(
    work: Sequence[tuple[MapStage, Sequence[Task]]], pools: Mapping[str, Pool], store: Store
) -> None:
    """Compute and commit the pending shards of independent stages that run in the same kind of place.

    The stages go one after another through one pool of actors, since to start an actor can take longer than its share
    of the work.
    """
    import ray.data

    stages = [stage for stage, _ in work]
    items = [
        {"stage": number, "task": json.dumps(asdict(task))} for number, (_, tasks) in enumerate(work) for task in tasks
    ]
    pool = pool_of(stages[0], pools)
    shards = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        SeveralStages,
        fn_constructor_args=(stages, store),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(pool.actors, len(items)), max_tasks_in_flight_per_actor=2),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        resources=dict(pool.resources) or None,
    )
    name = f"  {stages[0].name}" + (" and others" if len(stages) > 1 else "")
    total = {stage.name: len(tasks) for stage, tasks in work}
    left = dict(total)
    with progress(name, "shard", len(items)) as bar:
        for result in shards.iter_rows():
            stage = json.loads(result["task"])["source"]["stage"]
            left[stage] -= 1
            prometheus.set_shards(stage, total[stage] - left[stage], left[stage])
            bar.update()


class SeveralStages:
    """The actor of `stream_concurrently`: it holds the worker, and so the model, of one stage at a time."""

    def __init__(self, stages: Sequence[MapStage], store: Store) -> None:
        self.stages, self.store = stages, store
        self.number = -1
        self.worker: ShardWorker | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        messages: list[str] = []
        for number, text in zip(batch["stage"], batch["task"], strict=True):
            if int(number) != self.number:
                self.worker = None  # frees its memory first
                stage, self.number = self.stages[int(number)], int(number)
                self.worker = ShardWorker(stage, digest(recipe(stage)), self.store)
            assert self.worker is not None
            messages += self.worker({"task": [text]})["task"]
        return {"task": messages}


class ShardWorker:
    """The actor of every map stage: load a shard, compute, commit, and pass the committed shard's name on."""

    def __init__(self, stage: MapStage, recipe_digest: str, store: Store) -> None:
        self.stage, self.recipe_digest, self.store = stage, recipe_digest, store
        models = {
            name: awaited(functools.partial(store.local_model, model), f"model {model.path}")
            for name, model in stage.models.items()
        }
        self.worker = stage.make_worker(stage.config, models)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"task": [self._one(json.loads(text)) for text in batch["task"]]}

    def _one(self, message: dict[str, Any]) -> str:
        source = Shard(**message["source"])
        if message["key"]:
            task = Task(source, message["item"], message["key"])
        else:  # passed on by the stage before in the same pipeline
            [task] = tasks_of(self.stage, self.recipe_digest, source)
        attempts = Attempts(self.store.files, f"{self.stage.name}-{task.key}")
        (shard,) = awaited(lambda: (self.store.committed(self.stage.name, task.key),), f"stage {self.stage.name}")
        if shard is None:
            read = functools.partial(self.store.read_shard, source)
            table = attempts.compute(self.worker, awaited(read, self.store.files.url(source.path)), task.item)
            expected = self.stage.expected_rows(task.item, source.rows)
            if len(table) != expected:
                raise StoreError(
                    f"stage {self.stage.name} gave {len(table)} rows for {expected}: rows were lost or doubled"
                )
            attributes = {**source.attributes, **{name: str(value) for name, value in task.item.items()}}
            shard = self.store.commit(self.stage.name, task.key, self.stage.schema, table, attributes)
            prometheus.count_rows(self.stage.name, table, generated=self.stage.place == "engines")
        attempts.forget()  # also those of a process that died between its commit and this line
        return json.dumps({"source": asdict(shard), "item": {}, "key": ""})
