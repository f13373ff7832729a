"""The interval of the median training: what one more training would give, half of the time at least.

Some trainings fail: they learn little, by chance. With one failure in three or four, intervals of the *mean* over
three trainings cover 68 to 85 % where they say 95 (200 problems), since trainings without a failure look alike and know
nothing of it. The median training has no such trap: 94 % or more, in the same simulations.

Shapes: S training seeds, P problems, K statistics, B draws, L accuracies.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from components.statistics.best_of_n import Floats
from components.statistics.bootstrap import ACCURACIES, BootstrapConfig, confidence_draws, stretch
from schemas.small_scale import FEWEST_TRAININGS

Bounds = tuple[Floats | float, Floats | float]  # the least and the most of any value: one of each, or K

_FEWEST_TO_RANK = 5  # whose lowest and highest hold the median of all trainings in 94 % of studies
_ROUNDING = 1e-24  # a variance of values that are all alike: it has no degrees of freedom
_LARGEST_P = 0.999  # where the search of a p-value ends
_HALVINGS = 20  # of that search


def bounds_of_weighted(weights_KL: Floats) -> Bounds:
    """Return the bounds, shape (K,) each, of sums of L accuracies in [0, 1], by weights of any sign."""
    return np.minimum(weights_KL, 0).sum(1), np.maximum(weights_KL, 0).sum(1)


def median_training(values_SPK: Floats) -> Floats:
    """Return the median over trainings of the mean over problems, shape (K,)."""
    return np.asarray(np.median(values_SPK.mean(1), axis=0), dtype=np.float64)


def median_training_interval(values_SPK: Floats, config: BootstrapConfig, bounds: Bounds) -> tuple[Floats, Floats]:
    """Return the interval of the median training on other problems, low and high of shape (K,), within the bounds.

    All start from the interval over problems of the mean over trainings (`confidence_draws`), and add to each end, in
    squares, what other trainings would do.

    - Five trainings or more: the distance from the median training to a low-ranked and to a high-ranked one
      (`_ranked`; of five, the lowest and the highest), which hold the median whatever the distribution.
    - Three or four: what the trainings add to the variance, times Student's t (`stretch`). That is wide enough for a
      median, failures or not. `two_way_interval` covers 98 to 99 % where trainings hardly differ, and is up to a
      quarter wider there.
    - One or two: the interval over problems, of these trained models alone. Both of two trainings fail too often for
      more than that to be said.
    """
    return _ends(values_SPK, _problem_draws(values_SPK, config, bounds), config.confidence, bounds)


def median_training_p_value(values_SP: Floats, config: BootstrapConfig, bounds: tuple[float, float]) -> float:
    """Return the two-sided p-value of a median training of 0: 1 less the highest confidence at which the interval
    leaves out 0. At most 0.05 where the 95 % interval does.

    Never below two draws' share, the least that they can tell.
    """
    values_SP1 = values_SP[:, :, None]
    draws_B1 = _problem_draws(values_SP1, config, bounds)

    def leaves_out_zero(p_value: float) -> bool:
        [low], [high] = _ends(values_SP1, draws_B1, 1 - p_value, bounds)
        return bool(low > 0 or high < 0)

    inside, outside = 2 / len(draws_B1), _LARGEST_P
    if leaves_out_zero(inside):
        return inside
    if not leaves_out_zero(outside):
        return 1.0
    for _ in range(_HALVINGS):
        middle = math.sqrt(inside * outside)
        inside, outside = (inside, middle) if leaves_out_zero(middle) else (middle, outside)
    return outside


def _problem_draws(values_SPK: Floats, config: BootstrapConfig, bounds: Bounds) -> Floats:
    """Return `confidence_draws` of the mean over trainings, each of the K within bounds of its own, shape (B, K)."""
    least, most = (np.asarray(bound) for bound in bounds)
    width = np.where(most > least, most - least, 1.0)
    draws_BK = confidence_draws((values_SPK.mean(0, keepdims=True) - least) / width, config, ACCURACIES)
    return np.asarray(least + draws_BK * width, dtype=np.float64)


def _ends(values_SPK: Floats, draws_BK: Floats, confidence: float, bounds: Bounds) -> tuple[Floats, Floats]:
    """Return the interval at this confidence. draws_BK: of `_problem_draws`."""
    tail, mean, seeds = (1 - confidence) / 2, values_SPK.mean((0, 1)), len(values_SPK)
    low, high = np.quantile(draws_BK, [tail, 1 - tail], axis=0)
    if seeds >= _FEWEST_TO_RANK:
        lowest, highest = _ranked(values_SPK.mean(1), confidence)
        median = np.median(values_SPK.mean(1), axis=0)
        low = median - np.hypot(median - lowest, np.maximum(0, mean - low))
        high = median + np.hypot(highest - median, np.maximum(0, high - mean))
    elif seeds >= FEWEST_TRAININGS:
        of_problems = values_SPK.mean(0).var(0, ddof=1) / values_SPK.shape[1]
        summed = of_problems + values_SPK.mean(1).var(0, ddof=1) / seeds
        more = np.maximum(0, stretch(values_SPK, confidence) ** 2 * summed - of_problems)
        more *= np.where(summed > _ROUNDING, NormalDist().inv_cdf(tail) ** 2, 0.0)
        low = mean - np.sqrt(np.maximum(0, mean - low) ** 2 + more)
        high = mean + np.sqrt(np.maximum(0, high - mean) ** 2 + more)
    least, most = np.minimum(bounds[0], values_SPK.min((0, 1))), np.maximum(bounds[1], values_SPK.max((0, 1)))
    return np.maximum(low, least), np.minimum(high, most)


def _ranked(means_SK: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return the trainings, low and high of shape (K,), between which the median of all trainings lies so often.

    Where the lowest and the highest of so few hold it less often, they are moved away from the median training by the
    ratio of Student's t's quantiles: by 1.08 for five trainings and 95 %.
    """
    from scipy.special import stdtrit  # here: a study that is only planned computes no interval

    seeds, rank = len(means_SK), _rank(len(means_SK), confidence)
    ranked_SK, median = np.sort(means_SK, axis=0), np.median(means_SK, axis=0)
    further = max(1.0, float(stdtrit(seeds - 1, (1 + confidence) / 2) / stdtrit(seeds - 1, 1 - 0.5**seeds)))
    further = further if rank == 0 else 1.0
    return median + (ranked_SK[rank] - median) * further, median + (ranked_SK[-1 - rank] - median) * further


def _rank(trainings: int, confidence: float) -> int:
    """Return the largest k for which the k-th lowest and k-th highest training, from 0, hold the median so often.

    At least 0: the lowest and the highest of five hold it in 93.75 % of studies.

    >>> [_rank(trainings, 0.95) for trainings in (5, 6, 8, 9, 12)]
    [0, 0, 0, 1, 2]
    """
    miss, rank = 0.0, -1
    while True:
        miss += 2 * math.comb(trainings, rank + 1) / 2**trainings
        if miss > 1 - confidence:
            return max(0, rank)
        rank += 1
