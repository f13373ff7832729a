"""A study of two map stages and a model stage with nothing slow in it, to be killed and disturbed at will."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.dataflow import store_marker
from components.dataflow.datasets import Dataset
from components.dataflow.map_executor import ShardWorker, Task
from components.dataflow.runner import Runner
from components.dataflow.stage import MapStage, Pool, TableStage, digest, recipe
from components.dataflow.storage import Files
from components.dataflow.store import Store

ROWS = pa.schema(
    [pa.field("number", pa.int64(), nullable=False), ("split", pa.string()), pa.field("error", pa.string())]
)


@dataclass(frozen=True)
class Config:
    count: int = 24
    samples: int = 2


def numbers(config: Config) -> pa.Table:
    rows = [{"number": i, "split": "test" if i % 3 == 0 else "train", "error": None} for i in range(config.count)]
    return pa.Table.from_pylist(rows, schema=ROWS)


class Multiply:
    """Each number times ten plus the sample's index; multiples of 70 are refused, and kept."""

    def __init__(self, config: Config, models: Mapping[str, Path]) -> None:
        pass

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        rows = [
            {
                "number": row["number"] * 10 + item.get("sample", 0),
                "split": row["split"],
                "error": "refused" if row["number"] % 7 == 0 else None,
            }
            for row in table.to_pylist()
        ]
        return pa.Table.from_pylist(rows, schema=ROWS)


def samples_of(config: Config, attributes: Mapping[str, str]) -> list[dict[str, int]]:
    return [{"sample": sample} for sample in range(config.samples)]


def stages(config: Config) -> tuple[TableStage, MapStage, MapStage, TableStage]:
    source = TableStage("numbers", 1, Config(config.count), ROWS, numbers, shard_rows=4, shard_by="split")
    sampled = MapStage("samples", 1, config, ROWS, Multiply, items=samples_of, not_in_key=("samples", "count"))
    graded = MapStage("graded", 1, Config(), ROWS, Multiply)
    total = TableStage("total", 1, Config(), ROWS, add_up)
    return source, sampled, graded, total


def add_up(config: Config, graded: pa.Table) -> pa.Table:
    number = sum(graded["number"].to_pylist())
    return pa.Table.from_pylist([{"number": number, "split": "all", "error": None}], schema=ROWS)


def serial_stream(
    pending: Sequence[Task], following: Sequence[MapStage], pools: Mapping[str, Pool], store: Store
) -> None:
    """The stream without Ray: shards one after another in this process."""
    workers = [ShardWorker(stage, digest(recipe(stage)), store) for stage in following]
    for task in pending:
        message = json.dumps(dataclasses.asdict(task))
        for worker in workers:
            [message] = worker({"task": [message]})["task"]


def threaded_stream(
    pending: Sequence[Task], following: Sequence[MapStage], pools: Mapping[str, Pool], store: Store
) -> None:
    """The same with four workers at once."""
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda task: serial_stream([task], following, pools, store), pending))


def study(
    store: Store, config: Config = Config(), stream: Callable[..., None] = serial_stream, leases: bool = True
) -> tuple[Runner, list[Dataset]]:
    """Run the fake study to its end, in a store that it begins."""
    store_marker.begin(store.files)
    runner = Runner(store, study="fake", say=lambda line: None, stream=stream)
    source, sampled, graded, total = stages(config)
    problems = runner.table(source)
    solutions, grades = runner.map(problems, sampled, graded)
    answer = runner.table(total, graded=grades)
    runner.write_record(finished=True)
    return runner, [problems, solutions, grades, answer]


def rows_of(store: Store, datasets: Sequence[Dataset]) -> list[list[tuple[int, str, str | None]]]:
    """Every row of every table, sorted: what must be the same after any fault."""
    return [
        sorted(
            ((row["number"], row["split"], row["error"]) for row in store.read(dataset).to_pylist()),
            key=lambda row: (row[0], row[1], str(row[2])),
        )
        for dataset in datasets
    ]


class CrashingFiles(Files):
    """Files that kill their process (-9) at the n-th call that writes, before it does anything, half-way or when it is
    done. calls: the names of those that were made."""

    CALLS = ("put", "create", "copy", "upload", "delete")

    def __init__(self, root: str, crash_at: int = -1, moment: str = "before") -> None:
        super().__init__(root)
        self.crash_at, self.moment, self.calls = crash_at, moment, list[str]()
        self.lock = threading.Lock()
        for name in self.CALLS:
            setattr(self, name, self._counted(name, getattr(self, name)))

    def __reduce__(self) -> Any:
        raise AssertionError("not to be sent anywhere")

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(path: str, *arguments: Any) -> Any:
            if path.startswith("leases/"):
                return call(path, *arguments)  # renewed by a clock, so not part of the count
            with self.lock:
                self.calls.append(name)
                struck = len(self.calls) == self.crash_at
            if struck and self.moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            if struck and self.moment == "half" and name in ("put", "create"):
                # What a kill between the write and the rename leaves.
                half = Path(self.url(path)).parent / f".{Path(path).name}.half.tmp"
                half.parent.mkdir(parents=True, exist_ok=True)
                half.write_bytes(arguments[0][: len(arguments[0]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(path, *arguments)
            finally:
                if struck:
                    os.kill(os.getpid(), signal.SIGKILL)

        return counted


def crashing_store(root: Path, crash_at: int, moment: str) -> Store:
    store = Store(root)
    store.files = CrashingFiles(str(root), crash_at, moment)
    return store


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; its exit status, or minus the signal that ended it.

    Where a thread of this process ends at the moment of the fork, CPython 3.11's child can wait for ever for a lock
    that it was forked with, before it runs a line: it is forked anew.
    """
    begun, begin = os.pipe()
    while True:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.write(begin, b".")
                work()
                status = 0
            finally:
                os._exit(status)
        if select.select([begun], [], [], 30)[0]:
            break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(begun)
    os.close(begin)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


class CrashError(Exception):
    """A writer that is gone."""


def publish_model(
    store: Store, stage: str, key: str, weights: bytes, built: Path, crash_after: int = -1, **about: Any
) -> None:
    """Publish a model folder of two files; its writer is gone after so many of its calls that write, -1: never.
    about: what its manifest says besides."""
    folder = built / digest([stage, key, weights.decode()])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    calls = [0]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def crashing(*arguments: Any) -> Any:
            if calls[0] == crash_after:
                raise CrashError
            calls[0] += 1
            return call(*arguments)

        return crashing

    writer = Store(store.root)
    for name in ("put", "upload", "create"):
        setattr(writer.files, name, counted(getattr(writer.files, name)))
    with contextlib.suppress(CrashError):
        writer.write_model(stage, key, folder, {"metrics": {}, "seconds": 1.0, **about})
