"""The interval of the median training, where every third training learns little."""

from __future__ import annotations

import numpy as np
import pytest

from components.statistics.bootstrap import BootstrapConfig, bootstrap_interval, two_way_interval
from components.statistics.median_training import median_training, median_training_interval

PROBLEMS = 40
Draw = tuple[float, float, float]  # standard deviation of trainings, chance that one fails, what it then loses


def trainings(rng: np.random.Generator, seeds: int, draw: Draw) -> np.ndarray:
    spread, chance, loss = draw
    return rng.normal(0, spread, seeds) - loss * (rng.random(seeds) < chance)


def coverage(seeds: int, draw: Draw, of_mean: bool = False) -> float:
    """Of 400 simulated studies."""
    rng, config, covered = np.random.default_rng(1), BootstrapConfig(resamples=300), 0
    many = trainings(rng, 200_000, draw)
    truth = many.mean() if of_mean else np.median(many)
    for _ in range(400):
        values = trainings(rng, seeds, draw)[:, None, None] + rng.normal(0, 0.2, (1, PROBLEMS, 1))
        values = values + rng.normal(0, 0.15, (seeds, PROBLEMS, 1))
        [low], [high] = (two_way_interval if of_mean else median_training_interval)(values, config)
        covered += low <= truth <= high
    return covered / 400


@pytest.mark.parametrize("seeds", [3, 4, 5, 6, 10])
@pytest.mark.parametrize("draw", [(0.02, 0.0, 0.0), (0.02, 0.1, 0.2), (0.04, 0.25, 0.3), (0.02, 1 / 3, 0.3)])
def test_it_covers_the_median_training_whether_or_not_trainings_fail(seeds: int, draw: Draw) -> None:
    """Nominal 95 %; a coverage of 400 studies has a standard error of 1.1 points."""
    assert coverage(seeds, draw) >= 0.93 - 0.011


def test_the_mean_over_trainings_is_not_covered() -> None:
    """So the median is what the study speaks of."""
    assert coverage(3, (0.02, 0.25, 0.3), of_mean=True) < 0.85


def test_one_and_two_trainings_have_the_interval_over_problems() -> None:
    rng, config = np.random.default_rng(0), BootstrapConfig(resamples=500)
    values = rng.normal(0.5, 0.2, (2, PROBLEMS, 3))
    for given in (values, values[:1]):
        found, problems = median_training_interval(given, config), bootstrap_interval(given.mean(0), config)
        assert np.array_equal(found, problems)


def test_five_trainings_by_hand() -> None:
    """Problems that are all alike have no interval, so the lowest and the highest training are its ends."""
    values = np.broadcast_to(np.array([0.8, 0.2, 0.9, 0.7, 0.75])[:, None, None], (5, PROBLEMS, 1))
    low, high = median_training_interval(values, BootstrapConfig(resamples=100))
    assert (low[0], high[0]) == pytest.approx((0.2, 0.9))
    assert median_training(values) == pytest.approx([0.75])
