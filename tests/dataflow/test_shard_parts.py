"""Shards that are computed in parts: what is cut, and that the shard is the one that a single worker makes."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.dataflow import store_marker
from components.dataflow.datasets import Shard
from components.dataflow.errors import StoreError
from components.dataflow.map_executor import ShardActor, ShardWorker, Task, split, tasks_of
from components.dataflow.records import stage_of
from components.dataflow.runner import Runner
from components.dataflow.shard_parts import ShardPart
from components.dataflow.stage import MapStage, Pool, TableStage, digest, recipe
from components.dataflow.store import Store
from tests.faults.fake import ROWS, Config, Multiply, numbers

CALLS: list[int] = []  # rows of each call of a worker


class Counted(Multiply):
    """It notes how many rows it is given."""

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        CALLS.append(len(table))
        return super().__call__(table, item)


STAGE = MapStage("samples", 1, Config(), ROWS, Counted, place="engines")


def begun(root: Path) -> tuple[Store, Task]:
    """A store with one shard of 10 rows, and the task to make another of it."""
    CALLS.clear()
    store = Store(root)
    store_marker.begin(store.files)
    stage = TableStage("numbers", 1, Config(10), ROWS, numbers, shard_rows=100)
    [shard] = Runner(store, say=lambda line: None).table(stage).shards
    [task] = tasks_of(STAGE, digest(recipe(STAGE)), shard)
    return store, task


def parts_of(task: Task, parts: int) -> list[Task]:
    return [dataclasses.replace(task, part=part, parts=parts) for part in range(parts)]


def work(store: Store, task: Task) -> dict[str, Any]:
    worker = ShardWorker(STAGE, digest(recipe(STAGE)), store)
    [message] = worker({"task": [json.dumps(dataclasses.asdict(task))]})["task"]
    return dict(json.loads(message))


@pytest.mark.parametrize("order", range(5))
def test_parts_in_any_order_make_the_shard_that_one_worker_makes(tmp_path: Path, order: int) -> None:
    store, task = begun(tmp_path / "whole")
    whole = work(store, task)["source"]
    store, task = begun(tmp_path / "parts")
    parts = parts_of(task, 3)
    random.Random(order).shuffle(parts)
    *others, last = [work(store, part) for part in parts]
    assert all(message.keys() == {"waiting"} for message in others)
    assert last["source"] == whole
    assert sorted(CALLS) == [3, 3, 4]
    assert not list(store.files.find("scratch"))


def test_parts_at_the_same_time_make_it_too(tmp_path: Path) -> None:
    store, task = begun(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        messages = list(threads.map(lambda part: work(store, part), parts_of(task, 10)))
    made = [message["source"] for message in messages if "source" in message]
    assert made
    assert all(each == made[0] for each in made)
    table = store.read_shard(Shard(**made[0]))
    assert table["number"].to_pylist() == [10 * number for number in range(10)]


def test_what_was_computed_before_a_kill_is_not_computed_again(tmp_path: Path) -> None:
    store, task = begun(tmp_path)
    first, second, third = parts_of(task, 3)
    work(store, first)
    kept = [file.path for file in store.files.find("scratch")]
    assert [stage_of(path) for path in kept] == ["samples"]
    CALLS.clear()
    assert "waiting" in work(store, first)
    assert "waiting" in work(store, second)
    assert "source" in work(store, third)
    assert CALLS == [3, 4]
    assert "source" in work(store, first)  # the shard is there
    assert CALLS == [3, 4]


def test_parts_of_another_cut_are_no_parts_and_go_with_the_shard(tmp_path: Path) -> None:
    store, task = begun(tmp_path)
    work(store, parts_of(task, 4)[0])
    for part in parts_of(task, 2):
        message = work(store, part)
    assert "source" in message
    assert not list(store.files.find("scratch"))


def test_rows_that_are_lost_in_a_part_stop_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, task = begun(tmp_path)
    monkeypatch.setattr(Counted, "__call__", lambda self, table, item: Multiply(Config(), {})(table, item).slice(1))
    with pytest.raises(StoreError, match="stage samples gave 4 rows for 5: rows were lost or doubled"):
        work(store, parts_of(task, 2)[0])


def test_an_error_that_is_no_rows_fault_stops_the_stage_by_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        raise OSError(28, "No space left on device")

    store, task = begun(tmp_path)
    monkeypatch.setattr(Counted, "__call__", full)
    actor = ShardActor(STAGE, digest(recipe(STAGE)), store, {})
    [message] = actor({"task": [json.dumps(dataclasses.asdict(task))]})["task"]
    assert json.loads(message) == {"stopped": "stage samples: [Errno 28] No space left on device"}
    assert actor({"task": [message]}) == {"task": [message]}


def test_tasks_are_cut_where_engines_would_be_idle(tmp_path: Path) -> None:
    _, task = begun(tmp_path)
    large = dataclasses.replace(task, source=dataclasses.replace(task.source, rows=150))
    stage = dataclasses.replace(STAGE, expected_rows=lambda item, rows: 16 * rows)
    assert split([large] * 16, stage, Pool(4)) == [large] * 16  # a task each, and more
    assert split([large] * 16, dataclasses.replace(stage, place="graders"), Pool(64)) == [large] * 16
    cut = split([large] * 16, stage, Pool(64, shards_at_once=2))
    assert len(cut) == 16 * 16
    assert [(each.part, each.parts) for each in cut[:16]] == [(part, 16) for part in range(16)]
    assert len(split([task], stage, Pool(64))) == 2  # of 80 samples each, and not less than 64
    assert split([], stage, Pool(64)) == []


def test_bounds_cover_all_rows_once(tmp_path: Path) -> None:
    store, task = begun(tmp_path)
    for parts in range(1, 11):
        bounds = [ShardPart(store, STAGE, task.key, 10, part, parts).bounds for part in range(parts)]
        assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
        assert bounds[-1][1] == 10
