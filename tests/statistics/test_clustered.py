"""Intervals by problems, in simulated studies whose solutions are alike within a problem."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtri

from components.labels.agreement import kappa
from components.statistics import clustered
from components.statistics.best_of_n import within_problem_auc
from components.statistics.bootstrap import BootstrapConfig
from components.statistics.classification import calibration_error
from components.statistics.clustered import (
    NONE,
    Interval,
    auc_interval,
    calibration_error_interval,
    f1_interval,
    kappa_interval,
    share_interval,
    sums_by_problem,
)

STUDIES = 300
Study = tuple[Interval, float]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustered, "_CONFIG", BootstrapConfig(resamples=400))


def alike(rng: np.random.Generator, problems: int, rate: float) -> tuple[list[str], np.ndarray]:
    """1 to 8 items of each problem, true at this rate, with a correlation of 0.5 within a problem."""
    sizes = rng.integers(1, 9, problems)
    latent = np.sqrt(0.5) * (np.repeat(rng.normal(size=problems), sizes) + rng.normal(size=sizes.sum()))
    return np.repeat([f"p{at}" for at in range(problems)], sizes).tolist(), latent < ndtri(rate)


def a_share(rng: np.random.Generator, problems: int, rate: float) -> Study:
    return share_interval(*alike(rng, problems, rate)), rate


def an_f1(rng: np.random.Generator, problems: int, rate: float) -> Study:
    ids, hits = alike(rng, problems, rate)
    return f1_interval(ids, rng.random(len(ids)) < 0.3, hits), rate


def a_kappa(rng: np.random.Generator, problems: int, rate: float) -> Study:
    """Both call a tenth of the steps wrong, and are of one mind in this share of problems, else each of his own."""
    ids, wrong = alike(rng, problems, 0.1)
    _, places = np.unique(ids, return_inverse=True)
    same = (rng.random(problems) < rate)[places]
    return kappa_interval(ids, wrong, np.where(same, wrong, rng.random(len(ids)) < 0.1)), rate


def an_auc(rng: np.random.Generator, problems: int, rate: float) -> Study:
    """Scores are normal, those of right samples higher, so that they win at this rate; some problems have one kind."""
    right = rng.random((problems, 8)) < rng.random((problems, 1))
    interval, count = auc_interval(rng.normal(size=right.shape) + right * np.sqrt(2) * ndtri(rate), right)
    assert count == ((right.any(1)) & (~right.all(1))).sum()
    return interval, rate


@pytest.mark.parametrize("figure", [a_share, an_f1, a_kappa, an_auc])
@pytest.mark.parametrize("problems", [20, 200])
@pytest.mark.parametrize("rate", [0.6, 0.95])
def test_intervals_hold_the_truth(
    figure: Callable[[np.random.Generator, int, float], Study], problems: int, rate: float
) -> None:
    """The binomial's, which take solutions for independent, hold it in some 70 %."""
    rng, held, counted = np.random.default_rng([problems, round(100 * rate)]), 0, 0
    for _ in range(STUDIES):
        (low, high), truth = figure(rng, problems, rate)
        if low is not None and high is not None:
            assert low < high
            held, counted = held + (low <= truth <= high), counted + 1
    assert counted > STUDIES * 0.9
    assert held / counted >= 0.93 - 0.025  # two standard errors


@pytest.mark.parametrize("miscalibrated", [0.0, 0.02, 0.15])
def test_intervals_of_calibration_errors_hold_the_truth(miscalibrated: float) -> None:
    """Overconfident by so much at every score; without it the error is noise alone."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(STUDIES):
        ids, _ = alike(rng, 200, 0.5)
        probabilities = rng.uniform(0.2, 1, len(ids))
        right = rng.random(len(ids)) < probabilities - miscalibrated
        low, high = calibration_error_interval(ids, probabilities, right)
        assert low is not None
        assert high is not None
        assert low <= calibration_error(probabilities, right) <= high
        held += low <= miscalibrated <= high
    assert held / STUDIES >= 0.93


def test_no_interval_has_zero_width_and_none_is_made_of_nothing() -> None:
    ids, yes = [f"p{at}" for at in range(50)], np.ones(50, dtype=bool)
    low, high = share_interval(ids, yes)
    assert low is not None
    assert 0.9 < low < 0.96
    assert high == 1
    wrong = np.arange(50) < 25
    low, high = f1_interval(ids, wrong, yes)
    assert low is not None
    assert low < high == 1
    assert kappa(wrong, wrong) == 1
    low, high = kappa_interval(ids, wrong, wrong)
    assert low is not None
    assert low < 0.97
    assert high == pytest.approx(1)
    nothing = np.zeros(0, dtype=bool)
    assert share_interval([], nothing) == f1_interval(ids, yes, yes) == kappa_interval(ids, yes, yes) == NONE
    assert calibration_error_interval([], np.zeros(0), nothing) == NONE
    assert calibration_error_interval(ids, np.ones(50), yes) == NONE
    one = np.array([0.2, 0.9, 0.8, 0.3])
    assert calibration_error_interval(["p"] * 4, one, np.array([False, True, False, True])) == NONE
    assert auc_interval(np.zeros((2, 3)), np.ones((2, 3), dtype=bool)) == (NONE, 0)


def test_the_draws_are_of_the_figures_that_are_reported() -> None:
    """With all problems' weights equal, each statistic is the estimate; so the interval's middle is near it."""
    rng = np.random.default_rng(0)
    right = rng.random((100, 8)) < 0.5
    scores = rng.normal(size=right.shape) + right
    (low, high), _ = auc_interval(scores, right)
    assert low is not None
    assert low < within_problem_auc(scores, right) < high
    ids, one = alike(rng, 400, 0.3)
    other = np.where(rng.random(len(one)) < 0.8, one, ~one)
    low, high = kappa_interval(ids, one, other)
    estimate = kappa(one, other)
    assert low is not None
    assert estimate is not None
    assert (low + high) / 2 == pytest.approx(estimate, abs=0.01)
    assert sums_by_problem(["b", "a", "b"], np.array([[1, 2], [3, 4], [5, 6]])).tolist() == [[3, 4], [6, 8]]
