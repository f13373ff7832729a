"""95 % intervals of shares, F1, kappa, AUC and calibration error, clustered by problem: all items of a problem are
drawn together, since they are alike.

The rule is that of `bootstrap.py`: one more problem, of the others' mean size, has none of its items as they should be
in one half of the draws, and all in the other. So no interval of a share has zero width. Intervals are of other
problems, for the same models and labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.statistics.best_of_n import Bools, Floats, within_problem_auc
from components.statistics.bootstrap import ACCURACIES, BootstrapConfig, problem_draws, two_way_interval
from components.statistics.classification import calibration_error, gaps_of_bins

Interval = tuple[float, float] | tuple[None, None]
NONE: Interval = (None, None)
_CONFIG = BootstrapConfig()


def named(name: str, interval: Interval) -> dict[str, float | None]:
    """Return the interval as the columns <name>_low and <name>_high."""
    return {f"{name}_low": interval[0], f"{name}_high": interval[1]}


def sums_by_problem(problem_ids: Sequence[str], items_XC: NDArray[Any]) -> Floats:
    """Return the sums of the items of each problem, shape (P, C). problem_ids: of each item, shape (X,)."""
    _, places = np.unique(np.asarray(problem_ids, dtype=object), return_inverse=True)
    return np.stack([np.bincount(places, column) for column in np.asarray(items_XC, dtype=np.float64).T], -1)


def share_interval(problem_ids: Sequence[str], hits: Bools) -> Interval:
    """Return the interval of the share of hits among items; none without an item."""
    if not len(hits):
        return NONE
    sums_PC = sums_by_problem(problem_ids, np.stack([hits, np.ones(len(hits))], -1))
    size = sums_PC[:, 1].mean()
    return _interval(sums_PC, (0, size), (size, size), lambda sums: sums[:, 0] / sums[:, 1])


def f1_interval(problem_ids: Sequence[str], is_wrong: Bools, hits: Bools) -> Interval:
    """Return the interval of the harmonic mean of two shares of hits, among wrong and among right items; none where a
    kind is absent."""
    if is_wrong.all() or not is_wrong.any():
        return NONE
    items = np.stack([hits & is_wrong, is_wrong, hits & ~is_wrong, ~is_wrong], -1)
    sums_PC = sums_by_problem(problem_ids, items)
    wrong, right = (sums_PC[sums_PC[:, at] > 0, at].mean() for at in (1, 3))

    def f1(sums: Floats) -> Floats:
        one, other = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
        return np.asarray(2 * one * other / np.maximum(one + other, 1e-300))

    return _interval(sums_PC, (0, wrong, 0, right), (wrong, wrong, right, right), f1)


def kappa_interval(problem_ids: Sequence[str], one: Bools, other: Bools) -> Interval:
    """Return the interval of Cohen's kappa of two boolean ratings; none where it is not defined.

    In the one more problem each rater finds as many items as in the others that have some, at most half: never the same
    ones as the other rater, or always.
    """
    if not len(one) or (one.all() and other.all()) or not (one.any() or other.any()):
        return NONE
    sums_PC = sums_by_problem(problem_ids, np.stack([np.ones(len(one)), one, other, one & other], -1))
    found = (sums_PC[:, 1] + sums_PC[:, 2]) / 2
    size = sums_PC[:, 0].mean()
    each = min(found[found > 0].mean(), size / 2)
    least, most = ([size, each, each, both] for both in (0, each))

    def kappa(sums: Floats) -> Floats:
        n, first, second, both = sums.T
        expected = (first * second + (n - first) * (n - second)) / n**2
        return np.asarray(1 - (first + second - 2 * both) / n / np.maximum(1 - expected, 1e-300))

    return _interval(sums_PC, least, most, kappa)


def auc_interval(scores_PM: Floats, is_correct_PM: Bools) -> tuple[Interval, int]:
    """Return the interval of `within_problem_auc`, and the number of problems that it is a mean of."""
    aucs = np.array([within_problem_auc([s], [r]) for s, r in zip(scores_PM, is_correct_PM, strict=True)])
    aucs = aucs[~np.isnan(aucs)]
    if not len(aucs):
        return NONE, 0
    [low], [high] = two_way_interval(aucs[None, :, None], _CONFIG, ACCURACIES)
    return (float(low), float(high)), len(aucs)


def calibration_error_interval(problem_ids: Sequence[str], probabilities: Floats, is_right: Bools) -> Interval:
    """Return the interval of `calibration_error`; none without an item, nor where the problems' draws do not vary.

    Noise makes the error larger, in the draws as in the estimate; so the draws' distances are taken the other way round
    (the basic bootstrap), and the upper end is never below the estimate. The lower end is 0 where noise alone, the
    draws' distance from the estimate in each bin, may be as large as the estimate.
    """
    estimate = calibration_error(probabilities, is_right)
    if np.isnan(estimate):
        return NONE
    sums_PC = sums_by_problem(problem_ids, gaps_of_bins(probabilities, is_right))
    gaps, nothing = sums_PC[:, 1:].sum(0) / sums_PC[:, 0].sum(), np.zeros(sums_PC.shape[1])
    low, high = _interval(sums_PC, nothing, nothing, lambda sums: np.abs(sums[:, 1:]).sum(1) / sums[:, 0])
    _, noise = _interval(sums_PC, nothing, nothing, lambda sums: np.abs(sums[:, 1:] / sums[:, :1] - gaps).sum(1))
    assert low is not None
    assert high is not None
    assert noise is not None
    if np.isclose(
        low, high, rtol=0, atol=1e-9
    ):  # one problem, or no item off its bin's share: the sample says nothing of others
        return NONE
    return 0.0 if estimate <= noise else max(0.0, 2 * estimate - high), min(1.0, max(estimate, 2 * estimate - low))


def _interval(sums_PC: Floats, least: Any, most: Any, statistic: Callable[[Floats], Floats]) -> Interval:
    rng = np.random.default_rng(_CONFIG.seed)
    draws_BC = problem_draws(sums_PC, np.asarray(least), np.asarray(most), _CONFIG.resamples, rng)
    tail = (1 - _CONFIG.confidence) / 2
    low, high = np.quantile(statistic(draws_BC), [tail, 1 - tail])
    return float(low), float(high)
