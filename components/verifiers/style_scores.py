"""Scores of what a style's model gives: class probabilities of steps, and the solution's score as its authors do it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from components.statistics.score_reduction import solution_score
from components.verifiers.style import CLASSES, Style


def class_probabilities(style: Style, values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return probabilities, shape (places, 3), of the classes negative, neutral and positive.

    values: the outputs at each place, shape (places, outputs): probabilities of the style's classes, or one number, of
    which the sigmoid is P(positive). A class that the style has not has probability 0.
    """
    columns: NDArray[np.floating] = np.zeros((len(values), len(CLASSES)), values.dtype)
    if style.head.output in ("classes", "tokens"):
        for index, name in enumerate(style.head.classes):
            columns[:, CLASSES.index(name)] = values[:, index]
        return columns
    columns[:, 2] = _sigmoid(values[:, 0])
    columns[:, 0] = 1 - columns[:, 2]
    return columns


def style_score(style: Style, values: NDArray[np.floating]) -> float:
    """Return a solution's score, by the style's own reduction. values: as for `class_probabilities`."""
    probabilities = class_probabilities(style, values)
    if style.steps_as == "probability" and style.reduction != "softmin":
        return solution_score(probabilities, style.reduction, "positive")
    steps = {
        "probability": probabilities[:, 1:].sum(1),
        "difference": probabilities[:, 2] - probabilities[:, 0],
        "value": _sigmoid(values[:, 0]) if style.head.squash == "sigmoid" else values[:, 0],
    }[style.steps_as].astype(np.float64)
    if style.reduction == "softmin":
        assert style.temperature is not None
        weights = np.exp((steps.min() - steps) / style.temperature)
        return float((weights * steps).sum() / weights.sum())
    return float({"min": steps.min(), "last": steps[-1], "mean": steps.mean()}[style.reduction])


def _sigmoid(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.exp(-np.logaddexp(0, -values))
