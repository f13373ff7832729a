"""A file system that remembers for a while that a name was not there, as NFS clients do: a study waits, and goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from components.dataflow import store_marker, visibility
from components.dataflow.datasets import Dataset
from components.dataflow.errors import StoreError
from components.dataflow.runner import Runner
from components.dataflow.stage import Model, ModelStage, Pool
from components.dataflow.storage import Files
from components.dataflow.store import Store
from components.dataflow.train_executor import TrainingRun
from tests.faults.fake import Config, publish_model, rows_of, serial_stream, stages, study


class LateFiles(Files):
    """What was asked for and not there stays so for some seconds, for this client."""

    def __init__(self, root: str, seconds: float) -> None:
        super().__init__(root)
        self.seconds, self.missed, self.late = seconds, dict[str, float](), 0

    def _hidden(self, path: str) -> bool:
        hidden = time.monotonic() < self.missed.get(path, -1.0)
        self.late += hidden and Path(self.url(path)).exists()
        return hidden

    def put(self, path: str, data: bytes) -> None:
        super().put(path, data)
        self.missed.pop(path, None)

    def create(self, path: str, data: bytes) -> bytes:
        self.missed.pop(path, None)  # a client sees what it made itself
        return super().create(path, data)

    def read(self, path: str) -> bytes:
        try:
            if self._hidden(path):
                raise FileNotFoundError(path)
            return super().read(path)
        except FileNotFoundError:
            self.missed.setdefault(path, time.monotonic() + self.seconds)
            raise

    def size(self, path: str) -> int | None:
        size = None if self._hidden(path) else super().size(path)
        if size is None:
            self.missed.setdefault(path, time.monotonic() + self.seconds)
        return size


def by_others(pending: Any, following: Any, pools: Any, store: Store) -> None:
    """Workers elsewhere, who see what they write."""
    serial_stream(pending, following, pools, Store(store.root))


def run(root: Path, seconds: float) -> tuple[LateFiles, list[Dataset]]:
    store = Store(root)
    store_marker.begin(store.files)
    store.files = late = LateFiles(str(root), seconds)
    runner = Runner(store, study="fake", say=lambda line: None, stream=by_others)
    source, sampled, graded, total = stages(Config())
    problems = runner.table(source)
    solutions, grades = runner.map(problems, sampled, graded)
    return late, [problems, solutions, grades, runner.table(total, graded=grades)]


def test_a_study_waits_for_what_is_not_visible_yet(tmp_path: Path) -> None:
    alone, datasets = Store(tmp_path / "alone"), study(Store(tmp_path / "alone"))[1]
    late, found = run(tmp_path / "late", seconds=1.5)
    assert late.late > 10
    assert rows_of(Store(tmp_path / "late"), found) == rows_of(alone, datasets)


def test_what_stays_invisible_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "_SECONDS", 0.5)
    with pytest.raises(StoreError, match=r"stage samples: .*A network file system can show names late: run the study"):
        run(tmp_path, seconds=1e9)
    _, datasets = study(Store(tmp_path))
    assert len(rows_of(Store(tmp_path), datasets)) == 4


@pytest.mark.parametrize("seconds", [1.0, 1e9])
def test_a_trained_model_that_is_not_visible_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    def train(runs: Sequence[TrainingRun], pool: Pool) -> None:
        for one in runs:
            publish_model(Store(tmp_path / "store"), one.stage.name, one.key, b"weights", tmp_path / "built")

    monkeypatch.setattr("components.dataflow.runner.train_concurrently", train)
    monkeypatch.setattr(visibility, "_SECONDS", 3.0 if seconds < 10 else 0.5)
    store = Store(tmp_path / "store")
    store.files = LateFiles(store.root, seconds)
    runner = Runner(store, say=lambda line: None)
    stage = ModelStage("prm", 1, Config(), lambda runs, pool: None, {"start": Model("start", "d")})
    if seconds < 10:
        assert runner.train(stage).digest is not None
    else:
        with pytest.raises(StoreError, match="the model of stage prm: it was written, and the store has not shown it"):
            runner.train(stage)


def test_a_worker_waits_for_the_shard_of_another(tmp_path: Path) -> None:
    """It comes from the stage before in the same pipeline, which ran on another node."""
    store = Store(tmp_path)
    store_marker.begin(store.files)
    late = LateFiles(str(tmp_path), 1.0)

    def on_two_nodes(pending: Any, following: Any, pools: Any, store: Store) -> None:
        there = Store(store.root)
        there.files = late
        for task in pending:
            serial_stream([task], following[:1], pools, Store(store.root))
        for digest_file in Path(store.root).glob("shards/samples/*"):
            late.missed[f"shards/samples/{digest_file.name}"] = time.monotonic() + 0.3
        serial_stream(pending, following, pools, there)

    runner = Runner(store, say=lambda line: None, stream=on_two_nodes)
    source, sampled, graded, _ = stages(Config(count=4))
    _, grades = runner.map(runner.table(source), sampled, graded)
    assert grades.rows == 8
    assert late.late > 0
