"""The reward models of a study: an ORM and a PRM per training seed, side by side, at the learning rates asked for."""

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
    """A stage's name for a training seed (0-based); the first has the plain one."""
    return name if seed == 0 else f"{name}_seed_{seed + 1}"


def train(
    study: Study,
    seed: int,
    start: Model,
    orm: tuple[RewardModelConfig | None, Inputs],
    prm: tuple[RewardModelConfig | None, Inputs],
) -> tuple[Model, Model | None]:
    """The ORM and the PRM of a training seed. Without inputs for it there is no PRM, but a published one.

    A config is None where a plan cannot tell it: the best learning rate of a sweep that has not run.
    """
    trainings = []
    for config, inputs in (orm, prm):
        if config is not None and inputs is not None:
            training = dataclasses.replace(config.training, seed=config.training.seed + seed)
            stage = reward_model(dataclasses.replace(config, training=training), start, of_seed(config.kind, seed))
            trainings.append((stage, inputs))
    models = iter(study.runner.train_concurrently(*trainings))
    waiting = Model("the learning-rate sweep", None)
    found = [None if inputs is None else waiting if config is None else next(models) for config, inputs in (orm, prm)]
    assert found[0] is not None
    return found[0], study.published_prm or found[1]


def best_rate(study: Study, config: RewardModelConfig, start: Model, inputs: Inputs) -> RewardModelConfig | None:
    """The config with that learning rate of the preset's whose model did best on held-out problems, by the metric that
    the config watches; None while that is not known. Without rates, the config. The models tried stay in the store as
    <kind>_at_<rate>."""
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
    # Held-out problems may be too few for the metric that is watched; a model that diverged has none at all.
    metric = watched if any(watched in model.metrics for model in models) else "held_out_loss"
    sign = -1 if metric.removeprefix("held_out_") in _LOWER_IS_BETTER else 1
    values = [sign * model.metrics.get(metric, -sign * math.inf) for model in models]
    best = max(range(len(rates)), key=values.__getitem__)
    if math.isinf(values[best]):
        raise StudyError(
            f"--learning-rates {' '.join(map(str, rates))}: no {config.kind} of these has a {metric}: no problem was "
            "held out (give more train problems), or every rate is too high"
        )
    for rate, value in zip(rates, values, strict=True):
        said = "diverged" if math.isinf(value) else f"{metric} {sign * value:.4f}"
        study.runner.say(f"  {config.kind} at {rate}: {said}{', chosen' if rate == rates[best] else ''}")
    return candidates[best]
