"""Poisonous rows are kept with their error; what is no row's fault stops the study and is not stored."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.dataflow import poison_rows
from components.dataflow.poison_rows import Attempts
from components.dataflow.store import Store
from tests.faults import fake
from tests.faults.fake import ROWS, Config, Multiply, in_child, rows_of, serial_stream


class Poisoned(Multiply):
    """Fails as `how` on the number 9."""

    how: type[Exception] | int | None = None
    on = (9,)

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        bad = [row for row in table.to_pylist() if row["number"] in self.on and row["error"] is None]
        if bad and isinstance(self.how, int):
            os.kill(os.getpid(), self.how)
        elif bad and self.how is not None:
            raise self.how("a poisonous row\nand more lines")
        rows = super().__call__(table, item).to_pylist()
        carried = zip(rows, table["error"].to_pylist(), strict=True)
        return pa.Table.from_pylist([row | {"error": error or row["error"]} for row, error in carried], schema=ROWS)


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> object:
    """The fake study with the poisoned worker in its first map stage."""
    monkeypatch.setattr(fake, "Multiply", Poisoned)
    return fake.study


def errors(root: Path, run: object) -> list[tuple[int, str, str | None]]:
    _, datasets = run(Store(root))  # type: ignore[operator]
    return rows_of(Store(root), datasets)[1]


@pytest.mark.parametrize("how", [ValueError, RuntimeError, KeyError])
def test_a_row_that_the_worker_fails_on_is_kept_with_its_error(
    study: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: type[Exception]
) -> None:
    healthy = errors(tmp_path / "healthy", study)
    monkeypatch.setattr(Poisoned, "how", how)
    poisoned = errors(tmp_path / "poisoned", study)
    differ = [row for row in poisoned if row not in healthy]
    assert [(number, error.partition(":")[0]) for number, _, error in differ if error] == [
        (90, how.__name__),
        (91, how.__name__),
    ]
    assert len(poisoned) == len(healthy)
    assert not list((tmp_path / "poisoned/scratch/attempts").iterdir())


def test_a_row_that_workers_die_on_is_kept_with_its_error(
    study: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = errors(tmp_path / "healthy", study)
    monkeypatch.setattr(Poisoned, "how", int(signal.SIGKILL))
    deaths = 0
    while (status := in_child(lambda: errors(tmp_path / "poisoned", study))) == -9:
        deaths += 1
        assert deaths < 20
    assert status == 0
    assert deaths == 2 * (2 + 2)  # two shards hold the row, one for each sample: twice whole, then twice alone
    differ = [row for row in errors(tmp_path / "poisoned", study) if row not in healthy]
    assert [(number, error) for number, _, error in differ] == [
        (90, "the process that worked on this row died, each time"),
        (91, "the process that worked on this row died, each time"),
    ]


def test_what_a_process_noted_goes_when_it_died_after_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = tmp_path / "scratch/attempts"

    def die_and_retry(*arguments: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Attempts, "forget", lambda attempts: None)
            serial_stream(*arguments)
        assert list(noted.iterdir())
        serial_stream(*arguments)

    fake.study(Store(tmp_path), stream=die_and_retry)
    assert not list(noted.iterdir())


@pytest.mark.parametrize("how", [OSError, MemoryError])
def test_what_is_no_rows_fault_is_raised_and_not_stored(
    study: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: type[Exception]
) -> None:
    monkeypatch.setattr(Poisoned, "how", how)
    with pytest.raises(how):
        errors(tmp_path, study)


@pytest.mark.parametrize("row_by_row", [False, True])
def test_a_stop_in_order_is_no_death_however_often_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row_by_row: bool
) -> None:
    """As of an endpoint whose budget is used, run after run."""
    table, files = fake.numbers(Config(count=4)), Store(tmp_path).files
    monkeypatch.setattr(Poisoned, "on", range(100))
    monkeypatch.setattr(Poisoned, "how", OSError)
    if row_by_row:
        files.put("scratch/attempts/a.json", json.dumps({"shard": ["", ""]}).encode())
    for _ in range(15):
        with pytest.raises(OSError, match="poisonous"):
            Attempts(files, "a").compute(Poisoned(Config(), {}), table, {})
    monkeypatch.setattr(Poisoned, "how", None)
    rows = Attempts(files, "a").compute(Poisoned(Config(), {}), table, {})
    assert rows.to_pylist() == Poisoned(Config(), {})(table, {}).to_pylist()


def test_a_worker_that_fails_on_every_row_is_broken_unless_it_refuses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = fake.numbers(Config(count=4))
    monkeypatch.setattr(Poisoned, "on", range(100))
    monkeypatch.setattr(Poisoned, "how", RuntimeError)
    worker, files = Poisoned(Config(), {}), Store(tmp_path).files
    with pytest.raises(RuntimeError, match="poisonous"):
        Attempts(files, "a").compute(worker, table, {})
    monkeypatch.setattr(Poisoned, "how", ValueError)
    refused = Attempts(files, "b").compute(worker, table, {})
    assert refused["error"].to_pylist() == ["ValueError: a poisonous row"] * 4


@pytest.mark.parametrize(
    ("places", "is_given_up"),
    [
        (["here"], False),
        (["here", "here"], True),
        (["gone"] * 5, False),
        (["gone"] * 6, True),
        (["here", "gone", "gone"], False),
        (["here", "gone", "gone", "gone"], True),
    ],
)
def test_a_death_with_the_node_counts_a_third(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: list[str], is_given_up: bool
) -> None:
    monkeypatch.setattr(poison_rows, "_is_gone", lambda place: place == "gone")
    files = Store(tmp_path).files
    files.put("scratch/attempts/samples-0.json", json.dumps({"shard": places, "0": places}).encode())
    table = pa.Table.from_pylist([{"number": 1, "split": "test", "error": None}], schema=ROWS)
    [row] = Attempts(files, "samples-0").compute(lambda rows, item: rows, table, {}).to_pylist()
    assert (row["error"] == "the process that worked on this row died, each time") is is_given_up
