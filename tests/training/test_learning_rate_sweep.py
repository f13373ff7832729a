"""Which learning rate a sweep keeps."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from components.dataflow.errors import StudyError
from components.dataflow.stage import Model
from components.training.config import EvaluationConfig
from flows.presets.presets import PRESETS
from flows.studies.reward_models import best_rate

START = Model("generator", "digest")
CONFIG = PRESETS["smoke"].prm


def chosen(metrics: dict[float, dict[str, float]], watch: str = "within_problem_auc") -> float:
    """The rate that is kept, of those whose models have these metrics."""
    trained: list[str] = []

    def train(*stages: Any) -> list[Model]:
        trained.extend(stage.name for stage, _ in stages)
        return [Model(stage.name, "d", metrics=metrics[stage.config.training.learning_rate]) for stage, _ in stages]

    study: Any = SimpleNamespace(
        preset=SimpleNamespace(learning_rates=tuple(metrics)),
        runner=SimpleNamespace(train_concurrently=train, say=lambda line: None),
    )
    config = dataclasses.replace(CONFIG, evaluation=EvaluationConfig(watch=watch))
    found = best_rate(study, config, START, {})
    assert len(set(trained)) == len(metrics)
    assert found is not None
    return found.training.learning_rate


def test_a_sweep_keeps_the_best_by_what_is_watched() -> None:
    metrics = {
        1e-3: {"held_out_within_problem_auc": 0.7, "held_out_loss": 0.2},
        1.0000001e-3: {"held_out_within_problem_auc": 0.8, "held_out_loss": 0.3},
        1e-2: {},  # diverged
    }
    assert chosen(metrics) == 1.0000001e-3
    assert chosen(metrics, "loss") == 1e-3


def test_without_the_metric_that_is_watched_the_loss_decides_and_without_any_the_study_ends() -> None:
    assert chosen({1e-3: {"held_out_loss": 0.4}, 1e-4: {"held_out_loss": 0.3}}) == 1e-4
    with pytest.raises(StudyError, match=r"--learning-rates 0\.001 0\.01: no prm of these has a held_out_loss"):
        chosen({1e-3: {}, 1e-2: {}})
