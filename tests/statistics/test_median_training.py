"""The interval of the median training, where every third training learns little."""

from __future__ import annotations

import math

import numpy as np
import pytest

from components.statistics.bootstrap import ACCURACIES, DIFFERENCES, BootstrapConfig, estimates, two_way_interval
from components.statistics.median_training import (
    bounds_of_weighted,
    median_training,
    median_training_interval,
    median_training_p_value,
)
from tests.statistics.simulated_studies import KINDS, values

PROBLEMS = 40
Draw = tuple[float, float, float]  # standard deviation of trainings, chance that one fails, what it then loses


def trainings(rng: np.random.Generator, seeds: int, draw: Draw) -> np.ndarray:
    spread, chance, loss = draw
    return rng.normal(0, spread, seeds) - loss * (rng.random(seeds) < chance)


def coverage(seeds: int, draw: Draw, of_mean: bool = False, problems: int = PROBLEMS) -> float:
    """Of 400 simulated studies."""
    rng, config, covered = np.random.default_rng(1), BootstrapConfig(resamples=300), 0
    many = trainings(rng, 200_000, draw)
    truth = many.mean() if of_mean else np.median(many)
    for _ in range(400):
        values = trainings(rng, seeds, draw)[:, None, None] + rng.normal(0, 0.2, (1, problems, 1))
        values = values + rng.normal(0, 0.15, (seeds, problems, 1))
        [low], [high] = (two_way_interval if of_mean else median_training_interval)(values, config, DIFFERENCES)
        covered += low <= truth <= high
    return covered / 400


@pytest.mark.parametrize("seeds", [3, 4, 5, 6, 10])
@pytest.mark.parametrize("draw", [(0.02, 0.0, 0.0), (0.02, 0.1, 0.2), (0.04, 0.25, 0.3), (0.02, 1 / 3, 0.3)])
def test_it_covers_the_median_training_whether_or_not_trainings_fail(seeds: int, draw: Draw) -> None:
    """Nominal 95 %; a coverage of 400 studies has a standard error of 1.1 points."""
    assert coverage(seeds, draw) >= 0.93 - 0.011


@pytest.mark.parametrize("draw", [(0.02, 0.0, 0.0), (0.02, 0.1, 0.2), (0.04, 0.25, 0.3), (0.02, 1 / 3, 0.3)])
def test_it_covers_with_many_problems_where_trainings_make_the_noise(draw: Draw) -> None:
    for seeds in (3, 5):
        assert coverage(seeds, draw, problems=200) >= 0.93 - 0.011


def test_the_mean_over_trainings_is_not_covered() -> None:
    """So the median is what the study speaks of."""
    assert coverage(3, (0.02, 1 / 3, 0.3), of_mean=True, problems=200) < 0.8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("truth", [0.8, 0.975])
@pytest.mark.parametrize("seeds", [3, 5])
def test_it_covers_accuracies_near_their_ends_and_their_differences(kind: str, truth: float, seeds: int) -> None:
    """Of 600 studies of 40 problems, whose trainings hardly differ; the standard error is 0.9 points."""
    bounds = DIFFERENCES if kind == "differences" else ACCURACIES
    drawn, mean = values(kind, truth, (seeds, PROBLEMS, 600), 0.005, 0.5, np.random.default_rng(0))
    low, high = median_training_interval(drawn, BootstrapConfig(resamples=500), bounds)
    assert ((low <= mean) & (high >= mean)).mean() >= 0.93 - 0.009
    assert (low < high).all()
    assert (low.min(), high.max()) >= (bounds[0], 0)
    assert high.max() <= bounds[1]


def test_three_trainings_that_hardly_differ_have_no_needlessly_wide_interval() -> None:
    """By over an eighth shorter than `two_way_interval`, and right in 95 to 99.5 % of 600 studies of 200 problems."""
    rng, config = np.random.default_rng(0), BootstrapConfig(resamples=500)
    drawn, mean = values("differences", 0.8, (3, 200, 600), 0.005, 0.5, rng)
    low, high = median_training_interval(drawn, config, DIFFERENCES)
    two_way_low, two_way_high = two_way_interval(drawn, config, DIFFERENCES)
    assert np.median(high - low) < 0.875 * np.median(two_way_high - two_way_low)
    assert 0.95 <= ((low <= mean) & (high >= mean)).mean() <= 0.995


def test_one_and_two_trainings_have_the_interval_over_problems() -> None:
    rng, config = np.random.default_rng(0), BootstrapConfig(resamples=500)
    values = rng.uniform(0, 1, (2, PROBLEMS, 3))
    for given in (values, values[:1]):
        low, high = median_training_interval(given, config, ACCURACIES)
        for k, row in enumerate(estimates(given.mean(0, keepdims=True), config, "accuracy")):
            assert (low[k], high[k]) == pytest.approx((row["ci_low"], row["ci_high"]))


def test_five_trainings_by_hand() -> None:
    """Problems that are all alike. The lowest and the highest training, 1.08 times as far from the median since five
    hold it in 93.75 %; and in squares, what one more problem at either bound may do to the mean of 0.7. Its weight w
    has 1 − w = u^(1/40), u uniform, and it lies at one bound in half of the draws: 5 % of these lie outside."""
    values = np.broadcast_to(np.array([0.8, 0.4, 0.85, 0.7, 0.75])[:, None, None], (5, PROBLEMS, 1))
    low, high = median_training_interval(values, BootstrapConfig(resamples=20_000), ACCURACIES)
    weight = 1 - 0.05 ** (1 / PROBLEMS)
    student = 2.77645 / 2.56208  # the quantiles of 97.5 and 96.875 % with 4 degrees of freedom
    expected = 0.75 - math.hypot(0.35 * student, 0.7 * weight), 0.75 + math.hypot(0.1 * student, 0.3 * weight)
    assert (low[0], high[0]) == pytest.approx(expected, abs=0.001)
    assert median_training(values) == pytest.approx([0.75])


def test_bounds_are_scaled_and_moved_with_the_values() -> None:
    rng, config = np.random.default_rng(0), BootstrapConfig(resamples=500)
    accuracies = rng.uniform(0, 1, (3, PROBLEMS, 4))
    weights = np.array([[0.3, 0.1, -0.1, -0.3], [1.0, 0.0, 0.0, -1.0], [0.0, 2.0, 0.0, 0.0]])
    least, most = bounds_of_weighted(weights)
    assert (least.tolist(), most.tolist()) == (pytest.approx([-0.4, -1, 0]), pytest.approx([0.4, 1, 2]))
    found = median_training_interval(accuracies @ weights.T, config, (least, most))
    [difference] = np.moveaxis(found, -1, 0)[1:2]
    apart = accuracies[:, :, :1] - accuracies[:, :, 3:]
    assert difference == pytest.approx([end[0] for end in median_training_interval(apart, config, DIFFERENCES)])
    doubled = np.moveaxis(found, -1, 0)[2]
    single = median_training_interval(accuracies[:, :, 1:2], config, ACCURACIES)
    assert doubled == pytest.approx([2 * end[0] for end in single])


@pytest.mark.parametrize("seeds", [1, 3, 5, 9])
def test_p_values_fit_the_interval(seeds: int) -> None:
    """At the confidence of 1 less the p-value the interval ends at 0, a little higher it holds 0."""
    rng, config = np.random.default_rng(seeds), BootstrapConfig(resamples=500)
    found = []
    for shift in np.linspace(0, 0.3, 13):
        values = np.clip(shift + rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, 0.3, (seeds, 60)), -1, 1)
        p_value = median_training_p_value(values, config, DIFFERENCES)
        found.append(p_value)
        for confidence in (0.8, 0.9, 0.95, 0.99):
            [low], [high] = median_training_interval(
                values[:, :, None], BootstrapConfig(resamples=500, confidence=confidence), DIFFERENCES
            )
            assert (p_value <= 1 - confidence) == (low > 0 or high < 0)
    assert min(found) < 0.01
    assert max(found) > 0.1


def test_p_values_are_seldom_small_without_a_difference() -> None:
    """Nominal 5 %; of 300 studies the standard error is 1.3 points."""
    drawn = np.random.default_rng(0)
    found = [
        median_training_p_value(
            drawn.normal(0, 0.03, (3, 1)) + drawn.normal(0, 0.3, (3, 60)), BootstrapConfig(resamples=200), DIFFERENCES
        )
        for _ in range(300)
    ]
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 0.026
    assert np.mean(np.array(found) <= 0.5) >= 0.2  # and not always large
