"""Rated solutions beside the PRM's probabilities of their steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from components.statistics.best_of_n import Floats, Ints
from schemas.ratings import first_error
from schemas.tables import SAMPLE_KEY


@dataclass(frozen=True)
class RatedSolution:
    """A rated solution. negative: P(negative) of every step.

    ratings: −1, 0, +1 per step through the first −1 (what comes after a wrong step has no meaning of its own).
    """

    split: str
    problem_id: str
    ratings: Ints
    negative: Floats

    @property
    def first_error(self) -> int:
        """Return the 0-based index of the first wrong step, −1 for none."""
        return first_error(self.ratings.tolist())


def rated_steps(step_labels: pa.Table, scores: pa.Table) -> Iterator[RatedSolution]:
    """Yield the solutions that are rated and were scored by a PRM.

    step_labels, scores: tables of those schemas; rows are matched by problem_id and sample_index.
    """
    labels = step_labels.select([*SAMPLE_KEY, "split", "ratings", "error"]).to_pandas()
    rated = (
        scores.select([*SAMPLE_KEY, "step_probabilities"])
        .to_pandas()
        .merge(labels, on=SAMPLE_KEY, validate="one_to_one")
    )
    rated = rated[rated["error"].isna() & rated["step_probabilities"].notna() & rated["ratings"].map(len).gt(0)]
    columns = (rated[name] for name in ("split", "problem_id", "ratings", "step_probabilities"))
    for split, problem_id, ratings, steps in zip(*columns, strict=True):
        negative = np.array([float(step[0]) for step in steps])
        yield RatedSolution(str(split), str(problem_id), np.asarray(ratings, dtype=np.int64), negative)
