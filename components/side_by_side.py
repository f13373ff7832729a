"""How model stages run: each in a Ray task of its own, so that models that do not need each other train side by side.

A small model leaves its workers waiting for each other more than they compute: two trainings of one worker each end
well before two trainings in turn of two workers each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components.stage import ModelStage, Pool

PROGRESS = "progress.json"  # in a run's scratch folder: step, steps, loss, tokens_per_second


@dataclass(frozen=True)
class TrainingRun:
    """One training to do: its stage and key, the shard files of its inputs, where the model and what outlives a kill
    go, and what its manifest will say of it."""

    stage: ModelStage
    key: str
    about: Mapping[str, Any]
    files: Mapping[str, Sequence[Path]]
    folder: Path
    scratch: Path


def train_side_by_side(runs: Sequence[TrainingRun], pool: Pool) -> Iterator[tuple[TrainingRun, dict[str, Any], float]]:
    """Train all runs, each with an equal share of the pool's workers, or in turn where there are fewer workers than
    runs. Gives each as it ends: the run, its metrics, its seconds. Raises what a training raised."""
    import ray

    if len(runs) > max(1, pool.actors):
        for run in runs:
            yield from train_side_by_side([run], pool)
        return
    share = dataclasses.replace(pool, actors=max(1, pool.actors // max(1, len(runs))))
    with contextlib.ExitStack() as bars:
        tasks, shown = {}, []
        for place, run in enumerate(runs):
            place *= sys.stderr.isatty()  # lines one under another, and in a log simply in turn
            tasks[ray.remote(num_cpus=0)(_train).remote(run, share)] = run
            bar = tqdm(desc=f"  {run.stage.name}", unit="step", position=place, mininterval=5, dynamic_ncols=True)
            shown.append((bars.enter_context(bar), run.scratch / PROGRESS))
        waiting = list(tasks)
        while waiting:
            done, waiting = ray.wait(waiting, timeout=1)
            for bar, progress in shown:
                _show(bar, progress)
            for task in done:
                yield tasks[task], *ray.get(task)


def _train(run: TrainingRun, pool: Pool) -> tuple[dict[str, Any], float]:
    began = time.perf_counter()
    models = {name: model.path for name, model in run.stage.models.items()}
    metrics = run.stage.train(run.stage.config, run.files, models, run.folder, run.scratch, pool)
    return metrics, time.perf_counter() - began


def _show(bar: Any, file: Path) -> None:
    try:
        note = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return
    bar.total = note["steps"]
    bar.set_postfix_str(f"loss {note['loss']:.3f}, {note['tokens_per_second']:,.0f} tokens/s", refresh=False)
    bar.update(note["step"] - bar.n)
