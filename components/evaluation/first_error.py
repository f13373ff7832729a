"""Does the PRM find the first wrong step? As ProcessBench asks (Zheng et al. 2024, §3): of solutions with an error, in
what share the first step called wrong is exactly the first wrong one; of those without, in what share no step is called
wrong; F1 is the harmonic mean of the two.

A step is called wrong when its P(negative) is at least the threshold; the paper's §4 uses more than 0.20. No threshold
is chosen on the solutions that it is reported for: every one is in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components.dataflow.stage import TableStage
from components.evaluation.rated_steps import RatedSolution, rated_steps
from components.statistics.best_of_n import Floats
from schemas.ratings import NO_ERROR
from schemas.results import FIRST_ERRORS, STEP_ERRORS
from schemas.settings import Share, settings


@settings
class StepErrorsConfig:
    thresholds: tuple[Share, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    reported: Share = 0.2  # §4.1; of first_errors


def step_errors(config: StepErrorsConfig) -> TableStage:
    """The stage (held_out_step_labels, scores of one training seed or more) → the two accuracies and F1, by threshold,
    over all training seeds."""
    return TableStage("step_errors", 1, config, STEP_ERRORS, _step_errors)


def first_errors(config: StepErrorsConfig) -> TableStage:
    """The stage (the same inputs) → where first errors are, and whether each is found at the reported threshold."""
    return TableStage("first_errors", 1, config, FIRST_ERRORS, _first_errors)


def first_wrong(negatives: Sequence[float] | Floats, threshold: float) -> int:
    """The 0-based index of the first step that is called wrong, −1 where none is."""
    called = np.flatnonzero(np.asarray(negatives) >= threshold)
    return int(called[0]) if len(called) else NO_ERROR


def f1(labels: Sequence[int], found: Sequence[int]) -> dict[str, Any]:
    """num_wrong, num_right, accuracy_wrong, accuracy_right and f1 (None where a kind is absent).

    labels, found: per solution the index of the first wrong step, −1 for none: as rated, and as found.

    >>> f1([2, 0, -1, -1], [2, 1, -1, -1])["f1"]  # 2 * 0.5 * 1 / 1.5
    0.6666666666666666
    """
    wanted, given = np.asarray(labels), np.asarray(found)
    wrong, equal = wanted != NO_ERROR, wanted == given
    accuracies = [float(equal[kind].mean()) if kind.any() else None for kind in (wrong, ~wrong)]
    result: dict[str, Any] = {"num_wrong": int(wrong.sum()), "num_right": int((~wrong).sum())}
    result |= {"accuracy_wrong": accuracies[0], "accuracy_right": accuracies[1], "f1": None}
    if accuracies[0] is not None and accuracies[1] is not None:
        total = accuracies[0] + accuracies[1]
        result["f1"] = 2 * accuracies[0] * accuracies[1] / total if total else 0.0
    return result


def _by_source(step_labels: pa.Table, scores: dict[str, pa.Table]) -> dict[str, list[RatedSolution]]:
    found: dict[str, list[RatedSolution]] = {}
    for table in scores.values():
        for one in rated_steps(step_labels, table):
            found.setdefault(one.split, []).append(one)
    return found


def _step_errors(config: StepErrorsConfig, held_out_step_labels: pa.Table, **scores: pa.Table) -> pa.Table:
    rows = []
    for source, solutions in _by_source(held_out_step_labels, scores).items():
        labels = [one.first_error for one in solutions]
        for threshold in config.thresholds:
            found = [first_wrong(one.negative, threshold) for one in solutions]
            rows.append({"source": source, "threshold": threshold, "error": None} | f1(labels, found))
    return pa.Table.from_pylist(rows, schema=STEP_ERRORS)


def _first_errors(config: StepErrorsConfig, held_out_step_labels: pa.Table, **scores: pa.Table) -> pa.Table:
    rows = []
    for source, solutions in _by_source(held_out_step_labels, scores).items():
        labels = np.array([one.first_error for one in solutions])
        found = np.array([first_wrong(one.negative, config.reported) for one in solutions])
        for label in np.unique(labels[labels != NO_ERROR]):
            given = found[labels == label]
            rows.append(
                {"source": source, "threshold": config.reported, "first_error": label, "count": len(given)}
                | {"found": (given == label).sum(), "early": ((given < label) & (given != NO_ERROR)).sum()}
                | {"late": (given > label).sum(), "missed": (given == NO_ERROR).sum(), "error": None}
            )
    return pa.Table.from_pylist(rows, schema=FIRST_ERRORS)
