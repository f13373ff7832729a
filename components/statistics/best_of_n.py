"""Best-of-N, votes and pass@N: the expected accuracy of each way to choose one of N samples, problem by problem.

Best-of-N is exact for every N at once (no trials), where the paper shuffles 400 times; `best_of_n_by_shuffling` does as
the paper does. Votes have no closed form: they are averaged over seeded subsets, as many as the config says. A sample
without an answer fills its slot of N and is never picked (§3.1).
Shapes: P problems, M slots each, K sizes N.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Samples:
    """The samples of P problems, M slots each.

    problem_ids: P strings. answer_PM: index of the slot's answer among the problem's candidate answers, −1 for a slot
    without one. is_correct_PM: whether the slot's own answer is right. is_right_answer_PM: whether its candidate's
    answer is, which a vote would give (the two differ only where the grader's equality is not transitive). scores: one
    array per reward model, NaN where there is no score. has_votes: False where samples have no answers at all, as
    programs and proofs do.
    """

    problem_ids: list[str]
    answer_PM: Ints
    is_correct_PM: Bools
    is_right_answer_PM: Bools
    scores: dict[str, Floats]
    has_votes: bool = True


def sizes(slots: int) -> list[int]:
    """Return the N of the curves: powers of two, and the number of slots."""
    return sorted({2**k for k in range(slots.bit_length()) if 2**k <= slots} | {slots})


def rank_weights(slots: int, n: int) -> Floats:
    """Return the chance that the sample of rank r (0 = best) is the best of a random n-subset: C(M−1−r, n−1) / C(M, n).

    shape (M,), sums to 1. By the recurrence w(r+1) = w(r) · (M − n − r) / (M − 1 − r), from w(0) = n / M.
    """
    ranks = np.arange(slots - 1)
    ratios = np.maximum(0, slots - n - ranks) / (slots - 1 - ranks)
    return np.asarray(n / slots * np.cumprod(np.r_[1.0, ratios]), dtype=np.float64)


def best_of_n(scores_PM: Floats, is_correct_PM: Bools, ns: list[int]) -> Floats:
    """Return the expected accuracy of picking the best score out of N random slots, shape (P, K); exact.

    A slot whose score is NaN is empty: it ranks last, and picking it is wrong. Equal scores share their ranks.
    """
    problems, slots = scores_PM.shape
    weights_KM = np.stack([rank_weights(slots, n) for n in ns])
    keys_PM = _keys(scores_PM)
    right_PM = np.where(np.isnan(scores_PM), 0.0, is_correct_PM)
    right_by_rank_PM = np.empty((problems, slots))
    for problem in range(problems):
        order = np.argsort(-keys_PM[problem], kind="stable")
        key, right = keys_PM[problem][order], right_PM[problem][order]
        starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
        counts = np.diff(np.r_[starts, slots])
        right_by_rank_PM[problem] = np.repeat(np.add.reduceat(right, starts) / counts, counts)
    result: Floats = right_by_rank_PM @ weights_KM.T
    return result


def _keys(scores: Floats) -> Floats:
    """Return the keys that rank slots: scores with log-probabilities of −∞ raised, and −∞ for empty slots."""
    return np.where(np.isnan(scores), -np.inf, np.maximum(scores, np.finfo(np.float64).min))


def pass_at_n(is_correct_PM: Bools, ns: list[int]) -> Floats:
    """Return the chance that any of N random slots is right, shape (P, K); exact: 1 − C(M−c, N) / C(M, N)."""
    # The best of N by the key "is it right" is right iff any is.
    return best_of_n(is_correct_PM.astype(np.float64), is_correct_PM, ns)


def vote(samples: Samples, weights_PM: Floats | None, ns: list[int], subsets: int, seed: int) -> Floats:
    """Return the expected accuracy of the answer with the largest summed weight among N random slots.

    weights_PM: None: one vote per sample. shape (P, K), ns ascending. Mean over `subsets` random orders of a problem's
    slots, seeded by the problem's id, of which the first N are drawn; exact where N is 1 or all slots. Tied answers
    share the pick equally. Empty slots have no vote; no vote at all is wrong.
    """
    problems, slots = samples.answer_PM.shape
    result = np.zeros((problems, len(ns)))
    for problem in range(problems):
        answers = samples.answer_PM[problem]
        groups = int(answers.max(initial=-1)) + 1
        if groups == 0:
            continue
        rng = _generator(seed, samples.problem_ids[problem])
        orders_SM = rng.permuted(np.tile(np.arange(slots), (subsets, 1)), axis=1)
        right_G = np.zeros(groups)
        voting = answers >= 0
        right_G[answers[voting]] = samples.is_right_answer_PM[problem][voting]
        # A score of 0 still names its answer: it must not lose to nothing. An empty slot votes 0 for any.
        weight_M = np.ones(slots) if weights_PM is None else np.fmax(weights_PM[problem], 1e-300)
        weights, answer_index = np.where(voting, weight_M, 0.0), np.maximum(answers, 0)
        places_SM = answer_index[orders_SM] + groups * np.arange(subsets)[:, None]
        totals_SG, counted = np.zeros((subsets, groups)), 0
        for k, n in enumerate(ns):
            chosen = orders_SM[:, counted:n]
            added = np.bincount(places_SM[:, counted:n].ravel(), weights[chosen].ravel(), subsets * groups)
            totals_SG, counted = totals_SG + added.reshape(subsets, groups), n
            if n == 1:
                result[problem, k] = right_G[answers[voting]].sum() / slots
                continue
            top_S1 = totals_SG.max(axis=1, keepdims=True)
            # Weights are summed in different orders, so equal totals can differ in the last bits.
            winners_SG = np.isclose(totals_SG, top_S1, rtol=1e-12, atol=0.0) & (totals_SG > 0)
            result[problem, k] = float(((winners_SG * right_G).sum(1) / np.maximum(1, winners_SG.sum(1))).mean())
    return result


def _generator(seed: int, problem_id: str) -> np.random.Generator:
    """Return a problem's random numbers, the same whatever other problems there are."""
    return np.random.default_rng([seed, int(hashlib.sha256(problem_id.encode()).hexdigest(), 16)])


def best_of_n_by_shuffling(samples: Samples, scores_PM: Floats, ns: list[int], trials: int, seed: int) -> Floats:
    """Return the accuracy of best-of-N in each trial, shape (trials, K), by the paper's released algorithm.

    Shuffle each problem's slots, take the first N, drop the empty, pick the best score (of equal ones the first), look
    up whether it is right. The mean over trials estimates what `best_of_n` computes; the standard deviation is the band
    of the paper's figure 3, the noise of subsampling alone. One shuffle of a trial serves all N, where the released
    code shuffles for each: the distribution at each single N is the same.
    """
    problems, slots = scores_PM.shape
    result = np.zeros((trials, len(ns)))
    last = np.array(ns) - 1
    for problem in range(problems):
        rng = _generator(seed, samples.problem_ids[problem])
        empty = np.isnan(scores_PM[problem])
        _, rank = np.unique(-_keys(scores_PM[problem]), return_inverse=True)  # 0: best; empty last
        right = samples.is_correct_PM[problem] & ~empty
        orders_TM = rng.permuted(np.tile(np.arange(slots), (trials, 1)), axis=1)
        # Among the first N: the best rank, and of those that share it the first in the order.
        keys_TM = np.minimum.accumulate(rank[orders_TM] * slots + np.arange(slots), axis=1)
        picked_TK = np.take_along_axis(orders_TM, keys_TM[:, last] % slots, axis=1)
        result += right[picked_TK]
    return result / max(1, problems)


def mean_rank_correlation(pairs: Iterable[tuple[Floats, Floats]]) -> float:
    """Return Spearman's correlation, averaged over the pairs of arrays in which both vary; NaN without such a pair.

    Values without a counterpart (NaN) are left out, and equal values share their mean rank.
    """
    from scipy.stats import rankdata  # here: a study that is only planned computes none

    correlations = []
    for x, y in pairs:
        has_both = ~(np.isnan(x) | np.isnan(y))
        ranks = rankdata(x[has_both]), rankdata(y[has_both])
        if has_both.sum() > 1 and all(np.ptp(each) > 0 for each in ranks):
            correlations.append(float(np.corrcoef(*ranks)[0, 1]))
    return float(np.mean(correlations)) if correlations else float("nan")


def within_problem_auc(scores_PM: Floats | Sequence[Floats], is_correct_PM: Bools | Sequence[Bools]) -> float:
    """Return the chance that a right sample outscores a wrong one of the same problem (ties count half), averaged over
    problems that have both.

    Pooled over problems it would measure which model knows the hard problems. NaN when no problem has both.
    """
    aucs = []
    for scores, right in zip(scores_PM, is_correct_PM, strict=True):
        good, bad = scores[right & ~np.isnan(scores)], scores[~right & ~np.isnan(scores)]
        if len(good) and len(bad):
            above = (good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean()
            aucs.append(float(above))
    return float(np.mean(aucs)) if aucs else float("nan")
