"""kill -9 of a worker while shards stream through real Ray actors, and one that stops answering. Drivers and nodes are
killed in tests/slow/."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from components.dataflow.datasets import Dataset
from components.dataflow.maintenance import verify
from components.dataflow.runner import Runner
from components.dataflow.stage import MapStage, Pool, TableStage
from components.dataflow.store import Store
from components.sampling.watchdog import Watchdog
from tests.conftest import Counted
from tests.faults.fake import ROWS, Config, Multiply, numbers, rows_of

pytestmark = pytest.mark.slow
COUNT = 400  # rows, in shards of 4


class Slow(Multiply):
    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        time.sleep(0.05)
        return super().__call__(table, item)


@dataclass(frozen=True)
class HangConfig:
    marker: str


class Hanging(Slow):
    """Stops answering once, for good, as an engine whose driver hangs."""

    def __init__(self, config: HangConfig, models: Mapping[str, Path]) -> None:
        os.environ["STEPVERIFY_STALL_SECONDS"] = "2"
        self.marker, self.dog = Path(config.marker), Watchdog("the engine")

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        self.dog.beat()
        if 80 in table["number"].to_pylist() and not self.marker.exists():
            self.marker.touch()
            time.sleep(3600)
        rows = super().__call__(table, item)
        self.dog.rest()
        return rows


def study(root: Path, sampled: MapStage | None = None) -> list[Dataset]:
    pools = {"samples": Pool(2, 0.5), "graded": Pool(1, 0.25)}
    runner = Runner(Store(root), study="fake", say=lambda line: None, pools=pools)
    source = runner.table(TableStage("numbers", 1, Config(COUNT), ROWS, numbers, shard_rows=4, shard_by="split"))
    config = dataclasses.replace(Config(), count=0)
    sampled = sampled or MapStage("samples", 1, config, ROWS, Slow)
    return [source, *runner.map(source, sampled, MapStage("graded", 1, config, ROWS, Multiply))]


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def undisturbed(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str | None], object]:
    root = tmp_path_factory.mktemp("undisturbed")
    datasets = study(root)
    return [dataset.digest for dataset in datasets], rows_of(Store(root), datasets)


def assert_whole(root: Path, datasets: list[Dataset], undisturbed: tuple[list[str | None], object]) -> None:
    assert [dataset.digest for dataset in datasets] == undisturbed[0]
    assert rows_of(Store(root), datasets) == undisturbed[1]
    assert verify(Store(root), deep=True).findings == []


def committed(root: Path) -> int:
    return len(list((root / "commits/samples").glob("*.json"))) if (root / "commits/samples").exists() else 0


def strike(root: Path, title: str, after: int, tree: psutil.Process) -> int:
    """kill -9 a process of this title once `after` shards are committed; 1 when work had begun and was not over."""
    while committed(root) < after:
        time.sleep(0.02)
    for process in tree.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith(title):
                process.kill()
                return int(0 < committed(root) < COUNT // 4)
    return 0


def test_workers_killed_at_random_points(
    ray_here: None, undisturbed: tuple[list[str | None], object], tmp_path: Path, counted: Counted
) -> None:
    rng, kills = random.Random(0), 0
    for round_ in range(3):
        root = tmp_path / str(round_)
        title = rng.choice(["ray::MapWorker(MapBatches(ShardWorker)", "ray::MapWorker"])
        after = rng.randrange(5, 80)
        with ThreadPoolExecutor(1) as thread:
            struck = thread.submit(strike, root, title, after, psutil.Process())
            datasets = study(root)
            kills += struck.result(timeout=60)
        assert_whole(root, datasets, undisturbed)
    assert kills >= 2
    counted(f"{kills} workers killed in 3 runs: 0 rows lost, doubled or changed")


def test_an_engine_that_stops_answering_is_replaced(
    ray_here: None, undisturbed: tuple[list[str | None], object], tmp_path: Path, counted: Counted
) -> None:
    marker, root = tmp_path / "hung", tmp_path / "store"
    began = time.monotonic()
    datasets = study(root, MapStage("samples", 1, HangConfig(str(marker)), ROWS, Hanging))
    assert marker.exists()
    assert time.monotonic() - began < 120
    assert_whole(root, datasets, undisturbed)
    counted("1 engine hung: noticed, replaced, 0 rows lost, doubled or changed")
