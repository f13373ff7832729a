"""Simulated studies whose truth is known: S trainings × P problems of one method, or of two that are compared."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from components.statistics.best_of_n import Floats

KINDS = ("picks", "expectations", "differences")
TRUTHS = (0.5, 0.9, 0.95, 0.975, 0.99, 0.995)


def values(
    kind: str, truth: float, shape: tuple[int, int, int], spread: float, shared: float, rng: np.random.Generator
) -> tuple[Floats, float]:
    """Return the values of K studies, shape (S, P, K), and the mean that they estimate.

    kind: picks: 0 or 1; expectations: between them, as best-of-N has; differences: of the picks of two methods that
    mostly agree, the second right 0.95 times as often. truth: accuracy of the (first) method.
    spread: the standard deviation between trainings, at most half of the distance to the nearer end of [0, 1]. shared:
    how much trainings have in common on a problem, in [0, 1].
    """
    seeds, problems, studies = shape
    latent = np.sqrt(shared) * rng.normal(size=(1, problems, studies))
    ranks = ndtr(latent + np.sqrt(1 - shared) * rng.normal(size=shape))
    accuracy = _of_trainings(truth, (seeds, studies), spread, rng)
    if kind == "picks":
        return 1.0 * (ranks < accuracy), truth
    if kind == "expectations":
        return np.asarray(ranks ** ((1 - accuracy) / accuracy)), truth
    other = ndtr(latent + np.sqrt(1 - shared) * rng.normal(size=shape))
    worse = _of_trainings(0.95 * truth, (seeds, studies), spread, rng)
    return 1.0 * (ranks < accuracy) - (other < worse), 0.05 * truth


def _of_trainings(truth: float, shape: tuple[int, int], spread: float, rng: np.random.Generator) -> Floats:
    """Return the accuracy of each training, shape (S, 1, K): of a beta distribution."""
    deviation = min(spread, 0.5 * min(truth, 1 - truth))
    if not deviation:
        return np.full((shape[0], 1, shape[1]), truth)
    count = truth * (1 - truth) / deviation**2 - 1
    return rng.beta(truth * count, (1 - truth) * count, shape)[:, None, :]


def coverage(interval: tuple[Floats, Floats], truth: float) -> float:
    """Return the share of the intervals that hold the truth."""
    low, high = interval
    return float(((low <= truth + 1e-12) & (high >= truth - 1e-12)).mean())
