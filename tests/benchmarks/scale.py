"""What scheduling costs at a cluster's size: a million solutions through 64 engines that only wait as long as real ones
would work.

    python tests/benchmarks/scale.py [ENGINES] [SOLUTIONS] [SOLUTIONS OF A SHARD]

64 32000 2000 are MATH's 500 test problems × 64 samples, in 16 shards, which are cut into parts for so many engines.

An engine here writes 12,500 tokens a second: Llama 3.1 8B in bfloat16 on one H100 by vLLM, the highest of the
third-party figures at https://www.morphllm.com/vllm-benchmarks (2026); slower ones leave more time to schedule. A
solution has 400 tokens in the mean (the plan's figure for MATH), 500 solutions are a shard, and the text that is
committed is as long as they would be. As in the placement `auto`, an engine has two shards at once: while it writes
one, the other is loaded or committed. Engines are Ray actors of 0.01 logical CPU, all on this machine's cores, so what
is measured includes the CPU time of 64 workers that a cluster would spread over its nodes.

The bound is what no scheduler can beat: engines that are never idle. Utilisation: seconds in which engines wrote, over
engines × the time from the first shard's start to the last one's end.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pyarrow as pa

from components.dataflow.runner import Runner
from components.dataflow.stage import MapStage, Pool, TableStage
from components.dataflow.store import Store

ROWS = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        ("text", pa.string()),
        ("began", pa.float64()),
        ("ended", pa.float64()),
        ("error", pa.string()),
    ]
)
TOKENS_PER_SECOND, TOKENS, SHARD_ROWS, CHARACTERS_PER_TOKEN = 12_500, 400, 500, 3


@dataclass(frozen=True)
class Config:
    rows: int


def problems(config: Config) -> pa.Table:
    columns = [np.arange(config.rows), [""] * config.rows, np.zeros(config.rows), np.zeros(config.rows)]
    return pa.Table.from_arrays([*map(pa.array, columns), pa.nulls(config.rows, pa.string())], schema=ROWS)


class Engine:
    """It takes as long for a shard as its tokens take, one shard after another, and notes when."""

    def __init__(self, config: Config, models: Mapping[str, Path]) -> None:
        self.writing = threading.Lock()

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        with self.writing:
            return self._write(table)

    def _write(self, table: pa.Table) -> pa.Table:
        began = time.time()
        rng = np.random.default_rng(table["number"][0].as_py())
        tokens = rng.gamma(4, TOKENS / 4, len(table)).astype(int)  # some are several times as long as others
        letters = rng.integers(97, 123, tokens.sum() * CHARACTERS_PER_TOKEN, dtype=np.uint8).tobytes().decode()
        ends = np.cumsum(tokens * CHARACTERS_PER_TOKEN)
        text = [letters[end - n * CHARACTERS_PER_TOKEN : end] for end, n in zip(ends, tokens, strict=True)]
        time.sleep(max(0.0, began + tokens.sum() / TOKENS_PER_SECOND - time.time()))
        times = [pa.array(np.full(len(table), at)) for at in (began, time.time())]
        return pa.Table.from_arrays([table["number"], pa.array(text), *times, table["error"]], schema=ROWS)


def measure(engines: int, rows: int, shard_rows: int, root: str) -> None:
    import ray
    import ray.data

    ray.init(address="local", num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    store = Store(root)
    runner = Runner(store, say=lambda line: None, pools={"engines": Pool(engines, 0.01, shards_at_once=2)})
    source = runner.table(TableStage("problems", 1, Config(rows), ROWS, problems, shard_rows=shard_rows))
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    [solutions] = runner.map(source, MapStage("solutions", 1, Config(0), ROWS, Engine, place="engines"))
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)

    times = (store.read_shard(shard, ["began", "ended"]) for shard in solutions.shards)
    # A shard's parts have times of their own.
    spans = np.unique(np.concatenate([np.stack([table["began"], table["ended"]], 1) for table in times]), axis=0)
    busy, span = (spans[:, 1] - spans[:, 0]).sum(), spans[:, 1].max() - spans[:, 0].min()
    # Engines start one after another on a few cores; on a cluster each starts on its own node.
    all_up = np.sort(spans[:, 0])[engines - 1]
    last_start = spans[:, 0].max()
    steady = np.clip(np.minimum(spans[:, 1], last_start) - np.maximum(spans[:, 0], all_up), 0, None).sum()
    shards = len(spans)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    made = f"{rows:,} solutions in {len(solutions.shards):,} shards, {shards:,} tasks, by {engines} engines"
    print(f"{made}: {seconds:.0f} s, {span:.0f} s of them writing")
    print(f"driver: {1000 * cpu / shards:.1f} ms of CPU per task, {after.ru_maxrss / 1e6:.2f} GB at most")
    between = (engines * (last_start - all_up) - steady) / shards
    print(f"an engine waits {1000 * between:.0f} ms between tasks, loading and committing them included")
    ratio = steady / engines / (last_start - all_up)
    print(f"utilisation: {busy / engines / span:.3f} in all, {ratio:.3f} while all work")
    print(f"ratio scale_utilisation {ratio:.3f} {ratio:.3f} {ratio:.3f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        defaults = (64, 1_000_000, SHARD_ROWS)
        given = tuple(map(int, sys.argv[1:]))
        measure(*given, *defaults[len(given) :], root=folder)
