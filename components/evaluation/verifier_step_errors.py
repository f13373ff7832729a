"""First errors as several verifiers call them, on the same rated solutions: ProcessBench's F1 of each.

Beside the thresholds of first_error.py a verifier's likeliest first error is called. With aₜ = P(step t is negative),
each independent of the others, the first error is step t with probability aₜ · ∏(s<t) (1 − aₛ), and there is none with
∏ (1 − aₜ). Of a judge's votes these are the shares of its verdicts, and so the call is the majority's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from components.dataflow.stage import TableStage
from components.evaluation.first_error import StepErrorsConfig, figures, first_wrong
from components.evaluation.rated_steps import RatedSolution, rated_steps
from components.statistics.best_of_n import Floats
from schemas.quality import VERIFIER_STEP_ERRORS
from schemas.ratings import NO_ERROR

_ALIKE = 1e-6  # of probabilities, which are kept in float32


@dataclass(frozen=True)
class VerifierStepErrorsConfig:
    """Settings of the stage. verifiers: (name, its tables of scores, one per training seed) of each."""

    verifiers: tuple[tuple[str, tuple[str, ...]], ...]
    errors: StepErrorsConfig = field(default_factory=StepErrorsConfig)


def verifier_step_errors(config: VerifierStepErrorsConfig) -> TableStage:
    """The stage (held_out_step_labels, each verifier's scores) → two accuracies and F1, by verifier and threshold."""
    tables = [name for _, names in config.verifiers for name in names]
    reads = {name: ["problem_id", "sample_index", "step_probabilities"] for name in tables}
    return TableStage("verifier_step_errors", 1, config, VERIFIER_STEP_ERRORS, _step_errors, reads=reads)


def likeliest_first_error(negatives: Floats) -> int:
    """Return the 0-based index of the likeliest first error, −1 where none is the likeliest.

    Where two are alike, no error goes before an error, and an earlier step before a later one.

    >>> likeliest_first_error(np.array([0.1, 0.6, 0.9]))  # 0.1, 0.54, 0.32, and none 0.04
    1
    >>> likeliest_first_error(np.array([0.5]))
    -1
    """
    right_before = np.concatenate([[1.0], np.cumprod(1 - negatives)])
    chances = np.concatenate([right_before[-1:], negatives * right_before[:-1]])
    return NO_ERROR + int(np.flatnonzero(chances >= chances.max() - _ALIKE)[0])


def _step_errors(config: VerifierStepErrorsConfig, held_out_step_labels: pa.Table, **scores: pa.Table) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for verifier, names in config.verifiers:
        by_source: dict[str, list[RatedSolution]] = {}
        for name in names:
            for solution in rated_steps(held_out_step_labels, scores[name]):
                by_source.setdefault(solution.split, []).append(solution)
        for source, solutions in by_source.items():
            for threshold, called in _called(solutions, config.errors).items():
                row = {"verifier": verifier, "source": source, "threshold": threshold, "error": None}
                rows.append(row | figures(solutions, called))
    return pa.Table.from_pylist(rows, schema=VERIFIER_STEP_ERRORS)


def _called(solutions: list[RatedSolution], config: StepErrorsConfig) -> Mapping[float | None, list[int]]:
    """Return the first error that is called in each solution, by threshold; None: the likeliest one."""
    called: dict[float | None, list[int]] = {None: [likeliest_first_error(one.negative) for one in solutions]}
    return called | {
        threshold: [first_wrong(one.negative, threshold) for one in solutions] for threshold in config.thresholds
    }
