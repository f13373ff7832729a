"""Execution of map stages: shards stream through pools of actors by Ray Data. Ray gives parallelism and retries, the
store correctness.

Only the names of shards go through the stream. An actor loads its input shard from the store and commits its output
shard there, so no row passes through the driver, and a run that is killed has lost only the shards in flight.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from components.dataflow import prometheus
from components.dataflow.datasets import Shard
from components.dataflow.errors import StoreError, StudyError
from components.dataflow.poison_rows import Attempts
from components.dataflow.progress import progress
from components.dataflow.shard_parts import ShardPart
from components.dataflow.stage import MapStage, Pool, digest, pool_of, recipe
from components.dataflow.store import Store
from components.dataflow.visibility import awaited

_ROUNDS = 2  # tasks for each place where one is worked on, so that the last ones end at about the same time
_LEAST_ROWS = 64  # of a part of a shard: an engine that works on fewer sequences is half idle


@dataclass(frozen=True)
class Task:
    """One output shard to make: its input shard, the item of that shard, and its key. part, parts: a part of it."""

    source: Shard
    item: Mapping[str, int]
    key: str
    part: int = 0
    parts: int = 1


def tasks_of(stage: MapStage, recipe_digest: str, shard: Shard) -> list[Task]:
    """Return the output shards to make of one input shard. Raises ValueError for a foreseen one: it has no content."""
    if not shard.digest:
        raise ValueError(f"stage {stage.name}: a shard of {shard.stage} is only foreseen, and has no part in a key")
    items = stage.items(stage.config, shard.attributes)
    return [Task(shard, item, digest([recipe_digest, shard.digest, item])) for item in items]


def split(tasks: Sequence[Task], stage: MapStage, pool: Pool) -> list[Task]:
    """Cut tasks into parts where engines would be idle else. Only engines: other work is short."""
    wanted = _ROUNDS * pool.actors * pool.shards_at_once
    if stage.place != "engines" or not tasks or len(tasks) >= wanted:
        return list(tasks)
    found: list[Task] = []
    for task in tasks:
        rows = stage.expected_rows(task.item, task.source.rows)
        parts = max(1, min(math.ceil(wanted / len(tasks)), rows // _LEAST_ROWS, task.source.rows))
        found += [replace(task, part=part, parts=parts) for part in range(parts)]
    return found


def stream(pending: Sequence[Task], stages: Sequence[MapStage], pools: Mapping[str, Pool], store: Store) -> None:
    """Compute and commit the pending shards of the first stage, and pass each on to the stages after it."""
    import ray.data

    tasks = split(pending, stages[0], pool_of(stages[0], pools))
    items = [{"task": json.dumps(asdict(task))} for task in tasks]
    shards: ray.data.Dataset = ray.data.from_items(items, override_num_blocks=len(items))
    for stage in stages:
        pool = pool_of(stage, pools)
        shards = shards.map_batches(
            ShardActor,
            fn_constructor_args=(stage, digest(recipe(stage)), store, pool.options),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                size=min(pool.actors, len(items)),
                max_tasks_in_flight_per_actor=pool.shards_at_once + 1,
                enable_true_multi_threading=pool.shards_at_once > 1,
            ),
            max_concurrency=pool.shards_at_once,
            num_cpus=pool.cpus,
            num_gpus=pool.gpus_of_actor,
            resources=dict(pool.resources) or None,
        )
    unit = "shard" if len(tasks) == len(pending) else "part of a shard"
    with progress(f"  {stages[0].title}", unit, len(items)) as bar:
        rows = 0
        prometheus.set_shards(stages[0].name, 0, len(items))
        for done, result in enumerate(shards.iter_rows(), start=1):
            prometheus.set_shards(stages[0].name, done, len(items) - done)
            message = _finished(result["task"])
            rows += message["source"]["rows"] if "source" in message else 0
            bar.set_postfix_str(f"{rows:,} rows", refresh=False)
            bar.update()


def stream_concurrently(
    work: Sequence[tuple[MapStage, Sequence[Task]]], pools: Mapping[str, Pool], store: Store
) -> list[float]:
    """Compute and commit the pending shards of independent stages that run in the same kind of place.

    The stages go one after another through one pool of actors, since to start an actor can take longer than its share
    of the work. Returns the seconds that actors worked for each stage, to open its model included.
    """
    import ray.data

    stages = [stage for stage, _ in work]
    items = [
        {"stage": number, "task": json.dumps(asdict(task))} for number, (_, tasks) in enumerate(work) for task in tasks
    ]
    pool = pool_of(stages[0], pools)
    shards = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        SeveralStages,
        fn_constructor_args=(stages, store, pool.options),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(pool.actors, len(items)), max_tasks_in_flight_per_actor=2),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus_of_actor,
        resources=dict(pool.resources) or None,
    )
    name = f"  {stages[0].title}" + (" and others" if len(stages) > 1 else "")
    total: Counter[str] = Counter()
    for stage, tasks in work:  # several may be of one name
        total[stage.name] += len(tasks)
    left = Counter(total)
    seconds = [0.0] * len(work)
    with progress(name, "shard", len(items)) as bar:
        for result in shards.iter_rows():
            stage = stages[result["stage"]]
            _finished(result["task"])
            left[stage.name] -= 1
            seconds[result["stage"]] += result["seconds"]
            prometheus.set_shards(stage.name, total[stage.name] - left[stage.name], left[stage.name])
            bar.set_postfix_str(stage.title if len(stages) > 1 else "", refresh=False)
            bar.update()
    return seconds


def _finished(text: str) -> dict[str, Any]:
    """Return what a worker says of a shard that is done. Raises StudyError where it had to stop."""
    message: dict[str, Any] = json.loads(text)
    if "stopped" in message:
        raise StudyError(f"{message['stopped']}; what is committed is kept, so run it again to go on")
    return message


def _attempted(task: Task) -> str:
    """Return the name of what processes may die on: a shard's key, or one made of a part of it."""
    return task.key if task.parts == 1 else digest([task.key, task.part, task.parts])


class ShardActor:
    """The actor of every map stage in `stream`. An error of its worker goes to the driver as a message: Ray keeps no
    exception of a map's function."""

    def __init__(self, stage: MapStage, recipe_digest: str, store: Store, options: Mapping[str, Any]) -> None:
        self.stage, self.worker = stage, ShardWorker(stage, recipe_digest, store, options)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"task": [self._one_or_stop(str(text)) for text in batch["task"]]}

    def _one_or_stop(self, text: str) -> str:
        if "stopped" in json.loads(text):
            return text
        try:
            [done] = self.worker({"task": [text]})["task"]
        except (StoreError, OSError) as error:
            return json.dumps({"stopped": f"stage {self.stage.title}: {error}"})
        return done


class SeveralStages:
    """The actor of `stream_concurrently`: it holds the worker, and so the model, of one stage at a time."""

    def __init__(self, stages: Sequence[MapStage], store: Store, options: Mapping[str, Any] | None = None) -> None:
        self.stages, self.store, self.options = stages, store, options
        self.number = -1
        self.worker: ShardWorker | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        messages: list[str] = []
        seconds: list[float] = []
        for number, text in zip(batch["stage"], batch["task"], strict=True):
            began = time.perf_counter()
            if int(number) != self.number:
                self.worker = None  # frees its memory first
                stage, self.number = self.stages[int(number)], int(number)
                self.worker = ShardWorker(stage, digest(recipe(stage)), self.store, self.options)
            assert self.worker is not None
            messages += self.worker({"task": [text]})["task"]
            seconds.append(time.perf_counter() - began)
        return {"stage": list(batch["stage"]), "task": messages, "seconds": seconds}


class ShardWorker:
    """The work of every map stage's actor: load a shard, compute, commit, and pass the committed shard's name on."""

    def __init__(
        self, stage: MapStage, recipe_digest: str, store: Store, options: Mapping[str, Any] | None = None
    ) -> None:
        self.stage, self.recipe_digest, self.store = stage, recipe_digest, store
        models = {
            name: awaited(functools.partial(store.local_model, model), f"model {model.path}")
            for name, model in stage.models.items()
        }
        self.worker = stage.make_worker(stage.config, models, **({"options": options} if options else {}))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"task": [self._one(json.loads(text)) for text in batch["task"]]}

    def _one(self, message: dict[str, Any]) -> str:
        if "waiting" in message:
            return json.dumps(message)
        source = Shard(**message["source"])
        if message["key"]:
            task = Task(source, message["item"], message["key"], message["part"], message["parts"])
        else:  # passed on by the stage before in the same pipeline
            [task] = tasks_of(self.stage, self.recipe_digest, source)
        part = self._part(task)
        attempts = Attempts(self.store.files, f"{self.stage.name}-{_attempted(task)}")
        shard = self._committed(task)
        if shard is None:
            table = self._computed(task, attempts) if part is None else self._with_others(part, task, attempts)
            if table is None and (shard := self._committed(task)) is None:
                return json.dumps({"waiting": "other parts of the shard are not there yet"})
        if shard is None:
            attributes = {**source.attributes, **{name: str(value) for name, value in task.item.items()}}
            shard = self.store.commit(self.stage.name, task.key, self.stage.schema, table, attributes)
            prometheus.count_rows(self.stage.name, table, generated=self.stage.place == "engines")
        attempts.forget()  # also those of a process that died between its commit and this line
        if part is not None:
            part.forget()
        return json.dumps({"source": asdict(shard), "item": {}, "key": ""})

    def _committed(self, task: Task) -> Shard | None:
        (shard,) = awaited(lambda: (self.store.committed(self.stage.name, task.key),), f"stage {self.stage.name}")
        return shard

    def _computed(self, task: Task, attempts: Attempts, bounds: tuple[int, int] | None = None) -> pa.Table:
        """Return the output rows of an input shard, or of its rows within bounds. Raises StoreError for lost ones."""
        read = functools.partial(self.store.read_shard, task.source)
        source = awaited(read, self.store.files.url(task.source.path))
        start, stop = bounds or (0, len(source))
        table = attempts.compute(self.worker, source.slice(start, stop - start), task.item)
        expected = self.stage.expected_rows(task.item, stop - start)
        if len(table) != expected:
            raise StoreError(
                f"stage {self.stage.name} gave {len(table)} rows for {expected}: rows were lost or doubled"
            )
        return table

    def _part(self, task: Task) -> ShardPart | None:
        if task.parts == 1:
            return None
        return ShardPart(self.store, self.stage, task.key, task.source.rows, task.part, task.parts)

    def _with_others(self, part: ShardPart, task: Task, attempts: Attempts) -> pa.Table | None:
        """Compute a part, and return the rows of the whole shard where all others are there."""
        if not part.is_there:
            part.keep(self._computed(task, attempts, part.bounds))
        attempts.forget()
        return part.whole()
