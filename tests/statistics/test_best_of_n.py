"""The estimators against brute force over all subsets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from components.statistics.best_of_n import (
    Samples,
    best_of_n,
    best_of_n_by_shuffling,
    mean_rank_correlation,
    pass_at_n,
    rank_weights,
    sizes,
    vote,
    within_problem_auc,
)


def brute_best_of_n(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Mean accuracy over every subset of each size 1 … M: of the filled slots with the best score, the share right."""
    slots = len(scores)
    chosen = (np.arange(1, 2**slots)[:, None] >> np.arange(slots)) & 1 == 1  # a row per subset
    filled = chosen & ~np.isnan(scores)
    top = np.where(filled, scores, -np.inf).max(axis=1, keepdims=True)
    picked = filled & (scores == top)
    accuracy = (picked & right).sum(1) / np.maximum(1, picked.sum(1))
    sizes_of = chosen.sum(1)
    return np.array([accuracy[sizes_of == n].mean() for n in range(1, slots + 1)])


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


def samples_of(answers: np.ndarray, right: np.ndarray) -> Samples:
    return Samples([f"p{i}" for i in range(len(answers))], answers, right, right, {})


def test_best_of_n_equals_brute_force_with_ties_and_empty_slots() -> None:
    """1,200 problems of up to 12 slots, every subset of every size."""
    rng = np.random.default_rng(0)
    for case in range(1200):
        slots = int(rng.integers(1, 13)) if case % 6 else 12
        _, right, scores = random_problem(rng, slots)
        ns = list(range(1, slots + 1))
        exact = best_of_n(scores[None], right[None], ns)[0]
        np.testing.assert_allclose(exact, brute_best_of_n(scores, right), rtol=0, atol=1e-12)


def test_the_released_evaluations_algorithm_has_the_exact_one_as_its_mean() -> None:
    """500 problems × 1860 slots, some empty, many tied: within four standard errors at every N."""
    rng = np.random.default_rng(5)
    shape, ns, trials = (500, 1860), [1, 10, 25, 100, 500, 1000, 1500, 1860], 40
    right = rng.random(shape) < rng.random((shape[0], 1))
    scores = np.round(right + rng.normal(size=shape), 1)
    scores[rng.random(shape) < rng.random((shape[0], 1)) * 0.3] = np.nan
    exact = best_of_n(scores, right, ns).mean(0)
    shuffled = best_of_n_by_shuffling(samples_of(scores, right), scores, ns, trials, seed=0)
    assert shuffled.shape == (trials, len(ns))
    errors = shuffled.std(0, ddof=1) / np.sqrt(trials)
    assert (errors[:-1] > 0).all()
    distances = np.abs(shuffled.mean(0) - exact) / errors
    assert (distances < 4).all(), distances
    assert (distances < 2.2).mean() > 0.7, distances


def test_the_shuffle_algorithm_as_it_is_written_down() -> None:
    """Against a plain copy of its description: shuffle, take N, drop the empty, pick the first best, look it up."""
    rng = np.random.default_rng(6)
    _, right, scores = random_problem(rng, 8)
    trials, ns = 20_000, [1, 3, 8]
    ours = best_of_n_by_shuffling(samples_of(scores[None], right[None]), scores[None], ns, trials, seed=1)
    plain = np.zeros((trials, len(ns)))
    for trial in range(trials):
        order = rng.permutation(8)
        for k, n in enumerate(ns):
            filled = [slot for slot in order[:n] if not np.isnan(scores[slot])]
            plain[trial, k] = bool(filled) and right[max(filled, key=lambda slot: scores[slot])]
    np.testing.assert_allclose(ours.mean(0), plain.mean(0), atol=0.02)
    np.testing.assert_allclose(ours.std(0), plain.std(0), atol=0.02)


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
            weights_PM = None if weights is None else weights[None]
            found = vote(samples_of(answers[None], right[None]), weights_PM, ns, 3000, case)[0]
            wanted = []
            for n in ns:
                subsets = list(itertools.combinations(range(slots), n))
                wanted.append(np.mean([brute_vote(answers, right, filled, s) for s in subsets]))
            np.testing.assert_allclose(found[0], wanted[0], atol=1e-12)
            np.testing.assert_allclose(found[1], wanted[1], atol=0.04)
            np.testing.assert_allclose(found[2], wanted[2], atol=1e-12)


def test_votes_and_shuffles_of_a_problem_do_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(7)
    answers = rng.integers(-1, 4, (6, 9))
    right, scores = answers == 1, rng.random((6, 9))
    every = samples_of(answers, right)
    kept = [5, 1, 4]  # some left out, and in another order
    some = Samples([every.problem_ids[at] for at in kept], answers[kept], right[kept], right[kept], {})
    ns = [1, 2, 5, 9]
    np.testing.assert_array_equal(vote(every, scores, ns, 20, 3)[kept], vote(some, scores[kept], ns, 20, 3))
    alone = [
        best_of_n_by_shuffling(
            Samples([every.problem_ids[at]], answers[[at]], right[[at]], right[[at]], {}), scores[[at]], ns, 7, 3
        )
        for at in kept
    ]
    np.testing.assert_allclose(best_of_n_by_shuffling(some, scores[kept], ns, 7, 3), np.mean(alone, axis=0))
    assert len({vote(samples_of(answers[:1], right[:1]), None, ns, 20, seed)[0, 1] for seed in range(9)}) > 1


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


def test_rank_correlation_is_of_the_pairs_in_which_both_vary() -> None:
    nan = float("nan")
    one = np.array([0.1, 0.2, 0.3, 0.4])
    swapped, tied = np.array([4.0, 2.0, 3.0, 1.0]), np.array([1.0, 1.0, 2.0, 3.0])
    by_differences = 1 - 6 * (9 + 0 + 0 + 9) / (4 * 15)  # of ranks
    assert mean_rank_correlation([(one, swapped)]) == pytest.approx(by_differences)
    assert mean_rank_correlation([(one, tied)]) == pytest.approx(4.5 / np.sqrt(5 * 4.5))  # the tied share rank 1.5
    assert mean_rank_correlation([(one, np.ones(4)), (one, one**3), (one, -one)]) == pytest.approx(0.0, abs=1e-12)
    assert mean_rank_correlation([(one, np.array([nan, 1.0, 2.0, nan]))]) == pytest.approx(1.0)
    assert np.isnan(mean_rank_correlation([(one, np.array([nan, nan, nan, 1.0])), (one[:0], one[:0])]))


def test_a_vote_gives_its_candidates_most_frequent_answer() -> None:
    """Equality is not always transitive: one of the candidate's texts may be right and the one that is given not."""
    answers = np.array([[0, 0, 0, 1]])
    own, given = np.array([[True, False, False, False]]), np.array([[False, False, False, False]])
    found = vote(Samples(["p"], answers, own, given, {}), None, [1, 4], 10, 0)
    assert found.tolist() == [[0.0, 0.0]]
