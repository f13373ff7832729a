"""What the store costs: a run that finds everything done over 10,000 shards, and a million rows through two map stages.

    python tests/benchmarks/store.py

The alternative to the first is what resume by "exit if the file is there" with a look into each file does: open every
Parquet footer. The second has no alternative beside it: rows/s and the driver's peak memory at 10^5 and 10^6 rows.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.dataflow.runner import Runner
from components.dataflow.stage import MapStage, Pool, TableStage
from components.dataflow.store import Store
from tests.faults.fake import serial_stream

ROWS = pa.schema([pa.field("number", pa.int64(), nullable=False), ("text", pa.string()), ("error", pa.string())])
PAIRS = 5


@dataclass(frozen=True)
class Config:
    rows: int
    shard_rows: int


def source(config: Config) -> pa.Table:
    number = np.arange(config.rows)
    return pa.table({"number": number, "text": [""] * config.rows, "error": pa.nulls(config.rows, pa.string())}, ROWS)


class FakeEngine:
    """A few hundred bytes of text per row, as a sampled solution has."""

    def __init__(self, config: Config, models: Mapping[str, Path]) -> None:
        pass

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        text = [f"{number} " * 40 for number in table["number"].to_pylist()]
        return table.set_column(1, "text", pa.array(text))


class FakeGrader(FakeEngine):
    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        return table.set_column(1, "text", pa.array([text[:8] for text in table["text"].to_pylist()]))


def run(store: Store, config: Config, stream: object = None) -> Runner:
    runner = Runner(store, say=lambda line: None, pools={"solutions": Pool(2, 0.5), "grades": Pool(1, 0.25)})
    if stream is not None:
        runner.stream = stream  # type: ignore[assignment]
    rows = runner.table(TableStage("rows", 1, config, ROWS, source, shard_rows=config.shard_rows))
    generate = MapStage("solutions", 1, Config(0, 0), ROWS, FakeEngine)
    runner.map(rows, generate, MapStage("grades", 1, Config(0, 0), ROWS, FakeGrader))
    return runner


def nothing_to_do(shards: int = 10_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, config = Store(folder), Config(shards, 1)
        began = time.perf_counter()
        run(store, config, serial_stream)
        print(f"{2 * shards:,} shards computed and committed in {time.perf_counter() - began:.0f} s, one after another")
        files = [file.path for file in store.files.find("datasets") if file.path.endswith(".parquet")]
        ratios = []
        for pair in range(PAIRS):
            began = time.perf_counter()
            runner = run(Store(folder), config)
            ours = time.perf_counter() - began
            assert {stage.status for stage in runner.runs} == {"HIT"}
            began = time.perf_counter()
            rows = sum(pq.read_metadata(store.files.url(file)).num_rows for file in files)
            theirs = time.perf_counter() - began
            assert rows == 3 * shards
            print(f"pair {pair}: a run with nothing to do {ours:.2f} s, opening every footer {theirs:.2f} s")
            ratios.append(theirs / ours)
        print(f"ratio store_no_op {np.median(ratios):.1f} {min(ratios):.1f} {max(ratios):.1f}")


def many_rows(rows: int) -> None:
    """In a process of its own: peak memory never falls again."""
    import ray

    ray.init(address="local", num_cpus=max(2, os.cpu_count() or 2), include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as folder:
        store, config = Store(folder), Config(rows, 2000)
        table = Runner(store, say=lambda line: None).table(
            TableStage("rows", 1, config, ROWS, source, shard_rows=config.shard_rows)
        )
        assert table.rows == rows
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began = time.perf_counter()
        runner = run(store, config)
        seconds = time.perf_counter() - began
        assert [stage.rows for stage in runner.runs] == [rows] * 3
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{rows:,} rows through generate and grade: {rows / seconds:,.0f} rows/s, driver's peak {peak:,.0f} MiB "
        f"({peak - before:+,.0f} while they streamed)"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        many_rows(int(sys.argv[1]))
    else:
        for count in (100_000, 1_000_000):
            subprocess.run([sys.executable, __file__, str(count)], check=True)
        nothing_to_do()
