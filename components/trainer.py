"""A training run by Ray Train: data-parallel workers, examples made once for all of them.

What is imported here, the task that starts a training and Ray Train's controller import too: no model code, which takes
each of them seconds.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.side_by_side import TrainingRun
from components.stage import Pool
from components.training_data import Job, ray_dataset

if TYPE_CHECKING:
    from ray.train import ScalingConfig


def fit(trainings: Sequence[tuple[TrainingRun, Job]], pool: Pool) -> None:
    """Train and publish the models in turn, all by the same workers. Raises ValueError when one has no example left."""
    from ray.train import DataConfig, FailureConfig, RunConfig
    from ray.train.torch import TorchTrainer

    one_machine = on_one_machine(pool)
    # Watching for drained nodes takes a process per training, which takes seconds to start.
    os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = str(int(not one_machine))
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # the end of a training is seen as much later

    class Trainer(TorchTrainer):
        """On one machine without the actor that frees the workers' places when a controller dies with its node: where
        Ray's dashboard does not answer it, each training would end twelve seconds later."""

        def _create_default_callbacks(self) -> list[Any]:
            callbacks: list[Any] = super()._create_default_callbacks()  # type: ignore[misc] # v2's
            if not one_machine:
                return callbacks
            return [one for one in callbacks if type(one).__name__ != "PlacementGroupCleanerCallback"]

    [(first, _), *_] = trainings
    storage, path = first.store.files.arrow()
    lessons = [
        Lesson(
            run.key,
            dataclasses.replace(run, inputs={}),
            job,
            {name: dataset.digest for name, dataset in run.inputs.items()},
        )
        for run, job in trainings
    ]
    # Of one training they are made once for all workers; of many, each when its turn comes.
    examples = {run.key: ray_dataset(job, run.inputs) for run, job in trainings}
    if len(trainings) == 1:
        examples = {key: dataset.materialize() for key, dataset in examples.items()}
    trainer = Trainer(
        _worker,
        train_loop_config={"lessons": lessons, "sharding": pool.sharding},
        scaling_config=scaling(pool),
        run_config=RunConfig(
            name="run",
            storage_path=f"{path}/{first.scratch}",
            storage_filesystem=storage,
            failure_config=FailureConfig(max_failures=3 * len(trainings)),
        ),
        datasets=examples,
        dataset_config=DataConfig(datasets_to_split=[]),
    )
    result = trainer.fit()
    if result.error is not None:
        others = f" or one of {len(trainings) - 1} others" if len(trainings) > 1 else ""
        raise RuntimeError(f"training of {first.stage.name}{others} failed: {result.error}")


def on_one_machine(pool: Pool) -> bool:
    """Whether all workers have room on the only node that there ever was, so that none is added for them."""
    import ray

    [node, *others] = ray.nodes()
    room = [node["Resources"].get(name, 0) >= pool.actors * amount for name, amount in _of_a_worker(pool).items()]
    return not others and all(room)


def scaling(pool: Pool) -> ScalingConfig:
    """What Ray Train is to ask the cluster for: its pool's custom resources too, which keep it off spot nodes."""
    from ray.train import ScalingConfig

    return ScalingConfig(num_workers=pool.actors, use_gpu=pool.gpus > 0, resources_per_worker=_of_a_worker(pool))


def _of_a_worker(pool: Pool) -> dict[str, float]:
    return {"CPU": pool.cpus, **pool.resources} | ({"GPU": pool.gpus} if pool.gpus else {})


@dataclass(frozen=True)
class Lesson:
    """What a worker is told of one training. inputs: name → digest."""

    key: str
    run: TrainingRun
    job: Job
    inputs: Mapping[str, str | None]

    @property
    def is_done(self) -> bool:
        run = self.run
        return run.store.manifest(run.store.folder("models", run.stage.name, run.key)) is not None


def _worker(config: dict[str, Any]) -> None:
    """The train loop of one Ray Train worker: what is done is passed over, since a worker may be started again."""
    import ray.train
    import torch

    from components.keeper import train_one
    from components.parallel import first_workers

    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # two threads of one worker are slower than two workers of one
    first = ray.train.get_context().get_world_rank() == 0
    for lesson in config["lessons"]:
        # What the first worker sees counts: another may see it done a moment later.
        if not first_workers(lesson.is_done if first else False):
            train_one(lesson, config["sharding"])
