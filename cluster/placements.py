"""Placements: which stage runs on how many CPUs and GPUs. Never part of a key; a study may change placement at any
time.

A placement is chosen by `--placement`: `auto`, which reads what the cluster has, or a TOML file:

    [engines]       # vLLM: actors, gpus each (tensor parallel), nodes each, cpus, resources, shards_at_once
    [graders]       # answers and steps: actors, cpus, resources
    [scorers]       # reward models that score and label: actors, cpus, gpus, resources
    [training]      # workers as actors, cpus and gpus each, resources, sharding
    [stages.NAME]   # a stage that is placed unlike its kind
    [nodes.NAME]    # what an autoscaler may add: count, cpus, gpus, resources of each
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.dataflow.stage import Pool

KINDS = ("engines", "graders", "scorers", "training")
_SETTINGS: dict[str, type] = {
    "actors": int,
    "cpus": float,
    "gpus": float,
    "nodes": int,
    "shards_at_once": int,
    "sharding": str,
    "resources": dict,
}
_NODE_SETTINGS: dict[str, type] = {"count": int, "cpus": float, "gpus": float, "resources": dict}
Node = Mapping[str, float]  # what one node has: "CPU", "GPU" and custom resources


class PlacementError(ValueError):
    """A placement that cannot be read, or does not fit; the message says what is needed and what is there."""


@dataclass(frozen=True)
class Placement:
    """The pools that stages run in, and the nodes that an autoscaler may add.

    pools: by kind (KINDS), and by the names of stages that are placed unlike theirs.
    """

    pools: Mapping[str, Pool]
    nodes: Sequence[Node] = field(default=())


def choose(placement: Placement | None, present: Sequence[Node], sharding: str | None = None) -> Placement:
    """Return the placement for a cluster of these nodes: the given one, or `auto`. sharding: replaces the placement's
    own.

    Raises PlacementError where it does not fit.
    """
    chosen = placement or auto(total(present))
    if sharding is not None:
        training = dataclasses.replace(chosen.pools["training"], sharding=sharding)
        chosen = dataclasses.replace(chosen, pools={**chosen.pools, "training": training})
    check(chosen, present)
    return chosen


def auto(resources: Mapping[str, float]) -> Placement:
    """Choose a placement for a Ray cluster's "CPU" and "GPU": an engine on each GPU, or two engines on CPUs.

    Shares of a CPU are logical: a pipeline's actors hold at most four fifths of the CPUs, so that another task always
    fits. Raises PlacementError for a cluster with less than one CPU.
    """
    cpus, gpus = resources.get("CPU", 0), int(resources.get("GPU", 0))
    if cpus < 1:
        raise PlacementError(f"the cluster has {cpus:g} CPUs; a study needs at least 1")
    if gpus:
        engine = Pool(actors=gpus, cpus=min(1.0, 0.6 * cpus / gpus), gpus=1)
    else:
        engine = Pool(actors=2 if cpus >= 2 else 1, cpus=0.5)
    return Placement(
        {
            "engines": dataclasses.replace(
                engine, shards_at_once=2
            ),  # a second shard fills what the first leaves empty
            "graders": Pool(actors=max(1, min(8, int(0.2 * cpus / 0.25))), cpus=min(0.25, 0.2 * cpus)),
            "scorers": engine,
            "training": engine,
        }
    )


def read(path: Path) -> Placement:
    """Read a placement from a TOML file. Raises PlacementError, naming the table and the setting."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlacementError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise PlacementError(f"{path}: not TOML: {error}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Placement:
    """Read a placement from TOML text. name: its file's, for messages. Raises PlacementError."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlacementError(f"{name}: not TOML: {error}") from error
    nodes, stages = tables.pop("nodes", {}), tables.pop("stages", {})
    if unknown := sorted(set(tables) - set(KINDS)):
        raise PlacementError(f"{name}: [{unknown[0]}]: tables are {', '.join(KINDS)}, stages.NAME and nodes.NAME")
    if missing := [kind for kind in KINDS if kind not in tables]:
        raise PlacementError(f"{name}: [{missing[0]}] is missing; every kind of place has to be placed")
    options = _vllm(name, tables["engines"])
    pool_tables = {**tables, **{f"stages.{stage}": table for stage, table in stages.items()}}
    pools = {kind.removeprefix("stages."): _pool(f"{name}: [{kind}]", table) for kind, table in pool_tables.items()}
    pools["engines"] = dataclasses.replace(pools["engines"], options=options)
    for kind, pool in pools.items():
        if kind != "engines" and pool.nodes > 1:
            raise PlacementError(f"{name}: [{kind}]: nodes is {pool.nodes}; [engines] alone are spread over nodes")
    return Placement(
        pools, [node for kind, table in nodes.items() for node in _nodes(f"{name}: [nodes.{kind}]", table)]
    )


def _vllm(name: str, table: Any) -> dict[str, Any]:
    """Take vLLM's own options out of the table of engines. Raises PlacementError."""
    options = table.pop("vllm", {}) if isinstance(table, dict) else {}
    if not isinstance(options, dict):
        raise PlacementError(f"{name}: [engines.vllm] is not a table")
    return options


def _pool(where: str, table: Any) -> Pool:
    checked = _checked(where, table, _SETTINGS)
    pool = Pool(**checked)
    for name in ("actors", "nodes", "shards_at_once"):
        if getattr(pool, name) < 1:
            raise PlacementError(f"{where}: {name} is {getattr(pool, name)}; at least 1")
    if pool.sharding not in ("ddp", "fsdp"):
        raise PlacementError(f"{where}: sharding is {pool.sharding!r}; ddp or fsdp")
    if pool.gpus > 1 and pool.gpus != int(pool.gpus):
        raise PlacementError(f"{where}: gpus is {pool.gpus:g}; a part of one GPU, or whole ones")
    if pool.nodes > 1 and (pool.gpus < 1 or not pool.resources):
        raise PlacementError(
            f"{where}: nodes is {pool.nodes}: it needs gpus, of each node, and resources that only nodes with GPUs "
            "have: vLLM begins on one of them"
        )
    return pool


def _nodes(where: str, table: Any) -> list[Node]:
    checked = _checked(where, table, _NODE_SETTINGS)
    node = {"CPU": checked.get("cpus", 0.0), "GPU": checked.get("gpus", 0.0), **checked.get("resources", {})}
    return [node] * int(checked.get("count", 1))


def _checked(where: str, table: Any, settings: Mapping[str, type]) -> dict[str, Any]:
    """Return the table's settings with their types. Raises PlacementError."""
    if not isinstance(table, dict):
        raise PlacementError(f"{where} is not a table")
    checked = {}
    for name, value in table.items():
        if name not in settings:
            raise PlacementError(f"{where}: no setting {name!r}; there are {', '.join(settings)}")
        numbers = value.values() if name == "resources" and isinstance(value, dict) else [value]
        wanted = (int, float) if settings[name] is float or name == "resources" else (settings[name],)
        if any(isinstance(number, bool) or not isinstance(number, wanted) for number in numbers):
            raise PlacementError(
                f"{where}: {name} is {value!r}, not {'numbers by name' if name == 'resources' else wanted[0].__name__}"
            )
        if any(not isinstance(number, str) and number < 0 for number in numbers):
            raise PlacementError(f"{where}: {name} is {value!r}, which is negative")
        checked[name] = float(value) if settings[name] is float else value
    return checked


def check(placement: Placement, present: Sequence[Node]) -> None:
    """Check that the nodes of a cluster, with those that an autoscaler may add, can hold a placement.

    Actors that work at the same time must find room at the same time, each on one node. Raises PlacementError with the
    numbers.
    """
    nodes = [*present, *placement.nodes]
    pools = placement.pools
    for together in (
        ("engines", "graders"),
        ("scorers",),
        ("training",),
        *((name,) for name in pools if name not in KINDS),
    ):
        wanted = [(name, pools[name]) for name in sorted(together, key=lambda name: -pools[name].gpus)]
        free = [dict(node) for node in nodes]
        for name, pool in wanted:
            held = needs(pool)
            placed = sum(_take_all(free, pool) for _ in range(pool.actors))
            if placed < pool.actors:
                others = [other for other, _ in wanted if other != name]
                beside = f" beside {' and '.join(others)}" if others else ""
                raise PlacementError(
                    f"placement: {name} needs {pool.actors} × ({_amounts(held)}), each on {_on(pool)}; "
                    f"{len(nodes)} nodes with {_amounts(total(nodes))} in all hold {placed} of them{beside}"
                )


def needs(pool: Pool) -> dict[str, float]:
    """Return the resources that one of a pool's actors holds; on each node, if it is spread over several."""
    return {name: value for name, value in {"CPU": pool.cpus, "GPU": pool.gpus, **pool.resources}.items() if value}


def _on(pool: Pool) -> str:
    return "one node" if pool.nodes == 1 else f"{pool.nodes} nodes"


def _take_all(free: list[dict[str, float]], pool: Pool) -> bool:
    """Take what one actor needs, on as many nodes as it is spread over; its CPUs and resources are on the first."""
    if not _take(free, needs(pool)):
        return False
    return all(_take(free, {"GPU": pool.gpus}) for _ in range(pool.nodes - 1))


def _take(free: list[dict[str, float]], held: Mapping[str, float]) -> bool:
    for node in free:
        if all(node.get(name, 0) + 1e-6 >= value for name, value in held.items()):
            for name, value in held.items():
                node[name] -= value
            return True
    return False


def total(nodes: Sequence[Node]) -> dict[str, float]:
    """Add up the resources of all nodes, without Ray's own names for them."""
    resources: dict[str, float] = {}
    for node in nodes:
        for name, value in node.items():
            if ":" not in name and name not in ("memory", "object_store_memory"):
                resources[name] = resources.get(name, 0) + value
    return {name: value for name, value in resources.items() if value}


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{value:g} {name}" for name, value in resources.items()) or "nothing"


def describe(placement: Placement, present: Sequence[Node]) -> str:
    """Describe a placement in one line, for the log."""
    parts = [
        f"{name} {pool.actors} × ({_amounts(needs(pool))}{f' on the first of {pool.nodes} nodes' * (pool.nodes > 1)})"
        for name, pool in placement.pools.items()
    ]
    return f"placement: {'; '.join(parts)}; of {_amounts(total(present))}"
