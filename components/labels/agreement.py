"""The agreement of sources of step labels: each pair of them on the same solutions, by first errors and by steps.

What comes after a solution's first wrong step has no rating, so steps are compared through the earlier of the two first
errors: each disagreement counts once.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa

from components.dataflow.stage import TableStage
from components.statistics.clustered import kappa_interval, named, share_interval
from schemas.quality import AGREEMENT, LABEL_SOURCES
from schemas.ratings import NEGATIVE, NO_ERROR, first_error
from schemas.settings import settings

_READS = ["problem_id", "sample_index", "ratings", "error"]
Key = tuple[str, int]


@settings
class AgreementConfig:
    """The sources to compare."""

    sources: tuple[str, ...]  # names of the input tables


def agreement(config: AgreementConfig) -> TableStage:
    """The stage (a table of step labels by each source) → agreement, a row per ordered pair of sources."""
    reads = dict.fromkeys(config.sources, _READS)
    return TableStage("agreement", 2, config, AGREEMENT, _agreement, reads=reads)


def label_sources(config: AgreementConfig) -> TableStage:
    """The stage (step labels by each source, and rollouts or judgements as <source>_evidence) → the ratings that each
    source gave, and what they cost."""
    reads = dict.fromkeys(config.sources, _READS)
    return TableStage("label_sources", 1, config, LABEL_SOURCES, _label_sources, reads=reads)


def kappa(ratings: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float | None:
    """Return Cohen's kappa of two boolean ratings, shape (steps,): (p_o − p_e) / (1 − p_e); None where p_e is 1.

    >>> kappa(np.array([True, True, False, False]), np.array([True, False, False, False]))
    0.5
    """
    if not len(ratings):
        return None
    observed = float((ratings == other).mean())
    expected = float(ratings.mean() * other.mean() + (1 - ratings.mean()) * (1 - other.mean()))
    return None if expected == 1 else (observed - expected) / (1 - expected)


def compare(source: dict[Key, list[int]], reference: dict[Key, list[int]]) -> dict[str, Any]:
    """Return the numbers of one ordered pair. source, reference: (problem_id, sample_index) → ratings."""
    common = [key for key in source if key in reference]
    problem_ids = [problem_id for problem_id, _ in common]
    by_source = np.array([first_error(source[key]) for key in common], dtype=np.int64)
    by_reference = np.array([first_error(reference[key]) for key in common], dtype=np.int64)
    pairs = [[*zip(source[key], reference[key], strict=False)] for key in common]
    steps = [pair for of_solution in pairs for pair in of_solution]
    ids_of_steps = [one for one, of_solution in zip(problem_ids, pairs, strict=True) for _ in of_solution]
    wrong = np.array(steps, dtype=np.int64).reshape(-1, 2) == NEGATIVE
    same = by_source == by_reference

    def share(name: str, chosen: np.ndarray[Any, Any]) -> dict[str, float | None]:
        value = float(same[chosen].mean()) if chosen.any() else None
        ids = np.array(problem_ids, dtype=object)[chosen].tolist()
        return {name: value} | named(name, share_interval(ids, same[chosen]))

    return (
        {"num_solutions": len(common), "num_steps": len(steps), "kappa": kappa(wrong[:, 0], wrong[:, 1])}
        | share("first_error_precision", by_source != NO_ERROR)
        | share("first_error_recall", by_reference != NO_ERROR)
        | share("same_first_error", np.ones(len(common), dtype=np.bool_))
        | named("kappa", kappa_interval(ids_of_steps, wrong[:, 0], wrong[:, 1]))
    )


def _ratings(labels: pa.Table) -> dict[Key, list[int]]:
    """Return solution → ratings, of those that have some."""
    return {
        (row["problem_id"], row["sample_index"]): row["ratings"]
        for row in labels.select(_READS).to_pylist()
        if row["error"] is None and row["ratings"]
    }


def _agreement(config: AgreementConfig, **labels: pa.Table) -> pa.Table:
    rated = {source: _ratings(labels[source]) for source in config.sources}
    rows = [
        {"source": source, "reference": reference, "error": None} | compare(rated[source], rated[reference])
        for source, reference in itertools.permutations(config.sources, 2)
    ]
    return pa.Table.from_pylist(rows, schema=AGREEMENT)


def _label_sources(config: AgreementConfig, **inputs: pa.Table) -> pa.Table:
    rows = []
    for source in config.sources:
        labels = inputs[source].select(_READS).to_pylist()
        good = [row["ratings"] for row in labels if row["error"] is None]
        rated = [ratings for ratings in good if ratings]
        row: dict[str, Any] = {
            "source": source,
            "num_solutions": len(labels),
            "num_rated": len(rated),
            "num_unrated": len(good) - len(rated),
            "num_error": len(labels) - len(good),
            "num_ratings": sum(map(len, rated)),
            "share_with_error": sum(NEGATIVE in ratings for ratings in rated) / len(rated) if rated else None,
            "num_continuations": None,
            "num_continuations_every_step": None,
            "num_tokens": None,
            "error": None,
        }
        evidence = inputs.get(f"{source}_evidence")
        if evidence is not None:
            row["num_tokens"] = sum(evidence["num_tokens"].to_pylist())
        if evidence is not None and "asked_steps" in evidence.column_names:
            row |= _continuations(evidence)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=LABEL_SOURCES)


def _continuations(rollouts: pa.Table) -> dict[str, int]:
    """Return how many were sampled, and how many the same number after each step but the last would have been."""
    sampled, every = 0, 0
    for row in rollouts.select(["num_steps", "num_rollouts", "is_correct", "error"]).to_pylist():
        sampled += sum(map(len, row["is_correct"]))
        every += (row["num_steps"] - 1) * row["num_rollouts"] if row["error"] is None else 0
    return {"num_continuations": sampled, "num_continuations_every_step": every}
