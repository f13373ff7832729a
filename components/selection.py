"""Picking one of N samples: the expected accuracy of each way to pick, problem by problem.

Best-of-N is exact for every N at once (no trials), where the paper shuffles 400 times. Votes have no such form:
seeded subsets, as many as the config says. A sample without an answer fills its slot of N and is never picked (§3.1).
Shapes: P problems, M slots each, K sizes N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Samples:
    """The samples of P problems, M slots each.

    problem_ids: P strings. answer_PM: index of the answer among the problem's distinct ones, −1 for an empty slot.
    is_correct_PM: whether the slot's answer is right. scores: one array per reward model, NaN where there is no score.
    """

    problem_ids: list[str]
    answer_PM: Ints
    is_correct_PM: Bools
    scores: dict[str, Floats]


def sizes(slots: int) -> list[int]:
    """The N of the curves: powers of two, and all the slots."""
    return sorted({2**k for k in range(slots.bit_length()) if 2**k <= slots} | {slots})


def rank_weights(slots: int, n: int) -> Floats:
    """Chance that the sample of rank r (0 = best) is the best of a random n-subset: C(M−1−r, n−1) / C(M, n).

    shape (M,), sums to 1. By the recurrence w(r+1) = w(r) · (M − n − r) / (M − 1 − r), from w(0) = n / M.
    """
    ranks = np.arange(slots - 1)
    ratios = np.maximum(0, slots - n - ranks) / (slots - 1 - ranks)
    return np.asarray(n / slots * np.cumprod(np.r_[1.0, ratios]), dtype=np.float64)


def best_of_n(scores_PM: Floats, is_correct_PM: Bools, ns: list[int]) -> Floats:
    """Expected accuracy of picking the best score out of N random slots, shape (P, K); exact.

    A slot whose score is NaN is empty: it ranks last, and picking it is wrong. Equal scores share their ranks.
    """
    problems, slots = scores_PM.shape
    weights_KM = np.stack([rank_weights(slots, n) for n in ns])
    keys_PM = np.where(np.isnan(scores_PM), -np.inf, scores_PM)
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


def pass_at_n(is_correct_PM: Bools, ns: list[int]) -> Floats:
    """Chance that any of N random slots is right, shape (P, K); exact: 1 − C(M−c, N) / C(M, N)."""
    # The best of N by the key "is it right" is right iff any is.
    return best_of_n(is_correct_PM.astype(np.float64), is_correct_PM, ns)


def vote(
    answer_PM: Ints, is_correct_PM: Bools, weights_PM: Floats | None, ns: list[int], subsets: int, seed: int
) -> Floats:
    """Expected accuracy of the answer with the largest summed weight (None: one vote per sample) among N random slots.

    shape (P, K). Mean over `subsets` seeded random orders of the slots, of which N are the first N; exact where N is 1
    or all slots. Tied answers share the pick equally. Empty slots have no vote; no vote at all is wrong.
    """
    problems, slots = answer_PM.shape
    result = np.zeros((problems, len(ns)))
    for problem in range(problems):
        rng = np.random.default_rng([seed, problem])
        answers = answer_PM[problem]
        # A score of 0 still names its answer: it must not lose to nothing.
        weights = np.ones(slots) if weights_PM is None else np.fmax(weights_PM[problem], 1e-300)
        groups = int(answers.max()) + 1
        if groups == 0:
            continue
        right_G = np.zeros(groups)
        np.maximum.at(right_G, answers[answers >= 0], is_correct_PM[problem][answers >= 0].astype(np.float64))
        votes_MG = np.zeros((slots, groups))
        voting = np.flatnonzero(answers >= 0)
        votes_MG[voting, answers[voting]] = weights[voting]
        # Slot order of each subset, and one that covers every slot first for the exact ends N = 1 and N = M.
        orders_SM = rng.permuted(np.tile(np.arange(slots), (subsets, 1)), axis=1)
        for k, n in enumerate(ns):
            if n == 1:
                result[problem, k] = float((is_correct_PM[problem] & (answers >= 0)).mean())
                continue
            chosen_SN = np.arange(slots)[None] if n == slots else orders_SM[:, :n]
            totals_SG = votes_MG[chosen_SN].sum(axis=1)
            top_S1 = totals_SG.max(axis=1, keepdims=True)
            # Weights are summed in different orders, so equal totals can differ in the last bits.
            winners_SG = np.isclose(totals_SG, top_S1, rtol=1e-12, atol=0.0) & (totals_SG > 0)
            result[problem, k] = float(((winners_SG * right_G).sum(1) / np.maximum(1, winners_SG.sum(1))).mean())
    return result


def within_problem_auc(scores_PM: Floats | Sequence[Floats], is_correct_PM: Bools | Sequence[Bools]) -> float:
    """Chance that a right sample outscores a wrong one of the same problem (ties count half), averaged over problems
    that have both. Pooled over problems it would measure who knows which problems are hard. NaN when none has both."""
    aucs = []
    for scores, right in zip(scores_PM, is_correct_PM, strict=True):
        good, bad = scores[right & ~np.isnan(scores)], scores[~right & ~np.isnan(scores)]
        if len(good) and len(bad):
            above = (good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean()
            aucs.append(float(above))
    return float(np.mean(aucs)) if aucs else float("nan")
