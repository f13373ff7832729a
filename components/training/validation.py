"""A reward model's metrics on validation problems, and early stopping by them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from components.statistics.classification import auc, calibration_error, grouped_auc
from components.statistics.score_reduction import PAPER_NEUTRAL, PAPER_REDUCTION, solution_score
from components.training.examples import Example
from components.training.loop import predict
from components.training.prefix_tree import PrefixTree


def evaluate(model: nn.Module, examples: Sequence[Example], problems: Sequence[int]) -> dict[str, float]:
    """Return loss, calibration_error, within_problem_auc, and for a PRM step_auc, without those that are NaN.

    problems: which examples are of one problem. The ORM's score of a solution is its last token's P(correct), the PRM's
    the product of its steps' P(neutral) + P(positive); a step counts as right when its label is more likely than not.
    All workers must call it: a model in shards is computed jointly.
    """
    model.eval()
    trees = [PrefixTree(e.ids, e.positions, e.until, []) for e in examples]
    probabilities = predict(model, trees, [np.concatenate([e.at, e.read_at]) for e in examples], as_trained=True)
    model.train()
    loss, weight = 0.0, 0.0
    scores, step_scores, step_right = [], [], []
    for example, predicted in zip(examples, probabilities, strict=True):
        at_targets, read = predicted[: len(example.at)], predicted[len(example.at) :]
        loss -= float(
            (example.weights * np.log(np.clip(at_targets[np.arange(len(at_targets)), example.classes], 1e-38, 1))).sum()
        )
        weight += float(example.weights.sum())
        is_prm = predicted.shape[1] == 3
        scores.append(solution_score(read, PAPER_REDUCTION, PAPER_NEUTRAL) if is_prm else float(read[0, 1]))
        if is_prm:
            places, first = np.unique(example.at, return_index=True)
            negative = [float(example.weights[(example.at == at) & (example.classes == 0)].sum()) for at in places]
            total = [float(example.weights[example.at == at].sum()) for at in places]
            step_scores.append(1 - at_targets[first, 0])
            step_right.append(np.array(negative) <= 0.5 * np.array(total))
    known = np.array([example.is_right is not None for example in examples])
    right = np.array([example.is_right is True for example in examples])
    scored = np.array(scores, dtype=np.float64)
    metrics = {
        "loss": loss / max(1e-9, weight),
        "within_problem_auc": grouped_auc(scored[known], right[known], np.asarray(problems)[known].tolist()),
    }
    if step_scores:
        steps, steps_right = np.concatenate(step_scores).astype(np.float64), np.concatenate(step_right)
        metrics["step_auc"] = auc(steps, steps_right)
        metrics["calibration_error"] = calibration_error(steps, steps_right)
    else:
        metrics["calibration_error"] = calibration_error(scored[known], right[known])
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


class EarlyStopping:
    """The state of early stopping: the best evaluation so far, the weights that it had, and how many have come since.

    Several workers must get the same evaluations: theirs may differ in the last bits.
    """

    def __init__(self, metric: str, patience: int | None, state: dict[str, Any] | None = None) -> None:
        self.metric, self.patience = metric, patience
        self.best: float | None = None
        self.metrics: dict[str, float] = {}  # all of the best evaluation's
        self.since = 0
        self.weights: dict[str, torch.Tensor] | None = None
        if state is not None:
            self.best, self.since, self.weights = state["best"], state["since"], state["weights"]
            self.metrics = state["metrics"]

    def note(self, metrics: dict[str, float]) -> bool:
        """Tell whether this evaluation is the best so far, whose weights are to be kept."""
        value = metrics.get(self.metric)
        if self.patience is None or value is None:
            return False
        sign = -1 if self.metric in ("loss", "calibration_error") else 1
        better = self.best is None or sign * value > sign * self.best
        self.best, self.since = (value, 0) if better else (self.best, self.since + 1)
        self.metrics = dict(metrics) if better else self.metrics
        return better

    @property
    def ends(self) -> bool:
        """Tell whether so many evaluations in turn were no better that training stops."""
        return self.patience is not None and self.since >= self.patience

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps; `__init__` takes it."""
        return {"best": self.best, "since": self.since, "weights": self.weights, "metrics": self.metrics}
