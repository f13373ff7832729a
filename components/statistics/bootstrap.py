"""Intervals and p-values of means over problems and trainings: what other problems, and other trainings, would have
given.

One rule for all, which holds near 0 and 100 %, for few problems and for skewed differences:
`tests/benchmarks/interval_coverage.py` simulates how often its intervals hold the truth.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from components.statistics.best_of_n import Floats
from schemas.settings import Share, settings

Bounds = tuple[float, float]
ACCURACIES: Bounds = (0.0, 1.0)
DIFFERENCES: Bounds = (-1.0, 1.0)
_BLOCK = 256  # resamples whose weights are held at once


@settings
class BootstrapConfig:
    """Resamples, confidence and seed of a bootstrap interval."""

    resamples: PositiveInt = 4000  # draws of problems
    confidence: Share = 0.95  # the share of studies whose interval holds the truth
    seed: NonNegativeInt = 0  # of the draws


def confidence_draws(values_SPK: Floats, config: BootstrapConfig, bounds: Bounds) -> Floats:
    """Return draws of what the mean over all problems and trainings may be, shape (2 · resamples, K).

    values_SPK: of S trainings and P problems, paired in both. bounds: the range of any value.
    Problems: the Bayesian bootstrap (weights from a flat Dirichlet) of the means over trainings and one more value,
    which lies at the lower bound in half of the draws and at the upper in the others. For values that are 0 or 1 that
    is Clopper and Pearson's distribution in its mid-P form; for others the same form of Gaffke's (2005).
    Trainings: normal noise is added. Its variance is the generalised pivotal quantity of Weerahandi (1993), that of the
    S means less what a training and a problem do together, which the problems' draws hold already. One training adds
    none: the draws are of other problems then, for these trained models alone.
    """
    seeds, problems, _ = values_SPK.shape
    rng = np.random.default_rng(config.seed)
    least, most = _bounds(values_SPK, bounds)
    means_BK = problem_draws(values_SPK.mean(0), least, most, config.resamples, rng)
    if seeds == 1:
        return means_BK
    effects = values_SPK.mean(0, keepdims=True) + values_SPK.mean(1, keepdims=True) - values_SPK.mean((0, 1))
    together = ((values_SPK - effects) ** 2).sum((0, 1)) / max(1, (seeds - 1) * (problems - 1)) / (seeds * problems)
    of_seeds = _variance(values_SPK.mean(1)) / seeds
    pivot_B1 = (seeds - 1) / rng.chisquare(seeds - 1, (len(means_BK), 1))
    noise_B1 = rng.standard_normal((len(means_BK), 1))
    return means_BK + noise_B1 * np.sqrt(np.maximum(0.0, of_seeds * pivot_B1 - together))


def problem_draws(
    values_PK: Floats, least_K: Floats, most_K: Floats, resamples: int, rng: np.random.Generator
) -> Floats:
    """Return means over problems by the Bayesian bootstrap, shape (2 · resamples, K), with one more problem in each:
    `least_K` in one half of the draws, `most_K` in the other."""
    parts = []
    for first in range(0, resamples, _BLOCK):  # all weights at once would be gigabytes for many problems
        weights = rng.standard_exponential((min(_BLOCK, resamples - first), len(values_PK) + 1))
        weights /= weights.sum(1, keepdims=True)
        means_BK = weights[:, :-1] @ values_PK
        parts += [means_BK + weights[:, -1:] * least_K, means_BK + weights[:, -1:] * most_K]
    return np.concatenate(parts)


def _bounds(values_SPK: Floats, bounds: Bounds) -> tuple[Floats, Floats]:
    """Return the bounds, shape (K,) each; further out where means over trainings are.

    Single trainings' values may be outside without it: those of the jackknife are.
    """
    means_PK = values_SPK.mean(0).round(12) + 0.0  # no bound is a rounding error outside, nor −0
    return np.minimum(bounds[0], means_PK.min(0)), np.maximum(bounds[1], means_PK.max(0))


def two_way_interval(
    values_SPK: Floats, config: BootstrapConfig, bounds: Bounds = DIFFERENCES
) -> tuple[Floats, Floats]:
    """Return the interval of the mean over trainings and problems, low and high of shape (K,), for other trainings and
    other problems: percentiles of `confidence_draws`, within the bounds, never of zero width."""
    return _percentiles(confidence_draws(values_SPK, config, bounds), values_SPK, config, bounds)


def _percentiles(
    draws_BK: Floats, values_SPK: Floats, config: BootstrapConfig, bounds: Bounds
) -> tuple[Floats, Floats]:
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(draws_BK, [tail, 1 - tail], axis=0)
    least, most = _bounds(values_SPK, bounds)
    return np.maximum(low, least), np.minimum(high, most)


def p_values(draws_BK: Floats) -> Floats:
    """Return the two-sided p-value of a mean of 0, shape (K,): at most 0.05 where the 95 % interval excludes 0.

    draws_BK: of `confidence_draws`. Never below two draws' share, the least that they can tell.
    """
    below, above = (draws_BK <= 0).sum(0), (draws_BK >= 0).sum(0)
    return np.minimum(1.0, 2 * np.maximum(1, np.minimum(below, above)) / len(draws_BK))


def estimates(values_SPK: Floats, config: BootstrapConfig, name: str) -> list[dict[str, Any]]:
    """Return per size the mean (as `name`), its interval over problems and trainings, and its spread over trainings.

    name: accuracy, of values in [0, 1], or difference, of values in [−1, 1], which has a p_value too.
    """
    bounds = DIFFERENCES if name == "difference" else ACCURACIES
    draws_BK = confidence_draws(values_SPK, config, bounds)
    low, high = _percentiles(draws_BK, values_SPK, config, bounds)
    mean, seeds = values_SPK.mean((0, 1)), len(values_SPK)
    spread = values_SPK.mean(1).std(0, ddof=1) if seeds > 1 else [None] * len(mean)
    rows: list[dict[str, Any]] = [
        {name: mean[k], "ci_low": low[k], "ci_high": high[k], "num_seeds": seeds, "std_over_seeds": spread[k]}
        for k in range(len(mean))
    ]
    if name == "difference":
        rows = [row | {"p_value": p} for row, p in zip(rows, p_values(draws_BK), strict=True)]
    return rows


def resampled_means(values_SPK: Floats, config: BootstrapConfig) -> Floats:
    """Return resampled means of S training seeds × P problems, shape (B, K).

    Seeds and problems are drawn with replacement, the same for all K in each resample. Compare values within one call:
    their draws are paired then.

    The effects of the drawn seeds and of the drawn problems are added up, each widened by √(S / (S − 1)) and √(P / (P −
    1)), by which means of draws with replacement vary too little: much, for three seeds. One seed has no effect: that
    is the bootstrap over problems, and says nothing of other trainings.
    """
    seeds, problems, _ = values_SPK.shape
    rng = np.random.default_rng(config.seed)
    mean_K = values_SPK.mean((0, 1))
    drawn_BP = rng.multinomial(problems, np.full(problems, 1 / problems), size=config.resamples) / problems
    means_BK = mean_K + (drawn_BP @ (values_SPK.mean(0) - mean_K)) * _widened(problems)
    drawn_BS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=config.resamples) / seeds
    means_BK += (drawn_BS @ (values_SPK.mean(1) - mean_K)) * _widened(seeds)
    return np.asarray(means_BK, dtype=np.float64)


def _student_quantile(probability: float, freedom: float) -> float:
    """Return a quantile of Student's t. freedom: its degrees of freedom, which need not be whole."""
    from scipy.special import stdtrit  # here: a study that is only planned computes no interval

    return float(stdtrit(freedom, probability))


def _widened(draws: int) -> float:
    return math.sqrt(draws / (draws - 1)) if draws > 1 else 0.0


def stretch(values_SPK: Floats, confidence: float) -> Floats:
    """Return the factors by which to multiply the deviations of `resampled_means` for an interval, shape (K,).

    Their variance counts what seed and problem do together twice, so it is set to the analysis of variance's, but never
    below that of the problems alone, or of the seeds. And since three seeds hardly tell their own spread, the normal's
    quantile gives way to Student's t, whose degrees of freedom are Satterthwaite's: near S − 1 where the seeds make the
    noise, near P − 1 where the problems do.
    """
    seeds, problems, size = values_SPK.shape
    of_problems = _variance(values_SPK.mean(0)) / problems
    of_seeds = _variance(values_SPK.mean(1)) / seeds
    together, freedom = np.zeros(size), max(1, (seeds - 1) * (problems - 1))
    if seeds > 1 and problems > 1:
        effects = values_SPK.mean(0, keepdims=True) + values_SPK.mean(1, keepdims=True) - values_SPK.mean((0, 1))
        together = ((values_SPK - effects) ** 2).sum((0, 1)) / freedom / (seeds * problems)
    summed = of_problems + of_seeds
    variance = np.maximum(summed - together, np.maximum(of_problems, of_seeds))
    tail, factors = (1 - confidence) / 2, np.ones(size)
    for k in np.flatnonzero(variance > 0):
        spent = of_problems[k] ** 2 / max(1, problems - 1) + of_seeds[k] ** 2 / max(1, seeds - 1)
        student = _student_quantile(tail, float(variance[k] ** 2 / (spent + together[k] ** 2 / freedom)))
        factors[k] = math.sqrt(variance[k] / summed[k]) * student / NormalDist().inv_cdf(tail)
    return factors


def _variance(values_XK: Floats) -> Floats:
    """Return the unbiased variance over the first axis, shape (K,); 0 for a single value."""
    return values_XK.var(0, ddof=1) if len(values_XK) > 1 else np.zeros(values_XK.shape[1])
