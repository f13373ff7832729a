"""Identity, store and runner, on a temporary folder and without Ray."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from components.dataflow import stage_run
from components.dataflow.datasets import Dataset, content_digest
from components.dataflow.errors import StoreError, StudyError
from components.dataflow.explain import why_missing
from components.dataflow.map_executor import SeveralStages, ShardWorker, tasks_of
from components.dataflow.runner import Runner
from components.dataflow.stage import MapStage, Model, TableStage, canonical_json, digest, recipe, seed_for
from components.dataflow.stage_run import StageRun
from components.dataflow.store import Store
from components.evaluation.compute_cost import seconds_of

ROWS = pa.schema(
    [pa.field("number", pa.int64(), nullable=False), ("split", pa.string()), pa.field("error", pa.string())]
)
FAULTS: dict[str, int] = {}


@dataclass(frozen=True)
class Config:
    start: int = 0
    count: int = 25
    repeats: int = 2
    share: float = 0.5


def numbers(config: Config) -> pa.Table:
    split = ["train" if i % 5 else "test" for i in range(config.count)]
    return pa.table({"number": range(config.start, config.start + config.count), "split": split, "error": [None] * config.count}, schema=ROWS)  # fmt: skip  # noqa: E501


class Square:
    """Squares numbers; an odd-looking row fails and is kept; a planted fault drops a row or kills."""

    def __init__(self, config: Config, models: dict[str, Path]) -> None:
        self.config = config

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        if FAULTS.get("fail_after", -1) == 0:
            raise RuntimeError("planted")
        FAULTS["fail_after"] = FAULTS.get("fail_after", -1) - 1
        rows = [
            {**row, "number": row["number"] ** 2, "error": "13 is refused" if row["number"] == 13 else None}
            for row in table.to_pylist()
            for _ in range(item.get("count", 1))
        ]
        return pa.Table.from_pylist(rows[FAULTS.get("drop", 0) :], schema=ROWS)


def table_stage(config: Config = Config()) -> TableStage:
    return TableStage("numbers", 1, config, ROWS, numbers, shard_rows=4, shard_by="split")


def map_stage(config: Config = Config(), version: int = 1, name: str = "squares") -> MapStage:
    return MapStage(
        name, version, config, ROWS, Square,
        items=lambda config, attributes: [{"start": s, "count": 1} for s in range(config.repeats)],
        expected_rows=lambda item, rows: rows * item["count"],
        not_in_key=("repeats",),
    )  # fmt: skip


def local_stream(pending: Any, stages: Any, pools: Any, store: Store) -> None:
    """Shards one after another in this process, without Ray."""
    for task in pending:
        message = json.dumps(dataclasses.asdict(task))
        for stage in stages:
            worker = ShardWorker(stage, digest(recipe(stage)), store)
            [message] = worker({"task": [message]})["task"]


def local_stream_concurrently(work: Any, pools: Any, store: Store) -> list[float]:
    """Stages side by side in this process, by their own actor."""
    actor = SeveralStages([stage for stage, _ in work], store)
    seconds = [0.0] * len(work)
    for number, (_, tasks) in enumerate(work):
        for task in tasks:
            done = actor({"stage": [number], "task": [json.dumps(dataclasses.asdict(task))]})
            seconds[number] += done["seconds"][0]
    return seconds


def local_runner(store: Store, plan_only: bool = False) -> Runner:
    return Runner(
        store,
        say=lambda line: None,
        plan_only=plan_only,
        stream=local_stream,
        stream_concurrently=local_stream_concurrently,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    FAULTS.clear()
    return Store(tmp_path)


def run_all(store: Store, **changes: Any) -> tuple[Runner, Dataset, Dataset]:
    runner = local_runner(store, changes.pop("plan_only", False))
    config = Config(**changes)
    source = runner.table(table_stage(Config(start=config.start, count=config.count)))
    [squares] = runner.map(source, map_stage(Config(repeats=config.repeats)))
    return runner, source, squares


def test_canonical_json_is_the_same_for_equal_values_and_refuses_the_rest() -> None:
    assert canonical_json({"b": 1, "a": (1, 2.5, None)}) == '{"a":[1,2.5,null],"b":1}'
    assert digest(["ab", "c"]) != digest(["a", "bc"])
    assert digest(1) != digest("1") != digest(1.0)
    for value in (float("nan"), {1, 2}, object(), {1: "x"}, b"x", print):
        with pytest.raises(TypeError, match="canonical form"):
            canonical_json({"x": value})


def test_keys_do_not_depend_on_the_process() -> None:
    code = "from components.dataflow.stage import *; print(digest({'z': 1, 'a': [True, 'é']}), seed_for(0, 'p', 3))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert len(printed) == 1
    assert seed_for(0, "p", 3) != seed_for(0, "p", 4) != seed_for(1, "p", 3)


def test_every_config_field_but_the_extending_ones_changes_the_recipe() -> None:
    base = digest(recipe(map_stage()))
    for field, value in {"start": 1, "count": 26, "share": 0.25}.items():
        assert digest(recipe(map_stage(dataclasses.replace(Config(), **{field: value})))) != base
    assert digest(recipe(map_stage(dataclasses.replace(Config(), repeats=9)))) == base
    assert digest(recipe(map_stage(version=2))) != base
    assert digest(recipe(map_stage(name="cubes"))) != base


def test_golden_key() -> None:
    """A change here re-keys every user's store: make it on purpose, and say so."""
    assert digest(recipe(map_stage())) == "d80d74c3ca06454880bf2c67c06a105e879e8ae7e9fc715e6e7d59d1b530258e"


def test_rows_and_errors_are_kept_and_counted(store: Store) -> None:
    _, source, squares = run_all(store)
    manifest = store.manifest(squares.folder)
    assert manifest is not None
    assert source.rows == 25
    assert (manifest["rows_in"], manifest["rows_out"], manifest["rows_error"]) == (50, 48, 2)
    frame = pd.read_parquet(store.files.url(squares.folder))
    assert sorted(frame["number"]) == sorted([i**2 for i in range(25)] * 2)
    assert frame[frame["error"].notna()]["number"].tolist() == [169, 169]
    assert squares.select(split="test").rows == 10
    assert squares.without(split="test").rows == 40


def test_a_second_run_reuses_everything(store: Store) -> None:
    _, _, first = run_all(store)
    FAULTS["fail_after"] = 0  # any work would now fail
    runner, _, second = run_all(store)
    assert first == second
    assert [run.status for run in runner.runs] == ["HIT", "HIT"]


def test_what_grows_keeps_what_it_had(store: Store) -> None:
    _, _, small = run_all(store)
    runner, _, more_repeats = run_all(store, repeats=3)
    assert (runner.runs[1].shards_reused, runner.runs[1].shards_total) == (14, 21)
    assert {shard.key for shard in small.shards} < {shard.key for shard in more_repeats.shards}
    runner, _, _ = run_all(store, count=26)
    assert (runner.runs[1].shards_reused, runner.runs[1].shards_total) == (12, 14)


def test_a_failed_run_keeps_its_shards_and_has_no_manifest(store: Store) -> None:
    FAULTS["fail_after"] = 5
    with pytest.raises(RuntimeError, match="planted"):
        run_all(store)
    assert not list(Path(store.root).glob("datasets/squares-*"))
    FAULTS.clear()
    runner, _, resumed = run_all(store)
    assert (runner.runs[1].status, runner.runs[1].shards_reused) == ("PARTIAL", 5)
    manifest = store.manifest(resumed.folder) or {}
    assert (manifest["shards_reused"], len(resumed.shards)) == (5, 14)
    assert seconds_of(manifest | {"seconds": 3.0}, 14) == pytest.approx(3.0 * 14 / 9)
    assert seconds_of(manifest, 5) is None, "a run that found all shards done took no time that says anything"
    assert seconds_of({"seconds": 3.0}, 7) == 3.0
    assert resumed.digest == run_all(Store(f"{store.root}/undisturbed"))[2].digest


def test_lost_rows_are_refused(store: Store) -> None:
    FAULTS["drop"] = 1
    with pytest.raises(StoreError, match="gave 3 rows for 4"):
        run_all(store)


def test_plan_runs_nothing_and_counts_what_is_there(store: Store) -> None:
    runner, _, _ = run_all(store, plan_only=True)
    assert [(run.status, run.waits_for) for run in runner.runs] == [("MISS", ""), ("MISS", "")]
    assert not list(Path(store.root).iterdir())
    run_all(store)
    runner, _, _ = run_all(store, plan_only=True, repeats=4)
    assert [(run.status, run.shards_reused, run.rows) for run in runner.runs] == [("HIT", 7, 25), ("PARTIAL", 14, 100)]


def test_early_cutoff_keys_on_content_not_on_how_it_was_made(store: Store) -> None:
    _, source, squares = run_all(store)
    runner = local_runner(store)
    again = runner.table(dataclasses.replace(table_stage(), version=2))
    assert again.digest == source.digest
    assert runner.map(again, map_stage()) == [squares]
    assert [run.status for run in runner.runs] == ["MISS", "HIT"]


def test_the_first_writer_of_a_key_wins(store: Store) -> None:
    one = store.commit("s", "a" * 64, ROWS, numbers(Config(start=1, count=2)), {})
    two = store.commit("s", "a" * 64, ROWS, numbers(Config(start=5, count=2)), {})
    assert one == two
    assert store.read_shard(two)["number"].to_pylist() == [1, 2]


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_damage_is_seen_by_the_reader(store: Store, damage: bytes | None) -> None:
    _, _, squares = run_all(store)
    path = Path(store.files.url(squares.shards[0].path))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    os.unlink(path)
    path.write_bytes(bytes(data) if damage is None else damage)
    with pytest.raises(StoreError, match="damaged"):
        store.read(squares)


def test_schema_is_enforced(store: Store) -> None:
    bad = pa.table({"number": [1, None], "split": ["a", "b"], "error": [None, None]})
    with pytest.raises(StoreError, match=r"non-nullable|holds nulls"):
        store.commit("s", "a" * 64, ROWS, bad, {})
    with pytest.raises(StoreError, match="stage s: its rows break"):
        store.commit("s", "a" * 64, ROWS, bad.drop_columns(["split"]), {})


def test_a_published_table_holds_every_shard_and_none_that_is_damaged(store: Store) -> None:
    _, numbers, _ = run_all(store)
    assert len(numbers.shards) > 1
    store.publish("studies/mine/numbers.parquet", numbers)
    assert sorted(pd.read_parquet(f"{store.root}/studies/mine/numbers.parquet")["number"]) == list(range(25))
    path = Path(store.root) / numbers.shards[1].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match="is damaged"):
        store.publish("studies/mine/numbers.parquet", numbers)


def test_dataset_digest_is_that_of_its_shards_in_order(store: Store) -> None:
    _, source, _ = run_all(store)
    assert content_digest(source.shards) == source.digest
    assert content_digest(source.shards[::-1]) != source.digest


def test_shards_stream_through_stages_that_follow_each_other(store: Store) -> None:
    runner = local_runner(store)
    second = map_stage(Config(repeats=1), name="fourth_powers")
    source = runner.table(table_stage())
    squares, fourth = runner.map(source, map_stage(), second)
    assert sorted(pd.read_parquet(store.files.url(fourth.folder))["number"]) == sorted([i**4 for i in range(25)] * 2)
    assert [(run.name, run.shards_reused, run.status) for run in runner.runs[1:]] == [
        ("squares", 0, "MISS"),
        ("fourth_powers", 0, "MISS"),
    ]
    assert squares.digest != fourth.digest


def test_stages_side_by_side_are_those_that_ran_alone(store: Store, tmp_path: Path) -> None:
    names = ["squares", "others", "more"]
    stages = [map_stage(Config(repeats=1 + number), name=name) for number, name in enumerate(names)]
    alone = local_runner(Store(tmp_path / "alone"))
    source = alone.table(table_stage())
    wanted = [alone.map(source, stage)[0].digest for stage in stages]

    runner = local_runner(store)
    source = runner.table(table_stage())
    planned = local_runner(store, plan_only=True)
    planned.map_concurrently(*((source, stage) for stage in stages))
    assert [(run.name, run.status, run.rows) for run in planned.runs] == [
        (name, "MISS", 25 * (1 + number)) for number, name in enumerate(names)
    ]
    runner.map(source, stages[1])  # one of them is there
    FAULTS["fail_after"] = 9  # and the next dies on its tenth shard
    with pytest.raises(RuntimeError, match="planted"):
        runner.map_concurrently(*((source, stage) for stage in stages))
    FAULTS.clear()
    committed = store.all_committed("squares", [task.key for task in tasks(stages[0], source)])
    assert len(committed) == len(source.shards)

    again = local_runner(store)
    found = again.map_concurrently(*((source, stage) for stage in stages))
    assert [dataset.digest for dataset in found] == wanted
    total = len(tasks(stages[2], source))
    assert [run.status for run in again.runs] == ["HIT", "HIT", "PARTIAL"]
    assert 0 < again.runs[2].shards_reused < again.runs[2].shards_total == total

    last = local_runner(store)
    last.map_concurrently(*((source, stage) for stage in stages))
    assert [run.status for run in last.runs] == ["HIT"] * 3


def test_one_stage_used_twice_has_two_titles_and_computes_what_is_shared_once(store: Store) -> None:
    runner = local_runner(store)
    source = runner.table(table_stage())
    first, same, more = (
        dataclasses.replace(map_stage(Config(repeats=repeats)), shown_as=title)
        for repeats, title in ((1, "first"), (1, "same"), (2, "more"))
    )
    said: list[str] = []
    runner.say = said.append
    found = runner.map_concurrently((source, first), (source, same), (source, more))
    assert [run.name for run in runner.runs[1:]] == ["first", "same", "more"]
    assert [run.status for run in runner.runs[1:]] == ["MISS", "HIT", "PARTIAL"]
    assert found[0].digest == found[1].digest != found[2].digest
    assert [runner.results[name] for name in ("first", "same", "more")] == found
    assert "squares" not in runner.results
    assert said[0] == "[first] and 1 more, side by side computing …"
    [alone] = local_runner(store).map(source, map_stage(Config(repeats=2)))
    assert alone.digest == found[2].digest, "a title is no part of a key"


def test_seconds_of_stages_side_by_side_go_by_the_work_of_each(store: Store) -> None:
    runner = local_runner(store)
    source = runner.table(table_stage())
    work = [(source, map_stage(Config(repeats=1), name="few")), (source, map_stage(Config(repeats=9), name="many"))]
    stream = runner.stream_concurrently

    def slow(*arguments: Any) -> list[float]:
        stream(*arguments)
        time.sleep(1.0)
        return [1.0, 3.0]

    runner.stream_concurrently = slow
    few, many = runner.map_concurrently(*work)
    assert few.seconds + many.seconds >= 0.9
    assert many.seconds == pytest.approx(3 * few.seconds, rel=0.35)


def tasks(stage: MapStage, source: Dataset) -> list[Any]:
    return [task for shard in source.shards for task in tasks_of(stage, digest(recipe(stage)), shard)]


def test_too_many_errors_stop_the_study_and_are_kept(store: Store) -> None:
    runner = local_runner(store)
    runner.max_error_rate = 0.01
    source = runner.table(table_stage())
    with pytest.raises(StudyError, match=r"squares: 2 of 50 rows have errors.*13 is refused"):
        runner.map(source, map_stage())
    runner.max_error_rate = 0.05
    [squares] = runner.map(source, map_stage())
    assert (squares.rows, squares.rows_error) == (50, 2)


def test_only_one_stage_is_computed_and_a_missing_input_is_named(store: Store) -> None:
    runner = local_runner(store)
    runner.only = "squares"
    with pytest.raises(StudyError, match="builds on numbers, which is not there"):
        runner.map(runner.table(table_stage()), map_stage())
    runner.only = "numbers"
    source = runner.table(table_stage())
    [squares] = runner.map(source, map_stage())
    assert (source.rows, squares.digest) == (25, None)


def plan(store: Store, source: TableStage, mapped: MapStage) -> list[StageRun]:
    runner = local_runner(store, plan_only=True)
    runner.map(runner.table(source), mapped)
    return runner.runs


def test_explain_names_the_field_that_differs(store: Store) -> None:
    run_all(store)
    assert plan(store, table_stage(), map_stage(version=2))[1].why == ("version: 1 before, 2 now",)
    assert plan(store, table_stage(), map_stage(Config(share=0.75)))[1].why == ("config.share: 0.5 before, 0.75 now",)
    [numbers_run, squares_run] = plan(store, table_stage(Config(count=26)), map_stage())
    assert numbers_run.why == ("config.count: 25 before, 26 now",)
    assert (squares_run.status, squares_run.shards_total - squares_run.shards_reused) == ("PARTIAL", 2)
    assert squares_run.why[-1].startswith("inputs.source: 1 of ")


def test_explain_names_a_swapped_model_file_and_an_edited_row(store: Store) -> None:
    def with_model(value: str) -> MapStage:
        model = Model("/models/x", f"digest {value}", {"config.json": "same", "model.safetensors": value})
        return dataclasses.replace(map_stage(), models={"generator": model}, make_worker=Square)

    local = local_runner(store)
    source = local.table(table_stage())
    store.write_dataset(
        "squares", "a" * 64, [], stage_run.manifest_fields(with_model("a"), {"source": source}, 25, 0.0)
    )
    why = why_missing(store, with_model("b"), {"source": source}, {})
    assert "models.generator.model.safetensors: a before, b now" in why
    edited = source.shards[0]
    table = store.read_shard(edited).set_column(0, "number", pa.array([1, 2, 3, 77]))
    shard = store.commit("numbers", "e" * 64, ROWS, table, edited.attributes)
    changed = Dataset("numbers", source.folder, "changed", (shard, *source.shards[1:]))
    why = why_missing(store, with_model("a"), {"source": changed}, {})
    assert any(line.startswith(f"inputs.source: 1 of {len(source.shards)} shards of numbers differ") for line in why)
