"""One training on a worker of Ray Train: progress, evaluations, checkpoints, a Hugging Face folder.

Every worker holds all examples and takes its share of each batch, so the order is that of the seed, whatever the number
of workers. The first worker keeps the run's state in `scratch`, which outlives a kill of any process, and a run that is
started again goes on from there.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from components.dataflow.train_executor import CHECKPOINT_REQUEST, PROGRESS
from components.training.checkpoints import Checkpoints
from components.training.dataset import Data, collect, opened
from components.training.distributed import (
    first_workers,
    first_workers_metrics,
    full_weights,
    load_full_weights,
    spread,
)
from components.training.job import TrainingJob
from components.training.loop import SelectiveLogits, optimise, seed_everything
from components.training.model_card import write_card
from components.training.validation import EarlyStopping, evaluate

_SECONDS_BETWEEN_CHECKPOINTS = 30
_SECONDS_BETWEEN_NOTES = 1  # of progress
_SHARE_OF_CHECKPOINTS = 0.05  # of the time, at most


def train_one(job: TrainingJob, sharding: str) -> None:
    """Train the model of a job on this worker, and publish it. Raises NoExamplesError when there is none to train
    on."""
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    seed_everything(job.training.seed)
    data = collect(job.run.key, job.training.solutions_together)
    tokenizer, folder = opened(job)
    model = SelectiveLogits(job.make_model(folder, tokenizer), job.training.max_tokens)
    wrapped = spread(model, sharding, ray.train.torch.get_device())
    session = TrainingSession(job, data, wrapped, first=context.get_world_rank() == 0)
    optimise(
        wrapped,
        data.train,
        job.training,
        rank=context.get_world_rank(),
        workers=context.get_world_size(),
        state=session.take_state(),
        share_without_alternatives=job.examples.prm_share_without_alternatives,
        after_step=session.after_step,
    )
    session.publish(tokenizer)


class TrainingSession:
    """The work beside the optimiser steps: progress and TensorBoard, evaluations, early stopping, checkpoints,
    publishing.

    Every worker has one, since evaluations and checkpoints are joint acts; the first one writes.
    """

    def __init__(self, job: TrainingJob, data: Data, model: Any, first: bool) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        self.run, self.job, self.data, self.model, self.first = job.run, job, data, model, first
        self.files = self.run.store.files
        self.checkpoints = Checkpoints(self.files, job.run.scratch, job.run.stage.name, job.run.key)
        self.state = self.checkpoints.load(_read_state, put_aside=first)
        noted: dict[str, Any] = (
            self.state["notes"] if self.state else {"metrics": {}, "seconds": 0.0, "tokens": 0.0, "watch": None}
        )
        self.metrics: dict[str, float] = dict(noted["metrics"])
        self.resumed_from = int(self.metrics.get("steps", 0))
        step_of_first = first_workers_metrics({"step": float(self.resumed_from)})["step"]
        if step_of_first != self.resumed_from:  # as when a file system shows a checkpoint late; Ray starts them again
            raise RuntimeError(
                f"a worker goes on from step {self.resumed_from}, the first one from {step_of_first:.0f}"
            )
        self.tokens = noted["tokens"]
        evaluation = job.evaluation
        self.early_stopping = None
        if evaluation is not None:
            self.early_stopping = EarlyStopping(evaluation.watch, evaluation.patience, noted["watch"])
        self.began = time.monotonic() - noted["seconds"]
        self.saved, self.noted, self.saving = time.monotonic(), 0.0, 0.0
        self.checkpoint_requested = False  # by a driver that is to end
        self.temporary = tempfile.TemporaryDirectory(prefix="tensorboard-")  # goes when this does
        self.logs = Path(self.temporary.name)
        # Not SummaryWriter, whose flush() does not wait for the queue before the file.
        suffix = f".{self.metrics.get('steps', 0)}"
        self.writer = EventsWriter(str(self.logs / "events"), suffix) if first else None

    def take_state(self) -> dict[str, Any] | None:
        """Return what a former life of this run left, once: it is large."""
        state, self.state = self.state, None
        return state

    def after_step(self, step: int, steps: int, metrics: dict[str, float], get_state: Callable[[], Any]) -> bool:
        """Do the work after an optimiser step; tell whether training ends here."""
        last = step == steps
        self.tokens += metrics.pop("tokens")
        self.metrics.update(metrics, steps=step)
        self._log(metrics, step)
        evaluated = self._evaluate(step, steps)
        ends = self.early_stopping is not None and self.early_stopping.ends
        if self.first and (last or evaluated or time.monotonic() - self.noted > _SECONDS_BETWEEN_NOTES):
            self.noted = time.monotonic()
            note = {**self.metrics, "step": step, "steps": steps, "notices": self._notices()}
            self.files.put(f"{self.run.scratch}/{PROGRESS}", json.dumps(note).encode())
            self._put_logs()
            self.checkpoint_requested = self.files.size(f"{self.run.scratch}/{CHECKPOINT_REQUEST}") is not None
        pause = max(_SECONDS_BETWEEN_CHECKPOINTS, self.saving / _SHARE_OF_CHECKPOINTS)
        if first_workers(last or ends or self.checkpoint_requested or time.monotonic() - self.saved > pause):
            began = time.monotonic()
            self._save(get_state())
            if self.first and self.checkpoint_requested:
                self.files.delete(f"{self.run.scratch}/{CHECKPOINT_REQUEST}")
                self.checkpoint_requested = False
            self.saved = time.monotonic()
            self.saving = self.saved - began
        return ends

    def _notices(self) -> list[str]:
        """Return a sentence for each checkpoint that was not used, for the driver to print."""
        at = f"training goes on from step {self.resumed_from}" if self.resumed_from else "training started anew"
        return [f"{notice}; {at}" for notice in self.checkpoints.notices]

    def _evaluate(self, step: int, steps: int) -> bool:
        """Evaluate on validation problems, so many times an epoch and at the end; tell whether it did."""
        evaluation = self.job.evaluation
        if evaluation is None or not self.data.validation:
            return False
        every = max(1, steps // (self.job.training.epochs * evaluation.per_epoch))
        if step % every and step != steps:
            return False
        metrics = first_workers_metrics(evaluate(self.model, self.data.validation, self.data.validation_problems))
        assert self.early_stopping is not None
        if self.early_stopping.note(metrics):
            self.early_stopping.weights = full_weights(self.model)
            self.metrics["best_step"] = step
        self._put_validation_metrics(metrics)
        self._log({f"held_out_{name}": value for name, value in metrics.items()}, step)
        return True

    def _put_validation_metrics(self, metrics: Mapping[str, float]) -> None:
        """Put an evaluation's metrics in place of a former one's, also of those that this one lacks."""
        kept = {name: value for name, value in self.metrics.items() if not name.startswith("held_out_")}
        self.metrics = kept | {f"held_out_{name}": value for name, value in metrics.items()}

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        if self.writer is not None:
            for name, value in metrics.items():
                self.writer.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))

    def _put_logs(self) -> None:
        """Write TensorBoard's files to where `tensorboard --logdir ROOT/tensorboard` finds them, now and after the
        run."""
        assert self.writer is not None
        self.writer.flush()
        for path in self.logs.iterdir():
            folder = self.run.store.folder("tensorboard", self.run.stage.name, self.run.key)
            self.files.put(f"{folder}/{path.name}", path.read_bytes())

    def _save(self, state: dict[str, Any]) -> None:
        if self.first:
            notes = {"metrics": self.metrics, "tokens": self.tokens, "seconds": time.monotonic() - self.began}
            buffer = io.BytesIO()
            torch.save(
                {**state, "notes": notes | {"watch": self.early_stopping.state() if self.early_stopping else None}},
                buffer,
            )
            self.checkpoints.save(buffer.getvalue(), int(self.metrics["steps"]))

    def publish(self, tokenizer: Any) -> None:
        """Put the model's folder into the store: the best evaluation's weights where training stops early, else the
        last.

        All workers must call it.
        """
        if self.early_stopping is not None and first_workers(self.early_stopping.weights is not None):
            load_full_weights(self.model, self.early_stopping.weights or {})
            self._put_validation_metrics(self.early_stopping.metrics)
        weights = full_weights(self.model)
        if not self.first:
            return
        inner = getattr(self.model, "module", self.model).model
        with tempfile.TemporaryDirectory() as temporary:
            names = {name.removeprefix("model."): value for name, value in weights.items()}
            if inner.config.tie_word_embeddings:
                names.pop("lm_head.weight", None)
            inner.save_pretrained(temporary, state_dict=names)
            tokenizer.save_pretrained(temporary)
            metrics = {**self.metrics, "tokens_trained": self.tokens, **self.data.counts}
            metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}  # it may have diverged
            write_card(Path(temporary), self.run, tokenizer, self.job.input_digests, metrics)
            self.run.publish(Path(temporary), metrics, time.monotonic() - self.began)


def _read_state(data: bytes) -> dict[str, Any]:
    """Return a checkpoint's state. Raises ValueError, or what unpickling raises, for bytes that are none."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise ValueError("no file of PyTorch's")  # which would raise what it raises for want of memory, too
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(state.get("notes", {}).get("metrics"), dict):
        raise ValueError("no state of a training")
    return state
