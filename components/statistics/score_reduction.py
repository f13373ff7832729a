"""Reductions of a solution's step probabilities to its score: the four of the paper (appendix, table 4), and those used
since.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

REDUCTIONS = ("product", "min", "last", "mean")
NEUTRALS = ("positive", "negative")
PAPER_REDUCTION: Final = "product"  # §2.6
PAPER_NEUTRAL: Final = "positive"
_LEAST = 1e-38  # a probability that rounded to 0 still has an order


def solution_score(probabilities: np.ndarray[Any, Any], reduction: str, neutral: str) -> float:
    """Return a solution's score in [0, 1]. probabilities: (steps, 3), of the classes negative, neutral, positive.

    With p = P(positive), plus P(neutral) where neutral counts as positive: product: exp Σ log p; min: the lowest p;
    last: the last p; mean: the mean of p. Raises ValueError for another reduction, or for no steps.
    """
    if neutral not in NEUTRALS:
        raise ValueError(f"neutral {neutral!r}: {' or '.join(NEUTRALS)}")
    good = probabilities[:, 2].astype(np.float64) + (probabilities[:, 1] if neutral == "positive" else 0.0)
    if not len(good):
        raise ValueError("a solution without steps has no score")
    if reduction == "product":
        return float(np.exp(np.log(np.clip(good, _LEAST, 1.0)).sum()))
    if reduction == "min":
        return float(good.min())
    if reduction == "last":
        return float(good[-1])
    if reduction == "mean":
        return float(good.mean())
    raise ValueError(f"reduction {reduction!r}: one of {', '.join(REDUCTIONS)}")


def solution_scores(
    step_probabilities: Sequence[Sequence[Sequence[float]] | NDArray[Any] | None], reduction: str, neutral: str
) -> NDArray[np.float64]:
    """Return `solution_score` of each row, shape (rows,); NaN where a row has no probabilities."""
    return np.array(
        [
            np.nan if steps is None else solution_score(np.array([*steps]), reduction, neutral)
            for steps in step_probabilities
        ],
        dtype=np.float64,
    )
