"""Intervals and p-values in simulated studies whose truth is known, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, t

from components.statistics.best_of_n import best_of_n
from components.statistics.bootstrap import (
    ACCURACIES,
    DIFFERENCES,
    BootstrapConfig,
    confidence_draws,
    estimates,
    p_values,
    two_way_interval,
)
from tests.statistics.simulated_studies import KINDS, TRUTHS, coverage, values

CONFIG = BootstrapConfig(resamples=600)
STUDIES = 600
NOISE = 0.018  # two standard errors of a coverage of 95 % over so many studies


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_intervals_cover_at_the_ends_for_few_problems_and_for_trainings_that_differ(kind: str, seeds: int) -> None:
    bounds = DIFFERENCES if kind == "differences" else ACCURACIES
    found = {}
    for problems in (5, 10, 40, 50, 200):
        for truth in TRUTHS:
            rng = np.random.default_rng([seeds, problems, round(1000 * truth)])
            spread = 0.0 if seeds == 1 else 0.06
            drawn, mean = values(kind, truth, (seeds, problems, STUDIES), spread, 0.5, rng)
            found[problems, truth] = coverage(two_way_interval(drawn, CONFIG, bounds), mean)
    assert min(found.values()) >= 0.93 - NOISE, min(found, key=lambda key: found[key])
    assert np.mean(list(found.values())) >= 0.95
    # Not by being wide: of one training and many problems they cover at their rate.
    if seeds == 1:
        assert 0.93 - NOISE <= found[200, 0.5] <= 0.97 + NOISE
        assert 0.93 - NOISE <= found[200, 0.9] <= 0.97 + NOISE


@pytest.mark.parametrize("problems", [10, 20, 40, 100, 200])
def test_skewed_differences_are_seldom_called_clear(problems: int) -> None:
    """+0.05 in 95 % of the problems and −0.95 in 5 %: no difference. The bootstrap of problems calls 59 % of ten
    clear."""
    rng = np.random.default_rng(0)
    drawn = rng.choice([0.05, -0.95], p=[0.95, 0.05], size=(1, problems, STUDIES))
    low, high = two_way_interval(drawn, CONFIG)
    assert ((low > 0) | (high < 0)).mean() <= 0.07


@pytest.mark.parametrize("problems", [60, 200])
def test_intervals_of_best_of_n_cover_the_truth_at_their_rate(problems: int) -> None:
    """Problems of varied difficulty, two verifiers on the same samples; the truth is the mean over all problems that
    could have been drawn."""
    rng = np.random.default_rng(4)
    slots, ns, studies, pool = 8, [1, 4, 8], 1000, 20_000
    right = rng.random((pool, slots)) < rng.beta(1, 1, (pool, 1))
    better, worse = (best_of_n(right * skill + rng.normal(size=right.shape), right, ns) for skill in (2.0, 1.0))
    places = rng.integers(pool, size=(problems, studies))
    for of_pool, bounds in ((better, ACCURACIES), ((better - worse)[:, 1:], DIFFERENCES)):
        for column in of_pool.T:
            held = coverage(two_way_interval(column[places][None], CONFIG, bounds), column.mean())
            assert held >= 0.93
            # Where differences are small, one more problem of −1 or +1 widens them: few problems could hide a skew.
            assert held <= (0.97 if column.std() > 0.3 else 0.975 if problems == 200 else 0.995)


def test_picks_have_clopper_and_pearsons_interval_in_its_mid_p_form() -> None:
    config = BootstrapConfig(resamples=100_000)
    problems = 40
    right = np.array([0, 1, 20, 39, 40])
    picks = (np.arange(problems)[:, None] < right)[None] * 1.0
    low, high = two_way_interval(picks, config, ACCURACIES)
    grid = np.linspace(0, 1, 100_001)
    for k, count in enumerate(right):
        below = beta.cdf(grid, count, problems - count + 1) if count else np.ones_like(grid)
        above = beta.cdf(grid, count + 1, problems - count) if count < problems else np.zeros_like(grid)
        distribution = (below + above) / 2
        assert low[k] == pytest.approx(0.0 if count == 0 else grid[np.searchsorted(distribution, 0.025)], abs=2e-3)
        assert high[k] == pytest.approx(
            1.0 if count == problems else grid[np.searchsorted(distribution, 0.975)], abs=2e-3
        )


def test_no_interval_has_zero_width_or_leaves_the_bounds() -> None:
    for seeds in (1, 3):
        for value in (0.0, 0.3, 1.0):
            low, high = two_way_interval(np.full((seeds, 200, 1), value), CONFIG, ACCURACIES)
            assert high - low > 0.01
            assert 0 <= low <= value <= high <= 1
    low, high = two_way_interval(np.array([[[3.0]], [[2.0]]]), CONFIG)  # slopes may be of any size
    assert low <= -1
    assert high >= 2.5


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_trainings_that_differ_alone_have_students_interval(seeds: int) -> None:
    of_seeds = np.linspace(-0.01, 0.01, seeds)
    drawn = np.broadcast_to(of_seeds[:, None, None], (seeds, 200_000, 1))
    [low], [high] = two_way_interval(drawn, BootstrapConfig(resamples=1), (-0.01, 0.01))
    assert (low, high) != (0, 0)
    one = confidence_draws(drawn[:, :50], BootstrapConfig(resamples=50_000), (-0.01, 0.01))
    half = t.ppf(0.975, seeds - 1) * of_seeds.std(ddof=1) / np.sqrt(seeds)
    assert np.quantile(one, 0.975) == pytest.approx(half, rel=0.05)


def test_trainings_that_are_copies_say_no_more_than_one() -> None:
    one = (np.random.default_rng(0).random((1, 60, 3)) < 0.8) * 1.0
    for ours, theirs in zip(two_way_interval(one.repeat(3, 0), CONFIG), two_way_interval(one, CONFIG), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_p_values_fit_the_interval_and_are_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(3)
    drawn = rng.choice([0.0, 1.0, -1.0], p=[0.6, 0.2, 0.2], size=(1, 200, 2000))
    draws = confidence_draws(drawn, CONFIG, DIFFERENCES)
    p, (low, high) = p_values(draws), two_way_interval(drawn, CONFIG)
    assert ((p <= 0.05) == ((low > 0) | (high < 0))).mean() > 0.999
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=0.02)
    assert p_values(np.zeros((10, 1))) == 1
    assert p_values(np.ones((10, 1))) == 0.2


def test_estimates_are_deterministic_and_name_what_they_are() -> None:
    drawn = np.random.default_rng(0).random((3, 40, 2))
    rows = estimates(drawn, CONFIG, "accuracy")
    assert rows == estimates(drawn, CONFIG, "accuracy")
    assert "p_value" not in rows[0]
    assert rows[0]["accuracy"] == pytest.approx(drawn[:, :, 0].mean())
    assert rows[0]["num_seeds"] == 3
    [row] = estimates(drawn[:1, :, :1] - 0.5, CONFIG, "difference")
    assert row["std_over_seeds"] is None
    assert 0 < row["p_value"] <= 1
