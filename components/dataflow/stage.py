"""Stages, and their identity: recipes and keys (see docs/concepts.md).

A key is the hash of everything that can change a stage's rows, and of nothing else: the stage's name and declared
version, its config, its row schema, the digests of its models, the versions of its engines, and what its inputs
*contain*. Where it ran, on how many workers and in which folder is placement, and never part of a key.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import pyarrow as pa


class Inert(Protocol):
    """A frozen dataclass of plain values: a config."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def canonical_json(value: object) -> str:
    """Return the one JSON text of a config value; equal values have equal texts whatever their dict order.

    Raises TypeError for a value without a canonical form (objects, sets, NaN): never `str(x)`, which could hold an
    address.
    """
    return json.dumps(_plain(value, "value"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: object, where: str) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: (getattr(value, f.name), f.metadata) for f in dataclasses.fields(value)}
        return {
            name: _plain(item, f"{where}.{name}")
            for name, (item, metadata) in fields.items()
            if "value_before" not in metadata or item != metadata["value_before"]
        }
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} is not a string, so it has no canonical form")
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise TypeError(f"{where}: {value!r} has no canonical form; a config holds plain numbers, strings and tuples")


def field_added_later(default: Any, *, value_before: Any) -> Any:
    """Declare a config field that was added after stores hold keys of the config.

    A field that has `value_before`, which its absence meant, is left out of recipes, so that results computed before
    the field existed are still found.
    """
    return field(default=default, metadata={"value_before": value_before})


def digest(value: object) -> str:
    """Return the sha256, in hex, of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def seed_for(*parts: str | int) -> int:
    """Hash parts to a seed in [0, 2^31): similar parts give unrelated seeds, the same on every machine."""
    return int(digest(list(parts))[:8], 16) >> 1


def engine_versions(distributions: tuple[str, ...]) -> dict[str, str]:
    """Read the versions of installed distributions, without importing them."""
    return {name: _version(name) for name in distributions}


@functools.cache  # a recipe is asked for once per shard
def _version(distribution: str) -> str:
    return importlib.metadata.version(distribution)


@dataclass(frozen=True)
class Pool:
    """Placement of a stage: how many actors (in training, workers), and what each holds. Never part of a key.

    gpus: an engine that holds several shares its model among them (tensor parallel). nodes: over which an engine is
    spread, with `gpus` on each. Its actor holds no GPU then: vLLM takes them through Ray. resources: custom resources
    of Ray, which tell a cluster's groups of nodes apart.

    shards_at_once: on how many shards an actor works at the same time, each in a thread, for a worker that can.
    sharding: how several training workers share a model: "ddp" (each holds all of it) or "fsdp" (each a part).

    options: of a stage's worker, which takes them as its argument `options`; none of them changes a row.
    """

    actors: int = 1
    cpus: float = 0.25
    gpus: float = 0
    nodes: int = 1
    shards_at_once: int = 1
    sharding: str = "ddp"
    resources: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gpus_of_actor(self) -> float | None:
        """The GPUs that one of its actors holds itself; None: none."""
        return self.gpus if self.gpus and self.nodes == 1 else None

    @property
    def held(self) -> dict[str, float]:
        """The CPUs and GPUs that it holds while it works."""
        return {"cpus": self.actors * self.cpus, "gpus": self.actors * self.gpus * self.nodes}


@dataclass(frozen=True)
class Model:
    """A model folder in Hugging Face layout: where it is (a path or a URL), and the digest of its files."""

    path: str
    digest: str | None  # None for a model that a plan only foresees
    files: Mapping[str, str] = field(default_factory=dict)  # name → sha256
    metrics: Mapping[str, Any] = field(default_factory=dict)


class MapWorker(Protocol):
    """One actor's work of a map stage. Made once per actor, so that an engine starts once."""

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table: ...


@dataclass(frozen=True)
class MapStage:
    """A stage that turns each input shard into one output shard.

    make_worker(config, models) is called in the actor, with `options` where its pool has any; the worker turns a
    shard's table and its item (for generation the block of samples) into the output table. items(shard's attributes)
    lists the items of one input shard.
    """

    name: str
    version: int  # raise it when results change; the code itself is not hashed
    config: Inert
    schema: pa.Schema
    make_worker: Callable[..., MapWorker]
    models: dict[str, Model] = field(default_factory=dict)
    engines: tuple[str, ...] = ()
    items: Callable[[Any, Mapping[str, str]], list[dict[str, int]]] = lambda config, attributes: [{}]
    # Config fields that only choose the items, and change no item's rows, so that a study can grow.
    not_in_key: tuple[str, ...] = ()
    # The kind of place that it runs in, unless a placement names the stage itself: engines, graders or scorers.
    place: str = "graders"
    # Rows that an item must give for `rows` input rows; the store refuses a shard with another count.
    expected_rows: Callable[[Mapping[str, int], int], int] = lambda item, rows: rows
    # What this use of the stage is called in a study, where one study uses it several times; "": by its name.
    shown_as: str = ""

    @property
    def title(self) -> str:
        """The stage's name in the study: in what is printed, and in its index. Never part of a key."""
        return self.shown_as or self.name


@dataclass(frozen=True)
class TableStage:
    """A barrier stage: from whole input datasets to one table.

    compute(config, inputs) runs in the driver. It returns the table, or yields tables in turn where the whole would not
    fit into memory.
    """

    name: str
    version: int
    config: Inert
    schema: pa.Schema
    compute: Callable[..., pa.Table | Iterator[pa.Table]]
    shard_rows: int = 100_000
    # The column to cut shards by; its value is kept as the shard's attribute. None: shards are plain slices.
    shard_by: str | None = None
    # The input whose rows its own follow one by one. It is cut into the same shards, so that a training can read both
    # side by side; "": none.
    shards_like: str = ""
    # input → the columns that it needs; an input that is not here is read whole.
    reads: Mapping[str, list[str]] = field(default_factory=dict)
    # For plans: (config, input datasets) → the number of rows that it will give (with `shard_by`, per value of that
    # column) and how exact it is (`Dataset.rows_are`); None where the inputs' numbers of rows do not decide it.
    expected_rows: Callable[[Any, Mapping[str, Any]], tuple[int | Mapping[str, int], str] | None] = (
        lambda config, inputs: None
    )


@dataclass(frozen=True)
class ModelStage:
    """A barrier stage that trains: from whole input datasets to a model folder.

    train(runs, pool) trains `runs` (train_executor.TrainingRun, all with this `train`) in turn, in a Ray task, and
    publishes each model by `run.publish`.
    """

    name: str
    version: int
    config: Inert
    train: Callable[[Sequence[Any], Pool], None]
    models: dict[str, Model] = field(default_factory=dict)
    engines: tuple[str, ...] = ()


def pool_of(stage: MapStage, pools: Mapping[str, Pool]) -> Pool:
    """Return a map stage's pool: the placement's entry for the stage itself, else for its kind of place."""
    return pools.get(stage.name, pools.get(stage.place, Pool()))


def recipe(stage: MapStage | TableStage | ModelStage) -> dict[str, Any]:
    """Return everything declared that can change the stage's rows; its digest is the first part of every key."""
    schema = None if isinstance(stage, ModelStage) else [[f.name, str(f.type), f.nullable] for f in stage.schema]
    config = _plain(stage.config, f"{stage.name}.config")
    if isinstance(stage, MapStage) and isinstance(config, dict):
        config = {name: value for name, value in config.items() if name not in stage.not_in_key}
    layout: dict[str, Any] | None = None
    if isinstance(stage, TableStage):
        layout = {"shard_rows": stage.shard_rows, "shard_by": stage.shard_by}
        layout = {"shards_like": stage.shards_like} if stage.shards_like else layout
    return {
        "stage": stage.name,
        "version": stage.version,
        "config": config,
        "schema": schema,
        "layout": layout,
        "models": {} if isinstance(stage, TableStage) else {name: m.digest for name, m in stage.models.items()},
        "engines": {} if isinstance(stage, TableStage) else engine_versions(stage.engines),
    }
