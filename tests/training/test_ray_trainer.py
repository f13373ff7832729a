"""What a training asks a cluster for, and how one ends that has nothing to train on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.train.torch

from components.dataflow.datasets import Dataset, Shard
from components.dataflow.errors import StudyError
from components.dataflow.stage import Model, Pool
from components.dataflow.store import Store
from components.dataflow.train_executor import TrainingRun
from components.training import ray_trainer, worker
from components.training.config import RewardModelConfig, TrainingConfig
from components.training.dataset import NoExamplesError
from components.training.examples_of_rows import ExampleConfig
from components.training.job import training_job
from components.training.ray_trainer import on_one_machine, scaling
from components.training.stages import reward_model


def test_workers_are_placed_by_all_that_their_pool_holds() -> None:
    config = scaling(Pool(8, 2, gpus=1, resources={"gpu_train": 1}, sharding="fsdp"))
    assert (config.num_workers, config.use_gpu) == (8, True)
    assert config.resources_per_worker == {"CPU": 2, "GPU": 1, "gpu_train": 1}
    assert scaling(Pool(2, 0.5)).resources_per_worker == {"CPU": 0.5}


def test_a_head_without_room_for_the_workers_is_not_the_only_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0, "gpu_train": 1.0}}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert on_one_machine(Pool(4, 1))
    assert on_one_machine(Pool(1, 1, resources={"gpu_train": 1}))
    assert not on_one_machine(Pool(5, 1))
    assert not on_one_machine(Pool(1, 1, gpus=1))
    assert not on_one_machine(Pool(2, 1, resources={"gpu_train": 1}))
    nodes.append({"Alive": False, "Resources": {}})
    assert not on_one_machine(Pool(1, 1))


class _InThisProcess:
    """In place of Ray's trainer: one worker, whose exceptions are the trainer's, as Ray raises them."""

    def __init__(self, loop: Any, train_loop_config: dict[str, Any], **given: Any) -> None:
        self.loop, self.config = loop, train_loop_config

    def fit(self) -> None:
        try:
            self.loop(self.config)
        except Exception as error:
            raise ray.train.TrainingFailedError(f"a traceback of {error}") from error


@pytest.mark.parametrize(
    ("fault", "raised", "said"),
    [
        (
            NoExamplesError({"rows_unlabelled": 57, "rows_error": 1203, "labels_dropped_unlabelled": 0}),
            StudyError,
            r"^prm_judge has no example to train on: of the 1,260 rows of solutions, judge_labels none can be used "
            r"\(1,203 error, 57 unlabelled\)$",
        ),
        (OSError("no space left"), RuntimeError, "^training of prm_judge failed: a traceback of no space left"),
    ],
)
def test_a_training_without_any_example_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, raised: type[Exception], said: str
) -> None:
    def no_examples(name: str, solutions_together: int) -> None:
        raise fault

    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr(ray.train.torch, "TorchTrainer", _InThisProcess)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 4.0}}])
    monkeypatch.setattr(ray_trainer, "ray_dataset", lambda *given: SimpleNamespace(materialize=lambda: None))
    monkeypatch.setattr(worker, "collect", no_examples)
    stage = reward_model(RewardModelConfig("prm", TrainingConfig(1, 8, 1e-3)), Model("start", "d"), "prm_judge")
    run = TrainingRun(stage, "a" * 64, {}, {}, Store(tmp_path))
    shard = Shard("any", "", "", 0, 1260, 0, {})
    inputs = {name: Dataset(name, "", "d", (shard,)) for name in ("solutions", "judge_labels")}
    job = training_job(run, None, None, lambda folder, tokenizer: None, ExampleConfig("prm", 256))
    for _ in range(2):  # the note of the first does not stay
        with pytest.raises(raised, match=said):
            ray_trainer.fit([(job, inputs)], Pool(1, 1))
    assert run.store.files.size(f"{run.scratch}/no_examples.json") is None
