"""The reward models of a study: an ORM and a PRM per training seed, each at the best learning rate of an equal sweep.

Both are trained alike: the same solutions, updates and rates to choose from, from the generator's weights. They differ
in what their labels say.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from components.dataflow.datasets import Dataset
from components.dataflow.errors import StudyError
from components.dataflow.stage import Model
from components.training.config import RewardModelConfig
from components.training.stages import reward_model
from flows.study import Study
from schemas.results import ENSEMBLES

_LOWER_IS_BETTER = ("loss", "calibration_error")
_SATURATED = 0.99  # an AUC from here on tells no rate from another


@dataclass(frozen=True)
class Rival:
    """A reward model to train: its config, the tables that it learns from, and the name of its stages.

    swept: the model of the first training seed, where a sweep trained it. In a plan whose sweep has not run it has no
    digest, and the learning rate of config is not known yet.
    """

    name: str
    config: RewardModelConfig
    inputs: Mapping[str, Dataset]
    swept: Model | None = None


def of_seed(name: str, seed: int) -> str:
    """Return a stage's name for a training seed (0-based); the first seed has the plain one."""
    return name if seed == 0 else f"{name}_seed_{seed + 1}"


def train(study: Study, start: Model, rivals: list[Rival]) -> list[dict[str, Model]]:
    """Train the rivals once per training seed, all side by side. Return per seed: name → model."""
    wanted = [(seed, rival) for seed in range(study.preset.training_seeds) for rival in rivals]
    trainings = []
    for seed, rival in wanted:
        if seed == 0 and rival.swept is not None:
            continue
        training = dataclasses.replace(rival.config.training, seed=rival.config.training.seed + seed)
        config = dataclasses.replace(rival.config, training=training)
        # A plan's training waits for the sweep, which gives it the rate: no key is known before.
        unknown = rival.swept if rival.swept is not None and rival.swept.digest is None else None
        trainings.append((reward_model(config, unknown or start, of_seed(rival.name, seed)), rival.inputs))
    trained = iter(study.runner.train_concurrently(*trainings))
    models: list[dict[str, Model]] = [{} for _ in range(study.preset.training_seeds)]
    for seed, rival in wanted:
        swept = rival.swept if seed == 0 else None
        models[seed][rival.name] = swept or next(trained)
    return models


def ensembles(trained: list[dict[str, Model]]) -> tuple[str, ...]:
    """Return the ensembles that the models of several training seeds make; none for one seed."""
    return tuple(name for name, member in ENSEMBLES.items() if len(trained) > 1 and member in trained[0])


def at_best_rates(study: Study, start: Model, rivals: list[Rival]) -> list[Rival]:
    """Return the rivals with the best of the preset's learning rates, by the metric that each one's config watches on
    validation problems; as they are where the preset has no rates.

    All rivals get all rates. The models of the sweep are in the store as <name>_at_<rate>; the best is the first
    training seed's, and the study's results call it <name>. Where every rate's AUC is saturated, or a model has no such
    metric, the loss decides.
    """
    rates = study.preset.learning_rates
    if not rates:
        return rivals
    candidates = [
        (rival, dataclasses.replace(rival.config, training=dataclasses.replace(rival.config.training, learning_rate=r)))
        for rival in rivals
        for r in rates
    ]
    models = study.runner.train_concurrently(
        *(
            (reward_model(config, start, f"{rival.name}_at_{config.training.learning_rate}"), rival.inputs)
            for rival, config in candidates
        )
    )
    chosen = []
    for rival in rivals:
        tried = [(config, model) for (of, config), model in zip(candidates, models, strict=True) if of is rival]
        if any(model.digest is None for _, model in tried):
            chosen.append(dataclasses.replace(rival, swept=next(model for _, model in tried if model.digest is None)))
        else:
            config, model = tried[_best(study, rival.name, [model for _, model in tried])]
            chosen.append(dataclasses.replace(rival, config=config, swept=model))
            results = study.runner.results  # the study's model of that name from here on
            results[rival.name] = results.pop(f"{rival.name}_at_{config.training.learning_rate}")
    return chosen


def _best(study: Study, name: str, models: list[Model]) -> int:
    """Return which of a sweep's models is the best, and say each one's metric."""
    rates = study.preset.learning_rates
    kind = study.preset.orm if name == "orm" else study.preset.prm
    metric = f"held_out_{kind.evaluation.watch}"
    found = [model.metrics[metric] for model in models if metric in model.metrics]
    # Validation problems may be too few for the metric that is watched; a model that diverged has none at all.
    if not found or (metric.endswith("_auc") and len(models) > 1 and min(found) >= _SATURATED):
        metric = "held_out_loss"
    sign = -1 if metric.removeprefix("held_out_") in _LOWER_IS_BETTER else 1
    values = [sign * model.metrics.get(metric, -sign * math.inf) for model in models]
    best = max(range(len(rates)), key=values.__getitem__)
    if math.isinf(values[best]):
        raise StudyError(
            f"learning_rates {' '.join(map(str, rates))}: no {name} of these has a {metric}: no problem is "
            "for validation (give more train problems), or every rate is too high"
        )
    for rate, value in zip(rates, values, strict=True):
        outcome = "diverged" if math.isinf(value) else f"{metric} {sign * value:.4f}"
        study.runner.say(f"  {name} at {rate}: {outcome}{', chosen' if rate == rates[best] else ''}")
    return best
