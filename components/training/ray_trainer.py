"""A training run by Ray Train: data-parallel workers, examples made once for all of them.

The task that starts a training and Ray Train's controller import this module too, so it imports no model code, which
takes each of them seconds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.dataflow.datasets import Dataset
from components.dataflow.errors import StudyError
from components.dataflow.stage import Pool
from components.training.dataset import NoExamplesError, ray_dataset
from components.training.job import TrainingJob

if TYPE_CHECKING:
    from ray.train import ScalingConfig

_NO_EXAMPLES = "no_examples.json"  # in a run's scratch folder: its rows and labels, by what became of them


def fit(trainings: Sequence[tuple[TrainingJob, Mapping[str, Dataset]]], pool: Pool) -> None:
    """Train and publish the models in turn, all by the same workers.

    trainings: jobs and their inputs. Raises StudyError when one has no example to train on, which ends the turn, and
    RuntimeError when a training fails.
    """
    from ray.train import DataConfig, FailureConfig, RunConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    one_machine = on_one_machine(pool)
    # Watching for drained nodes takes a process per training, which takes seconds to start.
    os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = str(int(not one_machine))
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # the end of a training is seen as much later

    class Trainer(TorchTrainer):
        """A trainer that, on one machine, does without the actor that frees the places of a lost controller's workers.

        Where Ray's dashboard does not answer that actor, each training would end twelve seconds later.
        """

        def _create_default_callbacks(self) -> list[Any]:
            callbacks: list[Any] = super()._create_default_callbacks()  # type: ignore[misc] # v2's
            if not one_machine:
                return callbacks
            return [callback for callback in callbacks if type(callback).__name__ != "PlacementGroupCleanerCallback"]

    first = trainings[0][0].run
    storage, path = first.store.files.arrow()
    # Of one training they are made once for all workers; of many, each when its turn comes.
    examples = {job.run.key: ray_dataset(job, inputs) for job, inputs in trainings}
    if len(trainings) == 1:
        examples = {key: dataset.materialize() for key, dataset in examples.items()}
    trainer = Trainer(
        _worker,
        train_loop_config={"jobs": [job for job, _ in trainings], "sharding": pool.sharding},
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
    try:
        trainer.fit()
    except TrainingFailedError as error:
        others = f" or one of {len(trainings) - 1} others" if len(trainings) > 1 else ""
        raise RuntimeError(f"training of {first.stage.name}{others} failed: {error}") from error
    for job, inputs in trainings:
        _refuse_without_examples(job, inputs)


def _refuse_without_examples(job: TrainingJob, inputs: Mapping[str, Dataset]) -> None:
    """Raise StudyError where a worker noted that the job has no example; the note goes."""
    files, note = job.run.store.files, f"{job.run.scratch}/{_NO_EXAMPLES}"
    if job.is_done or files.size(note) is None:
        return
    counts: dict[str, int] = json.loads(files.read(note))
    files.delete(note)
    rows = {name.removeprefix("rows_"): count for name, count in counts.items() if name.startswith("rows_")}
    causes = ", ".join(f"{count:,} {cause}" for cause, count in sorted(rows.items(), key=lambda one: -one[1]))
    names = ", ".join(dataset.name for dataset in inputs.values())
    raise StudyError(
        f"{job.run.stage.name} has no example to train on: of the {sum(rows.values()):,} rows of {names} none can be "
        f"used ({causes})"
    )


def on_one_machine(pool: Pool) -> bool:
    """Tell whether all workers have room on the only node that there ever was, so that none is added for them."""
    import ray

    [node, *others] = ray.nodes()
    room = [node["Resources"].get(name, 0) >= pool.actors * amount for name, amount in _of_a_worker(pool).items()]
    return not others and all(room)


def scaling(pool: Pool) -> ScalingConfig:
    """Return what Ray Train requests of the cluster: also its pool's custom resources, which keep it off spot nodes."""
    from ray.train import ScalingConfig

    return ScalingConfig(num_workers=pool.actors, use_gpu=pool.gpus > 0, resources_per_worker=_of_a_worker(pool))


def _of_a_worker(pool: Pool) -> dict[str, float]:
    return {"CPU": pool.cpus, **pool.resources} | ({"GPU": pool.gpus} if pool.gpus else {})


def _worker(config: dict[str, Any]) -> None:
    """Run the train loop of one Ray Train worker. Jobs that are done are passed over: a worker may be started again."""
    import ray.train
    import torch

    from components.training.distributed import first_workers
    from components.training.worker import train_one

    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # two threads of one worker are slower than two workers of one
    first = ray.train.get_context().get_world_rank() == 0
    for job in config["jobs"]:
        # What the first worker sees counts: another may see it done a moment later.
        if first_workers(job.is_done if first else False):
            continue
        try:
            train_one(job, config["sharding"])
        except NoExamplesError as error:  # all workers meet it, and none would find one if it were started again
            if first:
                job.run.store.files.put(f"{job.run.scratch}/{_NO_EXAMPLES}", json.dumps(error.counts).encode())
            return
