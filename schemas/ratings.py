"""Ratings of steps and labels of models: the values that all tables, files and models agree on.

Ratings are PRM800K's: -1 a wrong step, 0 a neutral one, +1 a good one (paper §2.6).
"""

from __future__ import annotations

from collections.abc import Sequence

NEGATIVE, NEUTRAL, POSITIVE = -1, 0, 1
NO_ERROR = -1  # the 0-based index of the first wrong step of a solution that has none, as in ProcessBench
ORM_LABELS = {0: "incorrect", 1: "correct"}  # classes of an ORM
PRM_LABELS = {0: "negative", 1: "neutral", 2: "positive"}  # classes of a PRM: the rating + 1

# P(negative), P(neutral), P(positive) of one step; None where nobody rated it.
StepLabel = Sequence[float] | None


def one_hot(rating: int | None) -> StepLabel:
    """Return a rating as a label: −1, 0, +1 → negative, neutral, positive; None stays None."""
    return None if rating is None else tuple(float(rating + 1 == label) for label in PRM_LABELS)


def first_error(ratings: Sequence[int | None]) -> int:
    """Return the 0-based index of the first wrong step, NO_ERROR where there is none."""
    return list(ratings).index(NEGATIVE) if NEGATIVE in ratings else NO_ERROR
