"""Which worker trains which models, where there are fewer workers than models."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from components.dataflow.train_executor import _queues


def run(name: str, rows: int = 100) -> Any:
    return SimpleNamespace(stage=SimpleNamespace(name=name), inputs={"solutions": SimpleNamespace(rows=rows)})


def shared_out(runs: list[Any], workers: int) -> list[list[str]]:
    return [[one.stage.name for one in queue] for queue in _queues(runs, workers)]


def test_each_worker_has_an_orm_and_a_prm() -> None:
    """On the same rows an ORM takes longer; a worker with all ORMs would end long after the other."""
    by_seed = [run("orm_2"), run("prm_2"), run("orm_3"), run("prm_3")]
    assert shared_out(by_seed, 2) == [["orm_2", "prm_3"], ["prm_2", "orm_3"]]
    by_kind = [run("orm_2"), run("orm_3"), run("prm_2"), run("prm_3")]
    assert shared_out(by_kind, 2) == [["orm_2", "prm_3"], ["orm_3", "prm_2"]]


def test_the_largest_first_to_the_worker_that_has_least() -> None:
    runs = [run("small", 10), run("large", 100), run("medium", 60), run("other", 50)]
    assert shared_out(runs, 2) == [["large", "small"], ["medium", "other"]]
    assert shared_out(runs, 4) == [["large"], ["medium"], ["other"], ["small"]]
