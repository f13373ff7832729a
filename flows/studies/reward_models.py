"""The reward models of a study: an ORM and a PRM per training seed, side by side, at the best of the learning rates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from components.dataflow.datasets import Dataset
from components.dataflow.errors import StudyError
from components.dataflow.stage import Model
from components.training.config import RewardModelConfig
from components.training.stages import reward_model
from flows.study import Study

Inputs = Mapping[str, Dataset] | None
_LOWER_IS_BETTER = ("loss", "calibration_error")


def of_seed(name: str, seed: int) -> str:
    """Return a stage's name for a training seed (0-based); the first seed has the plain one."""
    return name if seed == 0 else f"{name}_seed_{seed + 1}"


def train(
    study: Study,
    seed: int,
    start: Model,
    orm: tuple[RewardModelConfig | None, Inputs],
    prm: tuple[RewardModelConfig | None, Inputs],
) -> tuple[Model, Model | None]:
    """Train the ORM and the PRM of a training seed. Without inputs for it there is no PRM, but a published one.

    A config is None where a plan cannot know it: the best learning rate of a sweep that has not run.
    """
    trainings = []
    for config, inputs in (orm, prm):
        if config is not None and inputs is not None:
            training = dataclasses.replace(config.training, seed=config.training.seed + seed)
            stage = reward_model(dataclasses.replace(config, training=training), start, of_seed(config.kind, seed))
            trainings.append((stage, inputs))
    models = iter(study.runner.train_concurrently(*trainings))
    waiting = Model("the learning-rate sweep", None)
    trained = [None if inputs is None else waiting if config is None else next(models) for config, inputs in (orm, prm)]
    assert trained[0] is not None
    return trained[0], study.published_prm or trained[1]


def best_rate(study: Study, config: RewardModelConfig, start: Model, inputs: Inputs) -> RewardModelConfig | None:
    """Return the config with the best of the preset's learning rates, by the metric that the config watches.

    The best model is that on validation problems. None while it is not known. Without rates: the config. The models of
    the sweep stay in the store as <kind>_at_<rate>.
    """
    rates = study.preset.learning_rates
    if inputs is None or not rates:
        return config
    candidates = [
        dataclasses.replace(config, training=dataclasses.replace(config.training, learning_rate=rate)) for rate in rates
    ]
    models = study.runner.train_concurrently(
        *(
            (reward_model(candidate, start, f"{config.kind}_at_{rate}"), inputs)
            for candidate, rate in zip(candidates, rates, strict=True)
        )
    )
    if any(model.digest is None for model in models):
        return None
    watched = f"held_out_{config.evaluation.watch}"
    # Validation problems may be too few for the metric that is watched; a model that diverged has none at all.
    metric = watched if any(watched in model.metrics for model in models) else "held_out_loss"
    sign = -1 if metric.removeprefix("held_out_") in _LOWER_IS_BETTER else 1
    values = [sign * model.metrics.get(metric, -sign * math.inf) for model in models]
    best = max(range(len(rates)), key=values.__getitem__)
    if math.isinf(values[best]):
        raise StudyError(
            f"--learning-rates {' '.join(map(str, rates))}: no {config.kind} of these has a {metric}: no problem is "
            "for validation (give more train problems), or every rate is too high"
        )
    for rate, value in zip(rates, values, strict=True):
        outcome = "diverged" if math.isinf(value) else f"{metric} {sign * value:.4f}"
        study.runner.say(f"  {config.kind} at {rate}: {outcome}{', chosen' if rate == rates[best] else ''}")
    return candidates[best]
