"""The interval of the median training: what one more training would give, half of the time at least.

Some trainings fail: they learn little, by chance. With one failure in three to ten, intervals of the *mean* over
trainings cover 50 to 92 % where they say 95, since three trainings without a failure look alike and know nothing of
it. The median training has no such trap. Shapes: S training seeds, P problems, K statistics.
"""

from __future__ import annotations

import math

import numpy as np

from components.statistics.best_of_n import Floats
from components.statistics.bootstrap import BootstrapConfig, two_way_interval
from schemas.small_scale import FEWEST_TRAININGS

_FEWEST_TO_RANK = 5  # whose lowest and highest hold the median of all trainings in 94 % of studies


def median_training(values_SPK: Floats) -> Floats:
    """Return the median over trainings of the mean over problems, shape (K,)."""
    return np.asarray(np.median(values_SPK.mean(1), axis=0), dtype=np.float64)


def median_training_interval(values_SPK: Floats, config: BootstrapConfig) -> tuple[Floats, Floats]:
    """Return the interval of the median training on other problems, low and high of shape (K,).

    - Five trainings or more: from a low-ranked training to a high-ranked one (`_rank`; of five, the lowest and the
      highest), which holds the median whatever the distribution; each end is moved out by the distance of the interval
      over problems from the mean.
    - Three or four: `two_way_interval`. Student's t with so few is wide enough for a median, failures or not.
    - One or two: the interval over problems of these trained models alone. Both of two trainings fail too often for
      more than that to be said.
    """
    seeds = len(values_SPK)
    if FEWEST_TRAININGS <= seeds < _FEWEST_TO_RANK:
        return two_way_interval(values_SPK, config)
    low, high = two_way_interval(values_SPK.mean(0, keepdims=True), config)
    if seeds < FEWEST_TRAININGS:
        return low, high
    mean = values_SPK.mean((0, 1))
    ranked_SK, rank = np.sort(values_SPK.mean(1), axis=0), _rank(seeds, config.confidence)
    return ranked_SK[rank] - (mean - low), ranked_SK[-1 - rank] + (high - mean)


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
