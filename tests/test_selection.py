"""The estimators against brute force over all subsets."""

from __future__ import annotations

import itertools

import numpy as np

from components.estimation import BootstrapConfig, bootstrap_interval
from components.selection import best_of_n, pass_at_n, rank_weights, sizes, vote, within_problem_auc


def brute_best_of_n(scores: np.ndarray, right: np.ndarray, n: int) -> float:
    total = []
    for subset in itertools.combinations(range(len(scores)), n):
        filled = [i for i in subset if not np.isnan(scores[i])]
        if not filled:
            total.append(0.0)
            continue
        top = max(scores[i] for i in filled)
        total.append(float(np.mean([right[i] for i in filled if scores[i] == top])))
    return float(np.mean(total))


def brute_vote(answers: np.ndarray, right: np.ndarray, weights: np.ndarray, subset: tuple[int, ...]) -> float:
    totals: dict[int, float] = {}
    for i in subset:
        if answers[i] >= 0:
            totals[answers[i]] = totals.get(answers[i], 0.0) + weights[i]
    if not totals or max(totals.values()) <= 0:
        return 0.0
    tied = [a for a, t in totals.items() if np.isclose(t, max(totals.values()), rtol=1e-12, atol=0)]
    return float(np.mean([right[answers == a].any() for a in tied]))


def random_problem(rng: np.random.Generator, slots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """answers (some empty), whether each is right, scores with ties and a few equal to zero."""
    answers = rng.integers(-1, 4, slots)
    right = (answers == 1) & (answers >= 0)
    scores = np.where(answers < 0, np.nan, rng.integers(0, 5, slots) / 4)
    return answers, right, scores


def test_best_of_n_equals_brute_force_with_ties_and_empty_slots() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        slots = int(rng.integers(1, 10))
        _, right, scores = random_problem(rng, slots)
        ns = list(range(1, slots + 1))
        exact = best_of_n(scores[None], right[None], ns)[0]
        np.testing.assert_allclose(exact, [brute_best_of_n(scores, right, n) for n in ns], atol=1e-12)


def test_pass_at_n_equals_brute_force() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        slots = int(rng.integers(1, 9))
        _, right, _ = random_problem(rng, slots)
        for n in range(1, slots + 1):
            any_right = [right[list(s)].any() for s in itertools.combinations(range(slots), n)]
            np.testing.assert_allclose(pass_at_n(right[None], [n])[0, 0], np.mean(any_right), atol=1e-12)


def test_vote_is_near_brute_force_and_exact_at_both_ends() -> None:
    rng = np.random.default_rng(2)
    for case in range(20):
        slots = 7
        answers, right, scores = random_problem(rng, slots)
        for weights in (None, scores):
            filled = np.ones(slots) if weights is None else np.fmax(weights, 1e-300)
            ns = [1, 3, slots]
            found = vote(answers[None], right[None], None if weights is None else weights[None], ns, 3000, case)[0]
            wanted = []
            for n in ns:
                subsets = list(itertools.combinations(range(slots), n))
                wanted.append(np.mean([brute_vote(answers, right, filled, s) for s in subsets]))
            np.testing.assert_allclose(found[0], wanted[0], atol=1e-12)
            np.testing.assert_allclose(found[1], wanted[1], atol=0.04)
            np.testing.assert_allclose(found[2], wanted[2], atol=1e-12)


def test_rank_weights_are_a_distribution_for_the_papers_size() -> None:
    for n in (1, 2, 500, 1859, 1860):
        weights = rank_weights(1860, n)
        np.testing.assert_allclose(weights.sum(), 1.0, atol=1e-9)
        assert (weights >= 0).all()
    assert sizes(1860)[-2:] == [1024, 1860]
    assert sizes(64) == [1, 2, 4, 8, 16, 32, 64]


def test_a_perfect_score_is_the_upper_bound_and_a_constant_one_is_pass_at_1() -> None:
    rng = np.random.default_rng(3)
    right = rng.random((5, 16)) < 0.3
    ns = sizes(16)
    np.testing.assert_allclose(best_of_n(right * 1.0, right, ns), pass_at_n(right, ns), atol=1e-12)
    constant = best_of_n(np.ones((5, 16)), right, ns)
    np.testing.assert_allclose(constant, np.repeat(right.mean(1)[:, None], len(ns), 1), atol=1e-12)


def test_within_problem_auc_does_not_see_which_problems_are_hard() -> None:
    scores = np.array([[0.9, 0.9, 0.9, 0.9], [0.1, 0.1, 0.1, 0.1]])
    right = np.array([[True, True, True, False], [False, False, False, True]])
    assert within_problem_auc(scores, right) == 0.5
    assert within_problem_auc(np.array([[0.2, 0.1]]), np.array([[True, False]])) == 1.0


def test_bootstrap_interval_covers_at_its_rate() -> None:
    rng = np.random.default_rng(4)
    config = BootstrapConfig(resamples=500)
    covered = 0
    for _ in range(400):
        low, high = bootstrap_interval((rng.random((100, 1)) < 0.3).astype(float), config)
        covered += bool(low[0] <= 0.3 <= high[0])
    assert 0.91 < covered / 400 < 0.985
