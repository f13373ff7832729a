"""Quality of a reward model on problems that it was not trained on: AUC and calibration error.

Pooled over problems an AUC of solutions measures which model knows the hard problems; so solutions are compared within
their problem, as best-of-N will compare them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.statistics.best_of_n import within_problem_auc

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def auc(scores: Floats, is_right: Bools) -> float:
    """Return the chance that a right item outscores a wrong one, ties count half. scores, is_right: shape (n,).

    NaN where all are right or all are wrong, or where a score is NaN.
    """
    right = int(is_right.sum())
    wrong = len(scores) - right
    if not right or not wrong or np.isnan(scores).any():
        return math.nan
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # from 1; equal scores share their mean rank
    return float((ranks[is_right].sum() - right * (right + 1) / 2) / (right * wrong))


def grouped_auc(scores: Floats, is_right: Bools, groups: Sequence[int]) -> float:
    """Return `auc` within each group, averaged over the groups with right and wrong items."""
    by_group = [np.flatnonzero(np.asarray(groups) == group) for group in dict.fromkeys(groups)]
    return within_problem_auc([scores[rows] for rows in by_group], [is_right[rows] for rows in by_group])


def calibration_error(probabilities: Floats, is_right: Bools, bins: int = 10) -> float:
    """Return the expected calibration error, in [0, 1] (Naeini et al. 2015).

    |share right − mean probability| per bin of equal width, averaged with the bins' sizes as weights. NaN for no items,
    or where a probability is NaN.
    """
    if not len(probabilities) or np.isnan(probabilities).any():
        return math.nan
    places = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gaps = np.abs(np.bincount(places, is_right - probabilities, bins))
    return float(gaps.sum() / len(probabilities))


def gaps_of_bins(probabilities: Floats, is_right: Bools, bins: int = 10) -> Floats:
    """Return per item 1 and, in the column of its bin, right − probability: `calibration_error` is the sum over bins of
    |Σ gaps|, by Σ 1. shape (n, 1 + bins)."""
    places = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gaps = np.zeros((len(probabilities), 1 + bins))
    gaps[:, 0] = 1
    gaps[np.arange(len(probabilities)), 1 + places] = is_right - probabilities
    return gaps
