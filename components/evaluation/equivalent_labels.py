"""How many labels of solutions as they come give the accuracy that a policy reached: data efficiency, measured at each
size and without a fitted line.

The labels that a policy spent are its own and its selector's. The uniform policy's curve, accuracy against labels, is
interpolated between its sizes, linearly in log2 of the labels. The paper's ratio of slopes (§4.2, `data_efficiency`)
cannot see a constant factor; this can. Shapes: S training seeds, P test problems, K sizes of the uniform policy, G
numbers of labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from components.dataflow.stage import TableStage
from components.evaluation.data_scaling import BASELINE
from components.evaluation.labels_spent import READS, LabelledLine, labelled, solutions_spent
from components.evaluation.verifier_accuracy import VerifierAccuracies, accuracies_of
from components.statistics.best_of_n import Floats
from components.statistics.bootstrap import DIFFERENCES, BootstrapConfig
from components.statistics.median_training import (
    median_training,
    median_training_interval,
    median_training_p_value,
)
from schemas.settings import settings
from schemas.small_scale import EQUIVALENT_LABELS, POLICIES

_Labels = dict[tuple[str, int], dict[str, float]]

_STEPS = 256  # of the grid of labels, between the fewest and the most of the uniform policy
_EPSILON = 1e-9  # of accuracy: rounding is no difference


@settings
class EquivalentLabelsConfig:
    """The verifiers of the policies and of their baseline, process supervision of solutions as they come."""

    bootstrap: BootstrapConfig
    lines: tuple[LabelledLine, ...]


def equivalent_labels(config: EquivalentLabelsConfig) -> TableStage:
    """The stage (verifier_accuracy, supervised solutions) → per policy, size and unit of labels the labels that the
    uniform policy needs for the same accuracy at the largest N.

    The config names the tables of supervised solutions. Labels are means over seeds. A size counts with the training
    seeds that it and every size of the baseline have; without one there is no row, and no row at all where the baseline
    has a single size.

    At a number of labels L, the difference between the policy and the interpolated curve is a mean over trainings and
    problems. equivalent_labels is where that of the median training changes its sign (of several places, the mean in
    log2). Its interval holds each L at which the interval of the difference (`median_training_interval`) holds zero: no
    ratio is resampled, and no slope has to rise. p_value is that of no difference at the labels that the policy spent.
    """
    reads = {"verifier_accuracy": ["problem_id", "series", "size", "training_seed", "n", "accuracy"]}
    for line in config.lines:
        reads |= {name: READS for name in (line.supervised, line.selector_supervised) if name is not None}
    return TableStage("equivalent_labels", 3, config, EQUIVALENT_LABELS, _equivalent_labels, reads=reads)


def _equivalent_labels(config: EquivalentLabelsConfig, verifier_accuracy: pa.Table, **supervised: pa.Table) -> pa.Table:
    accuracies = accuracies_of(verifier_accuracy)
    labels = _mean_labels(config, {name: labelled(table) for name, table in supervised.items()})
    rows = []
    for series in POLICIES:
        for size in accuracies.sizes_of(series):
            rows += _of_size(config.bootstrap, accuracies, labels, series, size)
    return pa.Table.from_pylist(rows, schema=EQUIVALENT_LABELS)


def _mean_labels(config: EquivalentLabelsConfig, frames: dict[str, pd.DataFrame]) -> _Labels:
    """Return by (series, size): step_labels and solutions, all and the selector's alone, means over seeds."""
    rows = []
    for line in config.lines:
        spent = solutions_spent(frames, line.supervised, line.size, line.selector_supervised)
        selectors = spent[spent["of_selector"]]
        rows.append(
            {
                "series": line.series,
                "size": line.size,
                "step_labels": float(spent["num_labels"].sum()),
                "solutions": float(len(spent)),
                "selector_step_labels": float(selectors["num_labels"].sum()),
                "selector_solutions": float(len(selectors)),
            }
        )
    means = pd.DataFrame(rows).groupby(["series", "size"]).mean().reset_index()
    return {(row["series"], row["size"]): {str(k): v for k, v in row.items()} for row in means.to_dict("records")}


def _of_size(
    config: BootstrapConfig, accuracies: VerifierAccuracies, labels: _Labels, series: str, size: int
) -> list[dict[str, Any]]:
    sizes = accuracies.sizes_of(BASELINE)
    trained = [{*accuracies.of[series, size]}, *({*accuracies.of[BASELINE, other]} for other in sizes)]
    seeds = sorted(set.intersection(*trained))
    rows = []
    for unit in ("step_labels", "solutions") if seeds else ():
        of_sizes = [labels[BASELINE, other][unit] for other in sizes]
        # A pool that is used up gives no more labels at a larger size.
        kept = [place for place, count in enumerate(of_sizes) if count > max([0.0, *of_sizes[:place]])]
        if len(kept) < 2:
            continue
        curve = [accuracies.last(BASELINE, sizes[place]) for place in kept]
        uniform_SPK = np.stack([np.stack([by_seed[seed] for by_seed in curve], -1) for seed in seeds])
        policy_SP = np.stack([accuracies.last(series, size)[seed] for seed in seeds])
        spent = labels[series, size][unit]
        own = spent - labels[series, size][f"selector_{unit}"]
        log_labels_K = np.log2([of_sizes[place] for place in kept])
        found = _equivalent(config, policy_SP, uniform_SPK, log_labels_K)
        row = {"series": series, "baseline": BASELINE, "size": size, "n": accuracies.ns[-1], "unit": unit}
        row |= {"labels": spent, "selector_labels": spent - own, "num_seeds": len(seeds), "error": None}
        row |= {"accuracy": float(median_training(policy_SP[:, :, None])[0]), "num_problems": policy_SP.shape[1]}
        row |= {"outside": found.outside, "efficiency_without_selector": _by(found.ends[0], own)}
        # Where there is no number, that it lies outside is to be told: of what was measured the nearest accuracy.
        at = np.log2(spent) if found.outside is None else found.nearest
        level_SP = uniform_SPK @ _weights(np.array([at]), log_labels_K)[0]
        row["p_value"] = median_training_p_value(policy_SP - level_SP, config, DIFFERENCES)
        for end, value in zip(("", "_low", "_high"), found.ends, strict=True):
            row |= {f"equivalent{end or '_labels'}": value, f"efficiency{end}": _by(value, spent)}
        rows.append(row)
    return rows


def _by(value: float | None, labels: float) -> float | None:
    return None if value is None or labels <= 0 else value / labels


@dataclass(frozen=True)
class _Equivalent:
    ends: tuple[float | None, float | None, float | None]  # itself, and its interval's low and high; None: outside
    outside: str | None  # why there is none: above or below what was measured, or no_rise of the curve
    nearest: float = 0.0  # log2 of the labels whose accuracy is nearest to the policy's


def _equivalent(config: BootstrapConfig, policy_SP: Floats, uniform_SPK: Floats, log_labels_K: Floats) -> _Equivalent:
    """Return the labels of equal accuracy. log_labels_K: log2 of the uniform policy's, ascending."""
    log_labels_G = np.union1d(np.linspace(log_labels_K[0], log_labels_K[-1], _STEPS + 1), log_labels_K)
    ahead_SPG = policy_SP[:, :, None] - uniform_SPK @ _weights(log_labels_G, log_labels_K).T
    ahead_G = median_training(ahead_SPG)
    low_G, high_G = median_training_interval(ahead_SPG, config, DIFFERENCES)
    fewest, most = (float(np.exp2(log_labels_G[end])) for end in (0, -1))
    crossing: float | None = float(np.exp2(log_labels_G[0] + _where_ahead(log_labels_G, ahead_G)))
    nearest = float(log_labels_G[np.abs(ahead_G).argmin()])
    if median_training(uniform_SPK[:, :, -1:] - uniform_SPK[:, :, :1])[0] <= _EPSILON:
        return _Equivalent((None, None, None), "no_rise", nearest)
    outside = "above" if ahead_G.min() > _EPSILON else "below" if ahead_G.max() < -_EPSILON else None
    if outside is not None:
        crossing = None
    plausible = np.flatnonzero((low_G <= _EPSILON) & (high_G >= -_EPSILON))
    if len(plausible):  # one step of the grid further out, so that the interval is not too short by less than a step
        last = len(log_labels_G) - 1
        low = None if plausible[0] == 0 else float(np.exp2(log_labels_G[plausible[0] - 1]))
        high = None if plausible[-1] == last else float(np.exp2(log_labels_G[plausible[-1] + 1]))
        return _Equivalent((crossing, low, high), outside, nearest)
    if crossing is not None:  # the intervals are shorter than a step of the grid
        return _Equivalent((crossing, crossing, crossing), None)
    return _Equivalent((None, most, None) if outside == "above" else (None, None, fewest), outside, nearest)


def _weights(log_labels_G: Floats, log_labels_K: Floats) -> Floats:
    """Return the weights of the uniform policy's K sizes in its interpolated curve, shape (G, K); outside of the sizes
    the curve is level."""
    return np.stack([np.interp(log_labels_G, log_labels_K, one) for one in np.eye(len(log_labels_K))], -1)


def _where_ahead(log_labels_G: Floats, ahead_G: Floats) -> float:
    """Return the length, in log2 of labels, over which the policy is ahead of the curve, or level with it."""
    before, after = ahead_G[:-1], ahead_G[1:]
    positive = np.maximum(before, 0) + np.maximum(after, 0)
    both = np.abs(before) + np.abs(after)
    share = np.where(both > 0, positive / np.where(both > 0, both, 1.0), 1.0)
    return float((share * np.diff(log_labels_G)).sum())
