"""A state machine over the store's protocol: writers, crashes half-way, readers, gc. What is committed stays readable
and unchanged, and one key never has two meanings."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from components.dataflow import store_marker
from components.dataflow.datasets import Dataset, Shard
from components.dataflow.garbage import collect, garbage
from components.dataflow.maintenance import repair, verify
from components.dataflow.records import seal
from components.dataflow.storage import Files
from components.dataflow.store import Store
from tests.faults.fake import ROWS

KEYS = [f"{number:064x}" for number in range(4)]


class Crash(Exception):
    pass


class StopsAt(Files):
    """Files whose n-th call raises, before or after it worked: the writer is gone, the storage is not."""

    def __init__(self, root: str, at: int, after: bool) -> None:
        super().__init__(root)
        self.left, self.after = at, after

    def _call(self, call: Any, *arguments: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Crash
        result = call(*arguments)
        if self.left == 0:
            raise Crash
        return result

    def put(self, path: str, data: bytes) -> None:
        self._call(super().put, path, data)

    def create(self, path: str, data: bytes) -> bytes:
        return bytes(self._call(super().create, path, data))

    def copy(self, source: str, target: str) -> None:
        self._call(super().copy, source, target)


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.store = Store(self.root)
        store_marker.begin(self.store.files)
        self.committed: dict[str, Shard] = {}
        self.rooted: dict[str, Dataset] = {}
        self.runs = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def table(self, number: int) -> pa.Table:
        return pa.Table.from_pylist([{"number": number, "split": "x", "error": None}], schema=ROWS)

    @rule(key=st.sampled_from(KEYS), number=st.integers(0, 3))
    def commit(self, key: str, number: int) -> None:
        shard = self.store.commit("stage", key, ROWS, self.table(number), {})
        assert shard == self.committed.setdefault(key, shard)

    @rule(key=st.sampled_from(KEYS), number=st.integers(0, 3), at=st.integers(1, 2), after=st.booleans())
    def commit_and_crash(self, key: str, number: int, at: int, after: bool) -> None:
        store = Store(self.root)
        store.files = StopsAt(str(self.root), at, after)
        with contextlib.suppress(Crash):
            store.commit("stage", key, ROWS, self.table(number), {})
        if (shard := self.store.committed("stage", key)) is not None:
            assert shard == self.committed.setdefault(key, shard)

    @precondition(lambda self: len(self.committed) == len(KEYS))
    @rule(crash_at=st.integers(0, 6))
    def publish_and_root(self, crash_at: int) -> None:
        store = Store(self.root)
        store.files = StopsAt(str(self.root), crash_at, False)
        shards = [self.committed[key] for key in KEYS]
        with contextlib.suppress(Crash):
            dataset = store.write_dataset("stage", "d" * 64, shards, {"rows_in": 4})
            self.runs += 1
            record = {"study": "s", "finished": True, "stages": {"stage": dataset.folder}}
            self.store.files.put(f"runs/s/{self.runs:020d}-00000000.json", seal(record))
            self.rooted["stage"] = dataset

    @rule()
    def collect_garbage(self) -> None:
        collect(self.store, garbage(self.store, grace_seconds=0, without_runs=True))
        if not self.rooted:
            self.committed = {}  # nothing was used by a run, so all of it was garbage

    @rule()
    def repair_finds_nothing_to_do(self) -> None:
        assert repair(self.store, verify(self.store, deep=True).findings) == []

    @invariant()
    def committed_data_is_readable_and_unchanged(self) -> None:
        for key, shard in self.committed.items():
            assert self.store.committed("stage", key) == shard
            assert len(self.store.read_shard(shard)) == 1
        for dataset in self.rooted.values():
            assert self.store.dataset("stage", "d" * 64) == dataset
            assert len(self.store.read(dataset)) == len(KEYS)


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
