"""First errors: whether a PRM finds the first wrong step, as ProcessBench measures it (Zheng et al. 2024, §3).

Of solutions with an error, the share in which the first step called wrong is exactly the first wrong one; of those
without, the share in which no step is called wrong; F1 is the harmonic mean of the two.

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
from components.statistics.clustered import f1_interval, named, share_interval
from schemas.quality import FIRST_ERRORS, STEP_ERRORS
from schemas.ratings import NO_ERROR
from schemas.settings import Share, settings


@settings
class StepErrorsConfig:
    """Thresholds of P(negative), from which on a step is called wrong."""

    # All thresholds of step_errors.
    thresholds: tuple[Share, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    reported: Share = 0.2  # the threshold of first_errors (§4.1)


def step_errors(config: StepErrorsConfig) -> TableStage:
    """The stage (held_out_step_labels, scores of one training seed or more) → the two accuracies and F1, by threshold,
    over all training seeds."""
    return TableStage("step_errors", 2, config, STEP_ERRORS, _step_errors)


def first_errors(config: StepErrorsConfig) -> TableStage:
    """The stage (the same inputs) → the places of first errors, and whether each is found at the reported threshold."""
    return TableStage("first_errors", 2, config, FIRST_ERRORS, _first_errors)


def first_wrong(negatives: Sequence[float] | Floats, threshold: float) -> int:
    """Return the 0-based index of the first step that is called wrong, −1 where none is."""
    called = np.flatnonzero(np.asarray(negatives) >= threshold)
    return int(called[0]) if len(called) else NO_ERROR


def f1(rated: Sequence[int], called: Sequence[int]) -> dict[str, Any]:
    """Return num_wrong, num_right, accuracy_wrong, accuracy_right and f1 (None where a kind is absent).

    rated, called: per solution the index of the first wrong step, −1 for none: as rated, and as the PRM calls it.

    >>> f1([2, 0, -1, -1], [2, 1, -1, -1])["f1"]  # 2 * 0.5 * 1 / 1.5
    0.6666666666666666
    """
    rated_at, called_at = np.asarray(rated), np.asarray(called)
    wrong, equal = rated_at != NO_ERROR, rated_at == called_at
    accuracies = [float(equal[kind].mean()) if kind.any() else None for kind in (wrong, ~wrong)]
    result: dict[str, Any] = {"num_wrong": int(wrong.sum()), "num_right": int((~wrong).sum())}
    result |= {"accuracy_wrong": accuracies[0], "accuracy_right": accuracies[1], "f1": None}
    if accuracies[0] is not None and accuracies[1] is not None:
        total = accuracies[0] + accuracies[1]
        result["f1"] = 2 * accuracies[0] * accuracies[1] / total if total else 0.0
    return result


def figures(solutions: Sequence[RatedSolution], called: Sequence[int]) -> dict[str, Any]:
    """Return the figures of `f1` of rated solutions with their intervals over problems, and num_problems."""
    labels, ids = [one.first_error for one in solutions], [one.problem_id for one in solutions]
    return f1(labels, called) | _intervals(ids, labels, called)


def _intervals(problem_ids: Sequence[str], rated: Sequence[int], called: Sequence[int]) -> dict[str, Any]:
    """Return the intervals of the figures of `f1`, by problems."""
    rated_at, ids = np.asarray(rated), np.asarray(problem_ids, dtype=object)
    wrong, hits = rated_at != NO_ERROR, rated_at == np.asarray(called)
    found = named("f1", f1_interval(problem_ids, wrong, hits)) | {"num_problems": len(set(problem_ids))}
    for kind, chosen in (("wrong", wrong), ("right", ~wrong)):
        found |= named(f"accuracy_{kind}", share_interval(ids[chosen].tolist(), hits[chosen]))
    return found


def _by_source(step_labels: pa.Table, scores: dict[str, pa.Table]) -> dict[str, list[RatedSolution]]:
    by_source: dict[str, list[RatedSolution]] = {}
    for table in scores.values():
        for solution in rated_steps(step_labels, table):
            by_source.setdefault(solution.split, []).append(solution)
    return by_source


def _step_errors(config: StepErrorsConfig, held_out_step_labels: pa.Table, **scores: pa.Table) -> pa.Table:
    rows = []
    for source, solutions in _by_source(held_out_step_labels, scores).items():
        for threshold in config.thresholds:
            called = [first_wrong(solution.negative, threshold) for solution in solutions]
            row = {"source": source, "threshold": threshold, "error": None}
            rows.append(row | figures(solutions, called))
    return pa.Table.from_pylist(rows, schema=STEP_ERRORS)


def _first_errors(config: StepErrorsConfig, held_out_step_labels: pa.Table, **scores: pa.Table) -> pa.Table:
    rows = []
    for source, solutions in _by_source(held_out_step_labels, scores).items():
        labels = np.array([solution.first_error for solution in solutions])
        called = np.array([first_wrong(solution.negative, config.reported) for solution in solutions])
        ids = np.array([solution.problem_id for solution in solutions], dtype=object)
        for label in np.unique(labels[labels != NO_ERROR]):
            of_label = called[labels == label]
            low, high = share_interval(ids[labels == label].tolist(), of_label == label)
            rows.append(
                {"source": source, "threshold": config.reported, "first_error": label, "count": len(of_label)}
                | {"found": (of_label == label).sum(), "early": ((of_label < label) & (of_label != NO_ERROR)).sum()}
                | {"ci_low": low, "ci_high": high}
                | {"late": (of_label > label).sum(), "missed": (of_label == NO_ERROR).sum(), "error": None}
            )
    return pa.Table.from_pylist(rows, schema=FIRST_ERRORS)
