"""Experiment trackers that a study can write to, beside its own files: trackio, Weights & Biases, or MLflow.

Each keeps curves, tables and the report where its users look. Where that is, on this machine or on a server, is set by
the tracker's own environment variables; trackio and MLflow stay on this machine by default.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

TRACKERS = {"trackio": "trackio", "wandb": "wandb", "mlflow": "mlflow"}  # name → the module that it needs


class Tracker(Protocol):
    """What a study tells a tracker."""

    def log(self, stage: str, values: Mapping[str, float], step: int) -> None:
        """Add a point to the curves of a stage."""

    def table(self, name: str, frame: pd.DataFrame) -> None:
        """Add a table of results."""

    def file(self, path: Path) -> None:
        """Add a file."""

    def finish(self) -> None:
        """Write what is left."""


def is_installed(kind: str) -> bool:
    """Return whether a tracker's package is there, without importing it."""
    return importlib.util.find_spec(TRACKERS[kind]) is not None


def open_tracker(kind: str, project: str, name: str, config: Mapping[str, Any]) -> Tracker:
    """Begin a run of a tracker. config: what the run is of, as plain values by name."""
    opened: dict[str, Callable[[str, str, dict[str, Any]], Tracker]]
    opened = {"trackio": _Trackio, "wandb": _Wandb, "mlflow": _Mlflow}
    return opened[kind](project, name, dict(config))


class _Trackio:
    def __init__(self, project: str, name: str, config: dict[str, Any]) -> None:
        import trackio

        # Its module knows the run in the thread that began it alone, and curves are told by another.
        self.module, self.run = trackio, trackio.init(project=project, name=name, config=config, embed=False)

    def log(self, stage: str, values: Mapping[str, float], step: int) -> None:
        self.run.log({f"{stage}/{name}": value for name, value in values.items()}, step=step)

    def table(self, name: str, frame: pd.DataFrame) -> None:
        self.run.log({name: self.module.Table(dataframe=frame)})

    def file(self, path: Path) -> None:
        self.module.save(str(path))

    def finish(self) -> None:
        self.module.finish()


class _Wandb:
    def __init__(self, project: str, name: str, config: dict[str, Any]) -> None:
        import wandb

        self.module, self.run = wandb, wandb.init(project=project, name=name, config=config)
        self.stages: set[str] = set()

    def log(self, stage: str, values: Mapping[str, float], step: int) -> None:
        if stage not in self.stages:  # trainings run side by side, each with steps of its own
            self.stages.add(stage)
            self.run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self.run.log({f"{stage}/{name}": value for name, value in values.items()} | {f"{stage}/step": step})

    def table(self, name: str, frame: pd.DataFrame) -> None:
        self.run.log({name: self.module.Table(dataframe=frame)})

    def file(self, path: Path) -> None:
        artifact = self.module.Artifact(path.stem, type="report")
        artifact.add_file(str(path))
        self.run.log_artifact(artifact)

    def finish(self) -> None:
        self.run.finish()


class _Mlflow:
    def __init__(self, project: str, name: str, config: dict[str, Any]) -> None:
        import mlflow

        self.module = mlflow
        mlflow.set_experiment(project)
        self.run_id = mlflow.start_run(run_name=name).info.run_id  # a thread that does not say which begins another
        mlflow.log_params({key: str(value)[:500] for key, value in config.items()})

    def log(self, stage: str, values: Mapping[str, float], step: int) -> None:
        points = {f"{stage}/{name}": value for name, value in values.items()}
        self.module.log_metrics(points, step=step, run_id=self.run_id)

    def table(self, name: str, frame: pd.DataFrame) -> None:
        self.module.log_table(frame, f"{name}.json")

    def file(self, path: Path) -> None:
        self.module.log_artifact(str(path))

    def finish(self) -> None:
        self.module.end_run()
