"""Verifiers without a language model, beside the ORM and the PRM: what the embedded world's rule and memory can do.

The ceiling is the exact rule. The floors are a lookup of labelled steps, a logistic regression on outcomes, and the
length of the solution; below them all is a single sample. A trained verifier that does no better than a floor has
learned no more than the floor knows. The paper has none of these: it has no exact rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import PositiveFloat

from components.dataflow.stage import TableStage
from components.text.rendering import has_answer
from components.worlds.worked_steps import fact_of, statements
from schemas.ratings import NEGATIVE
from schemas.results import REFERENCE_SCORES, REFERENCES
from schemas.settings import settings
from schemas.tables import SAMPLE_KEY

Row = Mapping[str, Any]
Weights = NDArray[np.float64]
_SOLUTION: list[str] = [*SAMPLE_KEY, "split", "problem", "steps", "error"]
_READS = {
    "solutions": _SOLUTION,
    "step_labels": [*SAMPLE_KEY, "ratings"],
    "train_solutions": _SOLUTION,
    "train_step_labels": [*SAMPLE_KEY, "ratings"],
    "train_grades": [*SAMPLE_KEY, "is_correct"],
}


@settings
class ReferenceConfig:
    """Settings of the reference verifiers."""

    smoothing: PositiveFloat = 1.0  # labels of the overall share that each step of the lookup begins with
    l2: PositiveFloat = 1.0  # of the logistic regression's weights: half of their squares, times this, is in its loss


def reference_scores(config: ReferenceConfig) -> TableStage:
    """The stage (solutions and step_labels to score by; train_solutions, train_grades and train_step_labels to learn
    from) → reference_scores, a row per solution."""
    return TableStage(
        "reference_scores",
        1,
        config,
        REFERENCE_SCORES,
        _reference_scores,
        reads=_READS,
        expected_rows=lambda _, inputs: (inputs["solutions"].rows, inputs["solutions"].rows_are),
    )


def _reference_scores(config: ReferenceConfig, **tables: pa.Table) -> pa.Table:
    rows = _joined(tables["solutions"], tables["step_labels"])
    learned = _joined(tables["train_solutions"], tables["train_step_labels"], tables["train_grades"])
    graded = [row for row in learned if row["is_correct"] is not None]
    columns: dict[str, Sequence[float] | Weights] = {
        "exact_rule": [_rule(row) for row in rows],
        "step_lookup": _lookup(learned, rows, config.smoothing),
        "outcome_regression": _logistic(graded, rows, config.l2),
        "solution_length": _length(graded, rows),
    }
    output: list[dict[str, Any]] = [
        {name: row[name] for name in (*SAMPLE_KEY, "split", "error")}
        | {f"{name}_score": None if row["error"] else columns[name][at] for name in REFERENCES}
        for at, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(output, schema=REFERENCE_SCORES)


def _joined(solutions: pa.Table, *others: pa.Table) -> list[dict[str, Any]]:
    """Return the solutions as rows, with the columns that other tables have of the same samples."""
    by_sample: dict[tuple[Any, ...], dict[str, Any]] = {}
    for table in others:
        for row in table.to_pylist():
            by_sample.setdefault(tuple(row[name] for name in SAMPLE_KEY), {}).update(row)
    rows = [by_sample[tuple(row[name] for name in SAMPLE_KEY)] | row for row in solutions.to_pylist()]
    return [row | {"steps": row["steps"] or []} for row in rows]


def _rule(row: Row) -> float:
    """Return 1.0 for a whole solution without a wrong step, else 0.0."""
    ratings, steps = row["ratings"] or [], row["steps"]
    whole = len(steps) > 0 and len(ratings) == len(steps) and has_answer(steps[-1])
    return float(whole and NEGATIVE not in ratings)


def _lookup(learned: Sequence[Row], rows: Sequence[Row], smoothing: float) -> Weights:
    """Return the product over a solution's steps of the share of the labelled steps of the same text that are not
    wrong."""
    counts: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for row in learned:
        for step, rating in zip(row["steps"], row["ratings"] or [], strict=False):
            counts[fact_of(step)] += 1
            right[fact_of(step)] += rating != NEGATIVE
    prior = smoothing * (right.total() + 0.5) / (counts.total() + 1)
    logs = [
        sum(np.log((right[fact] + prior) / (counts[fact] + smoothing)) for fact in map(fact_of, row["steps"]))
        for row in rows
    ]
    return np.exp(np.array(logs, dtype=np.float64))


def _length(graded: Sequence[Row], rows: Sequence[Row]) -> Weights:
    """Return the share of the graded solutions with as many steps that are right; 0 where there is none."""
    counts = Counter(len(row["steps"]) for row in graded)
    right = Counter(len(row["steps"]) for row in graded if row["is_correct"])
    return np.array([right[len(row["steps"])] / max(1, counts[len(row["steps"])]) for row in rows], dtype=np.float64)


def _logistic(graded: Sequence[Row], rows: Sequence[Row], l2: float) -> Weights:
    """Return P(right answer) by a logistic regression on what a solution states, learned from outcomes alone.

    Its features are made by hand from the problem and the text: facts, and departures from what was asked. It shows how
    much the outcomes say to a learner that need not learn to read.
    """
    from scipy.optimize import minimize  # slow imports, and a study that is only planned fits nothing

    places: dict[str, int] = {}
    for row in graded:
        for statement in statements(row["problem"], row["steps"]):
            places.setdefault(statement, len(places))
    if not places:
        return np.full(len(rows), 0.5)
    indicators = _indicators(graded, places)
    signs = np.array([1.0 if row["is_correct"] else -1.0 for row in graded])

    def loss(weights: Weights) -> tuple[float, Weights]:
        margins = signs * (weights[0] + indicators @ weights[1:])
        slopes = -signs / (1 + np.exp(np.minimum(margins, 500)))
        gradient = np.concatenate([[slopes.sum()], indicators.T @ slopes + l2 * weights[1:]])
        return float(np.logaddexp(0, -margins).sum() + l2 / 2 * (weights[1:] ** 2).sum()), gradient

    weights = minimize(loss, np.zeros(1 + len(places)), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    logits = weights[0] + _indicators(rows, places) @ weights[1:]
    return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float64)


def _indicators(rows: Sequence[Row], places: Mapping[str, int]) -> Any:
    """Return a sparse matrix, shape (solutions, statements): 1 where the solution has the statement."""
    from scipy.sparse import csr_array

    at = [sorted({places[said] for said in statements(row["problem"], row["steps"]) if said in places}) for row in rows]
    ends = np.cumsum([0, *map(len, at)])
    columns = np.concatenate([np.array(places_of, dtype=np.int64) for places_of in at] or [np.zeros(0, np.int64)])
    return csr_array((np.ones(len(columns)), columns, ends), shape=(len(rows), len(places)))
