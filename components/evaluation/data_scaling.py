"""The small-scale study's estimates (paper §4): how accuracy grows with the solutions that a verifier is trained on,
how series of verifiers compare, and how data-efficient they are.

A series is a way to supervise, or to choose what is supervised; it is trained at several sizes (solutions labelled per
problem) and with several seeds. Shapes: S training seeds, P test problems, K sizes N or statistics, L sizes of a line,
M accuracies that lines go through: L of the series and L of the baseline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from components.dataflow.stage import TableStage
from components.evaluation.verifier_accuracy import VerifierAccuracies, accuracies_of
from components.statistics.best_of_n import Floats
from components.statistics.bootstrap import ACCURACIES, DIFFERENCES, BootstrapConfig, resampled_means
from components.statistics.median_training import (
    bounds_of_weighted,
    median_training,
    median_training_interval,
    median_training_p_value,
)
from schemas.small_scale import (
    DATA_EFFICIENCY,
    DATA_SCALING,
    POLICIES,
    SERIES_COMPARISONS,
    SUPERVISIONS,
)

BASELINE = "process"
_COMPARED = [(BASELINE, "outcome_prm"), (BASELINE, "outcome_final_answer"), ("outcome_prm", "outcome_final_answer")]
_COMPARED += [*((policy, BASELINE) for policy in POLICIES), ("iterated", "active")]
_SERIES = (*POLICIES, *SUPERVISIONS)
_FURTHEST = 100.0  # doublings: more of them is no number that anyone could mean
_EPSILON = 1e-9  # of accuracy: rounding is no difference
_RATIOS = np.concatenate([-np.geomspace(100, 0.01, 200), np.geomspace(0.01, 100, 400)])  # steps of 2.3 %
_DOUBLINGS = np.linspace(-20, 20, 801)


def data_scaling(config: BootstrapConfig) -> TableStage:
    """The stage verifier_accuracy → accuracy by series, size and N (figures 4a, 4b), with intervals of the median
    training (`median_training_interval`)."""
    return TableStage("data_scaling", 4, config, DATA_SCALING, _data_scaling)


def series_comparisons(config: BootstrapConfig) -> TableStage:
    """The stage verifier_accuracy → paired differences between series at the largest N, at each size that both have
    with the same training seeds; intervals and p-values of the median training."""
    return TableStage("series_comparisons", 4, config, SERIES_COMPARISONS, _comparisons)


def data_efficiency(config: BootstrapConfig) -> TableStage:
    """The stage verifier_accuracy → per series the least-squares line of its accuracy at the largest N in log2 of its
    size, beside that of `process` over the sizes and training seeds that both have (two sizes or more; else no row).

    efficiency is the ratio of the slopes (§4.2), which cannot see a constant factor: a policy that needs half of the
    labels at every size has the baseline's slope. `equivalent_labels` can.

    The intervals are of the median training, paired: the same problems and seeds for both lines. A ratio has none where
    the baseline does not clearly rise, and an end that is null where it is over 100, or over a million times the data.
    """
    return TableStage("data_efficiency", 4, config, DATA_EFFICIENCY, _data_efficiency)


def _data_scaling(config: BootstrapConfig, verifier_accuracy: pa.Table) -> pa.Table:
    accuracies = accuracies_of(verifier_accuracy)
    rows = []
    for (series, size), by_seed in accuracies.of.items():
        values_SPK = np.stack([by_seed[seed] for seed in sorted(by_seed)])
        series_row = {"series": series, "size": size, "num_problems": values_SPK.shape[1], "error": None}
        by_n = zip(accuracies.ns, _estimates(values_SPK, config, "accuracy"), strict=True)
        rows += [series_row | {"n": n} | estimate for n, estimate in by_n]
    return pa.Table.from_pylist(rows, schema=DATA_SCALING)


def _comparisons(config: BootstrapConfig, verifier_accuracy: pa.Table) -> pa.Table:
    accuracies = accuracies_of(verifier_accuracy)
    rows = []
    for series, baseline in _COMPARED:
        for size in accuracies.sizes_of(series):
            if (baseline, size) not in accuracies.of or {*accuracies.of[series, size]} != {
                *accuracies.of[baseline, size]
            }:
                continue
            ours, theirs = accuracies.last(series, size), accuracies.last(baseline, size)
            values_SP1 = np.stack([ours[seed] - theirs[seed] for seed in sorted(ours)])[:, :, None]
            [estimate] = _estimates(values_SP1, config, "difference")
            row = {"series": series, "baseline": baseline, "size": size, "n": accuracies.ns[-1], "error": None}
            row["p_value"] = median_training_p_value(values_SP1[:, :, 0], config, DIFFERENCES)
            rows.append(row | estimate | {"num_problems": values_SP1.shape[1]})
    return pa.Table.from_pylist(rows, schema=SERIES_COMPARISONS)


def _estimates(values_SPK: Floats, config: BootstrapConfig, name: str) -> list[dict[str, Any]]:
    """Return for each of the K the mean (as `name`), the median training, its interval, and the spread over seeds."""
    seeds = len(values_SPK)
    low, high = median_training_interval(values_SPK, config, DIFFERENCES if name == "difference" else ACCURACIES)
    mean, median = values_SPK.mean((0, 1)), median_training(values_SPK)
    spread = values_SPK.mean(1).std(0, ddof=1) if seeds > 1 else [None] * len(mean)
    rows = zip(mean, median, low, high, spread, strict=True)
    names = (name, "median_training", "ci_low", "ci_high", "std_over_seeds")
    return [dict(zip(names, row, strict=True)) | {"num_seeds": seeds} for row in rows]


def _data_efficiency(config: BootstrapConfig, verifier_accuracy: pa.Table) -> pa.Table:
    accuracies = accuracies_of(verifier_accuracy)
    rows = []
    for series, common, seeds in _fitted(accuracies):
        own_SPL, base_SPL = (_values(accuracies, name, common, seeds) for name in (series, BASELINE))
        line_2L, none_2L = _fit(common), np.zeros((2, len(common)))
        own_2M, base_2M = np.hstack([line_2L, none_2L]), np.hstack([none_2L, line_2L])
        if series == BASELINE:  # one line, which its ratio to itself must know: 1, without any doubt
            own_2M = base_2M
        values_SPM = np.concatenate([own_SPL, base_SPL], -1)
        series_row = {"series": series, "baseline": BASELINE, "n": accuracies.ns[-1], "error": None}
        estimate = _efficiency(config, values_SPM, own_2M, base_2M, common[-1])
        rows.append(series_row | estimate | _lack_of_fit(config, own_SPL, common))
    return pa.Table.from_pylist(rows, schema=DATA_EFFICIENCY)


def _fitted(accuracies: VerifierAccuracies) -> Iterator[tuple[str, list[int], list[int]]]:
    """Yield (series, sizes, training seeds) that the series has in common with the baseline, where there is a line."""
    for series in _SERIES:
        common = sorted({*accuracies.sizes_of(series)} & {*accuracies.sizes_of(BASELINE)})
        trained = [{*accuracies.of[name, size]} for size in common for name in (series, BASELINE)]
        seeds = sorted(set.intersection(*trained)) if trained else []
        if len(common) > 1 and seeds:
            yield series, common, seeds


def _values(accuracies: VerifierAccuracies, series: str, common: list[int], seeds: list[int]) -> Floats:
    """Return the accuracies at L sizes, shape (S, P, L)."""
    return np.stack([np.stack([accuracies.last(series, size)[seed] for size in common], -1) for seed in seeds])


def _design(common: list[int]) -> Floats:
    return np.stack([np.ones(len(common)), np.log2(common)], -1)


def _fit(common: list[int]) -> Floats:
    """Return the matrix that makes accuracies at L sizes the intercept at size 1 and the slope per doubling of their
    least-squares line, shape (2, L)."""
    return np.asarray(np.linalg.pinv(_design(common)), dtype=np.float64)


def _lack_of_fit(config: BootstrapConfig, values_SPL: Floats, common: list[int]) -> dict[str, Any]:
    """Return the largest residual of a series' line, and whether the line clearly does not fit.

    It does not where the interval of any residual leaves out zero, with Bonferroni's correction for the L sizes. Two
    sizes always fit.
    """
    weights_LL = np.eye(len(common)) - _design(common) @ _fit(common)
    residuals_SPL = values_SPL @ weights_LL.T
    mean_L = residuals_SPL.mean((0, 1))
    worst = int(np.abs(mean_L).argmax())
    row = {"largest_residual": mean_L[worst], "largest_residual_size": common[worst], "lacks_fit": False}
    if len(common) > 2:
        strict = dataclasses.replace(config, confidence=1 - (1 - config.confidence) / len(common))
        low_L, high_L = median_training_interval(residuals_SPL, strict, bounds_of_weighted(weights_LL))
        row["lacks_fit"] = bool(((low_L > 0) | (high_L < 0)).any())
    return row


def _efficiency(
    config: BootstrapConfig, values_SPM: Floats, own_2M: Floats, base_2M: Floats, largest: int
) -> dict[str, Any]:
    """Return the row of one series.

    own_2M, base_2M: the weights of the accuracies in the intercept and the slope of the line of the series and of the
    baseline, since least squares are linear.
    """
    # The slopes, and how far above the baseline's intercept the series' line ends.
    weights_3M = np.stack([own_2M[1], base_2M[1], own_2M[0] - base_2M[0] + own_2M[1] * np.log2(largest)])
    values_SP3 = values_SPM @ weights_3M.T
    mean = values_SP3.mean((0, 1))
    low, high = median_training_interval(values_SP3[:, :, :2], config, bounds_of_weighted(weights_3M[:2]))
    row = {"slope": mean[0], "slope_low": low[0], "slope_high": high[0], "baseline_slope": mean[1]}
    row |= {"num_seeds": values_SPM.shape[0], "num_problems": values_SPM.shape[1]}
    row["share_no_rise"] = float((resampled_means(values_SP3, config)[:, 1] <= 0).mean())
    rises = bool(low[1] > 0)
    own_M, base_M, gap_M = weights_3M
    ratio = _ratio(config, values_SPM, own_M, base_M, _RATIOS, rises)
    doublings = _ratio(config, values_SPM, gap_M, base_M, _DOUBLINGS + np.log2(largest), rises)
    for end, own, other in zip(("", "_low", "_high"), ratio, doublings, strict=True):
        row[f"efficiency{end}"] = own
        name = f"equivalent{end or '_data'}"
        more = None if other is None else np.clip(other - np.log2(largest), -_FURTHEST, _FURTHEST)
        row[name] = None if more is None else float(np.exp2(more))
    return row


def _ratio(
    config: BootstrapConfig, values_SPM: Floats, above_M: Floats, below_M: Floats, grid_G: Floats, rises: bool
) -> tuple[float | None, float | None, float | None]:
    """Return the ratio of two means of weighted accuracies, and the ends of its interval; null where there is none, or
    where it leaves the grid.

    The interval holds each ratio r at which the interval of above − r · below holds zero (Fieller's). It is unbounded,
    and so is none, where the mean below is not clearly over zero (`rises`).
    """
    above, below = values_SPM.mean((0, 1)) @ above_M, values_SPM.mean((0, 1)) @ below_M
    if below <= 0:
        return None, None, None
    value = float(above / below)
    if not rises:
        return value, None, None
    ratios_G = np.union1d(grid_G, [value])
    weights_GM = above_M - ratios_G[:, None] * below_M
    low_G, high_G = median_training_interval(values_SPM @ weights_GM.T, config, bounds_of_weighted(weights_GM))
    held = np.flatnonzero((low_G <= _EPSILON) & (high_G >= -_EPSILON))
    ends = (None if at in (0, len(ratios_G) - 1) else float(ratios_G[at]) for at in (held[0], held[-1]))
    low, high = ends
    return value, low, high
