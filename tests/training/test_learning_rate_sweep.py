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
from flows.studies.reward_models import Rival, at_best_rates, train

START = Model("generator", "digest")
CONFIG = PRESETS["smoke"].prm


def study_of(metrics: dict[float, dict[str, float]], trained: list[str], watch: str, seeds: int = 1) -> Any:
    """A study whose trainings end with these metrics; their names are added to `trained`."""

    results: dict[str, Any] = {}

    def run(*stages: Any) -> list[Model]:
        trained.extend(stage.name for stage, _ in stages)
        results.update((stage.name, stage.name) for stage, _ in stages)
        rates = [stage.config.training.learning_rate for stage, _ in stages]
        return [Model(stage.name, "d", metrics=metrics[r]) for (stage, _), r in zip(stages, rates, strict=True)]

    config = dataclasses.replace(CONFIG, evaluation=EvaluationConfig(watch=watch))
    orm = dataclasses.replace(config, kind="orm")
    return SimpleNamespace(
        preset=SimpleNamespace(learning_rates=tuple(metrics), prm=config, orm=orm, training_seeds=seeds),
        runner=SimpleNamespace(train_concurrently=run, say=lambda line: None, results=results),
    )


def chosen(metrics: dict[float, dict[str, float]], watch: str = "within_problem_auc") -> float:
    """The rate that is kept, of those whose models have these metrics."""
    trained: list[str] = []
    study = study_of(metrics, trained, watch)
    [rival] = at_best_rates(study, START, [Rival("prm", study.preset.prm, {})])
    assert len(set(trained)) == len(metrics)
    return rival.config.training.learning_rate


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
    with pytest.raises(StudyError, match=r"learning_rates 0\.001 0\.01: no prm of these has a held_out_loss"):
        chosen({1e-3: {}, 1e-2: {}})


def test_where_every_auc_is_saturated_the_loss_decides() -> None:
    metrics = {
        1e-3: {"held_out_within_problem_auc": 1.0, "held_out_loss": 0.2},
        1e-4: {"held_out_within_problem_auc": 0.995, "held_out_loss": 0.1},
    }
    assert chosen(metrics) == 1e-4


def test_both_rivals_get_every_rate_and_the_best_is_the_first_training_seeds() -> None:
    metrics = {1e-3: {"held_out_loss": 0.4}, 1e-4: {"held_out_loss": 0.3}}
    trained: list[str] = []
    study = study_of(metrics, trained, "loss", seeds=2)
    rivals = at_best_rates(study, START, [Rival(kind, getattr(study.preset, kind), {}) for kind in ("orm", "prm")])
    assert sorted(study.runner.results) == ["orm", "orm_at_0.001", "prm", "prm_at_0.001"]
    assert trained == ["orm_at_0.001", "orm_at_0.0001", "prm_at_0.001", "prm_at_0.0001"]
    first, second = train(study, START, rivals)
    assert {name: model.path for name, model in first.items()} == {"orm": "orm_at_0.0001", "prm": "prm_at_0.0001"}
    assert {name: model.path for name, model in second.items()} == {"orm": "orm_seed_2", "prm": "prm_seed_2"}
    assert len(trained) == 6


def test_a_plan_counts_the_later_seeds_of_a_sweep_that_has_not_run() -> None:
    trained: list[Any] = []

    def foreseen(*stages: Any) -> list[Model]:
        trained.extend(stage for stage, _ in stages)
        return [Model(stage.name, None) for stage, _ in stages]

    study = study_of({1e-3: {}, 1e-4: {}}, [], "loss", seeds=2)
    study.runner.train_concurrently = foreseen
    [rival] = at_best_rates(study, START, [Rival("prm", study.preset.prm, {})])
    sweep = Model("prm_at_0.001", None)
    assert train(study, START, [rival]) == [{"prm": sweep}, {"prm": Model("prm_seed_2", None)}]
    assert [stage.name for stage in trained] == ["prm_at_0.001", "prm_at_0.0001", "prm_seed_2"]
    assert list(trained[-1].models.values()) == [sweep], "its key waits for the sweep's choice"
