"""Execution of model stages: each in a Ray task of its own, so that independent models train at the same time.

A small model leaves its workers waiting for each other more than they compute: two trainings of one worker each end
well before two trainings in turn of two workers each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.dataflow.datasets import Dataset
from components.dataflow.progress import progress
from components.dataflow.records import note_of
from components.dataflow.stage import ModelStage, Pool
from components.dataflow.store import Store

PROGRESS = "progress.json"  # in a run's scratch folder: step, steps, loss, tokens_per_second
CHECKPOINT_REQUEST = "save"  # beside it: asks for a checkpoint at once; the training deletes it when there is one
_SECONDS_TO_SAVE = 20.0  # Kubernetes leaves 30 from SIGTERM to SIGKILL


@dataclass(frozen=True)
class TrainingRun:
    """One training to do: its stage and key, its inputs, and the fields of the model's manifest on how it was made."""

    stage: ModelStage
    key: str
    inputs: Mapping[str, Dataset]
    manifest_fields: Mapping[str, Any]
    store: Store

    @property
    def scratch(self) -> str:
        """The folder of its checkpoints, in the store: it outlives a kill of anything."""
        return self.store.folder("scratch", self.stage.name, self.key)

    def publish(self, folder: Path, metrics: Mapping[str, Any], seconds: float) -> None:
        """Put the trained model, a folder on this machine, into the store; the first publisher's counts."""
        fields = {**self.manifest_fields, "metrics": dict(metrics), "seconds": round(seconds, 1)}
        self.store.write_model(self.stage.name, self.key, folder, fields)


def train_concurrently(runs: Sequence[TrainingRun], pool: Pool) -> None:
    """Train and publish all runs, each with an equal share of the pool's workers.

    Where there are fewer workers than runs, each worker trains several in turn, the largest first: to start a worker
    takes longer than a small training. Raises the exception of a training that failed.
    """
    import ray
    from ray.exceptions import RayTaskError

    queues = _queues(runs, min(len(runs), max(1, pool.actors)))
    share = dataclasses.replace(pool, actors=max(1, pool.actors // max(1, len(runs))))
    with contextlib.ExitStack() as bars:
        waiting, shown, shown_notices = [], [], set[str]()
        for place, queue in enumerate(queues):
            placed = {"placement": share.held, "training_workers": share.actors}
            queue = [dataclasses.replace(run, manifest_fields={**run.manifest_fields, **placed}) for run in queue]
            waiting.append(ray.remote(num_cpus=0)(_train).remote(queue, share))
            name, many = f"  {queue[0].stage.name}", len(queue)
            name, unit, total = (f"{name} and others", "model", many) if many > 1 else (name, "step", None)
            shown.append((bars.enter_context(progress(name, unit, total, place)), queue))
        try:
            while waiting:
                done, waiting = ray.wait(waiting, timeout=1)
                for bar, queue in shown:
                    _show(bar, queue, shown_notices)
                for task in done:
                    try:
                        ray.get(task)
                    except RayTaskError as error:
                        raise error.cause from error
        except KeyboardInterrupt:
            _save(runs)
            raise


def _save(runs: Sequence[TrainingRun]) -> None:
    """Ask the trainings under way for a checkpoint before they end, and wait for it, at most _SECONDS_TO_SAVE."""
    unsaved = []
    for run in runs:
        files, folder = run.store.files, run.store.folder("models", run.stage.name, run.key)
        if files.size(f"{run.scratch}/{PROGRESS}") is not None and run.store.manifest(folder) is None:
            files.put(f"{run.scratch}/{CHECKPOINT_REQUEST}", b"")
            unsaved.append(run)
    until = time.monotonic() + _SECONDS_TO_SAVE
    while time.monotonic() < until:
        unsaved = [run for run in unsaved if run.store.files.size(f"{run.scratch}/{CHECKPOINT_REQUEST}") is not None]
        if not unsaved:
            return
        time.sleep(0.2)


def progress_of(store: Store, scratch: str) -> dict[str, Any] | None:
    """Read a training's progress from its scratch folder: step, steps, loss, tokens_per_second and notices.

    Returns None where it was not begun, or where the note cannot be read.
    """
    try:
        note = note_of(store.files.read(f"{scratch}/{PROGRESS}"))
    except FileNotFoundError:
        return None
    numbers: dict[str, Any] = {name: note.get(name) for name in ("step", "steps", "loss", "tokens_per_second")}
    if not all(isinstance(value, int | float) for value in numbers.values()):
        return None
    if not all(0 <= numbers[name] < 1e18 for name in ("step", "steps")):  # a loss may be NaN: training can diverge
        return None
    notices = note.get("notices")
    return {**numbers, "notices": [str(notice) for notice in notices] if isinstance(notices, list) else []}


def _queues(runs: Sequence[TrainingRun], workers: int) -> list[list[TrainingRun]]:
    """Share out runs by their size, the largest first, each to the worker that has least.

    Of workers that have equally much the first gets one in one round, the last in the next: an ORM takes longer than a
    PRM on the same rows, and one worker would have all ORMs of `orm, prm, orm, prm`.
    """
    queues: list[list[TrainingRun]] = [[] for _ in range(workers)]
    for number, run in enumerate(sorted(runs, key=_rows, reverse=True)):
        order = queues if number // workers % 2 == 0 else queues[::-1]
        min(order, key=lambda queue: sum(map(_rows, queue))).append(run)
    return queues


def _rows(run: TrainingRun) -> int:
    """Return the size of a training, in rows of its largest input; at least 1, so that queues fill evenly."""
    return max([1, *(dataset.rows for dataset in run.inputs.values())])


def _train(queue: Sequence[TrainingRun], pool: Pool) -> None:
    for train, group in itertools.groupby(queue, key=lambda run: run.stage.train):
        train(list(group), pool)


def _show(bar: Any, queue: Sequence[TrainingRun], shown_notices: set[str]) -> None:
    """Show a queue's progress, and each new notice of its trainings once.

    One run: its steps. Several: how many are done, with the share of the one under way, and that one's steps.
    """
    for number, run in reversed(list(enumerate(queue))):
        note = progress_of(run.store, run.scratch)
        if note is None:
            continue
        step, steps = int(note["step"]), int(note["steps"])
        doing = f"loss {note['loss']:.3f}, {note['tokens_per_second']:,.0f} tokens/s"
        for notice in note["notices"]:
            if notice not in shown_notices:
                shown_notices.add(notice)
                bar.write(f"note: {notice}")
        if len(queue) == 1:
            bar.total = steps
            bar.set_postfix_str(doing, refresh=False)
            bar.update(step - bar.n)
        else:
            bar.set_postfix_str(f"{run.stage.name}: step {step} of {steps}, {doing}", refresh=False)
            bar.n = round(number + step / max(1, steps), 2)
            bar.update(0)
        return
