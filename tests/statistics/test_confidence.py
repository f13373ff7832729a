"""Measures of confidence against their formulas, written as loops."""

from __future__ import annotations

import numpy as np
import pytest

from components.statistics.confidence import MEASURES, TokenProbabilities, measures


def tokens(count: int, seed: int = 0) -> TokenProbabilities:
    rng = np.random.default_rng(seed)
    return TokenProbabilities(-rng.random(count), 10 * rng.random(count), 5 * rng.random(count))


@pytest.mark.parametrize(("count", "window"), [(57, 8), (25, 4), (5, 8), (1, 1), (64, 64)])
def test_measures_are_their_formulas(count: int, window: int) -> None:
    given = tokens(count)
    size = min(window, count)
    groups = sorted(np.mean(given.confidence[at : at + size]) for at in range(count - size + 1))
    tenth = groups[: max(1, int(0.1 * len(groups)))]
    wanted = {
        "mean_log_probability": np.mean(given.log_probability),
        "self_certainty": np.mean(given.certainty),
        "mean_confidence": np.mean(given.confidence),
        "lowest_group_confidence": groups[0],
        "bottom_10_confidence": np.mean(tenth),
        "tail_confidence": np.mean(given.confidence[-size:]),
    }
    found = measures(given, window)
    assert tuple(found) == MEASURES
    assert found == pytest.approx(wanted)


def test_a_solution_without_tokens_has_none() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        measures(tokens(0), 8)
