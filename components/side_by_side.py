"""How model stages run: each in a Ray task of its own, so that models that do not need each other train side by side.

A small model leaves its workers waiting for each other more than they compute: two trainings of one worker each end
well before two trainings in turn of two workers each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components.datasets import Dataset
from components.stage import ModelStage, Pool
from components.store import Store

PROGRESS = "progress.json"  # in a run's scratch folder: step, steps, loss, tokens_per_second


@dataclass(frozen=True)
class TrainingRun:
    """One training to do: its stage and key, its inputs, and what the model's manifest will say of them."""

    stage: ModelStage
    key: str
    inputs: Mapping[str, Dataset]
    about: Mapping[str, Any]
    store: Store

    @property
    def scratch(self) -> str:
        """Where checkpoints go, in the store: it outlives a kill of anything."""
        return self.store.folder("scratch", self.stage.name, self.key)

    def publish(self, folder: Path, metrics: Mapping[str, Any], seconds: float) -> None:
        """Put the trained model, a folder on this machine, into the store; the first to do so counts."""
        about = {**self.about, "metrics": dict(metrics), "seconds": round(seconds, 1)}
        self.store.write_model(self.stage.name, self.key, folder, about)


def train_side_by_side(runs: Sequence[TrainingRun], pool: Pool) -> None:
    """Train and publish all runs, each with an equal share of the pool's workers; where there are fewer workers than
    runs, as many at once as there are workers. Raises what a training raised."""
    import ray
    from ray.exceptions import RayTaskError

    at_once = max(1, pool.actors)
    if len(runs) > at_once:
        for start in range(0, len(runs), at_once):
            train_side_by_side(runs[start : start + at_once], pool)
        return
    share = dataclasses.replace(pool, actors=max(1, pool.actors // max(1, len(runs))))
    with contextlib.ExitStack() as bars:
        waiting, shown = [], []
        for place, run in enumerate(runs):
            run = dataclasses.replace(run, about={**run.about, "placement": share.held})
            waiting.append(ray.remote(num_cpus=0)(_train).remote(run, share))
            place *= sys.stderr.isatty()  # lines one under another, and in a log simply in turn
            bar = tqdm(desc=f"  {run.stage.name}", unit="step", position=place, mininterval=5, dynamic_ncols=True)
            shown.append((bars.enter_context(bar), run))
        while waiting:
            done, waiting = ray.wait(waiting, timeout=1)
            for bar, run in shown:
                _show(bar, run)
            for task in done:
                try:
                    ray.get(task)
                except RayTaskError as error:
                    raise error.cause from error


def _train(run: TrainingRun, pool: Pool) -> None:
    run.stage.train(run, pool)


def _show(bar: Any, run: TrainingRun) -> None:
    try:
        note = json.loads(run.store.files.read(f"{run.scratch}/{PROGRESS}"))
    except (FileNotFoundError, ValueError):
        return
    bar.total = note["steps"]
    bar.set_postfix_str(f"loss {note['loss']:.3f}, {note['tokens_per_second']:,.0f} tokens/s", refresh=False)
    bar.update(note["step"] - bar.n)
