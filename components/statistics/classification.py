"""How well a reward model tells right from wrong, on problems that it was not trained on.

Pooled over problems an AUC of solutions measures who knows which problems are hard; so solutions are compared within
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
    """Chance that a right one outscores a wrong one, ties half: shape (n,) both. NaN where one of the kinds lacks, or a
    score is NaN."""
    right = int(is_right.sum())
    wrong = len(scores) - right
    if not right or not wrong or np.isnan(scores).any():
        return math.nan
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # from 1; equal scores share their mean rank
    return float((ranks[is_right].sum() - right * (right + 1) / 2) / (right * wrong))


def grouped_auc(scores: Floats, is_right: Bools, groups: Sequence[int]) -> float:
    """`auc` within each group, averaged over groups that have both kinds."""
    by_group = [np.flatnonzero(np.asarray(groups) == group) for group in dict.fromkeys(groups)]
    return within_problem_auc([scores[rows] for rows in by_group], [is_right[rows] for rows in by_group])


def calibration_error(probabilities: Floats, is_right: Bools, bins: int = 10) -> float:
    """Expected calibration error, in [0, 1]: |share right − mean probability| per bin of equal width, averaged with the
    bins' sizes as weights (Naeini et al. 2015). NaN where there is nothing, or no number."""
    if not len(probabilities) or np.isnan(probabilities).any():
        return math.nan
    places = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gaps = np.abs(np.bincount(places, is_right - probabilities, bins))
    return float(gaps.sum() / len(probabilities))
