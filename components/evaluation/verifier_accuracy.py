"""The accuracy of each verifier of the small-scale study (paper §4): best-of-N by problem, exact; and its reader.

Shapes: P test problems, M slots each, K sizes N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from components.dataflow.stage import TableStage
from components.evaluation.scored_samples import ReductionConfig, scores_of
from components.statistics.best_of_n import Bools, Floats, best_of_n, sizes
from components.statistics.score_reduction import PAPER_NEUTRAL, PAPER_REDUCTION
from schemas.settings import settings
from schemas.small_scale import (
    VERIFIER_ACCURACY,
)
from schemas.tables import SAMPLE_KEY


@dataclass(frozen=True)
class VerifierName:
    """One trained verifier, and the table of its scores."""

    series: str
    size: int
    seed: int  # which training, from 0
    scores: str  # name of the input table with its scores (schema SCORES)
    kind: str  # prm: prm_score, by the study's reduction; orm: orm_score


@settings
class VerifiersConfig:
    """The verifiers, and the reduction of their scores."""

    reduction: ReductionConfig  # of step probabilities to a PRM's score
    verifiers: tuple[VerifierName, ...]  # in the order of the table


def verifier_accuracy(config: VerifiersConfig) -> TableStage:
    """The stage (grades, and each table of scores that the config names) → best-of-N accuracy per verifier and test
    problem; exact. Raises ValueError when problems have unequal numbers of samples, and when a table of scores lacks a
    sample or has no score at all."""
    is_papers = (config.reduction.reduction, config.reduction.neutral) == (PAPER_REDUCTION, PAPER_NEUTRAL)
    columns = {"orm": ["orm_score"], "prm": ["prm_score"] if is_papers else ["prm_score", "step_probabilities"]}
    reads = {"grades": [*SAMPLE_KEY, "split", "answer", "is_correct", "error"]}
    for verifier in config.verifiers:
        reads[verifier.scores] = list(dict.fromkeys([*reads.get(verifier.scores, SAMPLE_KEY), *columns[verifier.kind]]))
    return TableStage("verifier_accuracy", 1, config, VERIFIER_ACCURACY, _verifier_accuracy, reads=reads)


@dataclass(frozen=True)
class _Graded:
    """The test samples in the order that every verifier's scores are brought into: P problems, M slots each."""

    problem_ids: list[str]
    keys: pd.DataFrame  # problem_id and sample_index of each slot, (P · M) rows
    is_empty_PM: Bools
    is_correct_PM: Bools


def _graded(grades: pa.Table) -> _Graded:
    frame = grades.to_pandas()
    frame = frame[frame["split"] == "test"]
    usable = frame["error"].isna().groupby(frame["problem_id"]).transform("any")
    frame = frame[usable].sort_values(SAMPLE_KEY)
    problem_ids = frame["problem_id"].unique().tolist()
    slots = len(frame) // max(1, len(problem_ids))
    if not (frame.groupby("problem_id", sort=False).size() == slots).all() or frame.duplicated(SAMPLE_KEY).any():
        raise ValueError("grades: problems have unequal numbers of samples")
    shape = (len(problem_ids), slots)
    is_empty = (frame["answer"].isna() | frame["error"].notna()).to_numpy(dtype=np.bool_)
    is_correct = frame["is_correct"].eq(True).to_numpy(dtype=np.bool_)
    return _Graded(problem_ids, frame[SAMPLE_KEY], is_empty.reshape(shape), is_correct.reshape(shape))


def _verifier_accuracy(config: VerifiersConfig, grades: pa.Table, **scores: pa.Table) -> pa.Table:
    graded = _graded(grades)
    problems, slots = graded.is_empty_PM.shape
    ns = sizes(slots)
    parts = []
    for verifier in config.verifiers:
        scores_PM = _in_order(graded, config.reduction, verifier, scores[verifier.scores])
        accuracy_PK = best_of_n(scores_PM, graded.is_correct_PM, ns)
        part = {"problem_id": np.repeat(graded.problem_ids, len(ns)), "series": verifier.series, "size": verifier.size}
        part |= {"training_seed": verifier.seed + 1, "n": np.tile(ns, problems), "accuracy": accuracy_PK.ravel()}
        parts.append(pd.DataFrame(part | {"error": None}))
    if not parts:
        return pa.Table.from_pylist([], schema=VERIFIER_ACCURACY)
    return pa.Table.from_pandas(pd.concat(parts), schema=VERIFIER_ACCURACY, preserve_index=False)


def _in_order(graded: _Graded, reduction: ReductionConfig, verifier: VerifierName, table: pa.Table) -> Floats:
    """Return a verifier's scores of the graded samples, shape (P, M); NaN where the slot is empty or has no score."""
    column = f"{verifier.kind}_score"
    scored = (
        scores_of(reduction, table, [column])
        if verifier.kind == "prm"
        else table.select([*SAMPLE_KEY, column]).to_pandas()
    )
    rows = graded.keys.merge(scored, on=SAMPLE_KEY, how="left", validate="one_to_one", indicator=True)
    if (rows["_merge"] != "both").any():
        raise ValueError(f"{verifier.scores}: some graded samples have no row of scores")
    scores = rows[column].to_numpy(dtype=np.float64)
    if np.isnan(scores).all():
        raise ValueError(f"{verifier.scores}: no sample has a {column}")
    return np.where(graded.is_empty_PM, np.nan, scores.reshape(graded.is_empty_PM.shape))


@dataclass(frozen=True)
class VerifierAccuracies:
    """The accuracies of all verifiers: (series, size) → training seed → shape (P, K); the K sizes N are `ns`."""

    ns: list[int]
    of: dict[tuple[str, int], dict[int, Floats]]

    def last(self, series: str, size: int) -> dict[int, Floats]:
        """Return training seed → accuracy at the largest N, shape (P,)."""
        return {seed: values_PK[:, -1] for seed, values_PK in self.of[series, size].items()}

    def sizes_of(self, series: str) -> list[int]:
        """Return the sizes that a series was trained at, ascending."""
        return sorted(size for name, size in self.of if name == series)


def accuracies_of(table: pa.Table) -> VerifierAccuracies:
    """Read the table of this module's stage."""
    frame = table.to_pandas().sort_values(["problem_id", "n"], kind="stable")
    ns = sorted(frame["n"].unique().tolist())
    by_series: dict[tuple[str, int], dict[int, Floats]] = {}
    for (series, size, seed), rows in frame.groupby(["series", "size", "training_seed"], sort=False):
        by_series.setdefault((series, size), {})[seed] = rows["accuracy"].to_numpy().reshape(-1, len(ns))
    return VerifierAccuracies(ns, by_series)
