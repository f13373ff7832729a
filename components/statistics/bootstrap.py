"""Bootstrap over problems: the spread of a mean over problems, had other problems been drawn; and over training seeds
too, for statements about a way to train rather than about the verifiers that it happened to give.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from components.statistics.best_of_n import Floats
from schemas.settings import Share, settings


@settings
class BootstrapConfig:
    """Resamples, confidence and seed of a bootstrap interval."""

    resamples: PositiveInt = 4000  # draws of problems, with replacement
    confidence: Share = 0.95  # the share of studies whose interval holds the truth
    seed: NonNegativeInt = 0  # of the draws


def bootstrap_interval(values_PK: Floats, config: BootstrapConfig) -> tuple[Floats, Floats]:
    """Return the interval of the mean over problems, low and high of shape (K,).

    Problems are drawn with replacement. The percentiles of the means are read a little further out than the confidence
    says, since such means vary too little by √((P − 1) / P) and their spread is itself an estimate (expanded
    percentiles, Hesterberg 2015).
    """
    problems = values_PK.shape[0]
    rng = np.random.default_rng(config.seed)
    counts_BP = rng.multinomial(problems, np.full(problems, 1 / problems), size=config.resamples)
    means_BK = counts_BP @ values_PK / problems
    tail = (1 - config.confidence) / 2
    if problems > 1:
        tail = NormalDist().cdf(_student_quantile(tail, problems - 1) * math.sqrt(problems / (problems - 1)))
    low, high = np.quantile(means_BK, [tail, 1 - tail], axis=0)
    return low, high


def _student_quantile(probability: float, freedom: float) -> float:
    """Return a quantile of Student's t. freedom: its degrees of freedom, which need not be whole."""
    from scipy.special import stdtrit  # here: a study that is only planned computes no interval

    return float(stdtrit(freedom, probability))


def estimates(values_SPK: Floats, config: BootstrapConfig, name: str) -> list[dict[str, Any]]:
    """Return per size the mean (as `name`), its interval over problems, and its spread over seeds."""
    seeds = len(values_SPK)
    low, high = bootstrap_interval(values_SPK.mean(0), config)
    mean = values_SPK.mean((0, 1))
    spread = values_SPK.mean(1).std(0, ddof=1) if seeds > 1 else [None] * len(mean)
    return [
        {name: mean[k], "ci_low": low[k], "ci_high": high[k], "num_seeds": seeds, "std_over_seeds": spread[k]}
        for k in range(len(mean))
    ]


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


def two_way_interval(values_SPK: Floats, config: BootstrapConfig) -> tuple[Floats, Floats]:
    """Return the interval of the mean over training seeds and problems, low and high of shape (K,), for other seeds and
    other problems: percentiles of `resampled_means`, their deviations times `stretch`.
    """
    mean_K, tail = values_SPK.mean((0, 1)), (1 - config.confidence) / 2
    deviations_BK = (resampled_means(values_SPK, config) - mean_K) * stretch(values_SPK, config.confidence)
    low, high = mean_K + np.quantile(deviations_BK, [tail, 1 - tail], axis=0)
    return low, high
