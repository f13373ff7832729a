"""Several writers on one store: the first commit counts, whoever comes late changes nothing."""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest

from components.dataflow import leases
from components.dataflow.errors import StoreError
from components.dataflow.garbage import collect, garbage
from components.dataflow.maintenance import verify
from components.dataflow.runner import Runner
from components.dataflow.stage import Model, ModelStage, Pool
from components.dataflow.storage import Files
from components.dataflow.store import Store
from components.dataflow.train_executor import TrainingRun
from flows.command_line import commands
from tests.faults.fake import ROWS, Config, rows_of, study, threaded_stream


def run_without_leases(root: Path, barrier: object, results: object) -> None:
    with (
        mock.patch.object(leases.Lease, "__enter__", return_value=None),
        mock.patch.object(leases.Lease, "__exit__", return_value=None),
    ):
        barrier.wait()  # type: ignore[attr-defined]
        _, datasets = study(Store(root), Config(count=60), stream=threaded_stream)
        results.put([dataset.digest for dataset in datasets])  # type: ignore[attr-defined]


def test_four_drivers_on_one_store_at_once(tmp_path: Path) -> None:
    _, alone = study(Store(tmp_path / "alone"), Config(count=60))
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    drivers = [
        context.Process(target=run_without_leases, args=(tmp_path / "shared", barrier, results)) for _ in range(4)
    ]
    for driver in drivers:
        driver.start()
    digests = [results.get(timeout=60) for _ in drivers]
    for driver in drivers:
        driver.join()
    assert digests == [[dataset.digest for dataset in alone]] * 4
    store = Store(tmp_path / "shared")
    _, datasets = study(store, Config(count=60))
    assert rows_of(store, datasets) == rows_of(Store(tmp_path / "alone"), alone)
    assert verify(store, deep=True).findings == []


def test_a_race_of_sixteen_has_one_winner(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for race in range(20):
        start = threading.Barrier(16)
        answers: list[bytes] = []

        def write(number: int, race: int = race, start: threading.Barrier = start) -> None:
            start.wait()
            answers.append(files.create(f"race/{race}", str(number).encode()))  # noqa: B023

        threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(answers) == {files.read(f"race/{race}")}
        assert len(answers) == 16


def test_a_late_writer_with_other_bytes_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _, datasets = study(store)
    before = rows_of(store, datasets)
    shard = datasets[1].shards[0]
    other = pa.Table.from_pylist([{"number": 99, "split": "late", "error": None}], schema=ROWS)
    assert store.commit(shard.stage, shard.key, ROWS, other, {}) == shard
    assert rows_of(store, datasets) == before
    assert verify(store, deep=True).findings == []


def test_a_second_run_waits_for_the_first_and_a_dead_one_is_not_waited_for(tmp_path: Path) -> None:
    files = Files(tmp_path)
    finished = threading.Event()
    said: list[str] = []
    with leases.Lease(files, "stage", lambda: False, said.append):
        waiter = threading.Thread(
            target=lambda: leases.Lease(files, "stage", finished.is_set, said.append).__enter__().__exit__()
        )
        waiter.start()
        waiter.join(timeout=3)
        assert waiter.is_alive()
        assert said == ["  another run works on stage; waiting for it"]
        finished.set()
        waiter.join(timeout=5)
        assert not waiter.is_alive()
    held = leases.Lease(files, "other", lambda: False, said.append)
    held.owner["pid"] = 2**22 + 1  # no such process: its run was killed
    held._renew()
    with leases.Lease(files, "other", lambda: False, said.append):
        assert len(said) == 1


CONTENTS = [b"", b"[]", b"null", b"{}", b"{", b"\xff\x00", b'{"host": 1, "pid": "x"}', b"[" * 100_000, b"9" * 5000]
CONTENTS += [json.dumps({"host": socket.gethostname(), "pid": pid, "processes": leases._processes()}).encode() for pid in (10**30, -1, 0, "x", None)]  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_a_lease_of_any_content_is_held_until_it_stops_changing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(leases, "_DEAD_AFTER", 0.5)
    monkeypatch.setattr(commands, "RENEWED_EVERY", 0.1)
    files, said = Files(tmp_path), list[str]()
    files.put("leases/stage.json", content)
    began = time.monotonic()
    with leases.Lease(files, "stage", lambda: False, said.append):
        assert 0.5 < time.monotonic() - began < 6
        assert said == ["  another run works on stage; waiting for it"]
    assert files.size("leases/stage.json") is None
    files.put("leases/stage.json", content)
    assert (
        commands.at_work(files) == ["stage: left by process unknown on an unknown host, which is gone"]
        or b"host" in content
    )


def test_a_lease_that_changes_is_waited_for_whatever_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_DEAD_AFTER", 1.5)
    files, ended = Files(tmp_path), threading.Event()
    files.put("leases/stage.json", b"")

    def renew() -> None:
        for number in range(12):
            files.put("leases/stage.json", b"?" * number)
            time.sleep(0.4)
        ended.set()

    renewing = threading.Thread(target=renew)
    renewing.start()
    with leases.Lease(files, "stage", lambda: False, lambda line: None):
        assert ended.is_set()
    renewing.join()


def test_a_holder_in_another_container_is_not_taken_for_dead(tmp_path: Path) -> None:
    """Containers of one host can share its name; their processes have numbers of their own."""
    held = leases.Lease(Files(tmp_path), "stage", lambda: False, print)
    held.owner["pid"] = 2**22 + 1  # no such process here
    assert leases._is_dead(held._content())
    held.owner["processes"] = "another boot, or another namespace"
    assert not leases._is_dead(held._content())


def test_two_runs_train_a_model_that_they_share_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def train(runs: Sequence[TrainingRun], pool: Pool) -> None:
        trained.extend(run.stage.name for run in runs)
        time.sleep(1)
        for run in runs:
            run.publish(tmp_path / "built", {}, 1.0)

    def work(*names: str) -> None:
        runner = Runner(Store(tmp_path / "store"), say=lambda line: None)
        stages = [ModelStage(name, 1, Config(), lambda runs, pool: None) for name in names]
        models.append(runner.train_concurrently(*((stage, {}) for stage in stages)))

    (tmp_path / "built").mkdir()
    (tmp_path / "built/weights").write_bytes(b"w")
    monkeypatch.setattr("components.dataflow.runner.train_concurrently", train)
    models: list[list[Model]] = []
    threads = [threading.Thread(target=work, args=names) for names in (("orm", "prm"), ("orm", "other_prm"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(trained) == ["orm", "other_prm", "prm"]
    assert len(models) == 2
    assert not any(Files(tmp_path / "store").find("leases"))


def test_clock_jumps_change_nothing(tmp_path: Path) -> None:
    _, alone = study(Store(tmp_path / "alone"))
    jumps = iter([0.0, 4e9, -1e9, 1.7e9, 5e8] * 10_000)
    with mock.patch("time.time", side_effect=jumps):
        store = Store(tmp_path / "jumping")
        _, datasets = study(store)
        assert garbage(store, grace_seconds=3600).files == ()
    assert [dataset.digest for dataset in datasets] == [dataset.digest for dataset in alone]


def test_gc_keeps_what_runs_use_and_removes_the_rest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    study(store, Config(count=40))
    _, datasets = study(store)  # the newest run of this study: 24 numbers
    assert garbage(store, grace_seconds=3600).files == ()  # all is young
    unneeded = garbage(store, grace_seconds=0)
    assert unneeded.files
    before = rows_of(store, datasets)
    collect(store, unneeded)
    assert rows_of(store, datasets) == before
    assert verify(store, deep=True).findings == []
    runner, again = study(store)
    assert {run.status for run in runner.runs} == {"HIT"}
    assert again == datasets
    assert garbage(store, grace_seconds=0).files == () or all(
        file.path.startswith("runs/") for file in garbage(store, grace_seconds=0).files
    )


def test_gc_refuses_when_it_cannot_know_what_is_needed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    study(store)
    [record] = (tmp_path / "runs" / "fake").iterdir()
    record.write_bytes(record.read_bytes()[:-10])
    with pytest.raises(StoreError, match="damaged"):
        garbage(store, grace_seconds=0)


def test_a_storage_that_does_not_create_exclusively_is_refused(tmp_path: Path) -> None:
    class Overwriting(Files):
        def create(self, path: str, data: bytes) -> bytes:
            self.put(path, data)
            return data

    with pytest.raises(OSError, match="exclusively"):
        Overwriting(tmp_path).check()
    Files(tmp_path).check()
    assert [file.path for file in Files(tmp_path).find("")] == []
